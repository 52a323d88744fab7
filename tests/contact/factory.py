"""Messages, contexts and configurations made by hand, for the tests of the fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from relay.config.model import Config, Route
from relay.contact.plan import Context
from relay.envelope import Destination, Envelope, ForwardPath, Peer, SpoolId
from relay.message.model import Embedded, Mailbox, Message, Part

DESTINATION = "support@example.com"
INSTANCE = "11111111-2222-3333-4444-555555555555"
FOLDER = "mail/0123456789ab/"


def make_part(
    octets: bytes = b"content",
    *,
    name: str | None = "file.pdf",
    content_type: str = "application/pdf",
    disposition: str = "attachment",
    path: tuple[int, ...] = (0,),
    **more,
) -> Part:
    return Part(
        path=path,
        content_type=content_type,
        name=name,
        content_disposition=disposition,
        size=len(octets),
        sha256=hashlib.sha256(octets).hexdigest(),
        chunks=lambda: iter((octets,) if octets else ()),
        **more,
    )


def make_hollow(size: int, *, name: str, content_type: str = "application/pdf", **more) -> Part:
    """A part that says it is large without being so."""
    return replace(make_part(name.encode(), name=name, content_type=content_type, **more), size=size)


def make_message(
    *,
    subject: str = "Order 4711",
    author: str | None = "jane@customer.example",
    name: str = "Jane Doe",
    to: Sequence[str] = (DESTINATION,),
    cc: Sequence[str] = (),
    reply_to: Sequence[str] = (),
    sender: Sequence[str] = (),
    text: str = "",
    html: str = "",
    attachments: Sequence[Part] = (),
    embedded: Sequence[tuple[int, Message]] = (),
    **more,
) -> Message:
    """A message as the parser would give it; `embedded` pairs the index of an attachment with its message."""
    placed = tuple(replace(part, path=(index + 1,)) for index, part in enumerate(attachments))
    bodies = []
    if text:
        bodies.append(
            make_part(text.encode("utf-8", "replace"), name=None, content_type="text/plain", path=(0, 0))
        )
    if html:
        bodies.append(
            make_part(html.encode("utf-8", "replace"), name=None, content_type="text/html", path=(0, 1))
        )
    return Message(
        subject=subject,
        author=(Mailbox(address=author, name=name),) if author is not None else (),
        sender=tuple(Mailbox(address=one) for one in sender),
        reply_to=tuple(Mailbox(address=one) for one in reply_to),
        to=tuple(Mailbox(address=one) for one in to),
        cc=tuple(Mailbox(address=one) for one in cc),
        text=text,
        html=html,
        parts=(*bodies, *placed),
        bodies=tuple(bodies),
        attachments=placed,
        embedded=tuple(Embedded(path=placed[index].path, message=inner) for index, inner in embedded),
        **more,
    )


def make_config(
    *, connect: dict | None = None, s3: dict | None = None, contact: dict | None = None, **route
) -> Config:
    return Config(
        hostname="mx.example.com",
        s3={"bucket": "bucket-of-ours", **(s3 or {})},
        connect={"instance_id": INSTANCE, **(connect or {})},
        contact=contact or {},
        routes=({"match": (DESTINATION, "sales@example.com"), **route},),
    )


def make_route(config: Config) -> Route:
    return config.routes[0]


def make_context(
    *,
    reverse_path: str | None = "jane@customer.example",
    forward_paths: Sequence[str] = (DESTINATION,),
    **more,
) -> Context:
    return Context(
        spool_id=SpoolId("0123456789ab"),
        envelope=Envelope(
            reverse_path=reverse_path,
            forward_paths=tuple(ForwardPath(address=one) for one in forward_paths),
            peer=Peer(address="192.0.2.7", port=40_000, helo="mail.customer.example", tls="TLSv1.3"),
            received_at=datetime(2025, 3, 1, 12, 0, tzinfo=UTC),
        ),
        destination=Destination(
            instance_id=INSTANCE, address=DESTINATION, forward_paths=tuple(forward_paths), route=DESTINATION
        ),
        results=more.pop("results", {}),
        raw_size=more.pop("raw_size", 10_000),
        is_ours=lambda address: address.lower().endswith("@example.com"),
        **more,
    )
