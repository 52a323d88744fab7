"""Tests of `relay.smtp.handler_content`."""

from __future__ import annotations

import errno
import mmap
import os
from email import message_from_bytes

import pytest

from relay.errors import SpoolError, SpoolFullError
from relay.smtp import handler_content
from relay.smtp.handler_content import BYTES_LIMIT, build_content


def pieces(size):
    """So many octets of a mail, in pieces."""
    head = b"Subject: big\r\n\r\n"
    return iter([head, b"x" * (size - len(head))])


def test_content_is_bytes_up_to_a_mebibyte(tmp_path):
    """A mail of 1 MiB is `bytes`, and no file is made for it."""
    content = build_content(pieces(BYTES_LIMIT), BYTES_LIMIT, folder=tmp_path / "none")
    assert type(content) is bytes
    assert len(content) == BYTES_LIMIT
    assert not (tmp_path / "none").exists()


def test_larger_content_is_a_map_that_cannot_be_written(tmp_path):
    """One octet more is a read-only map of a file that has no name; the map outlives everything else."""
    size = BYTES_LIMIT + 1
    content = build_content(pieces(size), size, folder=tmp_path / "work")
    assert isinstance(content, mmap.mmap)
    assert len(content) == size
    assert list((tmp_path / "work").iterdir()) == []
    assert message_from_bytes(content[:100])["Subject"] == "big"
    with pytest.raises(TypeError):
        content[0] = 0
    content.close()


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, SpoolFullError), (errno.EIO, SpoolError)])
def test_no_file_can_be_made(tmp_path, monkeypatch, code, kind):
    """A full or failing disk is an error of the spool's, which defers the mail."""

    def fail(_folder):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(handler_content, "open_unnamed", fail)
    with pytest.raises(kind) as caught:
        build_content(pieces(BYTES_LIMIT + 1), BYTES_LIMIT + 1, folder=tmp_path)
    assert type(caught.value) is kind
