"""Tests of `relay.smtp.parameters`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import replies
from relay.smtp.parameters import (
    MailParameters,
    RcptParameters,
    parse_mail_parameters,
    parse_rcpt_parameters,
)
from relay.vocabulary import Reply


def test_all_of_mail():
    """Every parameter of MAIL that we offer is read, in any case."""
    assert parse_mail_parameters(b"size=123 BODY=8bitmime SMTPUTF8 RET=full ENVID=a+2Bb") == MailParameters(
        size=123, smtputf8=True, ret="FULL", envid="a+2Bb"
    )


def test_none_of_mail():
    """MAIL without parameters says nothing."""
    assert parse_mail_parameters(b"") == MailParameters()


@pytest.mark.parametrize(
    "text",
    [
        "SIZE=", "SIZE=x", "SIZE=-1", "SIZE=1.5", "SIZE=9223372036854775808", "SIZE=1 SIZE=1", "BODY=", "BODY",
        "BODY=9BIT", "SMTPUTF8=1", "RET=", "RET=x", "ENVID=", "ENVID=+2b", "ENVID=" + "x" * 101, "=x", "SIZE==1",
    ],
)  # fmt: skip
def test_malformed_values_of_mail(text):
    """A value that is none gets 501 5.5.4."""
    assert parse_mail_parameters(text.encode()) is replies.BAD_ARGUMENT


def test_auth_only_where_offered():
    """RFC 4954 §5: AUTH= is a parameter where AUTH is, and unknown elsewhere."""
    assert parse_mail_parameters(b"AUTH=<>", auth=True) == MailParameters()
    assert parse_mail_parameters(b"AUTH=<>") is replies.PARAMETER_UNKNOWN
    assert parse_mail_parameters(b"AUTH", auth=True) is replies.BAD_ARGUMENT


@pytest.mark.parametrize("text", [b"BODY=BINARYMIME", b"REQUIRETLS", b"HOLDFOR=1", b"SIZE=1 X=y"])
def test_unknown_of_mail(text):
    """What we do not offer gets 555."""
    assert parse_mail_parameters(text) is replies.PARAMETER_UNKNOWN


def test_all_of_rcpt():
    """NOTIFY and ORCPT are kept as given."""
    assert parse_rcpt_parameters(b"NOTIFY=failure,DELAY ORCPT=rfc822;a+2Bb@c") == RcptParameters(
        notify="FAILURE,DELAY", orcpt="rfc822;a+2Bb@c"
    )


@pytest.mark.parametrize(
    "text",
    ["NOTIFY=", "NOTIFY=NEVER,DELAY", "NOTIFY=DELAY,DELAY", "ORCPT=a", "ORCPT=;a", "ORCPT=a;" + "b" * 500],
)
def test_malformed_values_of_rcpt(text):
    """RFC 3461 §4.1 and §4.2: what is no such value gets 501."""
    assert parse_rcpt_parameters(text.encode()) is replies.BAD_ARGUMENT


@given(st.binary(max_size=200))
def test_every_octet_string_has_an_answer(octets):
    """Whatever comes is parameters or a refusal of class 5, never an exception."""
    for answer in (parse_mail_parameters(octets), parse_rcpt_parameters(octets)):
        assert not isinstance(answer, Reply) or answer.code in (501, 555)
