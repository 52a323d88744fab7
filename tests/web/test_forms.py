"""Forms that no browser sends: each is answered with a sentence, and changes nothing."""

from __future__ import annotations

import pytest
from page_extras import ValueExtras
from page_values import ValueView, mail_view

PART = b'--x\r\nContent-Disposition: form-data; name="a"'
BODIES = [
    b"",
    b"\0",
    b"--x\r\n",
    b"--x\r\n\r\n\r\n--x--",
    b"--x\r\nContent-Disposition: \xff\r\n\r\nv\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n",
    PART + b"\r\nContent-Type: text/plain; charset=nonsense\r\n\r\nv\r\n--x--\r\n",
    PART + b"\r\nContent-Type: text/plain; charset=utf-7\r\n\r\n+2AA-\r\n--x--\r\n",
    PART + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n!!\r\n--x--\r\n",
    PART + b"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nq\r\n--y--\r\n--x--\r\n",
    b"%ff%fe=a&b=%zz&form_token=%ed%a0%80",
]
TYPES = [
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    f"multipart/form-data; boundary={'b' * 100}",
    "application/x-www-form-urlencoded; charset=nonsense",
    "application/x-www-form-urlencoded; charset=utf-16",
    "application/x-www-form-urlencoded; charset=utf-7",
    "application/x-www-form-urlencoded",
    "text/plain; charset=\xe9",
]


@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader")  # that is the subject
@pytest.mark.parametrize("path", ["/mails/01JX000001.1/change", "/change", "/try", "/faults"])
async def test_a_form_that_is_none_is_answered(serve, path):
    """A body that is cut, nested, in a charset that nobody knows, or no form at all gets 400 or 403."""
    view, extras = ValueView(mail_view()), ValueExtras()
    client = await serve(view, extras=extras)
    for body in BODIES:
        for content_type in TYPES:
            async with client.post(path, data=body, headers={"Content-Type": content_type}) as answer:
                assert answer.status in (400, 403), ascii((body, content_type))
                assert "This form" in await answer.text()
    assert view.acts == extras.tried == extras.set == []


async def test_a_head_does_not_listen(serve):
    """HEAD of the stream of changes takes no place of a listener."""
    client = await serve(ValueView(mail_view()))
    async with client.head("/events") as answer:
        assert answer.status == 405
