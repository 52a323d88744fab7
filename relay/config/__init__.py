"""The configuration: keys and defaults (`model`), the words of values (`words`), and the reading (`load`)."""

from __future__ import annotations

from relay.config.listener import Listener
from relay.config.model import Config, Route

__all__ = ["Config", "Listener", "Route"]
