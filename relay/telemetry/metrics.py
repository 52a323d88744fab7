"""The metrics of a process: their names, their help, and the labels that they begin with.

Owns the registry's families. Never moves one: `telemetry` does, beside the log line of the same fact. Labels
come from closed vocabularies, and a counter stands at 0 from the start: `increase()` of Prometheus sees no
step from nothing to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from prometheus_client import Counter, Gauge, Histogram, Metric, disable_created_metrics, generate_latest

from relay import replies
from relay.auth.words import Result
from relay.contact.adaptations import AdaptationCode
from relay.errors import FailureClass
from relay.scan.model import ScanWord
from relay.vocabulary import AlarmKind, Disposition

# Without this, each counter also shows when it began, for each label; `process_start_time_seconds` says as
# much.
disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs has no annotations


class Known(Gauge):
    """A gauge that is shown only after it was set: 0 would be a wrong answer from a process that does not
    know.
    """

    _is_known = False

    def set(self, value: float) -> None:
        """Set the value, and show the gauge from now on."""
        super().set(value)
        self._is_known = True

    def inc(self, amount: float = 1) -> None:
        """Add to the value, and show the gauge from now on."""
        super().inc(amount)
        self._is_known = True

    def collect(self) -> Iterable[Metric]:
        """The family with its sample; nothing before it was set."""
        return super().collect() if self._is_known else ()


TRANSACTIONS = Counter("relay_transactions", "Transactions by what became of them.", ["disposition"])
RECIPIENTS_REFUSED = Counter("relay_recipients_refused", "RCPT commands refused, by reply.", ["reply"])
SESSIONS = Known("relay_sessions", "Sessions open now.")
SESSIONS_REFUSED = Counter(
    "relay_sessions_refused", "Sessions ended by us with a 4yz or 5yz, by enhanced code.", ["code"]
)
LOGINS_REFUSED = Counter("relay_logins_refused", "AUTH attempts that failed.")
HANDSHAKES_FAILED = Counter("relay_handshakes_failed", "TLS handshakes that broke or were too slow.")
TRANSACTIONS_ABORTED = Counter("relay_transactions_aborted", "Mails that ended before they were whole.")
GATE_CLOSED = Known("relay_gate_closed", "1 while new sessions are sent away.")
INTAKE_CLOSED = Known(
    "relay_intake_closed", "1 while no mail can come in: what keeps new sessions out, a pause, no room."
)
RECEIVED_BYTES = Counter("relay_received_bytes", "Octets of accepted mail.")
DUPLICATES = Counter(
    "relay_duplicates", "Mails that were here before and were answered with their first spool id."
)
HOOK_FAILURES = Counter(
    "relay_hook_failures", "Calls of handlers that raised, took too long, or gave no reply."
)
IDENTITY_CHECKS = Counter(
    "relay_identity_checks", "Checks of the origin of mail, by check and result.", ["check", "result"]
)
SCANS = Counter("relay_scans", "Mails that a scanner was asked about, by result.", ["scanner", "result"])
DNS_AWAY = Known("relay_dns_away", "1 while no DNS server answers.")
SCANNER_AWAY = Gauge("relay_scanner_away", "1 while a scanner gives no answers.", ["scanner"])
POLICY_MET = Counter(
    "relay_policy_met",
    "Rules of the policy that mails met, by action; observed ones did nothing.",
    ["rule", "action", "observe"],
)
LIST_FAILURES = Counter(
    "relay_list_failures", "Times that a list of senders could not be read or asked.", ["list"]
)
DELIVERIES = Counter("relay_deliveries", "Delivery attempts by outcome.", ["outcome"])
DELIVERY_FAILURES = Counter(
    "relay_delivery_failures",
    "Delivery attempts that failed, by who failed and what it means.",
    ["service", "failure"],
)
ENTRIES = Counter(
    "relay_entries", "Entries of the spool by what happened to them: accepted or finished.", ["event"]
)
CONTACT_SECONDS = Histogram(
    "relay_contact_seconds",
    "Seconds from the 250 to the contact, by route.",
    ["route"],
    # from a mail that nothing delays to deliver.max_age_hours of a weekend
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400, 259_200),
)
STEP_SECONDS = Histogram(
    "relay_step_seconds",
    "Seconds of each step of a mail's way.",
    ["step"],
    # from a commit that shares its sync to the time-out of all uploads of a mail
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
BUILD_INFO = Gauge("relay_build_info", "1; the labels say which relay runs.", ["version", "python"])
ADAPTATIONS = Counter("relay_adaptations", "Changes made so that a mail fits, by code.", ["code"])
WORKER_DEATHS = Counter(
    "relay_worker_deaths", "Mails whose worker ended or failed in the middle of them, by kind.", ["kind"]
)
SLOW_MAILS = Counter("relay_slow_mails", "Mails that went on in the slow lane.")

SPOOL_MESSAGES = Gauge("relay_spool_messages", "Entries of the spool by state.", ["state"])
SPOOL_POLICY_HELD = Known(
    "relay_spool_policy_held", "Entries that a rule of the policy holds; they are among the held ones."
)
SPOOL_OLDEST = Known(
    "relay_spool_oldest_seconds",
    "Age of the oldest entry that is not delivered, but those that the policy holds.",
)
CLOCK_STEP = Known(
    "relay_clock_step_seconds",
    "The step of the wall clock that is doubted, negative when back; 0 while the clock is trusted.",
)
ROUTES_HELD = Known("relay_routes_held", "Routes that wait for their configuration to be right.")
ROUTES_ON_STANDBY = Known("relay_routes_on_standby", "Routes that an operator switched to their standby.")
SERVICES_AWAY = Gauge("relay_service_away", "1 while a service is away for everyone.", ["service"])
SPOOL_SICK = Known("relay_spool_sick", "1 while the spool cannot be read or written.")
SPOOL_DISK_FULL = Known(
    "relay_spool_disk_full", "1 while the disk is full: mail goes out, and none comes in."
)
SPOOL_LOG_BYTES = Known("relay_spool_log_bytes", "Octets of the log of the database (WAL).")
LEDGER_ROWS = Known("relay_ledger_rows", "Records of the ledger.")
DELIVERER_SILENT = Known(
    "relay_deliverer_silent_seconds", "Seconds for which no node of the fleet has shown that it delivers."
)
LOOP_LAG = Known("relay_loop_lag_seconds", "The longest lag of the event loop within a minute.")
EVENTS_TOLD = Counter("relay_events", "Events by what became of a try to tell them.", ["outcome"])
EVENTS_WAITING = Known("relay_events_waiting", "Events that wait to be told.")
EVENTS_DEAD = Known("relay_events_given_up", "Events that were given up, and wait for a person.")
ROUTE_TENANT = Gauge(
    "relay_route_tenant", "1 for each route with a tenant, to join other metrics by.", ["route", "tenant"]
)
FILES_KEPT = Known(
    "relay_config_files_kept",
    "Included files that are wrong: each stays at its last good version, or left out.",
)
HANGS = Counter("relay_hangs", "Processes of the daemon that hung and were ended.")
LOG_LINES_DROPPED = Counter("relay_log_lines_dropped", "Lines of the log that its sink did not take in time.")
WEB_REQUESTS = Counter(
    "relay_web_requests", "Requests that the page answered, by class of status.", ["status"]
)
WEB_LOGINS = Counter("relay_web_logins", "Tokens that the page was shown, by result.", ["result"])
SPANS_DROPPED = Counter("relay_spans_dropped", "Spans that were not exported, by cause.", ["cause"])
ALARMS = Counter("relay_alarms", "Alarms raised, by kind.", ["kind"])

#: The steps of a mail that are timed.
Step = Literal["commit", "understand", "s3", "connect"]
#: The events of an entry that are counted.
EntryEvent = Literal["accepted", "delivered", "dropped", "held", "buried"]

#: Replies that refuse a RCPT.
_TO_RECIPIENTS = (
    replies.BAD_ARGUMENT, replies.BAD_RECIPIENT, replies.NEEDS_SMTPUTF8, replies.NO_RELAYING,
    replies.PARAMETER_UNKNOWN, replies.TOO_MANY_FOR_A_MINUTE, replies.TOO_MANY_RECIPIENTS, replies.UNKNOWN_RECIPIENT,
)  # fmt: skip
#: Replies that end a session: every 421, and these.
_TO_SESSIONS = (
    replies.ACCESS_DENIED, replies.BAD_ARGUMENT, replies.BAD_LINE, replies.EARLY_TALKER, replies.NO_ROOM, replies.TOO_BIG,
    *(row.reply for row in replies.ROWS if row.reply.code == 421),
)  # fmt: skip

#: The checks of a mail's origin that have a word of RFC 8601.
IDENTITY_METHODS = ("spf", "dkim", "dmarc", "arc", "iprev", "dnsbl")

#: Children of the counter, looked up once: labels() costs more than the counting.
BY_DISPOSITION = {each: TRANSACTIONS.labels(each) for each in Disposition}
for _reply in _TO_RECIPIENTS:
    RECIPIENTS_REFUSED.labels(str(_reply.code))
for _reply in _TO_SESSIONS:
    SESSIONS_REFUSED.labels(_reply.enhanced)
for _method in IDENTITY_METHODS:
    for _word in Result:
        IDENTITY_CHECKS.labels(_method, _word)
for _scanner, _found in (("clamd", ScanWord.VIRUS), ("clamd", ScanWord.TOO_BIG), ("rspamd", ScanWord.SPAM)):
    for _scan in (ScanWord.CLEAN, _found, ScanWord.UNAVAILABLE):
        SCANS.labels(_scanner, _scan)
for _outcome in ("done", "deferred", "held", "buried", "lost", "postponed"):
    DELIVERIES.labels(_outcome)
for _service in ("s3", "connect", "relay"):
    for _failure in FailureClass:
        DELIVERY_FAILURES.labels(_service, _failure)
for _event in get_args(EntryEvent):
    ENTRIES.labels(_event)
for _cause in ("full", "failed"):
    SPANS_DROPPED.labels(_cause)
for _code in AdaptationCode:
    ADAPTATIONS.labels(_code)
for _death in ("cpu", "memory", "crash", "silent", "killed", "exit", "unborn", "fault"):
    WORKER_DEATHS.labels(_death)
for _kind in AlarmKind:
    ALARMS.labels(_kind)


def begin_receiver() -> None:
    """Show the gauges of a receiver before its first session and its first trouble."""
    for gauge in (SESSIONS, GATE_CLOSED, SPOOL_SICK, DNS_AWAY):
        gauge.set(0)
    _begin_child("commit")


def begin_web() -> None:
    """Show the counters of the page before its first request."""
    _begin_child()
    for status in ("2xx", "3xx", "4xx", "5xx"):
        WEB_REQUESTS.labels(status)
    for result in ("good", "wrong", "put-off"):
        WEB_LOGINS.labels(result)


def name_tenants(tenants: Mapping[str, Iterable[str]]) -> None:
    """Show whose each route is, as the configuration in force has it."""
    ROUTE_TENANT.clear()
    for tenant, routes in tenants.items():
        for route in routes:
            ROUTE_TENANT.labels(route, tenant).set(1)


def begin_deliverer(routes: Iterable[str]) -> None:
    """Show the histograms of a deliverer before its first mail: those of its steps, and of these routes."""
    _begin_child("understand", "s3", "connect")
    for route in routes:
        CONTACT_SECONDS.labels(route)


def _begin_child(*steps: Step) -> None:
    BUILD_INFO.clear()  # a forked child has the supervisor's, which is told once
    for step in steps:
        STEP_SECONDS.labels(step)


def exposition() -> str:
    """The metrics of this process in the text format of Prometheus."""
    return generate_latest().decode()
