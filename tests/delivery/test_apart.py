"""A service of some instances only, while it is away: who tries, who waits and for how long."""

from __future__ import annotations

import pytest

from relay.config.model import Deliver
from relay.delivery.apart import ServiceApart
from relay.delivery.outage import Outages
from relay.delivery.outcome import Delivered, Failed
from relay.errors import Blame, FailureClass, RemoteError


@pytest.fixture
def service():
    """Connect in another Region, and a clock to be moved."""
    limits = Deliver(backoff_min_seconds=5, probe_seconds=60)
    service = ServiceApart(
        service="connect", name="connect far", outages=Outages(limits), clock=lambda: service_clock[0]
    )
    service_clock[0] = 0.0
    return service


service_clock = [0.0]


def failed(service="connect", code="unreachable", blame=Blame.SERVICE):
    """An attempt that this service has failed."""
    error = RemoteError(service=service, failure=FailureClass.TEMPORARY, code=code, blame=blame)
    return Failed(error=error, entry=None)


def fail(service, count=3):
    """So many different mails fail. Returns the last outcome."""
    for number in range(count):
        outcome = service.judge(f"m{number}", failed(), begun_at=service.clock())
    return outcome


def test_three_mails_prove_an_outage(service):
    """Two failures delay nobody else; with the third one tries at a time, and the others come one by one
    within a minute after it.
    """
    fail(service, count=2)
    assert (service.why, service.wait_seconds()) == ("", 0.0)
    outcome = fail(service)
    assert outcome.apart == {"connect"}
    assert outcome.delay_seconds > 0
    assert "unreachable" in service.why
    waits = [service.wait_seconds() for _ in range(2_000)]
    assert min(waits) >= 5.0
    assert max(waits) < 65.0
    assert len({round(wait, 3) for wait in waits}) == 1_200


def test_one_mail_tries_for_all_and_ends_the_outage(service):
    """When the probe is due one mail may begin, and no other; its success recalls those that failed."""
    fail(service)
    service_clock[0] = 6.0
    assert service.wait_seconds() == 0.0
    service.begin("probe")
    assert service.wait_seconds() > 0.0
    done = service.judge("probe", Delivered(contact_id="c", entry=None), begun_at=6.0)
    assert (service.why, service.wait_seconds()) == ("", 0.0)
    assert set(done.recalled) == {"m0", "m1", "m2"}


@pytest.mark.parametrize(
    "outcome", [failed("s3"), failed(code="credentials"), failed(code="AccessDenied", blame=Blame.REQUEST)]
)
def test_what_says_nothing_of_the_service_begins_no_outage(service, outcome):
    """Errors of S3, missing credentials and refusals are no outage of Connect in that place."""
    for number in range(5):
        service.judge(f"m{number}", outcome, begun_at=0.0)
    assert service.why == ""
