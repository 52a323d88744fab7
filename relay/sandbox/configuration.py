"""The configuration of the sandbox's daemon, as a file that `relay queue` and other commands take, too.

Owns how a configuration is written down (TOML), and what the sandbox changes in one: where mail comes in,
where it is stored, and the limits that would stop a load test from one address.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from relay.config import Config
from relay.config.builtin import builtin_config
from relay.config.load import load_config


def sandbox_config(
    *, smtp: str, data_dir: Path, config_path: str | None = None, admin: str | None = None, **tables: Any
) -> Config:
    """The built-in configuration, or somebody's own, with one plain listener at `smtp` and its data in
    `data_dir`.

    Raises:
        ConfigError: the file is not right.
    """
    changes: dict[str, Any] = {
        # Trusted, so that a newcomer's first try (curl with a file that ends its lines in LF) is repaired and
        # not refused.
        "listeners": [{"bind": smtp, "tls": "none", "role": "trusted", "allow": ["0.0.0.0/0", "::/0"]}],
        "data_dir": str(data_dir),
        "web": {"bind": []},  # the sandbox has the page itself
        **({} if admin is None else {"admin": {"bind": admin}}),
        **tables,
    }
    if config_path is not None:
        own = load_config(config_path).model_dump(
            mode="json", exclude_defaults=True, exclude_none=True, by_alias=True
        )
        return Config.model_validate(_laid_over(own, changes))
    # All mail comes from one address here, however many senders a test plays.
    limits = {
        "connections_per_address": 2_000,
        "connections_per_network": 2_000,
        "messages_per_minute": 1_000_000,
        "recipients_per_minute": 1_000_000,
        "unknown_recipients_per_minute": 1_000_000,
        **changes.pop("limits", {}),
    }
    return builtin_config(limits=limits, **changes)


def _laid_over(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Lay changes over a configuration: tables are merged key by key, other values are replaced."""
    laid = dict(data)
    for name, value in changes.items():
        mine = laid.get(name)
        laid[name] = {**mine, **value} if isinstance(mine, dict) and isinstance(value, dict) else value
    return laid


def write_config(config: Config, path: Path) -> None:
    """Write the keys that differ from the defaults, as TOML."""
    data = config.model_dump(mode="json", exclude_defaults=True, exclude_none=True, by_alias=True)
    lines = [f"{key} = {_toml(value)}" for key, value in data.items()]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _toml(value: Any) -> str:
    """A value as inline TOML 1.0. Our keys have no other kinds of values."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {_toml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
