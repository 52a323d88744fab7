"""The numbers of Connect: what StartEmailContact takes, each limit once, with where it is documented.

Owns the numbers of the service model and of Amazon's documents; the rules that keep a mail within them, the
check of a request, the configuration's defaults and the sandbox's simulator import them from here.
docs/limits.md is made of the same rows (`make docs`). Lengths of fields count UTF-16 units, as services
written in Java do.
"""

from __future__ import annotations

#: The service model of botocore, `connect`, operation StartEmailContact.
_MODEL = "service model"
#: Amazon Connect API Reference, StartEmailContact and the types of its arguments.
_REFERENCE = "API reference"
#: Amazon Connect administrator guide, "Feature specifications" and "Service quotas".
_GUIDE = "administrator guide"

_rows: list[tuple[str, int, str, str]] = []


def _limit(number: int, what: str, unit: str, source: str) -> int:
    """A limit that has its row in docs/limits.md."""
    _rows.append((what, number, unit, source))
    return number


ADDRESS_CHARACTERS = _limit(255, "An e-mail address", "characters", f"{_MODEL}, `EmailAddress`")
DISPLAY_NAME_CHARACTERS = _limit(256, "A display name", "characters", f"{_MODEL}, `EmailAddressDisplayName`")
ADDRESSES = _limit(
    50, "The destination and the additional recipients", "addresses",
    f"{_REFERENCE}, `InboundAdditionalRecipients`",
)  # fmt: skip
SUBJECT_CHARACTERS = _limit(998, "The subject", "characters", f"{_MODEL}, `InboundSubject`")
BODY_BYTES = _limit(
    5_242_880, "The body (counted in UTF-8, the largest of all counts)", "bytes", f"{_MODEL}, `Body`"
)
STORED_CONTENT_BYTES = _limit(
    32_768, 'The body, as far as the block "Get stored content" of a flow reads it', "bytes", _GUIDE
)
HEADER_CHARACTERS = _limit(
    20_000, "Message-ID, In-Reply-To or References", "characters", f"{_MODEL}, `EmailHeaderValue`"
)
FILE_NAME_CHARACTERS = _limit(256, "The name of an attachment", "characters", f"{_MODEL}, `FileName`")
#: Older service models, and the quota of an instance as it is created, say 10.
ATTACHMENTS = _limit(50, "Attachments of a contact", "files", f"{_MODEL}, `EmailAttachments`")
DEFAULT_ATTACHMENTS = _limit(
    10, "Attachments of a contact, as an instance is created", "files", f"{_REFERENCE}, quota (402)"
)
ATTACHMENT_BYTES = _limit(20_971_520, "One attachment", "bytes", _GUIDE)
TOTAL_BYTES = _limit(26_214_400, "Body and attachments together", "bytes", _GUIDE)
ATTRIBUTE_BYTES = _limit(32_768, "All attributes, keys and values", "bytes", _REFERENCE)
REFERENCE_BYTES = _limit(4_096, "All references, keys and values", "bytes", _REFERENCE)
NAME_CHARACTERS = _limit(1_024, "The name", "characters", f"{_MODEL}, `Name`")
DESCRIPTION_CHARACTERS = _limit(4_096, "The description", "characters", f"{_MODEL}, `Description`")
SEGMENT_KEY_CHARACTERS = _limit(
    128, "The name of a segment attribute", "characters", f"{_MODEL}, `SegmentAttributeName`"
)
SEGMENT_VALUE_CHARACTERS = _limit(
    1_024, "The text of a segment attribute", "characters", f"{_MODEL}, `SegmentAttributeValueString`"
)
EXPIRY_MINUTES = _limit(129_600, "The expiry of a contact (90 days)", "minutes", f"{_GUIDE}, quota")
FLOW_ID_CHARACTERS = _limit(500, "The id of a flow", "characters", f"{_MODEL}, `ContactFlowId`")
DEFAULT_REQUESTS_PER_SECOND = _limit(
    2, "StartEmailContact, per account and Region, until AWS raises it", "a second", f"{_GUIDE}, quota (429)"
)
DEFAULT_BURST = _limit(5, "StartEmailContact, at once", "requests", f"{_GUIDE}, quota (429)")
THREAD_DAYS = _limit(
    90, "A reply joins the thread of a contact for", "days", f"{_GUIDE}; {_REFERENCE}, `RelatedContactId`"
)
TOKEN_DAYS = _limit(
    7, "A client token is remembered for", "days",
    f"{_REFERENCE} of the sister calls; none is given for StartEmailContact",
)  # fmt: skip

#: The segment attribute that ends a contact, and the member of its map (API reference).
EXPIRY_KEY, EXPIRY_MEMBER = "connect:ContactExpiry", "ExpiryDuration"
#: The body's types and the references' that the call takes (API reference).
CONTENT_TYPES = ("text/plain", "text/html")
REFERENCE_TYPES = ("URL", "NUMBER", "STRING", "DATE")
#: The file types of an instance as it is created: administrator guide, "Feature specifications".
DEFAULT_EXTENSIONS = (
    "csv", "doc", "docx", "heic", "jfif", "jpeg", "jpg", "mov", "mp4", "pdf", "png", "ppt", "pptx", "rtf", "txt",
    "wav", "xls", "xlsx",
)  # fmt: skip


def build_limits_document() -> str:
    """The text of `docs/limits.md`."""
    lines = [
        "# Limits of Amazon Connect",
        "",
        "What StartEmailContact takes. The relay keeps every mail within these numbers before it sends",
        "([adaptations.md](adaptations.md) says how), and the sandbox's simulator refuses what is beyond them. Those of",
        "attachments, of types and of the rate are an instance's own: `[connect]` in [configuration.md](configuration.md)",
        "says what yours are.",
        "",
        "This page is made from `relay/contact/limits.py` by `make docs`.",
        "",
        "| What | At most | | Documented in |",
        "|---|---|---|---|",
        *(f"| {what} | {number:,} | {unit} | {source} |" for what, number, unit, source in _rows),
        "",
        "File types of an instance as it is created: "
        + ", ".join(f"`{extension}`" for extension in DEFAULT_EXTENSIONS)
        + ".",
    ]
    return "\n".join(lines) + "\n"
