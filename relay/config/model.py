"""The configuration as values: every key, its default, and what would be right.

Owns the keys; docs/configuration.md lists them. Never reads a file, the environment or the network:
`relay.config.load` does. A validator's message completes the sentence "<key> = <value>: ...", so it says what
would be right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from relay.config.alarms import Alarms, torn_webhook
from relay.config.connect import (
    UNKNOWN_HOME,
    Connect,
    InstanceId,
    Quota,
    misplaced_instances,
    torn_quotas,
)
from relay.config.contact import Contact, ContactFields, Strip, Template, captured_names, unknown_fields
from relay.config.events import Events, torn_events
from relay.config.fleet import Fleet, torn_fleet
from relay.config.listener import Listener, Tls, doubled_binds
from relay.config.lists import ListSources, ListUses, read_list_rules
from relay.config.needs import unmet_needs
from relay.config.origin import Dns, Identity
from relay.config.otel import Otel
from relay.config.policy import LIST, Policy, read_classes
from relay.config.process import Admin, Log, Server, Understand
from relay.config.scan import Scan
from relay.config.section import Section
from relay.config.sensitive import Sensitive
from relay.config.tags import S3Tags
from relay.config.web import Web, list_needs
from relay.config.words import (
    WholePath,
    bare_id,
    check_address,
    check_bucket,
    check_handler,
    check_hostname,
    check_include,
    check_match,
    check_prefix,
    check_route_name,
    check_tenant,
    place_of_instance,
)
from relay.contact.limits import EXPIRY_MINUTES, FLOW_ID_CHARACTERS
from relay.domains import normalise_address

Address = Annotated[str, AfterValidator(check_address)]
Match = Annotated[str, AfterValidator(check_match)]
#: The most that all handlers together may take. RFC 5321 §4.5.3.2: a client waits five minutes for the reply
#: to MAIL or RCPT.
_HOOKS_SECONDS = 240
Classes = Literal["human", "auto-reply", "bounce", "list", "bulk"]


class Limits(Section):
    """The limits on one peer, and on all of them together."""

    connections: int = Field(default=2_000, ge=1)
    connections_per_address: int = Field(default=50, ge=1)
    connections_per_network: int = Field(default=200, ge=1)
    messages_per_minute: int = Field(default=600, ge=1)
    recipients_per_minute: int = Field(default=60, ge=1)
    unknown_recipients_per_minute: int = Field(default=60, ge=1)
    failed_logins: int = Field(default=10, ge=1)
    messages_per_session: int = Field(default=1_000, ge=1)
    recipients: int = Field(default=100, ge=100)
    errors: int = Field(default=20, ge=1)
    idle_commands: int = Field(default=100, ge=1)
    line_bytes: int = Field(default=1_048_576, ge=1_000)
    command_seconds: float = Field(default=300.0, gt=0)
    stressed_command_seconds: float = Field(default=10.0, gt=0)
    handshake_seconds: float = Field(default=30.0, gt=0)
    session_seconds: float = Field(default=3_600.0, gt=0)
    data_seconds: float = Field(default=120.0, gt=0)
    min_bytes_per_second: int = Field(default=500, ge=0)
    transfer_seconds: float = Field(default=3_600.0, gt=0)
    commit_seconds: float = Field(default=60.0, gt=0, le=290)
    early_talker_seconds: float = Field(default=0.0, ge=0, le=60)
    hops: int = Field(default=50, ge=5, le=250)  # more may not be counted: relay.message.headers.LOOKS
    loop_lag_seconds: float = Field(default=2.0, gt=0)
    memory_bytes: int = Field(default=0, ge=0)


class SpoolSection(Section):
    """The place where accepted mail lies until it is a contact."""

    large_message_bytes: int = Field(default=262_144, ge=1_024)
    max_bytes: int = Field(default=0, ge=0)
    max_entries: int = Field(default=0, ge=0)
    max_age_hours: float = Field(default=0.0, ge=0)
    min_free_bytes: int = Field(default=268_435_456, ge=0)
    min_free_inodes: int = Field(default=1_000, ge=0)
    retain_days: float = Field(default=14.0, ge=0)
    max_ledger_rows: int = Field(default=0, ge=0)
    duplicate_window_hours: float = Field(default=168.0, ge=0)


class Deliver(Section):
    """The rules of attempts: how many at once, how often, and for how long."""

    concurrency: int = Field(default=8, ge=1, le=256)
    max_age_hours: float = Field(default=96.0, gt=0)
    max_hold_hours: float = Field(default=720.0, gt=0)
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
            raise ValueError(
                f"backoff_min_seconds = {self.backoff_min_seconds:g} is above "
                f"backoff_max_seconds = {self.backoff_max_seconds:g}; give the smaller first"
            )
        return self

    @property
    def longest_wait_seconds(self) -> float:
        """The most seconds that a failure puts an entry off, jitter included."""
        return max(self.backoff_max_seconds, self.capacity_seconds, self.probe_seconds) * 1.25


class S3(Section):
    """The bucket that attachments go to."""

    bucket: Annotated[str, AfterValidator(check_bucket)]
    prefix: Annotated[str, AfterValidator(check_prefix)] = "mail/"
    url_ttl_seconds: int = Field(default=86_400, ge=60, le=604_800)
    uploads: int = Field(default=4, ge=1, le=32)
    keep_original: Literal["adapted", "always", "never"] = "adapted"


class Hook(Section):
    """A handler of the operator's own, which is called while a mail is received."""

    handler: Annotated[str, AfterValidator(check_handler)]
    seconds: float = Field(default=10.0, gt=0, le=60)


class Route(ContactFields):
    """A route: which recipients go to which address of which instance."""

    match: Annotated[tuple[Match, ...], Field(min_length=1)]
    name: str = ""
    tenant: Annotated[str, AfterValidator(check_tenant)] | Literal[""] = ""
    destination: Address | None = None
    instance_id: InstanceId | None = None
    standby: InstanceId | None = None
    standby_flows: dict[
        Annotated[str, Field(min_length=1, max_length=FLOW_ID_CHARACTERS)],
        Annotated[str, Field(min_length=1, max_length=FLOW_ID_CHARACTERS)],
    ] = Field(default_factory=dict)
    contact_flow_id: Annotated[str, Field(min_length=1, max_length=FLOW_ID_CHARACTERS)] | None = None
    contact_name: Template | None = None
    expiry_minutes: int | None = Field(default=None, ge=1, le=EXPIRY_MINUTES)
    prefer_reply_to: bool = False
    prefer: Literal["html", "text"] = "html"
    disallowed_types: Literal["store", "reject"] = "store"
    thread: Literal["off", "references"] = "off"
    strip: Strip = Strip()
    sensitive: Sensitive = Sensitive()
    keep_original: Literal["adapted", "always", "never"] | None = None
    retain_days: float | None = Field(default=None, ge=0)
    s3_tags: S3Tags = Field(default_factory=dict)
    on: dict[Classes, Literal["deliver", "hold", "drop"]] = Field(default_factory=dict)
    flows: dict[Classes, Annotated[str, Field(min_length=1, max_length=FLOW_ID_CHARACTERS)]] = Field(
        default_factory=dict
    )
    policy: Policy = Field(default_factory=dict)
    lists: ListUses = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        """Write `on`, `flows` and `lists` into the policy, of which they are other names; what stands there
        counts.
        """
        rules = read_classes(self.on, self.flows) | read_list_rules(self.lists) | self.policy
        return self if rules == self.policy else self.model_copy(update={"policy": rules})

    @field_validator("name", mode="after")
    @classmethod
    def _name(cls, name: str, info: ValidationInfo) -> str:
        """The name of a route, checked when it was given; the default, the first match, may be longer than a
        name.
        """
        return name if name in info.data.get("match", ())[:1] else check_route_name(name)

    def templates(self) -> Iterator[tuple[str, str]]:
        """Each template under the name of its key."""
        if self.contact_name is not None:
            yield "contact_name", self.contact_name
        yield from super().templates()


class Config(Section):
    """The whole file."""

    #: The name in the banner; where the file has none, `load_config` puts the machine's own.
    hostname: Annotated[str, AfterValidator(check_hostname)] = "localhost"
    data_dir: WholePath = Path("/var/lib/relay")
    max_message_bytes: int = Field(default=41_943_040, ge=65_536, le=157_286_400)
    #: Read by `relay.config.load`: what stands in those files stands in the tables below.
    include: tuple[Annotated[str, AfterValidator(check_include)], ...] = ()
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1)] = (Listener(),)
    server: Server = Server()
    limits: Limits = Limits()
    tls: Tls = Tls()
    spool: SpoolSection = SpoolSection()
    deliver: Deliver = Deliver()
    fleet: Fleet = Fleet()
    understand: Understand = Understand()
    dns: Dns = Dns()
    identity: Identity = Identity()
    scan: Scan = Scan()
    lists: ListSources = Field(default_factory=dict)
    s3: S3
    connect: Connect
    contact: Contact = Contact()
    admin: Admin = Admin()
    web: Web = Web()
    alarms: Alarms = Alarms()
    events: Events = Events()
    hooks: tuple[Hook, ...] = ()
    log: Log = Log()
    otel: Otel = Otel()
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]

    def of_instance(self, instance_id: str) -> Config:
        """The configuration with the pace, the limits and the bucket of one instance.

        Returns itself where the instance has none of its own.
        """
        if not self.connect.instances:
            return self
        adopted: dict[str, Any] = {}
        if (connect := self.connect.adopt(instance_id)) is not self.connect:
            adopted["connect"] = connect
        if place := self.connect.adopt_s3(instance_id):
            adopted["s3"] = self.s3.model_copy(update=place)
        return self.model_copy(update=adopted) if adopted else self

    def list_instances(self) -> tuple[str, ...]:
        """Every instance that is named: that of `[connect]`, those of the routes, and those with a table."""
        named = (each for route in self.routes for each in (route.instance_id, route.standby) if each)
        return tuple(dict.fromkeys((self.connect.instance_id, *named, *self.connect.instances)))

    def list_tenants(self) -> dict[str, tuple[str, ...]]:
        """The names of the routes of each tenant."""
        found: dict[str, tuple[str, ...]] = {}
        for route in self.routes:
            if route.tenant:
                found[route.tenant] = (*found.get(route.tenant, ()), route.name)
        return found

    def torn_quotas(self, home: Quota) -> tuple[str, ...]:
        """The sentences for instances that share a quota and give it different rates, in the account and
        Region of `home`.
        """
        return tuple(torn_quotas(self.connect, self.list_instances(), home))

    def pack(self) -> dict[str, Any]:
        """The configuration in the types of JSON, from which `model_validate` makes it again in another
        process.

        Defaults are left out, because whether a key was written down can matter.
        """
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)

    @field_validator("routes", mode="after")
    @classmethod
    def _names(cls, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        return tuple(
            route if route.name else route.model_copy(update={"name": route.match[0]}) for route in routes
        )

    @model_validator(mode="after")
    def _agreement(self) -> Self:
        """Check the rules between keys; the error has one sentence a line for each that is broken."""
        broken = (
            *_doubled_routes(self.routes),
            *doubled_binds(self.listeners),
            *unmet_needs(self.listeners, self.tls, self.server.users_file),
            *_strips_nothing(self),
            *_stands_by_itself(self),
            *_too_slow(self.hooks),
            *_unknown_fields(self),
            *_unknown_lists(self),
            *torn_webhook(self.alarms),
            *torn_events(self.events, is_fleet=bool(self.fleet.table)),
            *list_needs(self.web),
            *torn_fleet(self.fleet, attachments=self.s3.prefix),
            *misplaced_instances(self.connect),
            *self.torn_quotas(UNKNOWN_HOME),
        )
        if broken:
            raise ValueError("\n".join(broken))
        return self


def _doubled_routes(routes: tuple[Route, ...]) -> Iterator[str]:
    """The sentences for routes that can never be reached, or never be told from another in the log."""
    matches: dict[str, int] = {}
    names: dict[str, int] = {}
    for index, route in enumerate(routes):
        spelled = {normalise_address(pattern): pattern for pattern in reversed(route.match)}
        doubled = [form for form in reversed(spelled) if form in matches]
        for form in doubled:
            yield f'routes[{index}].match has "{spelled[form]}", which routes[{matches[form]}] takes already; remove one'
        if not doubled and route.name in names:
            yield (
                f'routes[{index}].name = "{route.name}": routes[{names[route.name]}] has that name already; '
                "give each its own (default: its first match)"
            )
        matches |= {form: index for form in spelled if form not in matches}
        names.setdefault(route.name, index)


def _too_slow(hooks: tuple[Hook, ...]) -> Iterator[str]:
    seconds = sum(hook.seconds for hook in hooks)
    if seconds > _HOOKS_SECONDS:
        yield (
            f"hooks[].seconds: together {seconds:g} at each command, and senders wait for five minutes; "
            f"give {_HOOKS_SECONDS} at most to all of them"
        )


def _unknown_fields(config: Config) -> Iterator[str]:
    contact = config.contact
    yield from unknown_fields("contact", contact, captured_names(contact), contact)
    for index, route in enumerate(config.routes):
        captured = captured_names(contact, route)
        yield from unknown_fields(f"routes[{index}]", route, captured, contact)


def _unknown_lists(config: Config) -> Iterator[str]:
    """The sentences for lists that a policy names, and the configuration does not have."""
    places = [(f"listeners[{index}]", each.policy) for index, each in enumerate(config.listeners)]
    places += [(f"routes[{index}]", each.policy) for index, each in enumerate(config.routes)]
    named = [
        (place, rule.removeprefix(LIST))
        for place, policy in places
        for rule in policy
        if rule.startswith(LIST)
    ]
    named += [(f"routes[{index}]", name) for index, each in enumerate(config.routes) for name in each.lists]
    for place, name in dict.fromkeys(named):
        if name not in config.lists:
            yield f'{place}: names the list "{name}", which is none; give it a place, as in [lists.{name}]'


def _strips_nothing(config: Config) -> Iterator[str]:
    """The sentences for marks that nobody puts there."""
    for index, route in enumerate(config.routes):
        if (route.strip.subject or route.strip.body) and not config.identity.trusted_relays:
            yield (
                f"routes[{index}].strip: needs identity.trusted_relays; name the networks of the gateway that "
                "puts the marks there"
            )


def _stands_by_itself(config: Config) -> Iterator[str]:
    """The sentences for a standby that is the instance of its own route, and for flows of none."""
    for index, route in enumerate(config.routes):
        own = route.instance_id or config.connect.instance_id
        if route.standby_flows and not route.standby:
            yield f"routes[{index}].standby_flows: needs routes[{index}].standby; name the instance, too"
        # A replica in another Region has the id of its original.
        same = route.standby and bare_id(route.standby).lower() == bare_id(own).lower()
        if same and place_of_instance(route.standby or "") == place_of_instance(own):
            yield (
                f'routes[{index}].standby = "{route.standby}": is the instance that the route has already; name '
                "another, or leave it out"
            )
