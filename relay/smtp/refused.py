"""The record of a refusal: what `relay trace` shows for the id in the reply.

Owns which facts of a session it has. Never writes it: `relay.telemetry.refusals` does.
"""

from __future__ import annotations

import time

from relay.smtp.session import Session
from relay.telemetry.refusals import Refusal
from relay.vocabulary import Reply


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
