"""The log and the metrics: whole lines whatever a peer sent, no subject, no body, labels from
closed lists.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from relay import replies, telemetry
from relay.contact.adaptations import AdaptationCode
from relay.envelope import Destination, Envelope, ForwardPath, Peer
from relay.errors import FailureClass, RemoteError
from relay.smtp import parameters as smtp_parameters
from relay.smtp import transaction as smtp_transaction
from relay.spool.model import Entry, QueueState, State
from relay.telemetry import daemon, deliveries, sessions, spool, workers
from relay.telemetry.current import current_log
from relay.telemetry.log import Lines
from relay.vocabulary import AlarmKind, Disposition, Reply, Rung

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOSTILE = '\x1b[2J\x1b]0;owned\x07 ok\r\n{"event": "forged"}\u2028\x9b31m\u202egpj.exe\u200b\ufeff\U000e0041\u061c\ud800\x00'
#: What a terminal obeys, or a log reader takes for the end of a line.
ARMED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

#: Every fact of the log, but the line of metrics, which has numbers and our own name alone.
FACTS = {
    name: function
    for module in (sessions, spool, deliveries, workers, daemon)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__
    and not name.startswith("_")
    and name not in {"flush_log", "queue_log", "metrics_told"}
}


@pytest.fixture(autouse=True)
def quiet():
    """The log of one test does not reach the next."""
    yield
    telemetry.configure("json", "info")
    logging.getLogger().handlers.clear()


def entry(text="x"):
    """An entry with this text wherever a peer can put one."""
    envelope = Envelope(
        reverse_path=text,
        forward_paths=(ForwardPath(address=text),),
        peer=Peer(address="192.0.2.7", port=1, helo=text),
        received_at=NOW,
    )
    return Entry(
        released=False,
        entry_id=1,
        spool_id="01SPOOL",
        destination=Destination(instance_id="i", address=text, forward_paths=(text,), route="r"),
        envelope=envelope,
        results={},
        fingerprint="f",
        message_id=text,
        size=1,
        trace_size=0,
        state=State.LEASED,
        attempts=2,
        cut_short=0,
        next_attempt_at=NOW,
        lease_until=NOW,
        rung=Rung.FULL,
        request=None,
        request_expires_at=None,
        token=None,
        sent=False,
        in_doubt_since=None,
        contact_id=None,
        reason="",
        detail="",
        accepted_at=NOW,
        updated_at=NOW,
    )


#: Values of parameters that become a label of a metric: their words are ours, not a peer's.
LABELS = {
    ("adaptations", "Sequence[str]"): ["body.cut"],
    ("cause", "Literal['full', 'failed']"): "full",
    ("kind", "str"): "crash",
}


def value_for(parameter, text):
    """A value for one parameter of a fact, with the text wherever text may stand."""
    kind = parameter.annotation
    if (parameter.name, kind) in LABELS:
        return LABELS[parameter.name, kind]
    if "RemoteError" in kind:
        return RemoteError(service="s3", failure=FailureClass.TEMPORARY, code=text, detail=text)
    if "Entry" in kind:
        return entry(text)
    if "Reply" in kind:
        return Reply(code=250, status="0.0", text=text)
    if "Disposition" in kind:
        return Disposition.ACCEPT
    if "Outcome" in kind:
        return "done"
    if "AlarmKind" in kind:
        return AlarmKind.HELD
    if "QueueState" in kind:
        return QueueState(dead=1, sick=text)
    if "Sequence" in kind:
        return [text]
    return {"int": 3, "float": 0.5, "bool": True}.get(kind, text)


def record(name, text, stream, log_format="json", level="debug"):
    """Write one fact with this text into a stream; what it holds then, where it can tell."""
    with contextlib.redirect_stderr(stream):
        telemetry.configure(log_format, level, process="test")
        parameters = inspect.signature(FACTS[name]).parameters.values()
        FACTS[name](
            **{each.name: value_for(each, text) for each in parameters if each.kind is not each.VAR_KEYWORD}
        )
    return stream.getvalue() if isinstance(stream, io.StringIO) else ""


def stream():
    """What a service manager gives us for stderr."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", newline="")


def written(text_stream):
    """The octets that reached it, decoded."""
    text_stream.flush()
    return text_stream.buffer.getvalue().decode()


@pytest.mark.parametrize("name", FACTS)
def test_fact_is_one_whole_line_of_json(name):
    """Whatever a peer put into a fact, the log has one line, of JSON, that no terminal obeys."""
    out = io.StringIO()
    line = record(name, HOSTILE, out)
    assert line.count("\n") == 1
    assert not ARMED.search(line.rstrip("\n"))
    record_ = json.loads(line)
    assert not ARMED.search(json.dumps(record_, ensure_ascii=False))
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", record_["event"])
    assert {"event", "level", "at", "process"} <= record_.keys()


@pytest.mark.parametrize("name", FACTS)
def test_fact_on_a_terminal_is_disarmed(name):
    """The lines for a person are as harmless as the others."""
    line = record(name, HOSTILE, io.StringIO(), "console")
    assert line.count("\n") == 1
    assert not ARMED.search(line.rstrip("\n"))


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("name", FACTS)
def test_fact_is_short_whatever_a_peer_chose(name, log_format):
    """A value of 125 KB costs the log 200 characters, one of our own sentences that quotes it 1,000."""
    line = record(name, "\u00e9x" * 64_000, io.StringIO(), log_format)
    assert len(line) < 6_000
    if log_format == "json":
        for key, value in json.loads(line).items():
            for each in value if isinstance(value, list) else [value]:
                assert len(str(each)) < (1_100 if key in ("detail", "why") else 250), key


@pytest.mark.parametrize("others", [{}, {"a": "b" * 150}, {"zeta": "y" * 199, "a": 17}, {"list": ["p"] * 50}])
@pytest.mark.parametrize("size", range(197, 206))
def test_limit_of_a_value_holds_to_the_character(size, others):
    """A plain value of 200 characters is whole and one of 201 is cut, wherever in the line it stands."""
    out, value = io.StringIO(), "x" * size
    with contextlib.redirect_stderr(out):
        telemetry.configure("json", "debug")
        for facts in ({"peer": value, **others}, {**others, "peer": value}, {"peer": [value, "z"], **others}):
            telemetry.current_log().info("made.up", **facts)
    found = [json.loads(line)["peer"] for line in out.getvalue().splitlines()]
    cut = value if size <= 200 else "x" * 200 + f"… ({size} characters)"
    assert found == [cut, cut, [cut, "z"]]


class Loud(json.JSONDecoder):
    """A library whose exceptions quote all of what it was given."""

    def decode(self, text):
        """Fail with many words."""
        raise ValueError("line\n" * 50_000 + "y" * 100_000 + text)


def test_long_list_and_long_traceback_are_cut():
    """Ten thousand addresses, or the traceback of a deep recursion with a mail in its words, are no flood."""
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        telemetry.configure("json", "debug")
        try:
            json.loads("{", cls=Loud)
        except ValueError:
            telemetry.fault_caught(where="session", thing={"x": "y" * 99_999}, some=["a@b.example"] * 10_000)
    line = json.loads(out.getvalue())
    assert len(out.getvalue()) < 20_000
    assert len(line["thing"]) < 250
    assert re.fullmatch(r"… and 9,\d\d\d more", line["some"][-1])
    assert line["exception"].startswith("Traceback")
    assert "lines more" in line["exception"]


def test_libraries_obey_the_same_rule():
    """What a library says of a peer is disarmed and short, like our own words."""
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        telemetry.configure("json", "info")
        logging.getLogger("some.library").warning("bad peer %s", HOSTILE + "z" * 100_000)
    assert out.getvalue().count("\n") == 1
    assert len(out.getvalue()) < 1_200
    assert not ARMED.search(out.getvalue().rstrip("\n"))


@given(st.text())
def test_any_text_makes_one_line(text):
    """No text at all breaks the line or the encoding of a strict stream."""
    out = stream()
    record("recipient_refused", text, out)
    line = written(out)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"] == "recipient.refused"


def test_any_value_makes_a_line():
    """What JSON has no form for, or the quick encoder none, is written all the same: an object, a huge
    number.
    """
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        telemetry.configure("json", "debug")
        telemetry.fault_caught(where="session", huge=2**80, thing=Rung.FULL.__class__)
    line = json.loads(out.getvalue())
    assert (line["huge"], line["thing"]) == (2**80, "<enum 'Rung'>")


def test_exception_keeps_its_lines_and_loses_its_arms():
    """A traceback is readable, and the text of an exception obeys the same rule as every other."""
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        telemetry.configure("console", "debug")
        try:
            int(HOSTILE)
        except ValueError:
            telemetry.fault_caught(where="session", peer=HOSTILE)
    assert "ValueError" in out.getvalue()
    assert not ARMED.search(out.getvalue().replace("\n", ""))


def test_no_fact_takes_a_subject_or_a_body():
    """What is not taken cannot be logged: no function has a place for a subject or a body."""
    words = {word for function in FACTS.values() for word in inspect.signature(function).parameters}
    assert not words & {"subject", "body", "text", "html", "raw", "content", "request", "headers"}


def test_levels_cut_the_log():
    """At "info" the sessions are silent; at "error" the transactions are too."""
    assert record("session_opened", "x", io.StringIO(), level="info") == ""
    assert record("transaction_ended", "x", io.StringIO(), level="error") == ""
    assert record("transaction_ended", "x", io.StringIO(), level="info") != ""


def test_auto_is_json_where_nobody_watches():
    """Without a terminal "auto" is JSON."""
    line = record("daemon_ready", "x", io.StringIO(), "auto")
    assert json.loads(line)["event"] == "daemon.ready"


def test_libraries_speak_from_warning_up():
    """What a library says in a low voice stays out of the log, and aiosmtpd's own log entirely."""
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        telemetry.configure("json", "debug")
        logging.getLogger("some.library").info("whisper")
        logging.getLogger("mail.log").warning("a session in aiosmtpd's words")
        logging.getLogger("some.library").warning("aloud")
    assert out.getvalue() == "some.library: aloud\n"


def value(name, **labels):
    """A sample of the registry."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def transaction(disposition, **more):
    """One transaction's end, in an unread log."""
    told = {
        "reply": Reply(code=250, status="0.0", text="ok"),
        "spool_id": "01SPOOL",
        "message_id": None,
        "reverse_path": None,
        "destinations": ["support@example.com"],
        "peer": "192.0.2.7",
        "helo": None,
        "protocol": "ESMTP",
        "tls": None,
        "size": 1_000,
        "seconds": 0.01,
    }
    telemetry.transaction_ended(disposition=disposition, **(told | more))


def test_transactions_are_counted():
    """Each transaction moves its disposition; only accepted octets count; duplicates count besides."""
    before = [
        value("relay_transactions_total", disposition="accept"),
        value("relay_transactions_total", disposition="defer"),
        value("relay_received_bytes_total"),
        value("relay_duplicates_total"),
    ]
    transaction(Disposition.ACCEPT)
    transaction(Disposition.ACCEPT, duplicate=True)
    transaction(Disposition.DEFER)
    after = [
        value("relay_transactions_total", disposition="accept"),
        value("relay_transactions_total", disposition="defer"),
        value("relay_received_bytes_total"),
        value("relay_duplicates_total"),
    ]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 1, 2_000, 1]


def test_deliveries_are_counted():
    """Each attempt moves its outcome, and each change made so that a mail fits its code."""
    before = (
        value("relay_deliveries_total", outcome="done"),
        value("relay_adaptations_total", code="body.cut"),
    )
    telemetry.delivery_attempted(
        entry=entry(), outcome="done", contact_id="c", adaptations=["body.cut", "body.cut"], seconds=0.1
    )
    after = value("relay_deliveries_total", outcome="done"), value("relay_adaptations_total", code="body.cut")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 2)


@pytest.mark.parametrize("service", ["s3", "connect", "relay"])
@pytest.mark.parametrize("failure", FailureClass)
def test_failures_are_told_apart(service, failure):
    """Whose error it was and what it means is counted besides the outcome, which is "deferred" for nearly
    all.
    """
    labels = {"service": service, "failure": str(failure)}
    before = value("relay_delivery_failures_total", **labels)
    error = RemoteError(service=service, failure=failure, code="Word")
    telemetry.delivery_attempted(entry=entry(), outcome="deferred", error=error, seconds=0.1)
    assert value("relay_delivery_failures_total", **labels) == before + 1


@pytest.mark.parametrize(
    ("outcome", "reason", "level"),
    [
        ("done", "", "info"),
        ("done", "class.bulk", "info"),
        ("done", "already_there", "warning"),
        ("deferred", "connect.timeout", "warning"),
        ("held", "class.bulk", "error"),
        ("buried", "too_old", "error"),
        ("lost", "lease_lost", "error"),
    ],
)
def test_level_of_an_attempt_says_who_must_look(outcome, reason, level, monkeypatch):
    """What is done is told at info, but for a contact that Connect had already: its id is not known to us."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.configure("json", "debug", process="test")
    telemetry.delivery_attempted(entry=entry(), outcome=outcome, reason=reason, seconds=0.1)
    assert json.loads(stream.getvalue())["level"] == level


@pytest.mark.parametrize(
    ("outcome", "reason", "event"),
    [
        ("done", "", "delivered"),
        ("done", "already_there", "delivered"),
        ("done", "policy.class", "dropped"),
        ("held", "policy.class", "held"),
        ("buried", "too_old", "buried"),
        ("deferred", "connect.throttled", None),
        ("postponed", "relay.busy", None),
        ("lost", "lease_lost", None),
    ],
)
def test_entry_is_counted_by_what_happened_to_it(outcome, reason, event):
    """An entry that goes on waiting is counted nowhere, and one that ended under one word."""
    words = ("accepted", "delivered", "dropped", "held", "buried")
    before = {word: value("relay_entries_total", event=word) for word in words}
    telemetry.delivery_attempted(entry=entry(), outcome=outcome, reason=reason, seconds=0.1)
    grown = {word for word in words if value("relay_entries_total", event=word) > before[word]}
    assert grown == ({event} if event else set())


def test_sessions_are_a_gauge():
    """Open sessions go up and down."""
    before = value("relay_sessions")
    telemetry.session_opened(peer="p", listener="l")
    assert value("relay_sessions") == before + 1
    telemetry.session_closed(peer="p", listener="l", why="quit", seconds=0.1)
    assert value("relay_sessions") == before


@cache
def exposed(doing="pass"):
    """The exposition of a new process after it has done this."""
    code = f"from relay import telemetry; from relay.spool import model; from relay.telemetry import metrics; {doing}; print(telemetry.exposition())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def begun(family, label):
    """The values of the label that a counter of a new process begins with."""
    return set(re.findall(rf'^relay_{family}_total{{{label}="(.+)"}} 0\.0$', exposed(), re.MULTILINE))


@pytest.mark.process
@pytest.mark.parametrize(
    ("family", "label", "values"),
    [
        ("transactions", "disposition", set(Disposition)),
        ("deliveries", "outcome", {"done", "deferred", "postponed", "held", "buried", "lost"}),
        ("adaptations", "code", set(AdaptationCode)),
        (
            "delivery_failures",
            "failure",
            {
                f'{each}",service="{service}'
                for each in FailureClass
                for service in ("s3", "connect", "relay")
            },
        ),
        ("alarms", "kind", set(AlarmKind)),
        ("entries", "event", {"accepted", "delivered", "dropped", "held", "buried"}),
    ],
)
def test_labels_stand_at_zero_from_the_start(family, label, values):
    """An alarm on an increase needs the series before the first event: each value that a label can have is
    there.
    """
    assert begun(family, label) == values


def named(pattern, source):
    """The replies that some code names."""
    return {getattr(replies, name) for name in re.findall(pattern + r"replies\.([A-Z_0-9]+)", source)}


@pytest.mark.process
def test_refusals_of_recipients_stand_at_zero():
    """Each code that RCPT can be refused with is there before the first."""
    judges = (
        smtp_transaction.Transaction.add_recipient,
        smtp_transaction.read_recipient.__wrapped__,
        smtp_transaction.decide_recipient,
        smtp_transaction._postmaster,
        smtp_parameters.parse_rcpt_parameters,
    )
    said = named("", "".join(inspect.getsource(each) for each in judges))
    assert len(said) > 5
    assert {str(each.code) for each in said if not each.positive} <= begun("recipients_refused", "reply")


@pytest.mark.process
def test_refusals_of_sessions_stand_at_zero():
    """Each enhanced code that a session can end with is there before the first."""
    source = "".join(path.read_text() for path in Path(smtp_transaction.__file__).parent.glob("*.py"))
    said = named(r"(?:Hangup|hang_up)\((?:replies\.fill\()?", source)
    assert len(said) > 10
    closing = {row.reply for row in replies.ROWS if row.reply.code == 421}
    enhanced = {each.enhanced for each in said | closing if not each.positive}
    assert enhanced <= begun("sessions_refused", "code")


GAUGES = r"^(relay_\w+)(?:{.*})? (-?[0-9.]+)$"


def shown(*doing):
    """The gauges of ours that a new process shows after it has done this, by name."""
    return {
        name: float(at)
        for name, at in re.findall(GAUGES, exposed("; ".join(doing)), re.MULTILINE)
        if not name.endswith(("_total", "_bucket", "_sum", "_count"))
    }


@pytest.mark.process
def test_state_that_a_spool_cannot_count_is_not_shown():
    """A backend that counts no finished mail has no gauge of it, and one for each other state."""
    states = {
        state: f"telemetry.queue_seen(model.QueueState(queued=3, done={state}))" for state in ("None", "7")
    }
    texts = {state: exposed(doing) for state, doing in states.items()}
    gauge = re.compile(r'^relay_spool_messages{state="(\w+)"} ([0-9.]+)$', re.MULTILINE)
    counted = {state: dict(gauge.findall(text)) for state, text in texts.items()}
    assert counted["7"] == {"queued": "3.0", "leased": "0.0", "held": "0.0", "dead": "0.0", "done": "7.0"}
    assert counted["None"] == {name: count for name, count in counted["7"].items() if name != "done"}


@pytest.mark.process
def test_gauge_is_shown_by_who_knows_it():
    """A receiver says nothing of the queue, a deliverer nothing of sessions, and nobody anything before the
    first look.
    """
    assert shown("pass") == {}
    receiver = shown("metrics.begin_receiver()")
    assert receiver == dict.fromkeys(
        ("relay_sessions", "relay_gate_closed", "relay_spool_sick", "relay_dns_away"), 0
    )
    deliverer = shown("telemetry.queue_seen(model.QueueState(dead=2, oldest_seconds=7.0))")
    assert deliverer == {
        "relay_spool_messages": 0,
        "relay_clock_step_seconds": 0,
        "relay_spool_policy_held": 0,
        "relay_spool_oldest_seconds": 7,
        "relay_spool_disk_full": 0,
        "relay_spool_log_bytes": 0,
        "relay_ledger_rows": 0,
        "relay_spool_sick": 0,
        "relay_routes_held": 0,
        "relay_routes_on_standby": 0,
        "relay_service_away": 0,
    }


@pytest.mark.process
def test_sick_spool_says_nothing_of_the_queue():
    """A first look that came to nothing shows that the spool is sick, and no figure."""
    assert shown("telemetry.queue_seen(model.QueueState(sick='disk'))") == {"relay_spool_sick": 1}


def test_nothing_is_shown_of_when_a_counter_began():
    """One line for each label of a counter, not two: nobody watches when it was made."""
    assert "_created" not in telemetry.exposition()


class Counting(io.StringIO):
    """A stream that knows how often it was written to."""

    writes = 0

    def write(self, text):
        self.writes += 1
        return super().write(text)


def test_lines_of_one_turn_are_one_write():
    """What is said within one turn of the event loop goes out together, in order, before the next
    turn ends.
    """
    out = Counting()

    async def say():
        lines = Lines(out)
        lines.info("one")
        lines.debug("two")
        assert out.writes == 0
        await asyncio.sleep(0)
        assert (out.writes, out.getvalue()) == (1, "one\ntwo\n")
        lines.info("three")
        return lines

    left = asyncio.run(say())
    asyncio.run(say_once(left))
    assert out.getvalue() == "one\ntwo\nthree\nfour\n"


async def say_once(lines):
    """One line in a loop of its own."""
    lines.info("four")


def test_trouble_is_written_at_once():
    """A warning waits for nothing, and takes along what waits before it."""
    out = Counting()

    async def say():
        lines = Lines(out)
        lines.info("before")
        lines.warning("trouble")
        assert out.getvalue() == "before\ntrouble\n"

    asyncio.run(say())


def test_without_a_loop_nothing_waits():
    """A command of the shell, or a thread, sees its line written when it has said it."""
    out = Counting()
    Lines(out).info("now")
    assert out.getvalue() == "now\n"


def test_lines_for_a_closed_stream_go_nowhere():
    """A program that lent us its stream and ended took it away: nothing fails for that."""
    out = io.StringIO()
    lines = Lines(out)
    out.close()
    lines.info("now")
    lines.error("and this")


@pytest.mark.parametrize("level", ["debug", "info"])
def test_the_short_way_of_info_writes_the_line_of_structlog(level, monkeypatch):
    """A line of `info` is what structlog's own method writes: fields in this order, with what was bound."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    telemetry.configure("json", level, process="receiver-0")
    log = current_log()
    _, plain, *_ = type(log).__mro__
    assert "info" in vars(type(log))
    log.info("a.fact", spool_id="01X", why=HOSTILE)
    plain.info(log, "a.fact", spool_id="01X", why=HOSTILE)
    short, whole = (json.loads(line) for line in written.getvalue().splitlines())
    del short["at"], whole["at"]
    assert list(short.items()) == list(whole.items())
