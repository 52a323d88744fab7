"""The bench of `relay check --live`: contacts are started, watched and ended here, and files are uploaded.

Owns each contact that was started until it has ended: its name is told before it is started, and its id as
soon as it is known. A request whose answer is lost is sent again with its token, so that its id becomes
known. Never decides what an answer means.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from relay.aws.connect import ConnectClient
from relay.aws.contacts import Contacts
from relay.aws.errors import readable_answer, remote_call
from relay.check.live.model import NAME
from relay.config import Config
from relay.delivery.pace import Pace
from relay.errors import Blame, FailureClass, RemoteError

#: Tries of a call that is throttled, lost or fails by the service's fault, and the seconds between two.
_TRIES = 6
_PAUSE_SECONDS = 1.0
#: Seconds between two looks at what Connect does later.
_LOOK_SECONDS = 1.0
_UPLOAD_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The outcome of a request: the id of its contact, or the refusal."""

    contact_id: str = ""
    refusal: RemoteError | None = None

    @property
    def word(self) -> str:
        """The outcome in one phrase: "accepted", or the codes of the refusal."""
        if self.refusal is None:
            return "accepted"
        reason = f", reason {self.refusal.reason}" if self.refusal.reason else ", without a reason"
        return f"refused with {self.refusal.code}{reason}"

    @property
    def facts(self) -> dict[str, Any]:
        """The particulars for the report."""
        if self.refusal is None:
            return {"contact": self.contact_id}
        return {"code": self.refusal.code, "reason": self.refusal.reason, "detail": self.refusal.detail}


@dataclass(slots=True, kw_only=True)
class Bench:
    """The run of `relay check --live` against an instance: what it may use, and what it started."""

    config: Config
    instance_id: str
    #: The addresses of routes of the instance; the first gets the contacts.
    addresses: tuple[str, ...]
    connect: ConnectClient
    contacts: Contacts
    s3: Any
    pace: Pace
    say: Callable[[str], None]
    patience_seconds: float
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    #: The question that is asked now.
    label: str = ""
    open: dict[str, str] = field(default_factory=dict)
    started: int = 0
    ended: int = 0
    _number: int = 0

    @property
    def name(self) -> str:
        """The name of the contacts of this question."""
        return f"{NAME}{self.run}-{self.label}"

    def build(self, **changes: Any) -> dict[str, Any]:
        """The arguments of a small contact with a token of its own; a change to None takes a field out."""
        self._number += 1
        request: dict[str, Any] = {
            "InstanceId": self.instance_id,
            "FromEmailAddress": {"EmailAddress": self.config.contact.fallback_from},
            "DestinationEmailAddress": self.addresses[0],
            "EmailMessage": self.mail(),
            "Name": self.name,
            "ClientToken": f"{self.name}-{self._number}",
        } | changes
        return {key: value for key, value in request.items() if value is not None}

    def mail(
        self,
        *,
        subject: str | None = None,
        body: str | None = None,
        html: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The message of a small contact."""
        text = "This contact is a test by relay check --live. It ends by itself."
        raw: dict[str, Any] = {
            "Subject": f"{self.name} (a test, please ignore)" if subject is None else subject,
            "Body": text if body is None else body,
            "ContentType": "text/html" if html else "text/plain",
        }
        return {
            "MessageSourceType": "RAW",
            "RawMessage": raw | ({"Headers": dict(headers)} if headers else {}),
        }

    async def start(self, request: Mapping[str, Any]) -> Started:
        """Start a contact, at half the pace of the quota. Returns its id, or the refusal of the payload.

        Raises:
            RemoteError: it was not refused for its payload, or its fate is unknown.
        """
        self.say(f"starting a contact named {self.name}")
        await self.pace.turn()
        try:
            contact_id = await again(lambda: self.connect.start_email_contact(request))
        except RemoteError as exc:
            if may_pass(exc):
                self.say(
                    f"it is unknown whether the contact was started: look for the name {self.name} in Contact search, "
                    "or run relay check --live end"
                )
            if may_pass(exc) or exc.code in ("AccessDeniedException", "credentials"):
                raise
            return Started(refusal=exc)
        self.note(contact_id)
        return Started(contact_id=contact_id)

    def note(self, contact_id: str) -> None:
        """Take a contact into care: it is ended with the question."""
        if contact_id not in self.open:
            self.started += 1
            self.open[contact_id] = self.name
            self.say(f"contact {contact_id} was started")

    @asynccontextmanager
    async def question(self, label: str) -> AsyncIterator[None]:
        """Ask a question: whatever comes, its contacts are ended."""
        self.label, self._number = label, 0
        try:
            yield
        finally:
            await self.end_all()

    async def end_all(self) -> None:
        """End the contacts that are open; one that cannot be ended stays open, and is told with the command
        that ends it.
        """
        for contact_id in tuple(self.open):
            try:
                await again(partial(self.contacts.stop, contact_id))
            except RemoteError as exc:
                if exc.code not in ("ContactNotFoundException", "ResourceNotFoundException"):
                    self.say(
                        f"contact {contact_id} could not be ended ({exc.code}); end it: aws connect stop-contact "
                        f"--instance-id {self.instance_id} --contact-id {contact_id}"
                    )
                    continue
            del self.open[contact_id]
            self.ended += 1
            self.say(f"contact {contact_id} has ended")

    async def describe(self, contact_id: str) -> Mapping[str, Any]:
        """The record that Connect has of a contact.

        Raises:
            RemoteError: it has none, or does not say.
        """
        found: Mapping[str, Any] = await again(partial(self.contacts.describe, contact_id))
        return found

    async def upload(self, number: int, size: int, *, life_seconds: int = 3_600) -> str:
        """Put a file of zeros into the bucket. Returns its presigned URL.

        Raises:
            RemoteError: it is not there.
        """
        place = self.config.of_instance(self.instance_id).s3
        key = f"{place.prefix}relay-check-live/{self.run}-{self.label}-{number}"
        async with remote_call("s3", timeout_seconds=_UPLOAD_SECONDS):
            with readable_answer("s3"):
                await self.s3.put_object(Bucket=place.bucket, Key=key, Body=b"0" * size)
                url: str = await self.s3.generate_presigned_url(
                    "get_object", Params={"Bucket": place.bucket, "Key": key}, ExpiresIn=life_seconds
                )
        return url

    async def wait_for(self, look: Callable[[], Awaitable[Any]]) -> Any:
        """Look until something is found, as long as there is patience. Returns what was found last."""
        clock = asyncio.get_running_loop().time
        ends_at = clock() + self.patience_seconds
        while not (found := await again(look)) and clock() < ends_at:  # noqa: ASYNC110 - Connect tells nobody
            await asyncio.sleep(_LOOK_SECONDS)
        return found


def may_pass(error: RemoteError) -> bool:
    """Returns whether the same call may succeed later: it was throttled, lost, or the service is at fault."""
    is_service = error.failure is FailureClass.TEMPORARY and error.blame is Blame.SERVICE
    return is_service or error.failure is FailureClass.THROTTLED


async def again(call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call until it is neither throttled nor fails by the service's fault, a few times.

    Raises:
        RemoteError: of the last try.
    """
    for left in reversed(range(_TRIES)):
        try:
            return await call()
        except RemoteError as exc:
            if not may_pass(exc) or not left:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")
