"""What a fleet is under: proxies that lose answers and show an index as it was, and mail servers that try
again on any node.

Everything that the services answered is counted here, so that a test need not believe the nodes.
"""

from __future__ import annotations

import json
import random
import smtplib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from email.message import EmailMessage
from typing import Any, Self

from chaos.proxy import Deed, Exchange, Request, running_proxy
from harness import Daemon, octets_of, send

from relay.sandbox.service import Sandbox

#: Seconds for which the index of due entries may show what was.
_STALE_SECONDS = 2.0


class Fire:
    """Proxies before DynamoDB, S3 and Connect; a context."""

    def __init__(self, box: Sandbox, tables: str, *, lost: float, stale: float, seed: int) -> None:
        """`lost`: the part of answers that never comes; `stale`: that of looks at the index that show the
        past.
        """
        self._box = box
        self._upstreams = {"dynamodb": tables, "s3": box.s3.url, "connect": box.connect_url}
        self._chance = random.Random(seed)
        self._stack = ExitStack()
        self._seen: dict[str, deque[tuple[float, bytes]]] = {}
        self.lost, self.stale = lost, stale
        #: Answers by service and kind: lost, or shown late.
        self.struck: Counter[str] = Counter()
        #: Calls of StartEmailContact by token, and statuses that Connect answered with.
        self.calls: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        #: The instants of the calls, by a steady clock.
        self.times: list[float] = []

    def __enter__(self) -> Self:
        self.proxies = {
            name: self._stack.enter_context(running_proxy(url)) for name, url in self._upstreams.items()
        }
        for name, proxy in self.proxies.items():
            proxy.plan(self._plan(name))
        self._box._fetcher.lead(self.proxies["s3"].url)  # presigned URLs lead to where the nodes put files
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def env(self) -> dict[str, str]:
        """The variables that lead nodes through the proxies."""
        return {f"AWS_ENDPOINT_URL_{name.upper()}": proxy.url for name, proxy in self.proxies.items()}

    def _plan(self, name: str) -> Callable[[Request], Deed]:
        def plan(request: Request) -> Deed:
            token = _token_of(request) if name == "connect" else ""
            queue = _queue_of(request) if name == "dynamodb" else ""
            is_lost = self._chance.random() < self.lost

            async def deed(exchange: Exchange) -> None:
                if token:
                    self.calls[token] += 1
                    self.times.append(time.monotonic())
                answer = await exchange.fetch()
                if token:
                    self.statuses[int(answer.split(b" ", 2)[1])] += 1
                if queue:
                    answer = self._show(queue, answer)
                if is_lost:
                    self.struck[f"{name} lost"] += 1
                    exchange.reset()
                else:
                    await exchange.send(answer)

            return deed

        return plan

    def _show(self, queue: str, answer: bytes) -> bytes:
        """The answer to a look at the index, or now and then an earlier one under its head."""
        now = time.monotonic()
        seen = self._seen.setdefault(queue, deque(maxlen=50))
        seen.append((now, answer))
        while now - seen[0][0] > _STALE_SECONDS:
            seen.popleft()
        if self._chance.random() >= self.stale:
            return answer
        earlier = self._chance.choice(seen)[1]
        self.struck["index shown late"] += earlier != answer
        head, body = answer.partition(b"\r\n\r\n")[0], earlier.partition(b"\r\n\r\n")[2]
        kept = [
            line
            for line in head.split(b"\r\n")
            if line.partition(b":")[0].lower() not in (b"content-length", b"x-amz-crc32")
        ]
        return b"\r\n".join([*kept, b"Content-Length: %d" % len(body), b"", body])


def _token_of(request: Request) -> str:
    if request.method != "PUT" or b"/contact/email" not in request.head.split(b"\r\n", 1)[0]:
        return ""
    return str(json.loads(request.body).get("ClientToken", ""))


def _queue_of(request: Request) -> str:
    """What a look at the index of due entries asks for, without its instants; "" for any other call."""
    if b"DynamoDB_20120810.Query\r\n" not in request.head:
        return ""
    asked: dict[str, Any] = json.loads(request.body)
    if asked.get("IndexName") != "due" or asked.get("Select") == "COUNT":
        return ""
    values = asked["ExpressionAttributeValues"]
    return f"{values[':q']} {asked.get('Limit')} {asked['ScanIndexForward']} {asked.get('ExclusiveStartKey')}"


class Postmen:
    """Mail servers that bring each mail to any node until they see a 250; some bring it again after that, and
    some bring it to two nodes at the same instant.
    """

    def __init__(
        self,
        nodes: Sequence[Daemon],
        mails: Sequence[EmailMessage],
        *,
        count: int,
        seed: int,
        arrived: Callable[[], int],
        ahead: int,
    ) -> None:
        """No postman goes on while more than `ahead` mails that were accepted have not arrived."""
        self._nodes = nodes
        self._left = deque(mails)
        self._chance = random.Random(seed)
        self._arrived, self._ahead = arrived, ahead
        self._lock = threading.Lock()
        self.accepted: list[EmailMessage] = []
        self.again = 0
        self.tries = 0
        #: The longest that a mail waited for its 250, in seconds.
        self.slowest = 0.0
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def start(self) -> Postmen:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    @property
    def is_done(self) -> bool:
        """Whether all mail is accepted, or an error ended a postman."""
        return bool(self.errors) or not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        try:
            while True:
                if len(self.accepted) > self._arrived() + self._ahead:
                    time.sleep(0.05)  # between two looks at what has arrived
                    continue
                with self._lock:
                    if not self._left:
                        return
                    mail, luck = self._left.popleft(), self._chance.random()
                self._bring(mail, luck)
        except BaseException as exc:  # noqa: BLE001 - told by the test
            self.errors.append(exc)

    def _bring(self, mail: EmailMessage, luck: float) -> None:
        begun = time.monotonic()
        # Once: the boundary of a multipart is made up by whoever writes it first.
        octets, to = octets_of(mail), str(mail["To"]).split(", ")
        if luck < 0.05:
            twin = threading.Thread(target=self._until_accepted, args=(octets, to), daemon=True)
            twin.start()
            self._until_accepted(octets, to)
            twin.join()
            self.again += 1
        else:
            self._until_accepted(octets, to)
        with self._lock:
            self.accepted.append(mail)
            self.slowest = max(self.slowest, time.monotonic() - begun)
        if 0.05 <= luck < 0.15:
            self._until_accepted(octets, to)
            self.again += 1

    def _until_accepted(self, octets: bytes, to: Sequence[str]) -> None:
        end = time.monotonic() + 180
        while True:
            self.tries += 1
            node = self._nodes[random.randrange(len(self._nodes))]
            try:
                return send(node.port, octets, to, timeout=10)
            except (OSError, smtplib.SMTPException) as exc:
                refused = isinstance(exc, smtplib.SMTPResponseException) and exc.smtp_code >= 500
                if refused or time.monotonic() > end:
                    raise
                time.sleep(0.1)  # a mail server's retry, in small
