"""The keys of the checks of a mail's origin: the DNS that is asked, and what is looked up there.

Owns `[dns]` and `[identity]`. Never reads a file or asks anybody.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from relay.config.section import Section
from relay.config.words import (
    check_dns_list,
    check_network,
    check_protected,
    check_sealer,
    check_server,
)

#: The gateways whose header fields are known (docs/identity.md, "The gateway in front").
Upstream = Literal[
    "microsoft365", "google", "proofpoint", "mimecast", "rspamd", "spamassassin", "authentication-results",
]  # fmt: skip


class Dns(Section):
    """The servers that are asked about the origin of mail, and how long they are waited for."""

    servers: Annotated[tuple[Annotated[str, AfterValidator(check_server)], ...], Field(max_length=8)] = ()
    timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    deadline_seconds: float = Field(default=10.0, gt=0, le=60)

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.timeout_seconds > self.deadline_seconds:
            raise ValueError(
                f"timeout_seconds = {self.timeout_seconds:g} is above "
                f"deadline_seconds = {self.deadline_seconds:g}; one question cannot take longer than all"
            )
        return self


class Identity(Section):
    """The checks of a mail's origin."""

    enabled: bool = True
    dnsbl: Annotated[tuple[Annotated[str, AfterValidator(check_dns_list)], ...], Field(max_length=8)] = ()
    trusted_relays: Annotated[
        tuple[Annotated[str, AfterValidator(check_network)], ...], Field(max_length=100)
    ] = ()
    upstream: Upstream | None = None
    upstream_fields: Literal["above", "anywhere"] = "above"
    trusted_sealers: Annotated[
        tuple[Annotated[str, AfterValidator(check_sealer)], ...], Field(max_length=100)
    ] = ()
    protected: Annotated[
        tuple[Annotated[str, AfterValidator(check_protected)], ...], Field(max_length=1_000)
    ] = ()

    @model_validator(mode="after")
    def _believe(self) -> Self:
        if self.upstream is not None and not self.trusted_relays:
            raise ValueError(
                f'upstream = "{self.upstream}" is believed from nobody; name the addresses of that gateway '
                'in trusted_relays, as in trusted_relays = ["192.0.2.0/24"]'
            )
        if self.upstream_fields != "above" and self.upstream is None:
            raise ValueError(
                f'upstream_fields = "{self.upstream_fields}" says where the fields of a gateway stand; name its '
                'kind in upstream, as in upstream = "rspamd"'
            )
        return self
