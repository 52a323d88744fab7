"""What Connect refuses in a StartEmailContact: everything documented, told in the service's own errors.

Owns the order of the checks and the words of the refusals. Never does I/O: what depends on the world (which
addresses exist, how large an object is) is an argument. The limits of single fields are the service model's, checked
by `relay.connect.model`; those over several fields are here, each with its origin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.config.model import DEFAULT_EXTENSIONS
from relay.sandbox.strict import check_request

#: API reference, InboundAdditionalRecipients: 50 addresses in all, DestinationEmailAddress among them.
MAX_ADDRESSES = 50
#: API reference, StartEmailContact, Attributes: 32,768 UTF-8 bytes over all pairs.
MAX_ATTRIBUTE_BYTES = 32_768
#: The same page, References.
MAX_REFERENCE_BYTES = 4_096
MAX_BODY_BYTES = (
    5 * 1024 * 1024
)  # administrator guide, feature specifications: "maximum email message body size"
#: Reference types that may be given at creation: API reference, Reference.
REFERENCE_TYPES = ("URL", "NUMBER", "STRING", "DATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an administrator of the instance, or a quota, decides; the defaults are AWS's."""

    instance_ids: frozenset[str] | None = None
    #: Whether an instance has an e-mail address.
    has_address: Callable[[str, str], bool] = field(default=lambda _instance_id, _address: True)
    extensions: tuple[str, ...] = DEFAULT_EXTENSIONS
    max_attachments: int = 10
    max_file_bytes: int = 20 * 1024 * 1024
    max_total_bytes: int = 25 * 1024 * 1024
    requests_per_second: float = 2.0
    burst: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A modelled error of StartEmailContact."""

    code: str
    message: str
    reason: Mapping[str, str] | None = None


def check(
    params: Mapping[str, Any], settings: Settings, *, size_of: Callable[[str], int | None]
) -> Refusal | None:
    """Why the service would refuse these arguments; None when it would not.

    `size_of` gives the octets behind an S3Url, None where that cannot be said before it is fetched.
    """
    sentences = check_request(params)
    if sentences:
        return _invalid("; ".join(sentences))
    instance_id = _bare(params["InstanceId"])
    if settings.instance_ids is not None and instance_id not in {
        _bare(known) for known in settings.instance_ids
    }:
        return Refusal(code="ResourceNotFoundException", message=f"Instance {instance_id} was not found")
    if not settings.has_address(params["InstanceId"], params["DestinationEmailAddress"]):
        return Refusal(
            code="ResourceNotFoundException",
            message=f"Email address {params['DestinationEmailAddress']} was not found in the instance",
        )
    return _check_sums(params) or _check_files(params, settings, size_of)


def _check_sums(params: Mapping[str, Any]) -> Refusal | None:
    message = params["EmailMessage"]
    if message["MessageSourceType"] == "RAW" and "RawMessage" not in message:
        return _invalid("RawMessage is required when MessageSourceType is RAW")
    raw = message.get("RawMessage", {})
    if raw.get("ContentType") not in ("text/plain", "text/html"):
        return _invalid("ContentType must be text/plain or text/html")
    if _utf8(raw["Body"]) > MAX_BODY_BYTES:
        return _invalid(f"Body exceeds {MAX_BODY_BYTES} bytes")
    additional = params.get("AdditionalRecipients", {})
    addresses = 1 + len(additional.get("ToAddresses", ())) + len(additional.get("CcAddresses", ()))
    if addresses > MAX_ADDRESSES:
        return _invalid(f"{addresses} email addresses exceed the limit of {MAX_ADDRESSES}")
    attributes = params.get("Attributes", {})
    if (size := sum(_utf8(key) + _utf8(value) for key, value in attributes.items())) > MAX_ATTRIBUTE_BYTES:
        return _invalid(f"Attributes of {size} bytes exceed the limit of {MAX_ATTRIBUTE_BYTES}")
    if bad := [
        key for key in attributes if not key.replace("-", "").replace("_", "").isalnum() or not key.isascii()
    ]:
        return _invalid(f"Attribute key {bad[0]!r} may hold only letters, digits, - and _")
    references = params.get("References", {})
    if bad := [name for name, value in references.items() if value["Type"] not in REFERENCE_TYPES]:
        return _invalid(f"Reference {bad[0]!r} has a type that is not allowed at creation")
    size = sum(_utf8(name) + sum(map(_utf8, map(str, value.values()))) for name, value in references.items())
    return (
        _invalid(f"References of {size} bytes exceed the limit of {MAX_REFERENCE_BYTES}")
        if size > MAX_REFERENCE_BYTES
        else None
    )


def _check_files(
    params: Mapping[str, Any], settings: Settings, size_of: Callable[[str], int | None]
) -> Refusal | None:
    """Reasons of the shapes AttachedFile…ExceptionReason, which the errors of this call carry in the model."""
    files: Sequence[Mapping[str, str]] = params.get("Attachments", ())
    if len(files) > settings.max_attachments:
        return _over(
            "TOTAL_FILE_COUNT_EXCEEDED", f"{len(files)} attachments exceed {settings.max_attachments}"
        )
    total = _utf8(params["EmailMessage"]["RawMessage"]["Body"])
    for file in files:
        name = file["FileName"]
        extension = name.rpartition(".")[2].lower() if "." in name else ""
        if extension not in settings.extensions:
            return _bad_file("INVALID_FILE_TYPE", f"File type of {name} is not allowed")
        size = size_of(file["S3Url"])
        if size is not None and size > settings.max_file_bytes:
            return _bad_file(
                "INVALID_FILE_SIZE", f"File {name} of {size} bytes exceeds {settings.max_file_bytes}"
            )
        total += size or 0
    if total > settings.max_total_bytes:
        return _over("TOTAL_FILE_SIZE_EXCEEDED", f"{total} bytes in all exceed {settings.max_total_bytes}")
    return None


def _bare(instance_id: str) -> str:
    """The UUID at the end of an instance's ARN; a bare one stays."""
    return instance_id.rpartition("/")[2]


def _utf8(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _invalid(message: str) -> Refusal:
    return Refusal(code="InvalidRequestException", message=message)


def _bad_file(reason: str, message: str) -> Refusal:
    return Refusal(
        code="InvalidRequestException",
        message=message,
        reason={"AttachedFileInvalidRequestExceptionReason": reason},
    )


def _over(reason: str, message: str) -> Refusal:
    return Refusal(
        code="ServiceQuotaExceededException",
        message=message,
        reason={"AttachedFileServiceQuotaExceededExceptionReason": reason},
    )
