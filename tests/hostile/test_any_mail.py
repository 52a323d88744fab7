"""Any octets and any structure give a message, and any message gives a contact: a few examples here, many in
`make fuzz`.
"""

from __future__ import annotations

import os

import pytest
from contact.factory import make_config, make_context, make_route
from hostile.readers import READERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.aws.request_limits import check_request
from relay.contact.files import most_file_bytes
from relay.contact.fit import fit
from relay.contact.refusal import refusals
from relay.contact.request import build_request
from relay.message.parse import parse_message
from relay.vocabulary import Rung

_FEW = 120
_EXAMPLES = int(os.environ.get("FUZZ_MAILS", _FEW))
_MANY = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    database=None,
)
_CONFIGS = [
    make_config(),
    make_config(prefer="text").model_copy(update={"max_message_bytes": 65_536}),
    make_config(prefer_reply_to=True, connect={"max_attachments": 2, "allowed_extensions": ("pdf", "txt")}),
]
_REJECTING = make_config(disallowed_types="reject")

#: What every reader knows, so that the pieces of one get into the hands of another.
_UNITS = st.sampled_from(sorted({unit for reader in READERS.values() for unit in reader.units}))
_LINES = st.sampled_from([
    b"\r\n", b"\r\n\r\n", b"--b\r\n", b"--b--\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: text/html",
    b"Content-Type: multipart/related; boundary=b; start=a\r\n", b"Content-Type: multipart/alternative; boundary=b\r\n",
    b"Content-Type: message/rfc822\r\n", b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: text/plain; charset=",
    b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Transfer-Encoding: x-uuencode\r\n", b"Content-Type: text/enriched\r\n",
    b"Content-Type: application/ms-tnef\r\n", b"Content-Type: application/pkcs7-mime\r\n", b"Content-Type: text/calendar\r\n",
    b"Content-Disposition: attachment; filename=", b"Content-ID: <a>\r\n", b"Content-Location: ", b"From: ", b"To: ", b"Cc: ",
    b"Reply-To: ", b"Sender: ", b"Subject: ", b"Date: ", b"Message-ID: ", b"References: ", b"In-Reply-To: ", b"; format=flowed",
    b"iso-2022-jp", b"utf-16", b"utf-8", b"gb18030", b"windows-1253", b"begin 644 a\r\n", b"\r\nend\r\n", b"<img src=cid:a>",
])  # fmt: skip
_PIECES = st.one_of(
    _LINES,
    _UNITS,
    st.binary(max_size=20),
    st.tuples(_UNITS, st.integers(2, 300)).map(lambda run: run[0] * run[1]),
)
_MAILS = st.lists(_PIECES, max_size=60).map(b"".join)


@_MANY
@given(_MAILS, st.sampled_from(_CONFIGS), st.sampled_from(list(Rung)))
@pytest.mark.slow
def test_any_mail_becomes_a_request_that_connect_takes(raw, config, rung):
    """Whatever the octets, there is a plan at every rung, and its request is one that the service model
    takes.
    """
    message = parse_message(raw)
    plan = fit(message, make_context(reverse_path=None), make_route(config), config, rung=rung)
    for file in plan.files:
        assert sum(map(len, file.chunks())) == file.size
    assert sum(file.size for file in plan.files) <= most_file_bytes(config)
    urls = ["https://bucket.s3.eu-central-1.amazonaws.com/x" for file in plan.files if file.attached]
    request = build_request(plan, urls, client_token="cmr-token")
    assert check_request(request, max_attachments=config.connect.max_attachments) == ()
    assert isinstance(refusals(message, make_route(_REJECTING), _REJECTING), tuple)


@_MANY
@given(st.sampled_from(sorted(READERS)), st.lists(_PIECES, max_size=20).map(b"".join))
@pytest.mark.slow
def test_any_octets_are_taken_by_every_reader(name, octets):
    """No reader raises, whatever it is given."""
    READERS[name].read(octets)
