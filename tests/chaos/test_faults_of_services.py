"""S3 and Connect through a proxy that has every fault a network and a service can have.

For each fault: mail comes in meanwhile, the number of calls stays bounded, and when the fault is over every
mail is
one contact with its file. At the end the deliverer has no more memory and no more handles than before.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from chaos.proxy import (
    Deed,
    drip,
    forward,
    hang,
    json_error,
    page,
    reset_after,
    reset_unsent,
    running_proxy,
    truncate,
    xml_error,
)
from harness import Daemon, build_mail, send, sha256, subjects, until
from resources import check_growth
from sandboxes import fast_sandbox

pytestmark = pytest.mark.process

FILE = b"%PDF-1.7\n" + bytes(range(256)) * 40
LARGE = b"%PDF-1.7\n" + bytes(range(256)) * 1_500
MAILS = 3


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong, where, and what the log says of it."""

    name: str
    where: str
    #: None: nobody listens.
    deed: Deed | None
    #: The class of outcome: an attempt is put off, or the route is held besides, or it goes through all the
    #: same.
    outcome: str = "deferred"


def _refused(where: str, status: int, code: str, outcome: str = "deferred") -> Fault:
    deed = json_error(status, code) if where == "connect" else xml_error(status, code)
    return Fault(name=f"{where} {status} {code}", where=where, deed=deed, outcome=outcome)


FAULTS = (
    Fault(name="connect refuses", where="connect", deed=None),
    Fault(name="connect resets", where="connect", deed=reset_unsent),
    Fault(name="connect hangs", where="connect", deed=hang),
    Fault(name="connect's answers are lost", where="connect", deed=reset_after),
    Fault(name="connect's answers are cut", where="connect", deed=truncate),
    Fault(name="connect is slow", where="connect", deed=drip, outcome="done"),
    Fault(name="a page of 503 before connect", where="connect", deed=page(503)),
    _refused("connect", 500, "InternalServiceException"),
    _refused("connect", 503, "ServiceUnavailable"),
    _refused("connect", 429, "ThrottlingException"),
    _refused("connect", 402, "ServiceQuotaExceededException"),
    _refused("connect", 400, "FancyNewException"),
    _refused("connect", 403, "AccessDeniedException", "held"),
    _refused("connect", 403, "ExpiredTokenException", "held"),
    _refused("connect", 403, "RequestTimeTooSkewed", "held"),
    _refused("connect", 404, "ResourceNotFoundException", "held"),
    Fault(name="s3 refuses", where="s3", deed=None),
    Fault(name="s3 resets", where="s3", deed=reset_unsent),
    Fault(name="s3 hangs", where="s3", deed=hang, outcome="none"),
    Fault(name="s3's answers are lost", where="s3", deed=reset_after),
    Fault(name="s3's answers are cut", where="s3", deed=truncate),
    Fault(name="s3 is slow", where="s3", deed=drip, outcome="done"),
    Fault(name="a page of 503 before s3", where="s3", deed=page(503)),
    _refused("s3", 500, "InternalError"),
    _refused("s3", 503, "SlowDown"),
    _refused("s3", 403, "AccessDenied", "held"),
    _refused("s3", 403, "RequestTimeTooSkewed", "held"),
    _refused("s3", 400, "ExpiredToken", "held"),
    _refused("s3", 404, "NoSuchBucket", "held"),
)
#: One of each kind, for every day.
SHORT = ("connect refuses", "connect hangs", "connect's answers are lost", "connect's answers are cut",
         "connect 429 ThrottlingException", "connect 402 ServiceQuotaExceededException",
         "connect 400 FancyNewException", "connect 404 ResourceNotFoundException", "s3 refuses", "s3 hangs", "s3's answers are lost",
         "s3 503 SlowDown", "s3 403 RequestTimeTooSkewed")  # fmt: skip


class World:
    """A daemon whose S3 and Connect stand behind proxies."""

    def __init__(self, box, daemon, proxies) -> None:
        self.box = box
        self.daemon = daemon
        self.proxies = proxies
        self.sent: list[str] = []

    def send(self, name: str, *, attachment: bytes | None = FILE) -> str:
        send(self.daemon.port, build_mail(name, attachment=attachment))
        self.sent.append(f"Mail {name}")
        return self.sent[-1]

    def outcomes(self, since: int) -> Counter[str]:
        return Counter(line["outcome"] for line in self.attempts()[since:])

    def attempts(self):
        return [line for line in self.daemon.events if line.get("event") == "delivery.attempted"]

    def all_arrived(self, seconds: float = 60) -> None:
        until(lambda: len(self.box.book) >= len(self.sent), seconds=seconds, so=f"{len(self.sent)} contacts")
        until(lambda: self.waiting() == 0, seconds=seconds, so="nothing waits")
        # Connect's own fetch gives up at a 403: it must not meet the next fault.
        until(
            lambda: all(contact.settled for contact in self.box.book.select()), seconds=90, so="files fetched"
        )

    def waiting(self) -> int:
        done = sum(line["outcome"] == "done" for line in self.attempts())
        return len(self.sent) - done


@pytest.fixture
def world(tmp_path):
    with (
        fast_sandbox(seed=3) as box,
        running_proxy(box.s3.url) as s3,
        running_proxy(box.connect_url) as connect,
    ):
        # Connect fetches where the URL says: that the URL leads through the proxy is this test's doing.
        box.fetch_from(s3.url)
        env = box.environ() | {
            "AWS_ENDPOINT_URL_S3": s3.url,
            "AWS_ENDPOINT_URL_CONNECT": connect.url,
            "RELAY_CONNECT__TIMEOUT_SECONDS": "1.0",
            "RELAY_DELIVER__BACKOFF_MAX_SECONDS": "0.8",
        }
        with Daemon(tmp_path, env=env).start() as daemon:
            yield World(box, daemon, {"s3": s3, "connect": connect})


def suffer(world: World, fault: Fault, *, seconds: float) -> None:
    """Let the fault be for so long under mail, and see that all of it comes through afterwards."""
    proxy = world.proxies[fault.where]
    first, calls = len(world.attempts()), len(proxy.times)
    began = time.monotonic()
    if fault.deed is None:
        proxy.refuse(True)
    else:
        proxy.do(fault.deed)
    for number in range(MAILS):
        world.send(f"{fault.name} {len(world.sent)}", attachment=LARGE if number == 0 else FILE)
    wanted = "done" if fault.outcome == "done" else "deferred"
    if fault.outcome != "none":
        until(lambda: world.outcomes(first)[wanted] >= 1, seconds=30, so=f"{fault.name}: {wanted}")
    time.sleep(max(0.0, began + seconds - time.monotonic()))  # the fault's own duration
    lasted = time.monotonic() - began
    # The least pause of a mail is 0.15 s; S3's own client tries three times; a lost answer is asked for by
    # the fetcher.
    most = MAILS * (3 if fault.where == "s3" else 1) * (2 + lasted / 0.15)
    assert len(proxy.times) - calls <= most, (
        f"{fault.name}: {len(proxy.times) - calls} calls in {lasted:.1f} s"
    )
    if fault.deed is None:
        proxy.refuse(False)
    else:
        proxy.do(forward)
    world.all_arrived()
    assert set(world.outcomes(first)) <= {"done", "deferred"}, (fault.name, world.outcomes(first))
    held = [e for e in world.daemon.events if e.get("event") == "route.held" and e["at"]]
    resumed = [e for e in world.daemon.events if e.get("event") == "route.resumed"]
    assert len(held) == len(resumed), f"{fault.name}: a route stayed held"


def check_contacts(world: World) -> None:
    """Every mail is one contact, with its file."""
    contacts = world.box.contacts()
    assert [each for each, count in Counter(subjects(contacts)).items() if count > 1] == []
    assert sorted(subjects(contacts)) == sorted(world.sent)
    for contact in contacts:
        (file,) = contact["attachments"]
        assert file["sha256"] in (sha256(FILE), sha256(LARGE))


def run(world: World, faults, *, seconds: float) -> None:
    world.send("warm")
    world.all_arrived()
    suffer(world, FAULTS[7], seconds=0.0)  # what a first error brings into memory is no leak
    before = world.daemon.footprints()
    for fault in faults:
        suffer(world, fault, seconds=seconds)
    check_contacts(world)
    print(f"{len(world.sent)} mails, {len(world.attempts())} attempts")
    check_growth(before, world.daemon.footprints())
    assert world.daemon.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_each_kind_of_fault(world):
    """No fault of S3 or Connect loses a mail, makes two of it, or makes the relay ask without end."""
    run(world, [fault for fault in FAULTS if fault.name in SHORT], seconds=0.3)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_every_fault_for_long(world):
    """The same for every fault there is, twice, each for longer than the longest backoff."""
    run(world, FAULTS * 2, seconds=4.0)


def test_conflict_means_that_it_is_there(world):
    """An answer is lost, then the same token is refused with 409: the contact exists once, and the entry is
    done.
    """
    deeds = iter([reset_after, json_error(409, "IdempotencyException")])
    world.proxies["connect"].plan(lambda _: next(deeds, forward))
    world.send("conflict")
    done = world.daemon.wait_for("delivery.attempted", outcome="done")
    assert (done["reason"], done["level"]) == ("already_there", "warning")
    world.all_arrived()
    check_contacts(world)


def test_refused_payload_goes_down_the_ladder_alone(world):
    """400 for one mail, 402 with a reason for another: each arrives on a lower rung; what is never taken is
    dead.
    """
    poison = json_error(400, "InvalidRequestException")
    over = json_error(
        402,
        "ServiceQuotaExceededException",
        Reason={"AttachedFileServiceQuotaExceededExceptionReason": "TOTAL_FILE_SIZE_EXCEEDED"},
    )
    seen: Counter[bytes] = Counter()

    def plan(request):
        for word, deed, times in (
            (b"Mail poison", poison, 99),
            (b"Mail once", poison, 1),
            (b"Mail over", over, 1),
        ):
            if word in request.body:
                seen[word] += 1
                return deed if seen[word] <= times else forward
        return forward

    world.proxies["connect"].plan(plan)
    for name in ("poison", "once", "over", "good"):
        send(world.daemon.port, build_mail(name, attachment=FILE))
    buried = world.daemon.wait_for("delivery.attempted", outcome="buried")
    assert buried["reason"] == "connect.InvalidRequestException"
    until(lambda: len(world.box.book) == 3, so="the others")
    assert sorted(subjects(world.box.contacts())) == ["Mail good", "Mail once", "Mail over"]
    assert seen[b"Mail poison"] == 4, "each rung is tried once"


def write_credentials(path: Path, keys, *, life: timedelta, secret: str | None = None) -> None:
    """What the process hands out from now on; under ten minutes of life, botocore asks before every call."""
    document = {
        "Version": 1,
        "AccessKeyId": keys.access_key,
        "SecretAccessKey": secret or keys.secret_key,
        "Expiration": (datetime.now(UTC) + life).isoformat(),
    }
    path.with_suffix(".new").write_text(json.dumps(document))
    path.with_suffix(".new").replace(path)


@pytest.mark.long
def test_expired_and_wrong_credentials(box, tmp_path):
    """Credentials that ended, or whose secret is another, keep mail waiting; with good ones it goes on
    without a restart.
    """
    good, program = timedelta(minutes=9), tmp_path / "credentials.json"
    write_credentials(program, box.keys, life=good)
    config = tmp_path / "aws-config"
    config.write_text(f"[default]\ncredential_process = cat {program}\n")
    env = {name: value for name, value in box.environ().items() if name not in ("AWS_ACCESS_KEY_ID",
           "AWS_SECRET_ACCESS_KEY")} | {"AWS_CONFIG_FILE": str(config)}  # fmt: skip
    with Daemon(tmp_path, env=env).start() as daemon:
        world = World(box, daemon, {})
        world.send("before")
        world.all_arrived()
        for name, bad in (("expired", {"life": -good}), ("wrong", {"life": good, "secret": "wrong"})):
            write_credentials(program, box.keys, **bad)
            first = len(world.attempts())
            world.send(name)
            world.send(f"{name}, without a file", attachment=None)
            until(lambda since=first: world.outcomes(since)["deferred"] >= 2, so=f"{name}: put off")
            write_credentials(program, box.keys, life=good)
            world.all_arrived()
        assert sorted(subjects(box.contacts())) == sorted(world.sent)
        reasons = {line["reason"] for line in world.attempts() if line["outcome"] != "done"}
        assert reasons <= {"s3.credentials", "connect.credentials", "s3.SignatureDoesNotMatch",
                           "connect.InvalidSignatureException"}  # fmt: skip
        assert not [event for event in daemon.events if event["event"] in ("fault.caught", "spool.failed")]
        assert [event for event in daemon.events if event["event"] == "route.held"]
        assert daemon.stop() == 0
