"""The configuration that `relay explain` and `relay sandbox` use when none is given.

Owns the made-up names of the sandbox: its routes, bucket and instance. Never does I/O.
"""

from __future__ import annotations

from typing import Any

from relay.config.model import Config

#: A made-up instance id, of the form that real ones have.
INSTANCE_ID = "5eed0b0c-5a4d-4b0c-9c0d-0123456789ab"
BUCKET = "relay-sandbox"

_DATA: dict[str, Any] = {
    "hostname": "relay.example.com",
    "s3": {"bucket": BUCKET},
    "connect": {"instance_id": INSTANCE_ID},
    # No destination: each mail goes to the address that it was written to, the last to any address of the
    # domain.
    "routes": [
        {"match": ["support@example.com"], "attributes": {"desk": "support"}},
        {"match": ["sales@example.com"], "attributes": {"desk": "sales"}},
        {"match": ["@example.com"]},
    ],
}


def builtin_config(**overrides: Any) -> Config:
    """The built-in configuration; a table given as an override is laid over its namesake key by key.

    Raises:
        pydantic.ValidationError: an override is not right.
    """
    data = dict(_DATA)
    for name, value in overrides.items():
        mine = data.get(name)
        data[name] = {**mine, **value} if isinstance(mine, dict) and isinstance(value, dict) else value
    return Config.model_validate(data)
