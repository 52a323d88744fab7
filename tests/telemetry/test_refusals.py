"""The memory of refusals: bounded, and not to be emptied by one stranger."""

from __future__ import annotations

import itertools

import pytest
from harness import until

from relay.telemetry.refusals import GROUPS, SLOT_BYTES, SLOTS, Refusal, Refusals, find_refusals

SIZE = GROUPS * SLOTS * SLOT_BYTES


def refusal(reference, *, at=1_000.0, peer="192.0.2.1", **more):
    known = {"helo": "c.example", "listener": "127.0.0.1:25", "reverse_path": None, "said": "VRFY"}
    return Refusal(reference=reference, at=at, peer=peer, reply="550 5.1.1 No", **(known | more))


def keep(folder, refusals):
    """What one receiver writes between its start and its end."""
    memory = Refusals(folder / "receiver-0")
    for each in refusals:
        memory.remember(each)
        until(lambda: memory._waiting.qsize() < 500)
    memory.close(20)
    assert memory.lost == 0


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reverse_path": "a@b.example", "said": "RCPT TO:<käse@münchen.example>"},
        {"said": "MAIL FROM:<" + "\U0001f600" * 4_000, "helo": "\x00" * 900, "reverse_path": "\x01" * 9_000},
        {"helo": "\udcff", "said": "\ud800"},
    ],
    ids=["plain", "path", "long", "surrogates"],
)
def test_refusal_is_found_by_its_id(tmp_path, more):
    """Whatever the peer said, its refusal is found whole or cut, by its id alone."""
    keep(tmp_path, [refusal("0TA"), refusal("0TB", **more), refusal("0TC", said="0TB")])
    (found,) = find_refusals(tmp_path, "0TB")
    assert (found.reference, found.reply, found.peer) == ("0TB", "550 5.1.1 No", "192.0.2.1")
    assert find_refusals(tmp_path, "0T") == []


def test_memory_is_bounded(tmp_path):
    """The file is as large after thousands of refusals as after one, and the newest are those it has."""
    peers = itertools.cycle(f"10.{number}.0.1" for number in range(200))
    keep(tmp_path, [refusal(f"0T{number}", at=number, peer=next(peers)) for number in range(8_000)])
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [SIZE]
    assert find_refusals(tmp_path, "0T7999")
    assert find_refusals(tmp_path, "0T1") == []


@pytest.mark.parametrize("network", ["198.51.100.", "2001:db8:7:"])
def test_flood_from_one_network_leaves_the_others(tmp_path, network):
    """Two thousand refusals of one /24 or one /48 leave those of all but a 64th of other networks."""
    others = [refusal(f"0TX{number}", peer=f"10.0.{number}.1") for number in range(48)]
    ends = "{:x}::1" if ":" in network else "{}"
    flood = [
        refusal(f"0TF{number}", at=2_000 + number, peer=network + ends.format(number % 250))
        for number in range(2_000)
    ]
    keep(tmp_path, [*others, *flood])
    left = [each for each in others if find_refusals(tmp_path, each.reference)]
    assert len(left) >= 48 - 48 // 8


def test_restart_goes_on_behind_the_newest(tmp_path):
    """A receiver that starts again overwrites the oldest refusal of a network, and not the newest."""
    keep(tmp_path, [refusal(f"0TA{number}", at=number) for number in range(SLOTS + 5)])
    keep(tmp_path, [refusal("0TB", at=SLOTS + 5)])
    assert find_refusals(tmp_path, "0TB")
    assert find_refusals(tmp_path, f"0TA{SLOTS + 4}")
    assert find_refusals(tmp_path, "0TA5") == []


def test_several_under_one_id_come_in_order(tmp_path):
    """The refusals of one session have one id, and are told in the order in which they were said."""
    keep(tmp_path, [refusal("0TA", at=3, said="third"), refusal("0TA", at=1, said="first")])
    assert [each.said for each in find_refusals(tmp_path, "0TA")] == ["first", "third"]


def test_rubbish_in_the_file_is_passed_over(tmp_path):
    """Slots that are half written, empty, or of another version are no refusals."""
    keep(tmp_path, [refusal("0TA")])
    path = tmp_path / "receiver-0"
    octets = path.read_bytes()
    at = octets.index(b"{")
    path.write_bytes(octets[: at + 40] + b"\xff" * 400 + b'[1]"0TA"' + octets[at + 448 :])
    assert find_refusals(tmp_path, "0TA") == []
    keep(tmp_path, [refusal("0TB")])
    assert find_refusals(tmp_path, "0TB")


def test_disk_that_takes_nothing_stops_nobody(tmp_path):
    """Where no file can be made, refusals are counted as lost, and nothing is raised."""
    (tmp_path / "folder").write_text("a file where the folder should be")
    memory = Refusals(tmp_path / "folder" / "receiver-0")
    for number in range(50):
        memory.remember(refusal(f"0T{number}"))
    memory.close(20)
    assert memory.lost == 50
    assert find_refusals(tmp_path / "folder", "0T1") == []
