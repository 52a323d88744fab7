"""Addresses in the log, hidden: whoever put them into a line, and whatever stands around them."""

from __future__ import annotations

import logging
import sys
import time

import pytest

from relay import telemetry
from relay.config.builtin import builtin_config
from relay.config.process import Log
from relay.daemon.log_addresses import find_hide
from relay.spool.opening import make_address_key
from relay.spool.pseudonyms import name_address
from relay.telemetry.addresses import build_hide
from relay.telemetry.current import current_log

BY_DOMAIN = build_hide(own={"support@example.com", "@example.com"}, name=None)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("from ann@b.example.", "from *@b.example."),
        ("MAIL FROM:<Ann.O'Neil+x@b.example> SIZE=1", "MAIL FROM:<*@b.example> SIZE=1"),
        ('for "ann b"@b.example', "for *@b.example"),
        ("ann@[192.0.2.1]", "*@[192.0.2.1]"),
        ("jürgen@bücher.example", "*@bücher.example"),
        ("to support@Example.com", "to support@Example.com"),
        ("route @example.com", "route @example.com"),
        (f"<{'a' * 300}@b.example>", "<*@b.example>"),
        ("SRS0=h=t=b.example=ann@fwd.example", "*@fwd.example"),
        ("@b.example and d@", "@b.example and d@"),
    ],
)
def test_every_address_is_hidden_but_our_own(text, hidden):
    """An address becomes its domain in any form; addresses of our routes and bare domains stay."""
    assert BY_DOMAIN(text) == hidden


def test_a_text_costs_no_more_than_its_length():
    """A peer's text of any form is read in a time that grows with its length alone."""
    for part in ("a" * 64, "a@", '"a', "a.", "@", '"@'):
        begun = time.process_time()
        BY_DOMAIN(part * (200_000 // len(part)))
        assert time.process_time() - begun < 5


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_lines_of_the_log_have_hashes(tmp_path, capsys, log_format, monkeypatch):
    """Lines of ours and of libraries have the hash that the spool's key gives, also where a value is cut."""
    config = builtin_config(data_dir=tmp_path / "data").model_copy(update={"log": Log(addresses="hash")})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    telemetry.configure(log_format, "info", hide=find_hide(config))
    try:
        long = "x " * 90 + "ann.with.a.long.name@customer.example " + "y" * 300
        current_log().info(
            "transaction.ended", reverse_path="ann@b.example", refused=long, message_id="<1@c.example>"
        )
        current_log().warning("child.ended", detail="of <ann@b.example>")
        logging.getLogger("lib").warning("no way to ann@b.example")
    finally:
        telemetry.configure(log_format, "info")
    said = capsys.readouterr().err
    name = name_address(make_address_key(config), "ann@b.example")
    assert said.count(name) == 3
    assert "ann" not in said
    assert "<1@c.example>" in said


def test_full_addresses_are_the_default():
    """Without a word of the operator the log has addresses, by which mail is found."""
    assert find_hide(builtin_config()) is None
