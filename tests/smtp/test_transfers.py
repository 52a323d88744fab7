"""The way of a mail from the end of its data to its reply."""

from __future__ import annotations

import asyncio

from bench.edge_cpu import Bench, Link
from relay.smtp.protocol import Conversation

MAILS = 400
MAIL = b"MAIL FROM:<ada@customer.example>\r\nRCPT TO:<support@example.com>\r\nBDAT 3 LAST\r\n"


class Heard(Link):
    """A connection that keeps everything that is said."""

    def __init__(self) -> None:
        super().__init__(1)
        self.heard = b""

    def write(self, data) -> None:
        self.heard += data


async def answers(folder, content: bytes) -> list[bytes]:
    """The replies to the data of 400 mails that come with one read, from a spool that commits at once."""
    bench = Bench(folder)
    try:
        link = Heard()
        connection = Conversation(bench.settings, bench.server).connection
        connection.connection_made(link)
        connection.data_received(b"HELO c.example\r\n" + (MAIL + content) * MAILS)
        async with asyncio.timeout(20):
            while link.heard.count(b"\r\n") < 2 + 3 * MAILS and b"421 " not in link.heard:
                await asyncio.sleep(0)
        connection.connection_lost(None)
        return link.heard.split(b"\r\n")[4:-1:3]
    finally:
        bench.server.close()
        await bench.intake.close()


def test_mails_whose_outcome_is_known_at_once_are_answered_in_turn(tmp_path):
    """A commit that is done when it begins is told after the reading, not within it: no mail's reply
    depends on how many came before it.
    """
    said = asyncio.run(answers(tmp_path, b"x\r\n"))
    assert [line[:22] for line in said] == [b"250 2.0.0 Ok: queued a"] * MAILS


def test_mails_that_are_refused_at_once_are_answered_in_turn(tmp_path):
    """The same holds for mails that are refused without asking the spool: here for a bare CR."""
    said = asyncio.run(answers(tmp_path, b"x\ry"))
    assert [line[:9] for line in said] == [b"550 5.5.2"] * MAILS
