"""The keys of the listeners: where mail comes in, whose word is believed there, and the TLS that is spoken.

Owns `[[listeners]]` and `[tls]`. Never opens a socket or reads a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.config.policy import ListenerPolicy
from relay.config.section import Section
from relay.config.words import check_bind, check_hostname, check_network

Network = Annotated[str, AfterValidator(check_network)]
Bind = Annotated[str, AfterValidator(check_bind)]


class Listener(Section):
    """One place where mail comes in."""

    bind: Bind = "0.0.0.0:25"
    role: Literal["mx", "trusted"] = "mx"
    protocol: Literal["smtp", "lmtp"] = "smtp"
    tls: Literal["none", "starttls", "required", "implicit"] = "starttls"
    proxy_protocol: tuple[Network, ...] = ()
    xclient: tuple[Network, ...] = ()
    xforward: tuple[Network, ...] = ()
    allow: tuple[Network, ...] = ()
    auth: Literal["none", "optional", "required"] = "none"
    policy: ListenerPolicy = Field(default_factory=dict)
    bare_lf: Literal["repair", "reject"] = "repair"
    strict: bool = False


class MoreTls(Section):
    """A further certificate of the listeners."""

    certificate: Path
    key: Path
    #: The names in SNI for which it is shown; empty: it stands beside the first, with a key of another kind.
    names: tuple[Annotated[str, AfterValidator(check_hostname)], ...] = ()


class Tls(Section):
    """The certificates of the listeners, and what is agreed on with peers."""

    certificate: Path | None = None
    key: Path | None = None
    more: tuple[MoreTls, ...] = ()
    client_ca: Path | None = None
    minimum: Literal["1.2", "1.3"] = "1.2"
    ciphers: str = ""
