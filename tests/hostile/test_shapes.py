"""The hostile suite, as far as the parser and the fit go: nothing raised, and little time used."""

from __future__ import annotations

import time
from collections import deque

import pytest
from contact.factory import make_config, make_context, make_route
from hostile.shapes import GREAT, GREAT_SHAPES, SHAPES, SMALL

from relay.aws.request_limits import check_request
from relay.contact.fit import fit
from relay.contact.refusal import refusals
from relay.contact.request import build_request
from relay.message.parse import parse_message
from relay.vocabulary import Rung

pytestmark = pytest.mark.slow

_CONFIG = make_config()
_REJECTING = make_config(disallowed_types="reject")


def _seconds_of(raw: bytes) -> float:
    """The processor time of an attempt: the mail understood and fitted, its files decoded, its request built
    and checked.
    """
    begun = time.thread_time()
    message = parse_message(raw, clock=time.thread_time)
    plan = fit(message, make_context(), make_route(_CONFIG), _CONFIG)
    for file in plan.files:
        deque(file.chunks(), maxlen=0)
    urls = ["https://bucket.s3.eu-central-1.amazonaws.com/x" for file in plan.files if file.attached]
    request = build_request(plan, urls, client_token="cmr-token")
    seconds = time.thread_time() - begun
    assert check_request(request, max_attachments=_CONFIG.connect.max_attachments) == ()
    return seconds


def test_there_is_a_shape_for_every_idea():
    """There are at least 150 shapes."""
    assert len(SHAPES) >= 150


@pytest.mark.parametrize("name", SHAPES)
def test_a_hostile_mail_becomes_a_request_in_little_time(name):
    """A shape of a twentieth of its size is understood and fitted without an error, in a tenth of three
    seconds.
    """
    raw = SHAPES[name](SMALL // 20)
    # On a busy machine the same work takes up to three times as much processor time: the least of some
    # counts.
    assert any(_seconds_of(raw) < 0.3 for _ in range(4))


@pytest.mark.parametrize("name", list(SHAPES)[::8])
def test_a_hostile_mail_fits_at_every_rung(name):
    """The lower rungs and the look before 250 are safe from the same shapes."""
    message = parse_message(SHAPES[name](SMALL // 20), clock=time.thread_time)
    config = make_config(prefer="text")
    for rung in Rung:
        assert fit(message, make_context(), make_route(config), config, rung=rung).rung is rung
    assert isinstance(refusals(message, make_route(_REJECTING), _REJECTING), tuple)


@pytest.mark.long
@pytest.mark.parametrize("name", SHAPES)
def test_a_hostile_mail_of_a_megabyte_becomes_a_request_in_time(name):
    """A shape, smaller than 1.2 MB, is understood and fitted in less than three seconds of processor time."""
    raw = SHAPES[name](SMALL)
    assert len(raw) < 1_200_000
    assert _seconds_of(raw) < 3.0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", GREAT_SHAPES)
def test_a_great_hostile_mail_stays_within_the_limits_of_a_worker(name):
    """25 MB of a shape are understood, fitted and decoded within 15 seconds of processor time."""
    assert _seconds_of(SHAPES[name](GREAT)) < 15.0
