"""The authors' domains: whom a mail claims to be from, as DMARC judges it.

Owns the reading of all From fields, as an agent would be shown them (`relay.message`). Never proves anything.
RFC 5322 §3.6.2, RFC 9989 §5.3.1; several authors are judged each, because a mail client shows any of them.
"""

from __future__ import annotations

import re
from itertools import islice

from relay.auth.fields import FieldFinder
from relay.auth.words import Finding, Result
from relay.domains import encode_domain
from relay.message.addresses import parse_addresses
from relay.message.words import raw_text

#: Domains that are judged; each costs up to eight questions to DNS.
MOST_DOMAINS = 8
#: From fields that are read; RFC 5322 §3.6 allows one.
_MOST_FIELDS = 50
_HOST = re.compile(r"[a-z0-9_-]++(?:\.[a-z0-9_-]++)*+")


def find_author_domains(header: bytes) -> tuple[str, ...] | Finding:
    """The domains of all authors, each once, in A-labels and lower case, or why none can be judged."""
    found: dict[str, None] = {}
    fields = list(islice(FieldFinder(header).find(b"from"), _MOST_FIELDS + 1))
    if len(fields) > _MOST_FIELDS:
        return Finding(result=Result.PERMERROR, reason=f"the mail has over {_MOST_FIELDS} From fields")
    for field in fields:
        for mailbox in parse_addresses(raw_text(field.value)):
            domain = encode_domain(mailbox.address.rpartition("@")[2].rstrip("."))
            if "@" not in mailbox.address or domain is None or _HOST.fullmatch(domain) is None:
                return Finding(result=Result.PERMERROR, reason="an author has no domain")
            found[domain] = None
    if not found:
        return Finding(result=Result.PERMERROR, reason="the mail has no author")
    if len(found) > MOST_DOMAINS:
        return Finding(result=Result.PERMERROR, reason=f"the mail has authors of over {MOST_DOMAINS} domains")
    return tuple(found)
