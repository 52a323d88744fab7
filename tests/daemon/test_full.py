"""When all places for sessions are taken: `/readyz`, the log and an alarm say so, and that it is over."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest
from harness import Daemon, until

from relay.daemon.calm_alarms import CalmAlarm, CalmAlarms
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

    def tell(why):
        told.append(why)
        if not why:
            ended.set()

    alarm = CalmAlarm(tell, calm_seconds=0.05)
    alarm.see("")
    for why in ("full", "", "full", "full", "", "full", ""):
        alarm.see(why)
    assert told == ["full"]
    await asyncio.wait_for(ended.wait(), 5)
    alarm.see("")
    alarm.see("full again")
    assert told == ["full", "", "full again"]
    alarm.see("")
    alarm.close()


async def test_each_service_that_is_away_has_an_alarm():
    """What any receiver reports raises one alarm for each service, beside that of full places. It ends when
    no receiver reports it any more.
    """
    told = []
    alarms = CalmAlarms(told.append, calm_seconds=0.0)
    alarms.see(full=True, away=[{}, {"clamd": "it hangs", "dns": "silence"}])
    alarms.see(full=True, away=[{"clamd": "it hangs"}, {"dns": "silence"}])
    assert [(each.kind, each.subject, each.raised, each.count) for each in told] == [
        (AlarmKind.SESSIONS_FULL, "", True, None),
        (AlarmKind.DNS_AWAY, "", True, None),
        (AlarmKind.SCANNER_AWAY, "clamd", True, None),
    ]
    assert told[1].detail == "the origin of mail cannot be checked: silence"
    assert told[2].detail == "mail is not scanned by clamd: it hangs"
    told.clear()
    alarms.see(full=False, away=[{}, {"rspamd": "it is closed"}])
    async with asyncio.timeout(10):
        while len(told) < 4:
            await asyncio.sleep(0)
    assert {(each.kind, each.subject, each.raised) for each in told} == {
        (AlarmKind.SCANNER_AWAY, "rspamd", True),
        (AlarmKind.SESSIONS_FULL, "", False),
        (AlarmKind.DNS_AWAY, "", False),
        (AlarmKind.SCANNER_AWAY, "clamd", False),
    }
    alarms.close()
