"""What `relay check` finds of AWS, met with the daemon's own clients in the sandbox."""

from __future__ import annotations

import os
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiohttp import web
from aws_parts import nobody
from certificates import Papers

from relay.check.aws import examine_aws
from relay.check.clock import compare
from relay.check.finding import Level
from relay.check.fleet import examine_shared
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.config.discovered import find_destinations
from relay.sandbox.service import ACCOUNT, running_sandbox, settings_of

pytestmark = pytest.mark.slow  # each test makes clients of its own, a tenth of a second each

FAR = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def account(box, monkeypatch):
    """The environment points to the sandbox, and to nothing else of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    for name, value in box.env.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def examine(**overrides):
    """Findings by subject."""
    found = examine_aws(builtin_config(**overrides), now=datetime.now(UTC))
    return {finding.subject: finding for finding in found}


def test_a_bucket_that_works_is_found_to_work(account):
    """An object goes up and comes back by its URL, and all that hangs on it is fine."""
    found = examine()
    assert found["bucket relay-sandbox"].level is Level.OK
    assert (
        found["bucket relay-sandbox"].detail == "mail/relay-check went up and came back by its presigned URL"
    )
    assert found["clock"].level is Level.OK
    assert found["region"].detail == "eu-central-1"
    assert "no end of their own" in found["credentials"].detail
    assert found["presigned URL"].level is Level.OK


def test_missing_bucket_is_a_fail(account):
    """A bucket that is not there fails with S3's word and what to do."""
    finding = examine(s3={"bucket": "not-there"})["bucket not-there"]
    assert finding.level is Level.FAIL
    assert "NoSuchBucket" in finding.detail
    assert finding.detail.endswith("make it, or mend s3.bucket")


def test_wrong_secret_is_a_fail(account):
    """A secret that is not the key's fails with what to mend."""
    account.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    finding = examine()["bucket relay-sandbox"]
    assert finding.level is Level.FAIL
    assert finding.detail.endswith("mend the secret access key")


def test_unreachable_services_are_fails(account):
    """Endpoints that nobody answers at fail, one line each, and nothing hangs."""
    with nobody() as url:
        account.setenv("AWS_ENDPOINT_URL_S3", url)
        account.setenv("AWS_ENDPOINT_URL_CONNECT", url)
        found = examine()
    for finding in (found["bucket relay-sandbox"], found[f"instance {INSTANCE_ID}"]):
        assert finding.level is Level.FAIL
        assert f'Could not connect to the endpoint URL: "{url}/' in finding.detail


def test_missing_credentials_are_a_fail(account):
    """Without credentials there is one line, which names the ways to give them."""
    account.delenv("AWS_ACCESS_KEY_ID")
    account.delenv("AWS_SECRET_ACCESS_KEY")
    account.setenv("AWS_EC2_METADATA_DISABLED", "true")
    account.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    found = examine()
    assert found["credentials"].level is Level.FAIL
    assert "no AWS credentials were found" in found["credentials"].detail
    assert not [subject for subject in found if subject.startswith(("bucket", "instance"))]


def test_long_token_is_a_fail(account):
    """A session token that makes URLs longer than Connect takes is found before the first mail is."""
    with running_sandbox(session_token="t" * 1_800, bucket="another-sandbox") as other:
        for name, value in other.env.items():
            account.setenv(name, value)
        finding = examine(s3={"bucket": "another-sandbox"})["presigned URL"]
    assert finding.level is Level.FAIL
    assert "Connect takes 2000" in finding.detail


# --- Addresses in Connect


def test_sandbox_has_the_addresses_of_its_routes(account):
    """A newcomer sees `ok` for the instance, over pages as AWS has them; an unknown instance is a fail."""
    many = [f"a{number}@example.com" for number in range(101)]
    config = builtin_config(
        s3={"bucket": "listed"},
        routes=[{"match": many}, {"match": ["@b.example"], "destination": "b@b.example"}],
    )
    with running_sandbox(settings=settings_of(config), bucket="listed") as other:
        for name, value in other.env.items():
            account.setenv(name, value)
        found = {each.subject: each for each in examine_aws(config, now=datetime.now(UTC))}
        elsewhere = builtin_config(
            connect={"instance_id": "0" * 8 + INSTANCE_ID[8:]}, s3={"bucket": "listed"}
        )
        *_, missing = examine_aws(elsewhere, now=datetime.now(UTC))
    instance = found[f"instance {INSTANCE_ID}"]
    assert (instance.level, instance.detail) == (
        Level.OK,
        "has the addresses of our routes (102 of its 102)",
    )
    assert (missing.level, missing.detail) == (
        Level.FAIL,
        "does not exist in this Region, or not for this account",
    )


async def search(answer):
    """A Connect that knows SearchEmailAddresses and answers as told, as (runner, URL)."""

    async def handle(request):
        return answer(await request.json())

    app = web.Application()
    app.router.add_post("/search-email-addresses", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, "http://{}:{}".format(*runner.addresses[0])


async def instance_finding(account, answer):
    """What is said of the built-in instance when Connect answers so."""
    import asyncio

    runner, url = await search(answer)
    account.setenv("AWS_ENDPOINT_URL_CONNECT", url)
    try:
        return (await asyncio.to_thread(examine))[f"instance {INSTANCE_ID}"]
    finally:
        await runner.cleanup()


def pages(*addresses):
    """An answer of one address a page."""

    def answer(asked):
        number = int(asked.get("NextToken", "0"))
        page = {"EmailAddresses": [{"EmailAddress": addresses[number]}]}
        return web.json_response(
            page | ({"NextToken": str(number + 1)} if number + 1 < len(addresses) else {})
        )

    return answer


def refusal(status, name):
    """An answer that refuses as AWS does."""
    return lambda asked: web.json_response(
        {"Message": "no"}, status=status, headers={"x-amzn-ErrorType": f"{name}:"}
    )


async def test_known_addresses_are_fine(account):
    """Every address of a route that the instance has, over all pages, is one line of ok."""
    finding = await instance_finding(
        account, pages("a@example.com", "Support@example.com", "sales@example.com")
    )
    assert (finding.level, finding.detail) == (Level.OK, "has the addresses of our routes (2 of its 3)")


async def test_unknown_address_is_a_fail(account):
    """A route to an address that the instance has not would be a 404 for each mail: it is said before."""
    finding = await instance_finding(account, pages("support@example.com"))
    assert finding.level is Level.FAIL
    assert finding.detail.startswith("has no address sales@example.com")


async def test_unknown_instance_is_a_fail(account):
    """An instance that is not there fails."""
    finding = await instance_finding(account, refusal(404, "ResourceNotFoundException"))
    assert finding.level is Level.FAIL


@pytest.mark.parametrize(
    ("status", "code", "level", "advice"),
    [
        (429, "ThrottlingException", Level.WARN, "try again"),
        (500, "InternalServiceException", Level.WARN, "try again"),
        (403, "UnrecognizedClientException", Level.FAIL, "mend the access key"),
        (403, "InvalidSignatureException", Level.FAIL, "mend the secret access key"),
        (400, "InvalidRequestException", Level.WARN, "try again"),
    ],
)
async def test_permission_is_advised_for_want_of_it_alone(account, status, code, level, advice):
    """A service that is busy, or that does not know the key, is not mended by another policy."""
    finding = await instance_finding(account, refusal(status, code))
    assert finding.level is level
    assert finding.detail.endswith(advice)
    assert "allow" not in finding.detail


async def test_signature_that_is_too_old_is_of_the_clock(account):
    """Connect has no code of its own for a wrong clock; its words tell."""

    def answer(asked):
        message = "Signature expired: 20261129T090000Z is now earlier than 20261129T092000Z"
        name = {"x-amzn-ErrorType": "InvalidSignatureException:"}
        return web.json_response({"message": message}, status=403, headers=name)

    finding = await instance_finding(account, answer)
    assert finding.level is Level.FAIL
    assert finding.detail.endswith("; look at the clock (NTP)")


@contextmanager
def dated(certificate, key, date):
    """The URL of a service under TLS whose answers have this date."""

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp=None):
            return format_datetime(date, usegmt=True)

        def do_HEAD(self):
            self.send_response(403)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"https://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("minutes", "side"), [(20, "ahead of"), (-20, "behind")])
def test_clock_that_is_off_is_named_with_the_difference(account, minutes, side):
    """S3 refuses the signature (RequestTimeTooSkewed); how far the clock is off is what helps."""
    skewed = datetime.now(UTC) - timedelta(minutes=minutes)
    with running_sandbox(bucket="skewed", now=lambda: skewed) as other:
        for name, value in other.env.items():
            account.setenv(name, value)
        finding = examine(s3={"bucket": "skewed"})["bucket skewed"]
    assert finding.level is Level.FAIL
    assert "RequestTimeTooSkewed" in finding.detail
    assert finding.detail.endswith(f"look at the clock (NTP): it is 20 minutes {side} S3's")


def test_certificate_that_is_not_yet_valid_is_of_the_clock(account, tmp_path):
    """A service whose certificate begins in our future most often has the better clock."""
    papers = Papers(tmp_path)
    certificate, key = papers.issue("localhost", "early", age=-2)
    with dated(certificate, key, datetime.now(UTC) + timedelta(days=2, minutes=1)) as url:
        account.setenv("AWS_ENDPOINT_URL_S3", url)
        account.setenv("AWS_CA_BUNDLE", str(papers.ca))
        finding = examine()["bucket relay-sandbox"]
    assert finding.level is Level.FAIL
    assert "not yet valid" in finding.detail
    assert finding.detail.endswith("look at the clock (NTP): it is 2 days behind S3's")


async def test_missing_permission_is_a_warning(account):
    """Who may not look cannot tell; the relay itself needs no such permission."""
    finding = await instance_finding(account, refusal(403, "AccessDeniedException"))
    assert finding.level is Level.WARN
    assert "allow connect:SearchEmailAddresses" in finding.detail


def test_an_instance_of_another_region_is_a_fail(account):
    """An ARN that names another Region than the one that would be asked is said in one sentence, unasked."""
    arn = f"arn:aws:connect:us-west-2:111111111111:instance/{FAR}"
    finding = examine(connect={"instance_id": arn})[f"instance {arn}"]
    assert finding.level is Level.FAIL
    assert finding.detail.startswith("is in us-west-2, and eu-central-1 would be asked")
    elsewhere = {"instance_id": arn, "instances": {arn: {"region": "us-west-2"}}}
    assert "would be asked" not in examine(connect=elsewhere)[f"instance {arn}"].detail


@pytest.fixture
def other_files(box):
    """The simulated instance takes zip, too, and no file over 5 MB."""
    before = box.connect.settings
    box.connect.settings = replace(before, extensions=(*before.extensions, "zip"), max_file_bytes=5 << 20)
    yield
    box.connect.settings = before
    box.connect.denied.clear()


def test_the_instance_of_the_sandbox_is_fine(account):
    """Somebody new sees that the addresses and the files of the simulated instance are found right."""
    found = examine()
    assert found[f"instance {INSTANCE_ID}"].level is Level.OK
    assert found[f"files of instance {INSTANCE_ID}"].level is Level.OK


@pytest.mark.parametrize(
    ("discover", "done"), [(True, "goes by the instance"), (False, "set connect.discover")]
)
def test_files_that_differ_are_told(account, other_files, discover, done):
    """What the instance takes, and the configuration does not say, is one line, with what comes of it."""
    finding = examine(connect={"discover": discover})[f"files of instance {INSTANCE_ID}"]
    assert finding.level is Level.WARN
    assert finding.detail.startswith(
        "it takes zip, which the configuration does not have; it takes files of 5,242,880"
    )
    assert done in finding.detail


def test_files_that_may_not_be_looked_at_are_told_to_who_asks(account, box, other_files):
    """Without the permission there is a line for `connect.discover`, and none for who does not want it."""
    box.connect.denied.add("DescribeAttachedFilesConfiguration")
    subject = f"files of instance {INSTANCE_ID}"
    assert (
        "allow connect:DescribeAttachedFilesConfiguration"
        in examine(connect={"discover": True})[subject].detail
    )
    assert subject not in examine()


def test_destinations_are_those_of_the_instance():
    """Only routes of the instance count, and only those that name whole addresses."""
    config = builtin_config(
        routes=[
            {"match": ["a@example.com", "@example.com", "b*@example.com"]},
            {"match": ["@example.net"], "destination": "C@example.com"},
            {"match": ["d@example.com"], "instance_id": FAR},
        ]
    )
    assert find_destinations(config, INSTANCE_ID) == {"a@example.com", "c@example.com"}
    assert find_destinations(config, FAR) == {"d@example.com"}


@pytest.mark.parametrize(
    ("date", "level"),
    [
        ("", Level.WARN),
        ("yesterday", Level.WARN),
        ("Tue, 01 Jan 2019 00:00:00 GMT", Level.FAIL),
    ],
)
def test_clock_is_held_against_theirs(date, level):
    """A clock far from S3's own is a fail; without a date nobody can tell."""
    assert compare(date, datetime.now(UTC)).level is level


def test_rates_of_a_role_of_our_own_account_are_held_against_ours(account):
    """A role of our own account counts against our own quota: another rate for it is a fail."""
    role = {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/ours", "burst": 9}
    found = examine(connect={"instances": {"11111111-1111-1111-1111-111111111111": role}})
    assert found["pace"].level is Level.FAIL
    assert "burst 9" in found["pace"].detail
    assert found["pace of our own account in eu-central-1"].level is Level.OK


def test_an_account_that_is_not_told_is_a_warning(account):
    """While STS does not say whose credentials ours are, that is said."""
    with nobody() as url:
        account.setenv("AWS_ENDPOINT_URL_STS", url)
        role = {"role_arn": "arn:aws:iam::111111111111:role/far"}
        found = examine(connect={"instances": {"11111111-1111-1111-1111-111111111111": role}})
    assert found["account"].level is Level.WARN


def test_fleet_that_does_not_answer_is_told_once_for_each_thing(account):
    """Without a table there is nothing to examine; one that cannot be asked fails line by line, and no line
    says that the clock is right.
    """
    assert list(examine_shared(builtin_config())) == []
    with nobody() as url:
        account.setenv("AWS_ENDPOINT_URL_S3", url)
        account.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        found = list(examine_shared(builtin_config(fleet={"table": "relay-fleet"})))
    assert {finding.level for finding in found} == {Level.FAIL}
    assert found[0].subject == "table relay-fleet"
    assert "unreachable" in found[0].detail
    assert "clock" not in {finding.subject for finding in found}
