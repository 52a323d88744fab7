"""The command `relay alarms test`: a test alarm for each receiver, and what each answered.

Owns how the answers are shown. It calls a person, so a command of its own asks for it.
"""

from __future__ import annotations

import click

from relay.check.receivers import Tried, try_receivers
from relay.cli import config_option
from relay.cli.audited import auditing, build_action, reason_option
from relay.cli.entries import echo, echo_json, echo_note
from relay.config.load import load_config


@click.group("alarms")
def alarms_group() -> None:
    """Try the receivers of alarms."""


@alarms_group.command("test")
@config_option
@reason_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def test_command(ctx: click.Context, config_path: str | None, *, because: str, as_json: bool) -> None:
    """Send a test alarm, and its end, to each receiver of [alarms], and say what each answered.

    It may call a person. Exits with 1 when a receiver did not take both, or none is named. The topic is
    published to with the credentials of this shell; as the service does it: relay check --alarm.
    """
    config = load_config(config_path)
    with auditing(config, build_action([], because)) as ending:
        tried = try_receivers(config)
        taken = sum(not each.why for each in tried)
        ending.tell(
            changed=taken, left=len(tried) - taken, detail="; ".join(each.why for each in tried if each.why)
        )
    if as_json:
        echo_json({"receivers": [_build_json(each) for each in tried]})
    for each in tried:
        if not as_json:
            echo(*_tell(each))
    if not tried:
        echo_note("no receiver is named: set alarms.webhook, or alarms.sns_topic_arn")
    ctx.exit(0 if tried and not any(each.why for each in tried) else 1)


def _build_json(tried: Tried) -> dict[str, object]:
    return {
        "receiver": tried.receiver,
        "taken": not tried.why,
        "raised": tried.raised.says,
        "ended": tried.ended.says,
    }


def _tell(tried: Tried) -> tuple[str, ...]:
    """The lines about one receiver."""
    lines = (
        f"{tried.receiver}: the test alarm: {tried.raised.says}",
        f"{tried.receiver}: its end: {tried.ended.says}",
    )
    return (
        (*lines, f"{tried.receiver}: not taken; look at the receiver, or mend {tried.key}")
        if tried.why
        else lines
    )
