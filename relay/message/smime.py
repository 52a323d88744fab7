"""Opaque S/MIME: the signed content behind application/pkcs7-mime.

Owns the unwrapping of signed-data (RFC 8551 §3.5, RFC 5652 §5). Never verifies, never decrypts: an enveloped part
stays as it is. Nothing is decompressed.
"""

from __future__ import annotations

from asn1crypto import cms

#: DER is read whole: beyond this the part stays a file.
LIMIT = 48 << 20
TYPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})


def signed_content(octets: bytes) -> bytes | None:
    """The octets that were signed, a MIME entity; None when there are none to be had."""
    try:
        info = cms.ContentInfo.load(octets)
        if info["content_type"].native != "signed_data":
            return None
        content = info["content"]["encap_content_info"]["content"].native
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError):
        # Whatever asn1crypto makes of broken DER.
        return None
    return content if isinstance(content, bytes) and content else None
