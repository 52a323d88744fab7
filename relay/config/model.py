"""The configuration as values: every key, its default, and what would be right.

Owns the keys (design §5.3). Never reads a file, the environment or the network: `relay.config.load` does.
A validator's message completes the sentence "<key> = <value>: ...", so it says what would be right.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from relay.config.words import check_address, check_bind, check_hostname, check_match, check_network

#: AWS's default list: Amazon Connect administrator guide, "feature specifications" (facts in docs/limits.md).
DEFAULT_EXTENSIONS = (
    "csv", "doc", "docx", "heic", "jfif", "jpeg", "jpg", "mov", "mp4", "pdf", "png", "ppt", "pptx", "rtf", "txt",
    "wav", "xls", "xlsx",
)  # fmt: skip

Network = Annotated[str, AfterValidator(check_network)]
Bind = Annotated[str, AfterValidator(check_bind)]
Address = Annotated[str, AfterValidator(check_address)]
Match = Annotated[str, AfterValidator(check_match)]
Classes = Literal["human", "auto-reply", "bounce", "list", "bulk"]


class Section(BaseModel):
    """A table of the file: frozen, and no key unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, validate_default=False)


class Listener(Section):
    """One place where mail comes in."""

    bind: Bind = "0.0.0.0:25"
    role: Literal["mx", "trusted"] = "mx"
    protocol: Literal["smtp", "lmtp"] = "smtp"
    tls: Literal["none", "starttls", "required", "implicit"] = "starttls"
    proxy_protocol: tuple[Network, ...] = ()
    xclient: tuple[Network, ...] = ()
    allow: tuple[Network, ...] = ()
    auth: Literal["none", "optional", "required"] = "none"

    @model_validator(mode="after")
    def _auth_needs_tls(self) -> Self:
        if self.auth != "none" and (self.role != "trusted" or self.tls == "none"):
            raise ValueError('auth needs role = "trusted" and a tls other than "none"')
        return self


class Tls(Section):
    """The certificate of the listeners."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


class Server(Section):
    """Processes and their end."""

    receivers: int = Field(default=0, ge=0, le=64)
    drain_seconds: float = Field(default=30.0, gt=0, le=600)
    users_file: Path | None = None


class Limits(Section):
    """What one peer, and all of them together, may ask of us."""

    connections: int = Field(default=2_000, ge=1)
    connections_per_address: int = Field(default=50, ge=1)
    connections_per_network: int = Field(default=200, ge=1)
    messages_per_minute: int = Field(default=600, ge=1)
    unknown_recipients_per_minute: int = Field(default=60, ge=1)
    messages_per_session: int = Field(default=1_000, ge=1)
    recipients: int = Field(default=100, ge=100)
    errors: int = Field(default=20, ge=1)
    idle_commands: int = Field(default=100, ge=1)
    line_bytes: int = Field(default=1_048_576, ge=1_000)
    command_seconds: float = Field(default=300.0, gt=0)
    handshake_seconds: float = Field(default=30.0, gt=0)
    session_seconds: float = Field(default=3_600.0, gt=0)
    data_seconds: float = Field(default=120.0, gt=0)
    min_bytes_per_second: int = Field(default=500, ge=0)
    commit_seconds: float = Field(default=60.0, gt=0, le=290)
    early_talker_seconds: float = Field(default=0.0, ge=0, le=60)
    hops: int = Field(default=50, ge=5)
    loop_lag_seconds: float = Field(default=2.0, gt=0)
    memory_bytes: int = Field(default=0, ge=0)


class SpoolSection(Section):
    """Where accepted mail lies until it is a contact."""

    large_message_bytes: int = Field(default=262_144, ge=1_024)
    max_bytes: int = Field(default=0, ge=0)
    max_entries: int = Field(default=0, ge=0)
    max_age_hours: float = Field(default=0.0, ge=0)
    min_free_bytes: int = Field(default=268_435_456, ge=0)
    min_free_inodes: int = Field(default=1_000, ge=0)
    retain_days: float = Field(default=14.0, ge=0)
    duplicate_window_hours: float = Field(default=168.0, ge=0)


class Deliver(Section):
    """How entries are tried, and for how long."""

    concurrency: int = Field(default=8, ge=1, le=256)
    max_age_hours: float = Field(default=96.0, gt=0)
    backoff_min_seconds: float = Field(default=5.0, gt=0)
    backoff_max_seconds: float = Field(default=3_600.0, gt=0)
    capacity_seconds: float = Field(default=300.0, gt=0)
    lease_seconds: float = Field(default=600.0, gt=0)
    max_attempts_cut_short: int = Field(default=5, ge=1)
    probe_seconds: float = Field(default=60.0, gt=0)
    poll_seconds: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.backoff_min_seconds > self.backoff_max_seconds:
            raise ValueError("backoff_min_seconds must not be above backoff_max_seconds")
        return self


class S3(Section):
    """The bucket that attachments go to."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9!_.*'()/-]{0,200}$")] = "mail/"
    url_ttl_seconds: int = Field(default=86_400, ge=60, le=604_800)
    uploads: int = Field(default=4, ge=1, le=32)
    keep_original: Literal["adapted", "always", "never"] = "adapted"


class Connect(Section):
    """The instance that contacts are started in."""

    instance_id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9:/_-]+$")]
    requests_per_second: float = Field(default=2.0, gt=0, le=1_000)
    burst: int = Field(default=5, ge=1, le=1_000)
    max_attachments: int = Field(default=10, ge=0, le=50)
    max_attachment_bytes: int = Field(default=20_971_520, ge=1, le=20_971_520)
    max_total_bytes: int = Field(default=26_214_400, ge=1, le=26_214_400)
    allowed_extensions: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,10}$")], ...] = DEFAULT_EXTENSIONS
    timeout_seconds: float = Field(default=60.0, gt=0, le=600)


class Contact(Section):
    """What a contact says of its mail."""

    attribute_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,32}$")] = "relay_"
    fallback_from: Address = "unknown@invalid.example"
    empty_body: Annotated[str, Field(min_length=1, max_length=200)] = "(no text)"
    strip_own_recipients: bool = True


class Admin(Section):
    """Health and metrics, for the operator only."""

    bind: Bind | Literal[""] = "127.0.0.1:8026"


class Log(Section):
    """Where the log goes is the service manager's business; this is how it looks."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Route(Section):
    """Which recipients go to which address of which instance."""

    match: Annotated[tuple[Match, ...], Field(min_length=1)]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9@._*+-]{0,100}$")] = ""
    destination: Address | None = None
    instance_id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9:/_-]+$")] | None = (
        None
    )
    contact_flow_id: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    attributes: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,127}$")], str] = Field(
        default_factory=dict
    )
    prefer_reply_to: bool = False
    prefer: Literal["html", "text"] = "html"
    disallowed_types: Literal["store", "reject"] = "store"
    thread: Literal["off", "references"] = "off"
    on: dict[Classes, Literal["deliver", "hold", "drop"]] = Field(default_factory=dict)
    flows: dict[Classes, Annotated[str, Field(min_length=1, max_length=500)]] = Field(default_factory=dict)


class Config(Section):
    """The whole file."""

    hostname: Annotated[str, AfterValidator(check_hostname)] = Field(default_factory=socket.getfqdn)
    data_dir: Path = Path("/var/lib/relay")
    max_message_bytes: int = Field(default=41_943_040, ge=65_536, le=157_286_400)
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1)] = (Listener(),)
    server: Server = Server()
    limits: Limits = Limits()
    tls: Tls = Tls()
    spool: SpoolSection = SpoolSection()
    deliver: Deliver = Deliver()
    s3: S3
    connect: Connect
    contact: Contact = Contact()
    admin: Admin = Admin()
    log: Log = Log()
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]

    @field_validator("routes", mode="after")
    @classmethod
    def _names(cls, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        named = tuple(
            route if route.name else route.model_copy(update={"name": route.match[0]}) for route in routes
        )
        seen: set[str] = set()
        for route in named:
            if route.name in seen:
                raise ValueError(
                    f"two routes are named {route.name!r}; names must differ (default: the first match)"
                )
            seen.add(route.name)
        return named

    @model_validator(mode="after")
    def _tls_files(self) -> Self:
        wanting = [listener.bind for listener in self.listeners if listener.tls in ("required", "implicit")]
        if wanting and not (self.tls.certificate and self.tls.key):
            raise ValueError(f"tls.certificate and tls.key are needed by the listener {wanting[0]}")
        if bool(self.tls.certificate) != bool(self.tls.key):
            raise ValueError("tls.certificate and tls.key go together: give both or neither")
        return self

    @model_validator(mode="after")
    def _users(self) -> Self:
        if any(listener.auth != "none" for listener in self.listeners) and self.server.users_file is None:
            raise ValueError("server.users_file is needed by a listener with auth")
        return self
