"""The configuration: its keys and defaults (`model`), the words values are made of (`words`), and how it is read (`load`)."""

from __future__ import annotations

from relay.config.model import Config, Listener, Route

__all__ = ["Config", "Listener", "Route"]
