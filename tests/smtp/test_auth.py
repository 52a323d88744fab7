"""Tests of `relay.smtp.auth` and `relay.smtp.xclient`; the dialog is in tests/dialogs/141 to 146."""

from __future__ import annotations

import os
from base64 import b64encode

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from relay import replies
from relay.logins.users import Credentials, Users
from relay.smtp.auth import AUTH_LINE, Challenge, begin_auth
from relay.smtp.xclient import Xclient, parse_xclient
from relay.vocabulary import Reply


def test_plain():
    """RFC 4616: an identity of one's own, or none, a login and a password."""
    line = b"PLAIN " + b64encode(b"\0me\0pw")
    assert begin_auth(line) == Credentials(login="me", password=b"pw")
    assert begin_auth(b"plain " + b64encode(b"me\0me\0pw")) == Credentials(login="me", password=b"pw")
    assert begin_auth(b"PLAIN " + b64encode(b"you\0me\0pw")) is replies.BAD_CREDENTIALS
    assert begin_auth(b"PLAIN " + b64encode(b"me\0pw")) is replies.BAD_BASE64


def test_login():
    """LOGIN asks for two answers, in base64."""
    first = begin_auth(b"LOGIN")
    assert isinstance(first, Challenge)
    assert first.line == b"334 VXNlcm5hbWU6\r\n"
    second = first.answer(b64encode(b"me"))
    assert isinstance(second, Challenge)
    assert second.line == b"334 UGFzc3dvcmQ6\r\n"
    assert second.answer(b64encode(b"pw")) == Credentials(login="me", password=b"pw")
    assert second.answer(b"*") is replies.AUTH_CANCELLED
    assert second.answer(b"A" * (AUTH_LINE + 4)) is replies.AUTH_TOO_LONG


def test_password_is_in_no_representation():
    """What may end in a log does not show a password."""
    assert "secret" not in repr(Credentials(login="me", password=b"secret"))


@given(st.binary(max_size=80))
def test_any_answer_is_an_answer(line):
    """Whatever a peer answers is credentials, a challenge or a refusal."""
    for argument in (line, b"PLAIN " + line, b"LOGIN " + line):
        assert isinstance(begin_auth(argument), Reply | Credentials | Challenge)


@pytest.mark.slow
def test_users_file(papers):
    """A login and its password are let in; a wrong one, an unknown one and a broken hash are not."""
    users = Users(papers.users)
    assert users.verify(Credentials(login="printer", password=b"s3cret"))
    assert not users.verify(Credentials(login="printer", password=b"wrong"))
    assert not users.verify(Credentials(login="nobody", password=b"s3cret"))
    assert not users.verify(Credentials(login="nobody", password=b"nobody has this password"))
    assert not users.verify(Credentials(login="broken", password=b"s3cret"))
    assert not users.verify(Credentials(login="# logins", password=b""))


def test_users_file_in_another_encoding(tmp_path):
    """An octet that is no UTF-8, as in a comment, or a hash that is no ASCII, lets in everybody else."""
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    path = tmp_path / "users"
    path.write_bytes(b"# B\xfcro\na:%b\nb:$argon2id$\xc3\xa4\n" % quick.hash("1").encode())
    users = Users(path)
    assert users.verify(Credentials(login="a", password=b"1"))
    assert not users.verify(Credentials(login="b", password=b"1"))


def test_users_file_is_read_again(tmp_path):
    """A changed file counts at once; one that went missing leaves what was read."""
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    path = tmp_path / "users"
    path.write_text(f"a:{quick.hash('1')}\n")
    users = Users(path)
    assert users.verify(Credentials(login="a", password=b"1"))
    path.write_text(f"a:{quick.hash('2')}\nb:{quick.hash('3')}\n")
    os.utime(path, ns=(1, 1))
    assert not users.verify(Credentials(login="a", password=b"1"))
    assert users.verify(Credentials(login="b", password=b"3"))
    path.unlink()
    assert users.verify(Credentials(login="b", password=b"3"))


def test_users_file_that_never_was(tmp_path):
    """Without a file nobody can be told from anybody: an error, which becomes 454."""
    with pytest.raises(OSError, match="users"):
        Users(tmp_path / "users").verify(Credentials(login="a", password=b"1"))


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (b"ADDR=192.0.2.9 PORT=25 LOGIN=me NAME=x", Xclient(address="192.0.2.9", port=25, login="me")),
        (b"addr=IPV6:2001:db8::1", Xclient(address="2001:db8::1")),
        (b"ADDR=[UNAVAILABLE] HELO=a+20b", Xclient(helo="a b")),  # as legacy systems call themselves
        (b"", None),
        (b"ADDR", None),
        (b"ADDR=x", None),
        (b"PORT=+31", Xclient(port=1)),
        (b"PORT=99999", None),
        (b"HELO=a+0Ab", None),
        (b"SHOE=44", None),
    ],
)
def test_xclient(argument, told):
    """Attributes are decoded; unknown ones, and values that are none, refuse the command."""
    assert parse_xclient(argument) == told


@given(st.binary(max_size=120))
def test_any_xclient_is_answered(argument):
    """Whatever a front-end says is attributes or None."""
    for line in (argument, b"ADDR=" + argument, b"PORT=" + argument):
        told = parse_xclient(line)
        assert told is None or told.port is None or 0 <= told.port < 65_536
