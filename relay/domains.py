"""Domains as they are compared: one form for each, whichever way it is written.

Owns internationalised domain names: A-labels (RFC 5890 §2.3.2.1) by UTS #46, non-transitional (`straße` is
not `strasse`, which is somebody else's), as registries and browsers have it. What is no such name (an address
literal, underscores, a label that is too long) is compared as its text, without case. Values in, values out;
every text has a form, in time linear in its length.
"""

from __future__ import annotations

from functools import lru_cache

import idna

#: RFC 1035 §2.3.4, with the dots; no encoding makes a name shorter.
_LONGEST = 255
_LONGEST_LABEL = 63


@lru_cache(maxsize=4_096)
def encode_domain(domain: str) -> str | None:
    """The domain in A-labels and lower case. Returns None where no registry could have it."""
    if len(domain) > _LONGEST:
        return None
    if not domain.isascii():
        try:
            domain = idna.uts46_remap(domain, std3_rules=False, transitional=False)
        except idna.IDNAError:
            return None
        if len(domain) > _LONGEST:
            return None  # one letter may stand for many
    labels = [_encode_label(label) for label in domain.split(".")]
    found = [label for label in labels if label]
    return ".".join(found) if len(found) == len(labels) else None


def _encode_label(label: str) -> str | None:
    if len(label) > _LONGEST_LABEL:
        return None  # an encoded label is never shorter
    if not label.isascii():
        label = "xn--" + label.encode("punycode").decode("ascii")
    label = label.lower()
    return label if len(label) <= _LONGEST_LABEL and _is_sound(label) else None


def _is_sound(label: str) -> bool:
    """Returns whether a label that begins like an A-label can be decoded as one (RFC 3492)."""
    if not label.startswith("xn--"):
        return True
    try:
        return not label[4:].encode("ascii").decode("punycode").isascii()
    except UnicodeError:
        return False


def normalise_domain(domain: str) -> str:
    """The one form in which a domain is compared. Returns its text in lower case where it is no domain."""
    encoded = encode_domain(domain)
    return domain.lower() if encoded is None else encoded


def normalise_address(address: str) -> str:
    """The one form in which an address is compared, without case of its local part."""
    local, at, domain = address.rpartition("@")
    return f"{local.lower()}{at}{normalise_domain(domain)}" if at else address.lower()


def strip_brackets(text: str) -> str:
    """An address without the angle brackets that mail logs and RFC 5321 paths put around it."""
    text = text.strip()
    return text[1:-1].strip() if text.startswith("<") and text.endswith(">") else text
