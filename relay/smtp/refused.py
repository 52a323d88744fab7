"""A refusal: the octets of its reply, with our id, and the record that `relay trace` shows for this id.

Owns which facts of a session the record has. Never writes it: `relay.telemetry.refusals` does.
"""

from __future__ import annotations

import time

from relay import replies
from relay.smtp.session import Session
from relay.telemetry.refusals import Refusal, Refusals
from relay.vocabulary import Reply


def refuse(session: Session, reply: Reply, refusals: Refusals | None) -> bytes:
    """The octets of a reply of class 5, under whose id the refusal is remembered where there is a memory."""
    if refusals is not None:
        refusals.remember(build_refusal(session, reply))
    return replies.add_reference(replies.build_reply(reply), session.reference)


def build_refusal(session: Session, reply: Reply) -> Refusal:
    """The record of a reply that is about to be said in a session."""
    peer, transaction = session.peer_state, session.transaction
    return Refusal(
        reference=session.reference,
        at=time.time(),
        peer=peer.address,
        helo=peer.helo or "",
        listener=session.settings.bind,
        reverse_path=transaction.reverse_path if transaction is not None else None,
        said=session.said.decode("utf-8", "replace"),
        reply=str(reply),
    )
