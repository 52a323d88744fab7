"""File types that a route refuses at the door, in small mails and in those that lie in a file."""

from __future__ import annotations

import pytest

from relay.config.builtin import builtin_config
from relay.routes import RouteTable
from relay.smtp.filetypes import find_refused, strict_routes
from relay.spool.files import LargeFile

STRICT = {"match": ["support@example.com"], "disallowed_types": "reject"}
LENIENT = {"match": ["sales@example.com"]}
ZIP = (
    b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/zip; name=papers.zip\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nUEsDBBQAAAAIAA==\r\n"
)
TEXT = b"Subject: x\r\n\r\nHello\r\n"


async def refused(raw, *recipients):
    config = builtin_config(routes=[STRICT, LENIENT])
    routes = RouteTable(config)
    strict = strict_routes(routes.destinations(recipients), routes)
    return await find_refused(raw, strict, config) if strict else {}


@pytest.mark.parametrize(
    ("raw", "recipients", "names"),
    [
        (ZIP, ["support@example.com"], {"support@example.com": ("papers.zip",)}),
        (ZIP, ["sales@example.com"], {}),
        (ZIP, ["sales@example.com", "support@example.com"], {"support@example.com": ("papers.zip",)}),
        (TEXT, ["support@example.com"], {}),
    ],
)
async def test_strict_route_refuses(raw, recipients, names):
    """A strict route refuses a mail for its zip, and by its name: another route takes it."""
    assert await refused(raw, *recipients) == names


async def test_large_mail_is_read_back(tmp_path):
    """A mail that lies in a file is looked at there."""
    file = LargeFile(tmp_path / "aa" / "mail")
    file.write(ZIP)
    assert await refused(file, "support@example.com") == {"support@example.com": ("papers.zip",)}
    file.discard()
