"""Threading headers within what Connect takes."""

from __future__ import annotations

from factory import make_message

from relay.contact.thread import fit_thread


def fit(**fields):
    headers, changes = fit_thread(make_message(**fields))
    return dict(headers), [change.code for change in changes]


def test_headers_go_raw():
    """Ids keep their brackets, several are parted by one space."""
    headers, codes = fit(message_id="<c@x>", in_reply_to=("<b@x>",), references=("<a@x>", "<b@x>"))
    assert headers == {"MESSAGE_ID": "<c@x>", "IN_REPLY_TO": "<b@x>", "REFERENCES": "<a@x> <b@x>"}
    assert codes == []


def test_absent_headers_are_absent():
    """An empty value is refused, so no key stands for it."""
    assert fit(message_id="", references=("", " ")) == ({}, [])


def test_long_references_keep_the_first_and_the_newest():
    """Within 20,000 characters stand the id that names the thread and the last ones."""
    ids = tuple(f"<{number:05}@{'x' * 40}>" for number in range(1_000))
    headers, codes = fit(references=ids)
    kept = headers["REFERENCES"].split(" ")
    assert len(headers["REFERENCES"]) <= 20_000
    assert len(headers["REFERENCES"]) + len(ids[0]) + 1 > 20_000
    assert kept[0] == ids[0]
    assert tuple(kept[1:]) == ids[-len(kept) + 1 :]
    assert codes == ["thread.cut"]


def test_exactly_20000_characters_are_untouched():
    """The limit itself fits."""
    ids = ("<" + "a" * 9_997 + ">", "<" + "b" * 9_998 + ">")
    assert len(" ".join(ids)) == 20_000
    assert fit(references=ids) == ({"REFERENCES": " ".join(ids)}, [])


def test_monstrous_id_is_left_out():
    """An id longer than any header value is recorded, the others stay."""
    headers, codes = fit(message_id="<" + "m" * 20_000 + ">", references=("<a@x>", "<" + "r" * 20_000 + ">"))
    assert headers == {"REFERENCES": "<a@x>"}
    assert codes == ["thread.id_unusable", "thread.id_unusable"]


def test_control_characters_never_pass():
    """A folded or forged id is one line."""
    assert fit(message_id="<a\r\nBcc: x@y>")[0] == {"MESSAGE_ID": "<a Bcc: x@y>"}
