"""What a route refuses at the door."""

from __future__ import annotations

from factory import make_config, make_message, make_part, make_route

from relay.contact.refusal import refusals


def refused(message, **route):
    config = make_config(**route)
    return refusals(message, make_route(config), config)


def zipped():
    return make_part(name="x.zip", content_type="application/zip")


def test_nothing_is_refused_unless_the_route_says():
    """By default such files are stored and named."""
    assert refused(make_message(attachments=[zipped()])) == ()


def test_disallowed_files_are_named():
    """The names that the sender's user will read."""
    message = make_message(text="hi", attachments=[make_part(), zipped(), make_part(name="x.exe")])
    assert refused(message, disallowed_types="reject") == ("x.zip", "x.exe")


def test_what_reaches_the_agent_in_another_form_refuses_nothing():
    """A GIF in the HTML and an attached message are shown; the file inside the message is a file."""
    gif = make_part(b"GIF89a", name="x.gif", content_type="image/gif", content_id="x")
    eml = make_part(name=None, content_type="message/rfc822")
    inner = make_message(subject="Inner", text="x")
    message = make_message(html='<img src="cid:x">', attachments=[gif, eml], embedded=[(1, inner)])
    assert refused(message, disallowed_types="reject") == ()
    assert refused(message, disallowed_types="reject", prefer="text") == ("x.gif",)
    inner = make_message(subject="Inner", text="x", attachments=[zipped()])
    message = make_message(text="x", attachments=[eml], embedded=[(0, inner)])
    assert refused(message, disallowed_types="reject") == ("x.zip",)
