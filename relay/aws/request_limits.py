"""The limits of StartEmailContact, checked before the call: those of the service model, and those of the
documents alone.

Owns the validator that both the relay and the sandbox's simulator use. Never calls anything. botocore itself
checks types, required and unknown members and minimum lengths. It does not check maximum lengths, patterns
and enums: breaches would come back as a refusal of a mail that was already accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator, ValidationErrors

from relay.aws.shapes import Fits, compile_pattern, compile_shape
from relay.contact.characters import count_utf8, exceeds_utf8, is_sendable
from relay.contact.limits import (
    ADDRESSES,
    ATTACHMENT_BYTES,
    ATTRIBUTE_BYTES,
    BODY_BYTES,
    CONTENT_TYPES,
    DEFAULT_ATTACHMENTS,
    EXPIRY_KEY,
    EXPIRY_MEMBER,
    EXPIRY_MINUTES,
    REFERENCE_BYTES,
    REFERENCE_TYPES,
    TOTAL_BYTES,
)

_ATTRIBUTE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: The service's own begin with "connect:" (administrator guide, "Contact segment attributes").
_SEGMENT_KEY = re.compile(r"(?:connect:)?[A-Za-z0-9_-]+")
#: Values of the two types of a reference that are more than text (API reference).
_REFERENCE_VALUES = {"NUMBER": re.compile(r"-?[0-9]+(?:\.[0-9]+)?"), "DATE": re.compile(r"[0-9]+")}


class _Errors(ValidationErrors):  # type: ignore[misc] # botocore has no types
    """botocore's list of errors, with room for our sentences."""

    def _format_error(self, error: tuple[str, str, dict[str, Any]]) -> str:
        kind, _, facts = error
        return str(facts["sentence"] if kind == "constraint" else super()._format_error(error))

    def sentences(self) -> tuple[str, ...]:
        """One sentence for each problem, each on one line."""
        return tuple(self._format_error(error).replace("\n", " ") for error in self._errors)


class StrictValidator(ParamValidator):  # type: ignore[misc] # botocore has no types
    """botocore's validator, with maximum lengths, patterns and enums, each in the words that AWS uses.

    Lengths count UTF-16 units, as services written in Java do. `maxima` replaces the maximum of single shapes
    by their name, for AWS has raised some of them over the years.
    """

    def __init__(self, maxima: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self._maxima = dict(maxima or {})

    def check(self, params: Any, shape: Shape) -> tuple[str, ...]:
        """Check `params` as a value of `shape`. Returns one sentence for each problem."""
        errors = _Errors()
        self._validate(params, shape, errors, "")
        return errors.sentences()

    def _report(self, errors: _Errors, name: str, constraint: str) -> None:
        sentence = f"Value at '{name.lstrip('.')}' failed to satisfy constraint: {constraint}"
        errors.report(name, "constraint", sentence=sentence)

    def _check_maximum(self, size: int, shape: Shape, errors: _Errors, name: str, what: str) -> None:
        maximum = self._maxima.get(shape.name, shape.metadata.get("max"))
        if maximum is not None and size > maximum:
            self._report(errors, name, f"Member must have {what} less than or equal to {maximum}")

    def _validate_string(self, param: Any, shape: Shape, errors: _Errors, name: str) -> None:
        super()._validate_string(param, shape, errors, name)
        if not isinstance(param, str):
            return
        length = len(param) if param.isascii() else len(param.encode("utf-16-le", "surrogatepass")) // 2
        self._check_maximum(length, shape, errors, name, "length")
        allowed = getattr(shape, "enum", None)
        if allowed and param not in allowed:
            self._report(errors, name, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
        pattern = shape.metadata.get("pattern")
        if pattern and not compile_pattern(pattern).fullmatch(param):
            self._report(errors, name, f"Member must satisfy regular expression pattern: {pattern}")
        if not is_sendable(param):
            self._report(errors, name, "Member must not hold NUL or a lone surrogate")

    def _validate_list(self, param: Any, shape: Shape, errors: _Errors, name: str) -> None:
        super()._validate_list(param, shape, errors, name)
        if isinstance(param, (list, tuple)):
            self._check_maximum(len(param), shape, errors, name, "length")

    def _validate_map(self, param: Any, shape: Shape, errors: _Errors, name: str) -> None:
        super()._validate_map(param, shape, errors, name)
        if isinstance(param, dict):
            self._check_maximum(len(param), shape, errors, name, "length")

    def _validate_integer(self, param: Any, shape: Shape, errors: _Errors, name: str) -> None:
        if isinstance(param, bool):
            errors.report(name, "invalid type", param=param, valid_types=["<class 'int'>"])
            return
        super()._validate_integer(param, shape, errors, name)
        if isinstance(param, int):
            self._check_maximum(param, shape, errors, name, "value")


@cache
def load_service_model() -> ServiceModel:
    """The service model of Amazon Connect as botocore ships it. Reading it takes a tenth of
    a second, once.
    """
    return ServiceModel(Loader().load_service_model("connect", "service-2"), "connect")


def input_shape() -> Shape:
    """The shape of StartEmailContact's arguments."""
    return load_service_model().operation_model("StartEmailContact").input_shape


@lru_cache(maxsize=64)  # no instance takes more than 50 attachments
def _compile_input(max_attachments: int) -> Fits:
    return compile_shape(input_shape(), _maxima(max_attachments))


def _maxima(max_attachments: int) -> Mapping[str, int]:
    return {"EmailAttachments": max_attachments}


def check_request(
    request: Mapping[str, Any], *, max_attachments: int = DEFAULT_ATTACHMENTS, sizes: Sequence[int] = ()
) -> tuple[str, ...]:
    """Check a request. Returns one sentence for each problem; none when Connect has no reason to refuse it.

    `sizes` are the bytes of its attachments where they are known, for the limits of 20 MB and 25 MB.
    """
    params = dict(request)
    problems: tuple[str, ...] = ()
    if not _compile_input(max_attachments)(params):
        problems = StrictValidator(_maxima(max_attachments)).check(params, input_shape())
    # The limits of the documents look into members whose types must be right first.
    return problems or tuple(_check_documents(request, sizes))


def _check_documents(request: Mapping[str, Any], sizes: Sequence[int]) -> Iterator[str]:
    """Check the limits that stand in the documents only."""
    raw = request["EmailMessage"].get("RawMessage")
    rest = TOTAL_BYTES - sum(sizes)
    if raw is None:
        yield "EmailMessage.RawMessage is required when MessageSourceType is RAW"
    else:
        if exceeds_utf8(raw["Body"], BODY_BYTES):
            yield f"EmailMessage.RawMessage.Body has {count_utf8(raw['Body'])} bytes, {BODY_BYTES} are allowed"
        if raw["ContentType"] not in CONTENT_TYPES:
            yield f"EmailMessage.RawMessage.ContentType must be one of {', '.join(CONTENT_TYPES)}"
        if re.search(r"[\r\n]", raw["Subject"]):
            yield "EmailMessage.RawMessage.Subject must be one line"
        for key, value in raw.get("Headers", {}).items():
            if re.search(r"[\r\n]", value):
                yield f"EmailMessage.RawMessage.Headers.{key} must be one line"
    yield from _check_recipients(request)
    yield from _check_pairs(request)
    for number, size in enumerate(sizes):
        if not 1 <= size <= ATTACHMENT_BYTES:
            yield f"Attachments[{number}] has {size} bytes, 1 to {ATTACHMENT_BYTES} are allowed"
    body = "" if raw is None else raw["Body"]
    if exceeds_utf8(body, rest):
        total = sum(sizes) + count_utf8(body)
        yield f"Body and attachments have {total} bytes, {TOTAL_BYTES} are allowed together"


def _check_recipients(request: Mapping[str, Any]) -> Iterator[str]:
    recipients = request.get("AdditionalRecipients", {})
    count = 1 + len(recipients.get("ToAddresses", ())) + len(recipients.get("CcAddresses", ()))
    if count > ADDRESSES:
        yield f"AdditionalRecipients and the destination are {count} addresses, {ADDRESSES} are allowed"


def _check_pairs(request: Mapping[str, Any]) -> Iterator[str]:
    attributes = request.get("Attributes", {})
    size = sum(count_utf8(key) + count_utf8(value) for key, value in attributes.items())
    if size > ATTRIBUTE_BYTES:
        yield f"Attributes have {size} bytes, {ATTRIBUTE_BYTES} are allowed"
    for key in attributes:
        if not _ATTRIBUTE_KEY.fullmatch(key):
            yield f"Attributes: the key {key!r} may hold letters, digits, dash and underscore only"
    references = request.get("References", {})
    size = sum(count_utf8(key) + count_utf8(value.get("Value", "")) for key, value in references.items())
    if size > REFERENCE_BYTES:
        yield f"References have {size} bytes, {REFERENCE_BYTES} are allowed"
    for key, value in references.items():
        if value["Type"] not in REFERENCE_TYPES:
            yield f"References.{key} must be one of {', '.join(REFERENCE_TYPES)} when a contact is started"
        pattern = _REFERENCE_VALUES.get(value["Type"])
        if pattern is not None and not pattern.fullmatch(value.get("Value", "")):
            yield f"References.{key} must be {'a number' if value['Type'] == 'NUMBER' else 'an epoch timestamp'}"
    yield from _check_segments("SegmentAttributes", request.get("SegmentAttributes", {}))


def _check_segments(name: str, segments: Mapping[str, Any]) -> Iterator[str]:
    """Check segment attributes, those inside of maps too."""
    for key, value in segments.items():
        if not _SEGMENT_KEY.fullmatch(key):
            yield f"{name}: the key {key!r} may hold letters, digits, dash and underscore only"
        if len(value) != 1:
            yield f"{name}.{key} must have exactly one value"
        if key == EXPIRY_KEY:
            yield from _check_expiry(f"{name}.{key}", value)
        elif "ValueMap" in value:
            yield from _check_segments(f"{name}.{key}", value["ValueMap"])


def _check_expiry(name: str, value: Mapping[str, Any]) -> Iterator[str]:
    minutes = value.get("ValueMap", {}).get(EXPIRY_MEMBER, {}).get("ValueInteger")
    if set(value.get("ValueMap", {})) != {EXPIRY_MEMBER} or minutes is None:
        yield f"{name} must be a ValueMap of {EXPIRY_MEMBER} alone, with a ValueInteger"
    elif not 1 <= minutes <= EXPIRY_MINUTES:
        yield f"{name} must be 1 to {EXPIRY_MINUTES} minutes"
