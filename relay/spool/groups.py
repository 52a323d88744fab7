"""The groups in which entries take turns: two priorities, networks of peers, and domains of reverse-paths.

Owns the number of each group, by which every backend orders them (docs/spool.md, "States"). Never does I/O.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from relay.domains import normalise_domain
from relay.envelope import Peer
from relay.networks import find_network

#: The two priorities: mail that continues its sender's own conversation, and all other mail.
REPLY, NEW = 0, 1
PRIORITIES = (REPLY, NEW)
#: The largest number of bits that SQLite's integers hold without a sign.
KEY_BITS = 63


@lru_cache(maxsize=8_192)
def _key(text: str) -> int:
    """A number above 0 for a name. Its order among others is random, and nobody can find another name with
    the same number.
    """
    digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - KEY_BITS)) or 1


def group_of(peer: Peer, reverse_path: str | None) -> tuple[int, int]:
    """The keys of the network and of the domain with which a mail takes its turn.

    Behind a trusted listener all mail comes from one relay, so its domains are the only groups.
    """
    domain = normalise_domain((reverse_path or "").rpartition("@")[2])
    return 0 if peer.role == "trusted" else _key(find_network(peer.address)), _key(domain)
