"""Connect's numbers: each stands once, and what the service model says of them is what they are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from relay.aws.request_limits import input_shape
from relay.contact import limits

ROOT = Path(__file__).parents[2] / "relay"
#: Numbers that nobody has by chance.
DISTINCT = {limits.BODY_BYTES, limits.ATTACHMENT_BYTES, limits.TOTAL_BYTES}
#: What else the rooms that speak with Connect take from `limits`: numbers that mean something else elsewhere.
OTHERS = {limits.SUBJECT_CHARACTERS, limits.ATTRIBUTE_BYTES}


def integers(path):
    """Every integer that the code of a module computes from constants, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield node.value, node.lineno
        elif isinstance(node, ast.BinOp):
            try:
                value = eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}})
            except (NameError, TypeError, ZeroDivisionError, ValueError, OverflowError):
                continue
            if type(value) is int:
                yield value, node.lineno


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.slow
def test_number_of_connect_stands_once(path):
    """A limit of Connect is a number in relay/contact/limits.py, and a name everywhere else."""
    if path == ROOT / "contact" / "limits.py":
        return
    room = path.relative_to(ROOT).parts[0]
    forbidden = DISTINCT | (OTHERS if room in ("aws", "config", "contact", "delivery", "sandbox") else set())
    assert [(value, line) for value, line in integers(path) if value in forbidden] == []


def days(path):
    """Every `timedelta(days=<number>)` of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "days" and isinstance(node.value, ast.Constant):
            yield node.value.value


@pytest.mark.parametrize("room", ["contact", "delivery", "spool"])
def test_days_of_connect_stand_once(room):
    """How long Connect joins replies to a thread, or knows a token, is no number of the spool or the
    delivery.
    """
    found = {value for path in (ROOT / room).rglob("*.py") for value in days(path)}
    assert not found & {limits.THREAD_DAYS, limits.TOKEN_DAYS, limits.TOKEN_DAYS - 1}


def find(shape, names):
    """The shape behind a path of members."""
    for name in names:
        shape = shape.member if name == "*" else shape.value if name == "value" else shape.members[name]
    return shape


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("DestinationEmailAddress", limits.ADDRESS_CHARACTERS),
        ("FromEmailAddress DisplayName", limits.DISPLAY_NAME_CHARACTERS),
        ("EmailMessage RawMessage Subject", limits.SUBJECT_CHARACTERS),
        ("EmailMessage RawMessage Body", limits.BODY_BYTES),
        ("EmailMessage RawMessage Headers value", limits.HEADER_CHARACTERS),
        ("Attachments * FileName", limits.FILE_NAME_CHARACTERS),
        ("ContactFlowId", limits.FLOW_ID_CHARACTERS),
    ],
)
def test_limit_is_the_service_models(path, limit):
    """A number that the service model has is the one of the model that we run with."""
    assert find(input_shape(), path.split()).metadata["max"] == limit
