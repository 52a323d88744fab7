"""The ids of a mail's trace, made of its spool id.

Owns one rule: the trace id, and the ids of the two spans that other processes lead back to, are parts of a
hash of the spool id. So the receiver, the deliverer, one that was restarted, and another node of a fleet
agree on them without a column in the spool: the trace's context travels as the spool id, which is as unique.
A hash also has the even bits that samplers by ratio count on (W3C Trace Context §3.2.2.3), so both halves of
a trace are sampled, or neither.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple


class TraceIds(NamedTuple):
    """The ids that every process knows of a mail's trace; none of them is 0, which means no id."""

    trace: int
    #: The span of the connection, the root of the trace.
    connection: int
    #: The span of the mail's transaction, the parent of its deliveries.
    mail: int


def find_trace_ids(spool_id: str) -> TraceIds:
    """The ids of the trace of the mail with this spool id."""
    digest = sha256(b"relay trace\0" + spool_id.encode()).digest()
    trace, connection, mail = (int.from_bytes(digest[at:end]) for at, end in ((0, 16), (16, 24), (24, 32)))
    return TraceIds(trace or 1, connection or 1, mail or 1)
