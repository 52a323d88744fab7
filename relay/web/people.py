"""The people who may use the page: the look at a password, in its turn and not too often.

Owns the order of tries, which is that of SMTP's logins, and the memory of passwords that were right a moment
ago: a browser sends one with each request, and a hash takes the processor for as long as it was made to.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from relay.config.model import Limits
from relay.logins.tries import Logins
from relay.logins.users import Credentials, Users

#: Names of each table, the newest; a guesser has as many as he likes.
_MOST_NAMES = 10_000
#: Passwords that are remembered, and for how long.
_MOST_REMEMBERED = 1_000
_REMEMBERED_SECONDS = 300.0
#: The longest name and password that are looked at, in octets.
_MOST_BYTES = 1_024


class Counts:
    """The counters of tries, in the memory of this process."""

    def __init__(self) -> None:
        self._tables: defaultdict[str, OrderedDict[str, int]] = defaultdict(OrderedDict)

    def add(self, table: str, name: str, step: int, /) -> int:
        """Count up by `step`. Returns the count."""
        count = self._tables[table].get(name, 0) + step
        if step:
            self.mark(table, name, count)
        return count

    def mark(self, table: str, name: str, value: int, /) -> None:
        """Set the count of a name; the one that was set longest ago may go for it."""
        counts = self._tables[table]
        counts[name] = value
        counts.move_to_end(name)
        if len(counts) > _MOST_NAMES:
            counts.popitem(last=False)

    def forget(self, table: str, name: str, /) -> None:
        """Set the count of a name to nothing."""
        self._tables[table].pop(name, None)

    def latest(self, table: str, name: str, /) -> int:
        """The count of a name."""
        return self._tables[table].get(name, 0)

    def clear(self, table: str, /) -> None:
        """Set all counts of a table to nothing."""
        self._tables.pop(table, None)


class People:
    """The logins of a users file, and the tries of their passwords."""

    def __init__(self, users: Users, limits: Limits, *, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, and is set by nobody."""
        self._users = users
        self._limits = limits
        self._clock = clock
        self._logins = Logins(Counts())
        #: One lane for logins that never passed, and one for those that did.
        self._lanes = {passed: ThreadPoolExecutor(1, "password") for passed in (False, True)}
        self._key = secrets.token_bytes(32)
        #: Digests of passwords that were right, each with the hash that it fitted and the end of its time.
        self._remembered: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    async def verify(self, credentials: Credentials, address: str) -> bool | None:
        """Returns whether login and password belong together, and None for a try that is put off.

        Raises:
            OSError: the users file cannot be read, and never could.
        """
        name = credentials.login.encode("utf-8", "replace")
        if len(name) > _MOST_BYTES or len(credentials.password) > _MOST_BYTES:
            return False
        digest = hmac.digest(self._key, name + b"\0" + credentials.password, "sha256")
        if await self._is_remembered(digest, credentials.login):
            return True

        async def look(passed: bool) -> bool | None:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._lanes[passed], partial(self._users.verify, credentials))

        good = await self._logins.check(
            credentials.login, address, self._limits, verify=look, now=self._clock
        )
        if good and (hashed := await self.find_hash(credentials.login)):
            self._remembered[digest] = hashed, self._clock() + _REMEMBERED_SECONDS
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return good

    async def _is_remembered(self, digest: bytes, login: str) -> bool:
        hashed, ends_at = self._remembered.get(digest, ("", 0.0))
        if not hashed:
            return False
        if self._clock() < ends_at and hashed == await self.find_hash(login):
            return True
        self._remembered.pop(digest, None)
        return False

    async def find_hash(self, login: str) -> str:
        """A word for the password that a login has now; "" for no login. It changes with the password.

        Raises:
            OSError: as `verify`.
        """
        hashed = await asyncio.to_thread(self._users.find_hash, login)
        return hashlib.blake2b(hashed.encode(), key=self._key, digest_size=16).hexdigest() if hashed else ""

    def close(self) -> None:
        """End the lanes, without waiting for a password that is looked at."""
        for lane in self._lanes.values():
            lane.shutdown(wait=False, cancel_futures=True)
