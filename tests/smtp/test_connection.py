"""The owner of a socket's octets, at the edges where the loop has not heard yet what the peer did."""

from __future__ import annotations

import asyncio
import socket
import struct

from harness import until

from relay.smtp.connection import Connection


class Reader:
    """A session that closes in its first moment, after the peer has reset the connection."""

    def __init__(self) -> None:
        self.connection = Connection(asyncio.get_running_loop(), self)
        self.gone = asyncio.Event()

    def begin(self, link, address, port):
        """Hold the loop until the kernel has the reset, then say goodbye."""
        self.connection.link = link
        own = link.get_extra_info("socket")
        until(lambda: struct.unpack("B", own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))[0] == CLOSED)
        self.connection.close(linger=True)

    def lost(self):
        """Note the end."""
        self.gone.set()

    def received(self):
        """Do nothing."""

    proceed = ended = received


#: TCP_CLOSE of <netinet/tcp.h>.
CLOSED = 7


async def test_a_peer_that_has_reset_is_closed_without_a_fault():
    """Our side cannot be ended any more (ENOTCONN): that is no error of ours, and the connection is gone."""
    readers, faults = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

    def make():
        readers.append(Reader())
        return readers[-1].connection

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    async with server:
        with socket.create_connection(server.sockets[0].getsockname()) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with asyncio.timeout(10):
            while not readers:
                await asyncio.sleep(0)
            await readers[0].gone.wait()
    assert faults == []
