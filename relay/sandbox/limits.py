"""The refusals of the simulated StartEmailContact: everything documented, told in the service's own errors.

Owns the order of the checks and the words of the refusals. Never does I/O: what depends on the world (which
addresses exist, how large an object is) is an argument. The limits of the fields, alone and together, are
those of `relay.aws.request_limits`; here are those of the instance and of the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.aws.request_limits import check_request
from relay.config.words import bare_id
from relay.contact.limits import (
    ATTACHMENT_BYTES,
    ATTACHMENTS,
    DEFAULT_ATTACHMENTS,
    DEFAULT_BURST,
    DEFAULT_EXTENSIONS,
    DEFAULT_REQUESTS_PER_SECOND,
    TOTAL_BYTES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices of the instance's administrator, and its quotas; the defaults are AWS's."""

    instance_ids: frozenset[str] | None = None
    #: Returns whether an instance has an e-mail address.
    has_address: Callable[[str, str], bool] = field(default=lambda _instance_id, _address: True)
    #: Its e-mail addresses by instance, as SearchEmailAddresses lists them.
    addresses: Callable[[str], Sequence[str]] = field(default=lambda _instance_id: ())
    extensions: tuple[str, ...] = DEFAULT_EXTENSIONS
    max_attachments: int = DEFAULT_ATTACHMENTS
    max_file_bytes: int = ATTACHMENT_BYTES
    max_total_bytes: int = TOTAL_BYTES
    requests_per_second: float = float(DEFAULT_REQUESTS_PER_SECOND)
    burst: int = DEFAULT_BURST
    #: The account and the Region of the instance; "" for those of the sandbox.
    account: str = ""
    region: str = ""
    #: Instances with settings of their own, by their ids.
    others: Mapping[str, Settings] = field(default_factory=dict)

    def find(self, instance_id: str) -> Settings:
        """The settings of an instance."""
        return self.others.get(bare_id(instance_id), self)

    def pace(self, account: str, region: str) -> tuple[float, int]:
        """The rate and the burst of an account in a Region: AWS's own where no instance is there."""
        for each in (self, *self.others.values()):
            if (each.account, each.region) == (account, region):
                return each.requests_per_second, each.burst
        return float(DEFAULT_REQUESTS_PER_SECOND), DEFAULT_BURST


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A modelled error of StartEmailContact."""

    code: str
    message: str
    reason: Mapping[str, str] | None = None


def check(
    params: object,
    settings: Settings,
    *,
    size_of: Callable[[str], int | None],
    caller: tuple[str, str] = ("", ""),
) -> Refusal | None:
    """Check the arguments. Returns the refusal of the service, None where it would take them.

    `size_of` gives the octets behind an S3Url, None where that cannot be said before it is fetched. `caller`
    is the account that asks, and the Region that is asked; "" for those of the sandbox.
    """
    if not isinstance(params, dict):
        return _invalid("The arguments must be a JSON object")
    settings = settings.find(str(params.get("InstanceId")))
    sentences = check_request(params, max_attachments=max(settings.max_attachments, ATTACHMENTS))
    if sentences:
        return _invalid("; ".join(sentences))
    if refusal := check_instance(params["InstanceId"], settings, caller):
        return refusal
    if not settings.has_address(params["InstanceId"], params["DestinationEmailAddress"]):
        return Refusal(
            code="ResourceNotFoundException",
            message=f"Email address {params['DestinationEmailAddress']} was not found in the instance",
        )
    return _check_files(params, settings, size_of)


def check_instance(
    instance_id: str, settings: Settings, caller: tuple[str, str] = ("", "")
) -> Refusal | None:
    """Check the id or ARN of an instance.

    Returns the refusal of the service for one that is not there, or not in the account and Region of the
    caller.
    """
    known, place = settings.instance_ids, settings.find(instance_id)
    is_there = known is None or bare_id(instance_id) in {bare_id(each) for each in known}
    if is_there and caller == (place.account, place.region):
        return None
    return Refusal(code="ResourceNotFoundException", message=f"Instance {bare_id(instance_id)} was not found")


def _check_files(
    params: Mapping[str, Any], settings: Settings, size_of: Callable[[str], int | None]
) -> Refusal | None:
    """Check the files. The reasons are those of the shapes AttachedFile…ExceptionReason in
    the service model.
    """
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
        # At least one byte: FileSizeInBytes of an attached file, in the service model.
        if size is not None and not 1 <= size <= settings.max_file_bytes:
            return _bad_file("INVALID_FILE_SIZE", f"Size of {name}, {size} bytes, is not allowed")
        total += size or 0
    if total > settings.max_total_bytes:
        return _over("TOTAL_FILE_SIZE_EXCEEDED", f"{total} bytes in all exceed {settings.max_total_bytes}")
    return None


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
