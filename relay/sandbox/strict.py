"""Interim stand-in for `relay.connect.model`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import regex
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator, ValidationErrors


class _Strict(ParamValidator):  # type: ignore[misc]
    def _validate_string(self, param: Any, shape: Any, errors: Any, name: str) -> None:
        super()._validate_string(param, shape, errors, name)
        if isinstance(param, str):
            pattern = shape.metadata.get("pattern")
            if len(param) > shape.metadata.get("max", len(param)):
                errors.sentences.append(f"{name} is too long")
            if shape.enum and param not in shape.enum:
                errors.sentences.append(f"{name} must be one of {shape.enum}")
            if pattern and not regex.fullmatch(pattern, param, regex.V0):
                errors.sentences.append(f"{name} must match {pattern}")

    def _validate_list(self, param: Any, shape: Any, errors: Any, name: str) -> None:
        super()._validate_list(param, shape, errors, name)
        if isinstance(param, list | tuple) and len(param) > shape.metadata.get("max", len(param)):
            errors.sentences.append(f"{name} has too many members")


@cache
def _input_shape() -> Any:
    model = ServiceModel(Loader().load_service_model("connect", "service-2"), "connect")
    return model.operation_model("StartEmailContact").input_shape


def check_request(params: Mapping[str, Any]) -> tuple[str, ...]:
    """What the service model has against these arguments."""
    errors = ValidationErrors()
    errors.sentences = []
    _Strict()._validate(params, _input_shape(), errors, name="")  # noqa: SLF001  # its public entry makes its own list of errors
    return (*([errors.generate_report()] if errors.has_errors() else []), *errors.sentences)
