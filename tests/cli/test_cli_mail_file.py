"""Where a command takes its mail from."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from relay.cli.mail_file import MailFileError, read_mail


def test_octets_are_as_they_stand(tmp_path):
    """No line end and no octet of a file is changed."""
    file = tmp_path / "mail.eml"
    file.write_bytes(b"Subject: x\n\r\n\xff\x00")
    assert read_mail(str(file)) == b"Subject: x\n\r\n\xff\x00"


def test_a_dash_is_the_standard_input(monkeypatch):
    """What is piped in is the mail."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"Subject: piped\n")))
    assert read_mail("-") == b"Subject: piped\n"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.eml", "No such file"), (".", "Is a directory"), ("a\0b", "null")],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, name, reason):
    """A file that is away, a folder, a name that is none: why, in the system's words."""
    with pytest.raises(MailFileError, match=f"cannot be read: .*{reason}"):
        read_mail(str(tmp_path / name))
