"""When all places for sessions are taken: `/readyz`, the log and an alarm say so, and that it is over."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest
from harness import Daemon, until

from relay.daemon.full_alarm import FullAlarm
from relay.vocabulary import AlarmKind

WHY = "all places for sessions are taken (limits.connections)"


@pytest.mark.process
def test_a_full_house_is_told(box, tmp_path, ear):
    """Silent sessions from other addresses take all places: the load balancer and a person are told, one
    alarm for all receivers.
    """
    url, heard = ear
    env = box.environ() | {"RELAY_LIMITS__CONNECTIONS": "10", "RELAY_ALARMS__WEBHOOK": f"{url}/hook"}
    with Daemon(tmp_path, env=env, receivers=2) as daemon:
        daemon.args = ["--role", "receive"]
        daemon.start()
        with ExitStack() as stack:
            for number in range(10):
                stack.enter_context(
                    socket.create_connection(
                        ("127.0.0.1", daemon.port), source_address=(f"127.3.{number}.1", 0)
                    )
                )
            until(lambda: daemon.ask("readyz") == (503, f"receiver-0: {WHY}\nreceiver-1: {WHY}\n"))
            daemon.wait_for("intake.closed", why=WHY)
            daemon.wait_for("alarm.raised", kind="sessions_full")
            until(lambda: [told["alarm"] for told in heard["hook"]] == ["sessions_full"])
        until(lambda: daemon.ask("readyz")[0] == 200)
        assert daemon.stop() == 0


async def test_the_alarm_waits_for_calm():
    """A flood that comes and goes is one alarm; its end is told once it has stayed away."""
    told = []
    ended = asyncio.Event()

    def tell(alarm):
        told.append((alarm.kind, alarm.raised))
        if not alarm.raised:
            ended.set()

    alarm = FullAlarm(tell, calm_seconds=0.05)
    alarm.see(full=False)
    for full in (True, False, True, True, False, True, False):
        alarm.see(full=full)
    assert told == [(AlarmKind.SESSIONS_FULL, True)]
    await asyncio.wait_for(ended.wait(), 5)
    alarm.see(full=False)
    alarm.see(full=True)
    assert told == [(AlarmKind.SESSIONS_FULL, raised) for raised in (True, False, True)]
    alarm.see(full=False)
    alarm.close()
