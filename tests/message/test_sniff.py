"""Kinds of files by their first octets: what a machine would execute above all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.message.sniff import EXECUTABLES, detect_type

PE = "application/vnd.microsoft.portable-executable"


def windows_program(*, header_at=0x80, signature=b"PE\0\0"):
    """The first octets of a program for Windows: the stub of MS-DOS, then the header that it points to."""
    stub = b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff".ljust(60, b"\0") + header_at.to_bytes(4, "little")
    return stub.ljust(header_at, b"\0") + signature + bytes(64)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (windows_program(), PE),
        (windows_program(header_at=0x40), PE),
        (windows_program(header_at=0x10_000), PE),  # behind a long stub, as packers make them
        (windows_program(header_at=0x10_000)[:4_096], PE),  # behind what is seen
        (windows_program(signature=b"NE\0\0"), "application/x-dosexec"),
        (b"ZM" + bytes(62), "application/x-dosexec"),
        (b"\x7fELF\2\1\1", "application/x-elf"),
        (b"\xcf\xfa\xed\xfe\7\0\0\1", "application/x-mach-binary"),
        (b"\xfe\xed\xfa\xce\0\0\0\7", "application/x-mach-binary"),
        (b"\xca\xfe\xba\xbe\0\0\0\2", "application/java-vm"),
        (b"#!/bin/sh\nrm -r /\n", "text/x-script"),
        (b"L\0\0\0\1\x14\2\0\0\0\0\0\xc0", "application/x-ms-shortcut"),
        (b"\0asm\1\0\0\0", "application/wasm"),
        (b"dex\n035\0", "application/x-dex"),
    ],
)
def test_programs_are_known(first, kind):
    """A program is known by its content, however long its stub."""
    assert detect_type(first) == kind
    assert kind in EXECUTABLES


@pytest.mark.parametrize(
    "first",
    [b"MZ is the code of Mozambique.\r\n" * 9, b"#!AMR\n\x3c", b"# heading\n", b"%PDF-1.7\n", b"M", b""],
)
def test_what_is_no_program_is_not_taken_for_one(first):
    """Words that begin like a program, recordings and documents are none."""
    assert detect_type(first) not in EXECUTABLES


@given(st.sampled_from([b"MZ", b"ZM", b"#!", b"PK\3\4", b"RIFF", b""]), st.binary(max_size=200))
def test_any_octets_have_a_kind_or_none(lead, rest):
    """No beginning of a file is too short or too odd."""
    assert detect_type(lead + rest) is None or detect_type(lead + rest).count("/") == 1
