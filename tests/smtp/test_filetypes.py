"""File types that a route refuses at the door, in small mails and in those that lie in a file."""

from __future__ import annotations

import asyncio
import os
import signal
import smtplib
import sys
from types import ModuleType

import pytest
from serving import Serving
from serving import build_config as edge_config
from spool_helpers import build_config
from understanding import children_of

from relay.config.builtin import builtin_config
from relay.routes import RouteTable
from relay.smtp import filetypes
from relay.smtp.filetypes import FileLook, strict_routes
from relay.spool.opening import open_intake

pytestmark = pytest.mark.process

STRICT = {"match": ["support@example.com"], "disallowed_types": "reject"}
LENIENT = {"match": ["sales@example.com"]}
ZIP = (
    b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/zip; name=papers.zip\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nUEsDBBQAAAAIAA==\r\n"
)
#: Times are so much shorter where a test waits for them.
_BRISK = 0.4
TEXT = b"Subject: x\r\n\r\nHello\r\n"
#: What a look may take where its answer is judged: a busy machine starts a worker slowly.
_PATIENT = 50.0


@pytest.fixture
def patient(monkeypatch):
    """Looks that wait for their answer."""
    monkeypatch.setattr(filetypes, "_PATIENCE_SECONDS", _PATIENT)


async def refused(raw, *recipients):
    config = builtin_config(routes=[STRICT, LENIENT])
    routes = RouteTable(config)
    strict = strict_routes(routes.destinations(recipients), routes)
    look = FileLook()
    try:
        return (await look.find_refused(raw, strict, config)).files if strict else {}
    finally:
        await look.close()


@pytest.mark.parametrize(
    ("raw", "recipients", "names"),
    [
        (ZIP, ["support@example.com"], {"support@example.com": ("papers.zip",)}),
        (ZIP, ["sales@example.com"], {}),
        (ZIP, ["sales@example.com", "support@example.com"], {"support@example.com": ("papers.zip",)}),
        (TEXT, ["support@example.com"], {}),
    ],
)
async def test_strict_route_refuses(patient, raw, recipients, names):
    """A strict route refuses a mail for its zip, and by its name: another route takes it."""
    assert await refused(raw, *recipients) == names


async def test_large_mail_is_read_back(patient, tmp_path):
    """A mail that lies in a file is looked at there."""
    intake = open_intake(build_config(tmp_path))
    file = intake.open_file(intake.new_id())
    file.write(ZIP)
    assert await refused(file, "support@example.com") == {"support@example.com": ("papers.zip",)}
    file.discard()
    await intake.close()


@pytest.mark.parametrize("fault", ["spin", "segv", "raise", "stop", "allocate", "enospc"])
async def test_in_doubt_the_mail_is_taken(monkeypatch, fault):
    """Whatever a mail does to the worker that looks at it, within seconds it is taken, and the next one is
    looked at.
    """
    monkeypatch.setenv("RELAY_FAULT_POINT", f"delivery.understand:{fault}:0:@Hostile")
    config = builtin_config(routes=[STRICT])
    look = FileLook()
    try:
        begun = asyncio.get_running_loop().time()
        assert (await look.find_refused(ZIP + b"Hostile", config.routes, config)).files == {}
        assert asyncio.get_running_loop().time() - begun < 10
        monkeypatch.setattr(filetypes, "_PATIENCE_SECONDS", _PATIENT)
        found = await look.find_refused(ZIP, config.routes, config)
        assert found.files == {"support@example.com": ("papers.zip",)}
    finally:
        await look.close()


@pytest.mark.parametrize("struck", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_template_that_hangs_or_ends_is_replaced(monkeypatch, struck):
    """Without a worker and its template, a few mails are taken unseen, and then mails are looked at again."""
    config = builtin_config(routes=[STRICT])
    look, seen = FileLook(), {"support@example.com": ("papers.zip",)}
    monkeypatch.setattr(filetypes, "_SILENT_SECONDS", filetypes._SILENT_SECONDS * _BRISK)
    brisk = filetypes._PATIENCE_SECONDS * _BRISK
    monkeypatch.setattr(filetypes, "_PATIENCE_SECONDS", _PATIENT)
    try:
        assert (await look.find_refused(ZIP, config.routes, config)).files == seen
        monkeypatch.setattr(filetypes, "_PATIENCE_SECONDS", brisk)
        template = look._pool._supply._template.pid
        workers = children_of(template)
        os.kill(template, struck)
        for worker in workers if struck is signal.SIGSTOP else ():
            os.kill(worker, signal.SIGKILL)
        async with asyncio.timeout(50):  # a few looks are enough; a busy machine starts a template slowly
            while (await look.find_refused(ZIP, config.routes, config)).files != seen:
                pass
    finally:
        await look.close()


class Asked:
    """A handler that counts the mails that it is asked about."""

    count = 0

    async def handle_DATA(self, server, session, envelope):
        Asked.count += 1
        envelope.attributes["asked"] = "yes"


def test_handlers_are_asked_after_the_look_at_files(patient, monkeypatch):
    """A mail that every route refuses for its files is no handler's business; one that some take is, once."""
    module = ModuleType("handlers_of_filetypes")
    module.Asked = Asked
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Asked, "count", 0)
    hooks = [{"handler": f"{module.__name__}:Asked"}]
    with (
        Serving(edge_config(routes=[STRICT, LENIENT], hooks=hooks)) as serving,
        smtplib.SMTP("127.0.0.1", serving.ports[0]) as smtp,
    ):
        with pytest.raises(smtplib.SMTPDataError, match="of a type that is not taken"):
            smtp.sendmail("a@b.example", ["support@example.com"], ZIP)
        assert Asked.count == 0
        assert smtp.sendmail("a@b.example", ["support@example.com", "sales@example.com"], ZIP) == {}
    assert Asked.count == 1
    (mail,) = serving.spool.mails
    assert [hold.route for hold in mail.holds] == ["support@example.com"]
    assert mail.envelope.attributes == (("asked", "yes"),)


CARD = b"Subject: x\r\n\r\nMy card is 4111 1111 1111 1111.\r\n"
NO_CARDS = {"match": ["support@example.com"], "sensitive": {"card": "reject"}}


@pytest.mark.parametrize(
    ("routes", "recipients", "said"),
    [
        ([NO_CARDS, LENIENT], ["support@example.com"], "550 5.7.1"),
        ([NO_CARDS, LENIENT], ["sales@example.com"], ""),
        ([NO_CARDS, LENIENT], ["support@example.com", "sales@example.com"], "held"),
        ([{**NO_CARDS, "sensitive": {"card": "reject", "observe": True}}], ["support@example.com"], ""),
    ],
)
def test_card_numbers_are_refused(patient, routes, recipients, said):
    """A mail with a card number is refused before anything is stored; for a person, where others take it."""
    with (
        Serving(edge_config(routes=routes)) as serving,
        smtplib.SMTP("127.0.0.1", serving.ports[0]) as smtp,
    ):
        if said.startswith("550"):
            with pytest.raises(smtplib.SMTPDataError) as refusal:
                smtp.sendmail("a@b.example", recipients, CARD)
            assert f"{refusal.value.smtp_code} {refusal.value.smtp_error.decode()}".startswith(said)
            assert not serving.spool.mails
        else:
            assert smtp.sendmail("a@b.example", recipients, CARD) == {}
            (mail,) = serving.spool.mails
            assert [hold.reason for hold in mail.holds] == (["policy.sensitive.card"] if said else [])
        smtp.sendmail("a@b.example", recipients, TEXT)
