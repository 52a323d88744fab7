"""The people of the page: passwords, their turns, and what is remembered of them."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from relay.config.model import Limits
from relay.logins.users import Credentials, Users, remove_login
from relay.web.people import Counts, People
from relay.web.sessions import Sessions

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"alice:{HASHER.hash('good')}\nbob:{HASHER.hash('other')}\n")
    return path


@pytest.fixture
def people(users):
    clock = Clock()
    made = People(Users(users), Limits(failed_logins=2), clock=clock)
    made.clock = clock
    yield made
    made.close()


def alice(password="good", login="alice"):
    return Credentials(login=login, password=password.encode())


async def test_good_and_wrong_tokens(people):
    """A name with its token is let in; a wrong token, an unknown name and another's token are not."""
    assert await people.verify(alice(), "203.0.113.6") is True
    assert await people.verify(alice("bad"), "203.0.113.6") is False
    assert await people.verify(alice(login="nobody"), "198.51.100.6") is False
    assert await people.verify(alice("x" * 2_000), "203.0.113.6") is False


async def test_guesses_are_put_off_and_loopback_is_no_exception(people):
    """After `failed_logins` wrong tokens a name is put off for its network, the good token included."""
    for login, address in (("alice", "127.0.0.1"), ("bob", "203.0.113.6")):
        said = [await people.verify(alice("bad", login), address) for _ in range(2)]
        assert said == [False, False]
        assert await people.verify(alice("bad", login), address) is None
        assert await people.verify(alice("good" if login == "alice" else "other", login), address) is None


async def test_remembered_token_is_looked_at_once(people, users, monkeypatch):
    """A token that was right costs no second hash for some minutes, and none of another login's is right."""
    looked = []
    verify = Users.verify
    monkeypatch.setattr(
        Users, "verify", lambda self, given: looked.append(given.login) or verify(self, given)
    )
    for _ in range(5):
        assert await people.verify(alice(), "203.0.113.6")
    assert looked == ["alice"]
    people.clock.now += 301
    assert await people.verify(alice(), "203.0.113.6")
    assert looked == ["alice", "alice"]


async def test_name_that_is_gone_is_out_at_once(people, users):
    """A login removed from the file, or with another password, is not remembered, and its word changes."""
    assert await people.verify(alice(), "203.0.113.6")
    before = await people.find_hash("alice")
    remove_login(users, "alice")
    assert await people.verify(alice(), "203.0.113.6") is False
    assert before
    assert await people.find_hash("alice") == ""


async def test_unreadable_file_is_said(tmp_path):
    """A users file that never could be read is an error of the system, not a wrong password."""
    people = People(Users(tmp_path / "none"), Limits(), clock=Clock())
    with pytest.raises(OSError, match="none"):
        await people.verify(alice(), "203.0.113.6")
    people.close()


def test_counts_are_bounded():
    """A guesser with any number of names and networks takes no memory without end."""
    counts = Counts()
    for number in range(10_100):
        counts.add("logins", f"name {number}", 1)
    assert counts.latest("logins", "name 0") == 0
    assert counts.latest("logins", "name 10099") == 1
    assert len(counts._tables["logins"]) == 10_000


def test_sessions_end():
    """A session is found by its word until its time is over or it is ended, and a thousand are kept."""
    clock = Clock()
    sessions = Sessions(clock=clock)
    word = sessions.begin("alice", "hash", seconds=60.0)
    assert sessions.find(word).name == "alice"
    assert sessions.find(word + "x") is None
    clock.now += 60
    assert sessions.find(word) is None
    words = [sessions.begin("bob", "hash", seconds=60.0) for _ in range(1_001)]
    assert sessions.find(words[0]) is None
    sessions.end(words[5])
    assert sessions.find(words[5]) is None
    assert sessions.find(words[6]).form_token != sessions.find(words[7]).form_token
