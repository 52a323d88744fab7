"""Guesses at passwords: `relay.logins.tries`, and AUTH on sockets from several networks."""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from contextlib import ExitStack, contextmanager

import pytest
from serving import Serving, build_config

from relay.config.model import Limits
from relay.logins.tries import Logins, name_try
from relay.smtp.counters import SharedCounters
from relay.smtp.limits import SELF

LIMITS = Limits(failed_logins=3)
HERE, NEAR, FAR = "198.51.100.7", "198.51.100.8", "203.0.113.9"


def fail(logins: Logins, login: str, address: str, times: int) -> None:
    for _ in range(times):
        logins.note(name_try(login, address), good=False, now=1.0)


def waits(logins: Logins, login: str, address: str, *, now: float = 1.0) -> float | None:
    return logins.decide(name_try(login, address), LIMITS, now=now)


def test_a_login_is_put_off_for_the_network_that_fails():
    """After so many failures the network, a neighbour within it too, is put off for ten minutes."""
    logins = Logins(SharedCounters(), slow_seconds=5.0)
    assert waits(logins, "me", HERE) == 0.0
    fail(logins, "me", HERE, 3)
    assert waits(logins, "me", HERE) is None
    assert waits(logins, "me", NEAR) is None
    assert waits(logins, "you", HERE) == 0.0
    assert waits(logins, "me", HERE, now=602.0) == 0.0


def test_guesses_elsewhere_lock_nobody_out():
    """By the login alone, networks that never passed are slowed, and the user's own is not."""
    logins = Logins(SharedCounters(), slow_seconds=5.0)
    logins.note(name_try("me", HERE), good=True, now=1.0)
    waits(logins, "me", HERE)
    for number in range(40):
        fail(logins, "me", f"203.0.{number}.1", 2)
    assert waits(logins, "me", HERE) == 0.0
    assert waits(logins, "me", "192.0.2.1") == 5.0
    assert waits(logins, "you", "192.0.2.1") == 0.0


def test_many_logins_of_one_network_slow_it():
    """Who tries each login once is slowed by his network; a user who logged in there before is not."""
    logins = Logins(SharedCounters(), slow_seconds=5.0)
    logins.note(name_try("me", HERE), good=True, now=1.0)
    waits(logins, "me", HERE)
    for number in range(9):
        fail(logins, f"user{number}", NEAR, 1)
    assert waits(logins, "another", HERE) == 5.0
    assert waits(logins, "me", HERE) == 0.0
    assert waits(logins, "another", FAR) == 0.0


def test_a_good_password_ends_the_count():
    """A user who mistypes now and then is never near the limit."""
    logins = Logins(SharedCounters())
    for _ in range(5):
        assert waits(logins, "me", HERE) == 0.0
        fail(logins, "me", HERE, 2)
        logins.note(name_try("me", HERE), good=True, now=1.0)


def test_receivers_count_failures_together(tmp_path):
    """What one receiver sees fail, another knows; who logged in is known after a restart, too."""
    path = tmp_path / "tally"
    first, second = (
        Logins(SharedCounters(path, index=index, processes=2), slow_seconds=5.0) for index in range(2)
    )
    for logins in (first, second):
        waits(logins, "me", FAR)
    fail(first, "me", HERE, 2)
    fail(second, "me", HERE, 1)
    assert waits(first, "me", HERE) is None
    assert waits(second, "me", HERE) is None
    second.note(name_try("you", HERE), good=True, now=1.0)
    restarted = Logins(SharedCounters(path, index=1, processes=2))
    assert restarted.has_passed(name_try("you", HERE))


def test_a_long_login_takes_no_memory():
    """A login of 12,288 octets is counted under a short name."""
    assert len(name_try("x" * 12_288, HERE).pair) < 100


async def test_one_password_of_a_network_at_a_time():
    """Tries of one network take turns; another network's, a known user's and loopback's do not wait
    for them.
    """
    logins = Logins(SharedCounters(), uncounted=SELF)
    logins.note(name_try("known", HERE), good=True, now=1.0)
    running, most = set(), 0
    hold = asyncio.Event()

    async def attempt(login, address, event=hold):
        async def verify(passed):
            nonlocal most
            assert passed is (login == "known" or address == "127.0.0.1")
            running.add((login, address))
            most = max(most, sum(each[1] == HERE for each in running))
            await event.wait()
            running.discard((login, address))
            return False

        return await logins.check(login, address, LIMITS, verify=verify, now=lambda: 1.0)

    tasks = [asyncio.create_task(attempt(f"user{number}", HERE)) for number in range(8)]
    await asyncio.sleep(0)
    free = asyncio.Event()
    free.set()
    assert await attempt("user", FAR, free) is False
    assert await attempt("user", "127.0.0.1", free) is False
    assert most == 1
    assert await attempt("known", HERE, free) is False
    hold.set()
    assert await asyncio.gather(*tasks) == [False] * 8
    assert most == 2  # one of the eight, and the known user
    assert logins._turns == {}


async def test_who_came_before_the_first_failure_does_not_wait_for_all():
    """Of a hundred tries that one network begins at once, few are looked at, and none keeps its session for
    minutes.
    """
    limits = Limits(failed_logins=3)
    logins = Logins(SharedCounters(), slow_seconds=0.01)
    looked = 0

    async def verify(_passed):
        nonlocal looked
        looked += 1
        await asyncio.sleep(0)
        return False

    tries = [
        logins.check(f"user-{number}", f"203.0.113.{number}", limits, verify=verify, now=time.monotonic)
        for number in range(100)
    ]
    said = await asyncio.gather(*tries)
    # As many as are not slowed, and as many as may wait their turn.
    assert said.count(False) == looked <= 3 * 3 + 10 + 1
    assert said.count(None) == 100 - looked
    assert logins._turns == {}


@contextmanager
def session(serving: Serving, source: str):
    """A session under TLS from one address, its EHLO said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(serving.connect(source=source)) as sock, sock.makefile("rb") as lines:
        lines.readline()
        sock.sendall(b"EHLO c.example\r\n")
        while lines.readline()[3:4] == b"-":
            pass

        def login(name: str, password: str) -> bytes:
            sock.sendall(b"AUTH PLAIN %b\r\n" % b64encode(f"\0{name}\0{password}".encode()))
            return lines.readline()[:9]

        yield login


@pytest.fixture
def trusted(papers):
    listener = {
        "bind": "127.0.0.1:0", "tls": "implicit", "role": "trusted", "auth": "optional", "allow": ["127.0.0.0/8"],
    }  # fmt: skip
    config = build_config(
        papers, listeners=[listener], server={"users_file": str(papers.users)}, limits={"failed_logins": 3}
    )
    with Serving(config) as serving:
        yield serving


def test_guessing_over_several_sessions_ends(trusted):
    """Sessions do not matter: past the limit not even the right password is looked at, and the user elsewhere
    logs in.
    """
    with session(trusted, "127.0.7.9") as login:
        assert login("printer", "s3cret") == b"235 2.7.0"
    said = []
    for number in range(6):
        with session(trusted, f"127.0.2.{number + 1}") as login:
            said += [login("printer", "guess")]
    assert said == [b"535 5.7.8"] * 3 + [b"454 4.7.0"] * 3
    began = time.process_time()
    with session(trusted, "127.0.2.99") as login:
        assert [login("printer", "s3cret") for _ in range(3)] == [b"454 4.7.0"] * 2 + [b"421 4.7.0"]
    assert time.process_time() - began < 1.0
    with session(trusted, "127.0.7.9") as login:
        assert login("printer", "s3cret") == b"235 2.7.0"


def test_loopback_may_mistype(trusted):
    """This machine's own address is spared: a local web mail is many users at one address."""
    for _ in range(5):
        with session(trusted, "127.0.0.1") as login:
            assert login("printer", "guess") == b"535 5.7.8"


def test_many_guesses_at_once_are_counted_before_they_are_looked_at(trusted):
    """Sessions that guess at the same moment get no more looks than those that guess one after the other."""
    with ExitStack() as stack:
        logins = [stack.enter_context(session(trusted, f"127.0.3.{number + 1}")) for number in range(8)]
        loop = asyncio.new_event_loop()
        said = loop.run_until_complete(_together(loop, logins))
        loop.close()
    assert sorted(said) == [b"454 4.7.0"] * 5 + [b"535 5.7.8"] * 3


async def _together(loop, logins):
    return await asyncio.gather(*(loop.run_in_executor(None, each, "printer", "guess") for each in logins))
