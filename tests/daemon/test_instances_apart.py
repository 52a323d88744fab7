"""Instances with buckets, Regions and roles of their own under one daemon: the trouble of one is its own."""

from __future__ import annotations

import json
import tomllib

import pytest
from harness import CONFIG, Daemon, build_mail, send, until

from relay.config.builtin import builtin_config
from relay.sandbox.service import ACCOUNT, buckets_of, running_sandbox, settings_of

pytestmark = pytest.mark.process

FAR, SAME = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
ROLE = "arn:aws:iam::111111111111:role/far"
HOME = "5eed0b0c-5a4d-4b0c-9c0d-0123456789ab"
PDF = b"%PDF-1.4"
TABLES = f"""
[alarms]
every_seconds = 0.3
[connect.instances."{FAR}"]
region = "us-west-2"
role_arn = "{ROLE}"
max_attachments = 2
s3 = {{ bucket = "far-mail", prefix = "far/" }}
[connect.instances."{SAME}"]
role_arn = "arn:aws:iam::{ACCOUNT}:role/same"
[[routes]]
match = ["far@example.net"]
instance_id = "{FAR}"
[[routes]]
match = ["same@example.net"]
instance_id = "{SAME}"
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A sandbox with two buckets in two Regions, and the daemon that delivers to its three instances."""
    text = CONFIG.format(data_dir="/d", port=1, receivers=1, rate=1_000, burst=1_000, extra=TABLES)
    config = builtin_config(**{key: value for key, value in tomllib.loads(text).items() if key in KEYS})
    with running_sandbox(settings=settings_of(config), buckets=buckets_of(config)) as box:
        home = tmp_path_factory.mktemp("instances")
        with Daemon(home, env=box.environ(), extra=TABLES).start() as daemon:
            yield box, daemon
            assert daemon.stop() == 0


KEYS = ("connect", "routes", "s3")
_numbers = iter(range(1_000))


def mail_to(daemon, *addresses, attachment=None):
    """Send a mail to each address. Returns the subjects."""
    mails = [build_mail(next(_numbers), attachment=attachment) for _ in addresses]
    for mail, address in zip(mails, addresses, strict=True):
        send(daemon.port, mail, to=[address])
    return [mail["Subject"] for mail in mails]


def contact_of(box, subject):
    """The contact of a mail, once it is there and its files are fetched."""

    def look():
        found = [
            each
            for each in box.contacts()
            if each["request"]["EmailMessage"]["RawMessage"]["Subject"] == subject
            and all(file["state"] != "processing" for file in each["attachments"])
        ]
        return found and found[0]

    return until(look, so=f"no contact of {subject}")


def test_each_instance_has_its_files_in_its_bucket(world):
    """Files go to the bucket of the instance, in its Region, by a URL that Connect can fetch; two files that
    one instance takes are one too many for no other.
    """
    box, daemon = world
    subjects = mail_to(daemon, "far@example.net", "same@example.net", "support@example.com", attachment=PDF)
    far, same, home = (contact_of(box, subject) for subject in subjects)
    for contact, place in (
        (far, "/far-mail/far/"),
        (same, "/relay-sandbox/mail/"),
        (home, "/relay-sandbox/mail/"),
    ):
        (file,) = contact["attachments"]
        assert (file["state"], file["size"]) == ("available", len(PDF))
        assert place in contact["request"]["Attachments"][0]["S3Url"]
    assert "us-west-2" in far["request"]["Attachments"][0]["S3Url"]
    assert [each["request"]["InstanceId"] for each in (far, same)] == [FAR, SAME]
    assert ROLE in box.sts.assumed


def test_check_looks_at_each_instance(world):
    """Role, bucket, addresses and pace of each instance are examined; a role of our own account shares the
    account's pace.
    """
    _box, daemon = world
    said = daemon.run("check").stdout
    for line in (
        "bucket far-mail: far/relay-check went up and came back by its presigned URL",
        f"role {ROLE}: can be assumed",
        f"instance {FAR}: has the addresses of our routes",
        f"instance {SAME}: has the addresses of our routes",
        f"pace of account 111111111111 in us-west-2: 1000 requests a second, burst 1000, for {FAR}",
        f"in eu-central-1: 1000 requests a second, burst 1000, for {HOME}, {SAME}",
    ):
        assert line in " ".join(said.split()), said


def test_a_session_that_is_revoked_is_begun_anew(world):
    """When Connect calls the session of a role over, which our own clock does not know, the role is assumed
    again and the mail goes out in the same attempt.
    """
    box, daemon = world
    before = len(box.sts.assumed)
    box.ring.end_sessions()
    daemon.forget()
    (subject,) = mail_to(daemon, "far@example.net")
    contact_of(box, subject)
    assert box.sts.assumed[before:] == [ROLE]
    assert not [line for line in daemon.events if line["event"] == "route.held"]


def test_a_short_session_is_renewed_before_its_end(world):
    """A session that ends within a quarter of an hour is renewed with each mail, and none is refused."""
    box, daemon = world
    box.sts.session_seconds = 300
    box.ring.end_sessions()
    before = len(box.sts.assumed)
    for _ in range(2):
        contact_of(box, mail_to(daemon, "far@example.net")[0])
    box.sts.session_seconds = 3_600
    assert len(box.sts.assumed) >= before + 2


def test_a_role_that_is_refused_holds_its_route_alone(world):
    """A role that may not be assumed holds its route with its reason, other mail goes out, and a probe ends
    the hold once it may be.
    """
    box, daemon = world
    box.sts.refused.add(ROLE)
    box.ring.end_sessions()
    daemon.forget()
    far, same, home = mail_to(daemon, "far@example.net", "same@example.net", "support@example.com")
    held = daemon.wait_for("route.held", route="far@example.net")
    assert (held["reason"], "AccessDenied" in held["detail"]) == ("connect.role", True)
    contact_of(box, same)
    contact_of(box, home)
    said = daemon.run("check").stdout
    assert f"{ROLE}: cannot be assumed" in " ".join(said.split()), said
    box.sts.refused.clear()
    contact_of(box, far)
    daemon.wait_for("route.resumed", route="far@example.net")


@pytest.mark.parametrize(
    ("service", "place", "name"),
    [("connect", "us-west-2", "connect us-west-2 111111111111"), ("s3", "far-mail", "s3 far-mail")],
)
def test_an_outage_of_one_instance_leaves_the_others_alone(world, service, place, name):
    """While Connect in one Region, or the bucket of one instance, answers 5xx, one of its mails at a time
    tries, all other mail goes out, one alarm names the place; all of it goes out soon after.
    """
    box, daemon = world
    getattr(box, service).away.add(place)
    daemon.forget()
    far = mail_to(daemon, *["far@example.net"] * 12, attachment=PDF)
    away = daemon.wait_for("service.away")
    assert away["service"] == name
    for subject in mail_to(daemon, *["support@example.com"] * 5, attachment=PDF):
        contact_of(box, subject)
    alarm = daemon.wait_for("alarm.raised", kind="service_away", route=name)
    assert place in alarm["detail"]
    gauges = until(lambda: name in (text := daemon.ask("metrics")[1]) and text)
    assert f'service="{name}"}} 1.0' in gauges
    assert f'service="{service}"}} 0.0' in gauges
    waiting = json.loads(daemon.run("queue", "list", "--json").stdout)
    assert {entry["state"] for entry in waiting} <= {"queued", "leased"}
    getattr(box, service).away.clear()
    for subject in far:
        contact_of(box, subject)
    daemon.wait_for("service.back", service=name)
