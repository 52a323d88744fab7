"""Tests of the absence of an outside service."""

from __future__ import annotations

import asyncio

from relay.absence import Absence


class Service:
    """A service that answers probes, or does not."""

    def __init__(self):
        self.answers = False
        self.probes = 0
        self.probed = asyncio.Event()

    async def probe(self):
        self.probes += 1
        self.probed.set()
        return self.answers


async def settle(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)  # between two looks


async def test_a_suspected_service_that_answers_is_there():
    """A suspicion is a probe, and nothing is told where it is answered."""
    service, told = Service(), []
    absence = Absence(service.probe, every_seconds=60, moved=told.append)
    service.answers = True
    absence.suspect("silent")
    await settle(lambda: service.probes == 1)
    await asyncio.sleep(0)
    assert (absence.is_away, told) == (False, [])


async def test_a_service_is_away_until_it_answers():
    """Each failure is told once, probes go on at intervals, and the first answer ends the absence."""
    service, told = Service(), []
    absence = Absence(service.probe, every_seconds=0.001, moved=told.append)
    absence.suspect("silent")
    absence.suspect("silent again")
    await settle(lambda: service.probes > 3)
    assert (absence.is_away, absence.why, told) == (True, "silent", ["silent"])
    service.answers = True
    await settle(lambda: not absence.is_away)
    assert told == ["silent", ""]
    absence.suspect("silent")
    await settle(lambda: not absence._watching)
    assert told == ["silent", ""]


async def test_an_absence_begins_at_once_and_an_answer_to_others_ends_it():
    """What was found to be away is not probed first; an answer that somebody else got ends the probes."""
    service, told = Service(), []
    absence = Absence(service.probe, every_seconds=60, moved=told.append)
    absence.begin("no answer")
    await asyncio.sleep(0)
    assert (absence.is_away, service.probes) == (True, 0)
    absence.note_answer()
    assert (absence.is_away, told) == (False, ["no answer", ""])


async def test_a_closed_absence_probes_no_more():
    """After the end nothing is probed, whatever is suspected, and nothing is away: nobody would end it."""
    service = Service()
    absence = Absence(service.probe, every_seconds=0.001)
    absence.begin("no answer")
    absence.close()
    absence.suspect("silent")
    absence.begin("no answer")
    await asyncio.sleep(0.01)
    assert (service.probes, absence.is_away) == (0, False)
