"""The pool with real processes: what a mail does to its worker, and that it does nothing to others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT, until
from resources import footprint_of
from understanding import is_stopped, octets, task_of, workshop

from relay.config.builtin import builtin_config
from relay.contact.fit import fit
from relay.errors import NotUnderstoodError, NotYetError, RemoteError
from relay.message.parse import parse_message
from relay.vocabulary import Rung

pytestmark = pytest.mark.process

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 4_000
HOSTILE = octets("Hostile")
BRIEF = {"cpu_seconds": 1}


async def until_true(what, *, seconds=50.0):
    """Return when it holds."""
    end = asyncio.get_running_loop().time() + seconds
    while not what():
        assert asyncio.get_running_loop().time() < end, what
        await asyncio.sleep(0.03)  # between two looks at the condition, through /proc


async def test_the_plan_is_that_of_the_rules(tmp_path, monkeypatch):
    """A worker's plan is the one that the rules make in this process, and its files are the mail's, to the
    octet.
    """
    raw = octets("Invoice", attachment=PDF)
    async with workshop(tmp_path, monkeypatch) as shop:
        task = task_of(raw, shop.config)
        async with shop.reading.plan(task) as plan:
            files = [b"".join(file.chunks()) for file in plan.files]
            again = [b"".join(file.chunks()) for file in plan.files]
        assert list(shop.folder.iterdir()) == []
    assert plan == fit(parse_message(raw), task.context, task.route, shop.config)
    assert files == again == [PDF]


async def test_a_large_mail_is_read_from_its_own_file(tmp_path, monkeypatch):
    """A mail that lies in a file is handed over as that file, and never copied."""
    raw = octets("Filed", attachment=PDF)
    path = tmp_path / "raw"
    path.write_bytes(raw)
    async with workshop(tmp_path, monkeypatch) as shop:
        handle = os.open(path, os.O_RDONLY)
        try:
            assert await shop.subject(b"not read", handle=handle) == "Filed"
        finally:
            os.close(handle)


# Limits are of processor time, so a busy machine makes this slow; the time-out is for a mail that nothing
# ends.
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("fault", "cause", "tables"),
    [
        ("segv", "crash", {}),
        ("raise", "exception", {}),
        ("allocate", "limit", {}),
        ("spin", "limit", {"understand": BRIEF}),
        ("stop", "limit", {}),
    ],
)
async def test_a_mail_that_ends_its_worker_is_not_understood(tmp_path, monkeypatch, fault, cause, tables):
    """Whatever a mail does to its worker, it is tried twice at most, and another is read meanwhile and
    afterwards.
    """
    async with workshop(tmp_path, monkeypatch, fault, silent_seconds=1.5, **tables) as shop:
        assert await shop.subject(octets("before")) == "before"
        hostile = asyncio.create_task(shop.subject(HOSTILE, spool_id="0HOSTILE00000000"))
        others = [await shop.subject(octets(f"beside {number}")) for number in range(5)]
        assert others == [f"beside {number}" for number in range(5)]
        with pytest.raises(NotUnderstoodError) as caught:
            await hostile
        assert caught.value.cause == cause
        assert await shop.subject(octets("after")) == "after"
        await until_true(lambda: len(shop.workers()) == 2)


@pytest.mark.parametrize("fault", ["emfile", "eio", "edquot"])
async def test_trouble_of_the_machine_is_not_the_mails(tmp_path, monkeypatch, fault):
    """An error that says nothing of the mail puts it off, and its worker goes on."""
    async with workshop(tmp_path, monkeypatch, fault) as shop:
        with pytest.raises(RemoteError) as caught:
            await shop.subject(HOSTILE)
        assert (caught.value.service, caught.value.failure) == ("relay", "temporary")
        assert await shop.subject(octets("after")) == "after"


async def test_a_worker_that_the_kernel_ends_says_nothing_of_its_mail(tmp_path, monkeypatch):
    """SIGKILL from outside is tried again at once, then put off; a mail that meets it at every attempt is
    given up.
    """
    async with workshop(tmp_path, monkeypatch, "stop") as shop:

        async def killed(**more):
            reading = asyncio.create_task(shop.subject(HOSTILE, **more))
            while not reading.done():
                for pid in shop.workers():
                    if is_stopped(pid):
                        os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.01)  # between two looks at the workers
            await reading

        with pytest.raises(RemoteError, match="busy"):
            await killed()
        with pytest.raises(NotUnderstoodError, match="killed"):
            await killed(attempts=6)


async def test_slow_mails_leave_room_for_others(tmp_path, monkeypatch):
    """Of many mails that never end one is in the slow lane, one waits, the rest is put off; others pass by
    them all.
    """
    async with workshop(tmp_path, monkeypatch, "spin", understand={"cpu_seconds": 60}) as shop:
        slow = [asyncio.create_task(shop.subject(HOSTILE, spool_id=f"0SLOW{number}")) for number in range(5)]
        beside = [await shop.subject(octets(f"{number}")) for number in range(5)]
        assert beside == [f"{number}" for number in range(5)]
        await until_true(lambda: sum(task.done() for task in slow) == 3)
        assert shop.pool.aside == 2
        for task in slow:
            if task.done():
                with pytest.raises(NotYetError, match="before it"):
                    task.result()
        await until_true(lambda: len(shop.workers()) <= 3)  # one that was killed may yet be going
        # It is known as slow by now, and takes up nobody's time again.
        with pytest.raises(NotYetError, match="before it"):
            await shop.subject(HOSTILE, spool_id="0SLOW0" if slow[0].done() else "0SLOW4")
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert shop.pool.aside == 0
        await until_true(lambda: len(shop.workers()) == 2)


async def test_a_flood_of_slow_mails_passes_no_slow_mail_by(tmp_path, monkeypatch):
    """Who was found slow first has the lane first, and is asked again within seconds, however often it was
    put off.
    """
    async with workshop(tmp_path, monkeypatch, "spin", understand={"cpu_seconds": 60}) as shop:

        def begin(name):
            return asyncio.create_task(shop.subject(HOSTILE, spool_id=name))

        running = begin("0FIRST")
        await until_true(lambda: shop.pool.aside == 1)
        early = begin("0EARLY")
        await until_true(lambda: shop.pool.aside == 2)
        with pytest.raises(NotYetError, match="before it"):
            await begin("0LATER")
        early.cancel()
        await until_true(lambda: shop.pool.aside == 1)
        later = begin("0LATER")
        await until_true(lambda: shop.pool.aside == 2)
        early = begin("0EARLY")
        with pytest.raises(NotYetError, match="before it"):
            await later
        assert shop.pool.aside == 2
        running.cancel()
        await until_true(lambda: shop.pool.aside == 1)
        assert not early.done()
        early.cancel()
        await asyncio.gather(running, early, return_exceptions=True)
        assert shop.pool.aside == 0


async def test_the_template_is_replaced(tmp_path, monkeypatch):
    """When the template is killed, its workers end with it, and the next mail finds new ones."""
    async with workshop(tmp_path, monkeypatch) as shop:
        assert await shop.subject(octets("before")) == "before"
        await until_true(lambda: len(shop.workers()) == 2)  # the second is forked beside the first mail
        old, workers = shop.template, shop.workers()
        os.kill(old, signal.SIGKILL)
        await until_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        assert await shop.subject(octets("after")) == "after"
        assert shop.template != old


async def test_a_mail_that_waits_is_not_forgotten(tmp_path, monkeypatch):
    """When all workers end, with the mails that had them, a mail that waited for one is read all the same."""
    async with workshop(tmp_path, monkeypatch, "stop") as shop:
        struck = [
            asyncio.create_task(shop.subject(HOSTILE, spool_id=f"0STRUCK{number}")) for number in range(2)
        ]
        await until_true(lambda: sum(map(is_stopped, shop.workers())) == 2)
        waiting = [asyncio.create_task(shop.subject(octets(f"{number}"))) for number in range(3)]
        await asyncio.sleep(0)
        os.kill(shop.template, signal.SIGKILL)
        for task in struck:
            task.cancel()
        subjects = await asyncio.wait_for(asyncio.gather(*waiting), 30)
        assert subjects == ["0", "1", "2"]
        await asyncio.gather(*struck, return_exceptions=True)
        await until_true(lambda: len(shop.workers()) == 2)


async def test_a_mail_that_waits_is_told_that_there_are_no_workers(tmp_path, monkeypatch):
    """Where no template can be started any more, mails that wait are put off, and none waits for ever."""
    async with workshop(tmp_path, monkeypatch, "stop") as shop:
        struck = [
            asyncio.create_task(shop.subject(HOSTILE, spool_id=f"0STRUCK{number}")) for number in range(2)
        ]
        await until_true(lambda: sum(map(is_stopped, shop.workers())) == 2)
        waiting = [asyncio.create_task(shop.subject(octets(f"{number}"))) for number in range(3)]
        await asyncio.sleep(0)
        monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
        os.kill(shop.template, signal.SIGKILL)
        for task in struck:
            task.cancel()
        told = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
        assert [(type(each), each.seconds) for each in told] == [(NotYetError, 10.0)] * 3
        await asyncio.gather(*struck, return_exceptions=True)
        monkeypatch.undo()
        assert await shop.subject(octets("after")) == "after"


async def test_a_template_that_hangs_is_replaced(tmp_path, monkeypatch):
    """A template that does not do as it is told is ended, and the mail that waited for its worker is put off
    or read.
    """
    async with workshop(tmp_path, monkeypatch, "stop", silent_seconds=1.0) as shop:
        assert await shop.subject(octets("before")) == "before"
        old = shop.template
        hostile = asyncio.create_task(shop.subject(HOSTILE))
        await until_true(lambda: shop.pool.aside)
        os.kill(old, signal.SIGSTOP)
        with pytest.raises((NotYetError, RemoteError, NotUnderstoodError)):
            await asyncio.wait_for(hostile, 30)
        assert await shop.subject(octets("after")) == "after"
        assert shop.template != old


async def test_another_configuration_is_heeded(tmp_path, monkeypatch):
    """A mail is read by the configuration that comes with it, whatever its worker was born with."""
    other = builtin_config(contact={"attribute_prefix": "other_"})
    async with workshop(tmp_path, monkeypatch) as shop:
        found = []
        for config in (shop.config, other, shop.config, other):
            async with shop.reading.plan(task_of(octets("x"), config)) as plan:
                found.append("other_spool_id" in plan.attributes)
    assert found == [False, True, False, True]


async def test_without_room_files_are_in_memory(tmp_path, monkeypatch):
    """Where the disk takes no file, the mail goes out all the same, so that the disk becomes free."""
    async with workshop(tmp_path, monkeypatch) as shop:
        shop.folder.rmdir()
        async with shop.reading.plan(task_of(octets("x", attachment=PDF), shop.config)) as plan:
            (file,) = plan.files
            assert b"".join(file.chunks()) == PDF


async def test_nothing_is_left_open(tmp_path, monkeypatch):
    """After many mails, read and not read, this process and a worker hold no descriptor more than before."""
    async with workshop(tmp_path, monkeypatch, "raise") as shop:

        def held():
            pids = ["self", *shop.workers()]
            return [footprint_of(pid).handles for pid in pids]

        await shop.subject(octets("first", attachment=PDF))
        before = held()
        for _ in range(5):
            await shop.subject(octets("x", attachment=PDF))
            with pytest.raises(NotUnderstoodError):
                await shop.subject(HOSTILE)
        await until_true(lambda: held() == before)


async def test_related_contact_is_asked_for(tmp_path, monkeypatch):
    """A worker asks which contact the mail answers, and the plan names it."""
    raw = octets("x").replace(
        b"Subject: x", b"Subject: x\r\nIn-Reply-To: <a@b.example>\r\nReferences: <c@d.example>"
    )
    asked = []

    async def find(thread):
        asked.append(thread)
        return "the contact"

    async with workshop(tmp_path, monkeypatch) as shop:
        async with shop.reading.plan(task_of(raw, shop.config, find_related=find)) as plan:
            assert plan.related_contact_id == "the contact"
        async with shop.reading.plan(task_of(raw, shop.config, find_related=find, rung=Rung.TEXT)) as plan:
            assert plan.related_contact_id is None
    assert asked[0].in_reply_to == ("<a@b.example>",)
    assert asked[0].authors == ("ada@customer.example",)


PROGRAM = """
import asyncio, sys
from pathlib import Path
from pytest import MonkeyPatch
from understanding import octets, workshop

async def main():
    async with workshop(Path(sys.argv[1]), MonkeyPatch(), "spin") as shop:
        await shop.subject(octets("x"))
        hostile = asyncio.create_task(shop.subject(octets("Hostile")))
        while not shop.pool.aside or len(shop.workers()) < 3:
            await asyncio.sleep(0.01)
        print('pids', shop.template, *shop.workers(), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_workers_end_with_their_parent(tmp_path):
    """When the deliverer is killed, its template and every worker go too, one that never lets go of its
    interpreter included.
    """
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        line = next(line for line in process.stdout if line.startswith("pids"))
        pids = [int(word) for word in line.split()[1:]]
        process.kill()
    assert len(pids) == 4
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), seconds=10)
