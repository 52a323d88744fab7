"""The changes by which an operator has an entry delivered: as it is, or by another route.

Owns what such an entry forgets (the instant of its next try, why it stood aside) and keeps (its attempts, its
history). Decides nothing; runs within the caller's transaction.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

import apsw

from relay.domains import normalise_address
from relay.spool.change import Target
from relay.spool.duplicates import Likeness, build_token
from relay.spool.ids import build_reference
from relay.spool.local.database import query
from relay.spool.local.listing import Named
from relay.spool.local.outcomes import REMEMBER, remember

#: A mail that a policy held and a person released is not judged by the policy again; one that a person held
#: is. The reason `operator` goes, since the history has it; the reason that an attempt left stays.
_REQUEUE = """
UPDATE entries SET state = 'queued', due_at = ?1, cut_short = 0, updated_at = ?1,
reason = CASE reason WHEN 'operator' THEN '' ELSE reason END,
released = released OR EXISTS (SELECT 1 FROM history WHERE history.entry_id = entries.entry_id
AND history.event = 'held' AND (substr(history.reason, 1, 6) = 'class.' OR substr(history.reason, 1, 7) = 'policy.'))
WHERE entry_id = ?2
"""
_REROUTE = """
UPDATE entries SET route = ?2, instance_id = ?3, address = ?4, token = ?5, sent_at = NULL, in_doubt_since = NULL,
rung = 'full', captured = NULL, reason = '', detail = '' WHERE entry_id = ?1
"""
_FACTS = """
SELECT spool_id, fingerprint, sender, iif(json_valid(results), json_extract(results, '$.relay_dmarc'), ''),
instance_id, address, forward_paths, tag FROM entries JOIN mails USING (mail_id) WHERE entry_id = ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The way of an entry by another route, as rows keep it."""

    instance_id: str
    address: str
    token: str
    #: In words, for the history.
    detail: str
    #: The reference of the entry, this one perhaps, that has that way already; "" if there is none.
    twin: str


def requeue(connection: apsw.Connection, one: Named, *, at: int, event: str, doubtful: bool) -> None:
    """Have the entry due at this instant (microseconds); a request of long doubtful fate, to whose repetition
    a person agreed, is in doubt from now on.
    """
    connection.execute(_REQUEUE, (at, one.entry_id))
    if doubtful:
        connection.execute("UPDATE entries SET in_doubt_since = ? WHERE entry_id = ?", (at, one.entry_id))
    remember(connection, one.entry_id, at=at, event=event)


def plan_move(connection: apsw.Connection, one: Named, target: Target) -> Move:
    """The way of this entry by that route: to the route's own destination, else to the first forward-path."""
    ((spool_id, fingerprint, sender, dmarc, instance_id, address, paths, tag),) = query(
        connection, _FACTS, (one.entry_id,)
    )
    to = target.address or _without_tag(json.loads(paths)[0], tag or "")
    likeness = Likeness(
        fingerprint=fingerprint,
        instance_id=target.instance_id,
        address=to,
        route=target.route,
        tag=tag,
        sender=sender,
        dmarc=dmarc or "",
    )
    twins = query(
        connection,
        "SELECT entry_id, address FROM entries WHERE mail_id = ? AND route = ? AND instance_id = ?",
        (one.mail_id, target.route, target.instance_id),
    )
    twin = next(
        (number for number, there in twins if normalise_address(there) == normalise_address(to)), None
    )
    return Move(
        instance_id=target.instance_id,
        address=to,
        # Another than that of any request which went out before: by chance, as nobody asks for it again.
        token=build_token(likeness, salt=f"{one.id} {secrets.token_hex(16)}"),
        detail=f"from {one.route} ({address} at {instance_id}) to {target.route} ({to} at {target.instance_id})",
        twin=build_reference(spool_id, twin) if twin is not None else "",
    )


def reroute(connection: apsw.Connection, one: Named, target: Target, *, at: int) -> None:
    """Have the entry due now by that route: its request, its rung and its token are those of the old one, and
    go. The ledger keeps the old way, so a retransmission of the mail stays one.
    """
    move = plan_move(connection, one, target)
    connection.execute(REMEMBER, (None, one.entry_id))
    connection.execute("DELETE FROM requests WHERE entry_id = ?", (one.entry_id,))
    connection.execute(_REQUEUE, (at, one.entry_id))
    connection.execute(_REROUTE, (one.entry_id, target.route, move.instance_id, move.address, move.token))
    remember(connection, one.entry_id, at=at, event="rerouted", detail=move.detail)


def _without_tag(address: str, tag: str) -> str:
    """The address without its subaddress: Connect knows `support@`, not `support+vip@`."""
    local, _, domain = address.rpartition("@")
    return f"{local.removesuffix(f'+{tag}')}@{domain}" if tag else address
