"""The first children: what is handed to them over the line, and what they keep of the supervisor."""

from __future__ import annotations

import os
import socket
import tempfile
import threading

from relay.daemon.forked import fork_children, give_sockets, take_sockets


def test_hundreds_of_sockets_arrive_in_their_order():
    """More descriptors than one message can carry reach the child, each in its place."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as first, tempfile.TemporaryFile() as second:
        sent = [(first, second)[number % 3 == 0].fileno() for number in range(300)]
        give_sockets(ours, sent)
        came = take_sockets(theirs.fileno())
        try:
            assert [os.fstat(each).st_ino for each in came] == [os.fstat(each).st_ino for each in sent]
            assert not any(os.get_inheritable(each) for each in came)
        finally:
            for each in came:
                os.close(each)
        give_sockets(ours, [])
        assert take_sockets(theirs.fileno()) == []


def test_child_without_a_supervisor_has_no_work():
    """A child whose supervisor ended before it gave any order learns that, and waits for nothing."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert take_sockets(theirs.fileno()) is None


def test_process_with_threads_forks_nothing():
    """Threads make a fork unsafe: children are then started as programs, and no process begins here."""
    stop = threading.Event()
    beside = threading.Thread(target=stop.wait)
    beside.start()
    try:
        assert fork_children(["receiver-0"]) == {}
    finally:
        stop.set()
        beside.join()
