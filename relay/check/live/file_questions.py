"""The questions about files: when they are fetched, and how those that do not fit are refused.

Owns what is uploaded and sent for each, and what its outcome means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from relay.check.live.bench import Bench, Started
from relay.check.live.model import Answer
from relay.check.live.question import Question
from relay.check.live.questions import tell
from relay.contact.limits import ATTACHMENT_BYTES, DEFAULT_ATTACHMENTS

_REFERENCES = "connect:ListContactReferences"
_MEBIBYTE = 1 << 20
_OVER = ATTACHMENT_BYTES + _MEBIBYTE
_HALF = 13 * _MEBIBYTE  # two of them are over the 25 MB of a contact
#: The life of a URL that Connect must be quick for.
_SHORT_LIFE_SECONDS = 30
_IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
#: A type that no instance takes by default.
_STRANGE = "relaylive"


async def _start_with(bench: Bench, names: Sequence[str], size: int, *, life_seconds: int = 3_600) -> Started:
    """Start a contact with files of these names, all of one size."""
    urls = [await bench.upload(number, size, life_seconds=life_seconds) for number in range(len(names))]
    files = [{"FileName": name, "S3Url": url} for name, url in zip(names, urls, strict=True)]
    return await bench.start(bench.build(Attachments=files))


async def _states(bench: Bench, contact_id: str) -> dict[str, int]:
    """The states of a contact's files, once none is under way any more, or patience ends."""
    seen: dict[str, int] = {}

    async def look() -> bool:
        found: Sequence[Mapping[str, Any]] = await bench.contacts.list_references(contact_id, "ATTACHMENT")
        states = [str(each.get("Status", "")) for each in found]
        seen.clear()
        seen.update({state: states.count(state) for state in states})
        return bool(states) and "PROCESSING" not in states

    await bench.wait_for(look)
    return seen


async def _with_states(bench: Bench, started: Started, refused: str) -> Answer:
    """The answer by what became of the files of a contact that was accepted."""
    if started.refusal is not None:
        return tell(started, "", refused)
    states = await _states(bench, started.contact_id)
    words = ", ".join(f"{count} {state}" for state, count in states.items()) or "no file is shown"
    return Answer(
        sentence=f"accepted; its files are then: {words}", facts={**started.facts, "states": states}
    )


async def _url_life(bench: Bench) -> Answer:
    clock = asyncio.get_running_loop().time
    begun = clock()
    started = await _start_with(bench, ["live.txt"], 1_024, life_seconds=_SHORT_LIFE_SECONDS)
    if started.refusal is not None:
        return tell(started, "", "a small text file is not taken")
    states, seconds = await _states(bench, started.contact_id), round(clock() - begun, 1)
    words = ", ".join(states) or "not shown"
    return Answer(
        sentence=f"a URL that lives {_SHORT_LIFE_SECONDS} seconds: the file was {words} after {seconds:g}",
        facts={"states": states, "seconds": seconds},
    )


async def _file_type(bench: Bench) -> Answer:
    started = await _start_with(bench, [f"live.{_STRANGE}"], 1_024)
    return await _with_states(bench, started, "a wrong type is told at once")


async def _file_size(bench: Bench) -> Answer:
    started = await _start_with(bench, ["live.txt"], _OVER)
    return await _with_states(bench, started, "a file over 20 MB is told at once")


async def _total_size(bench: Bench) -> Answer:
    started = await _start_with(bench, ["live-1.txt", "live-2.txt"], _HALF)
    return await _with_states(bench, started, "files over 25 MB together are told at once")


async def _file_names(bench: Bench) -> Answer:
    double = await _start_with(bench, ["live.txt", "live.txt"], 16)
    unseen = await _start_with(bench, ["li\u200dve.txt"], 16)
    return Answer(
        sentence=f"one name twice: {double.word}; a name with an invisible character: {unseen.word}",
        facts={"double": double.facts, "unseen": unseen.facts},
    )


async def _attachments(bench: Bench) -> Answer:
    names = [f"live-{number}.txt" for number in range(DEFAULT_ATTACHMENTS + 1)]
    return tell(
        await _start_with(bench, names, 16),
        f"connect.max_attachments may be more than {DEFAULT_ATTACHMENTS}",
        f"{DEFAULT_ATTACHMENTS} attachments are the most",
    )


async def _data_image(bench: Bench) -> Answer:
    body = f'<p>A square:</p><img alt="square" width="64" height="64" src="{_IMAGE}">'
    started = await bench.start(bench.build(EmailMessage=bench.mail(body=body, html=True)))
    return tell(
        started, "look in Contact search whether the square is shown", "a picture in the body is not taken"
    )


FILE_QUESTIONS = (
    Question(
        name="url-life",
        text="How soon is a file fetched by its URL?",
        contacts=1,
        octets=1_024,
        needs=(_REFERENCES,),
        ask=_url_life,
    ),
    Question(
        name="file-type",
        text="How is a file of a wrong type refused?",
        contacts=1,
        octets=1_024,
        needs=(_REFERENCES,),
        ask=_file_type,
    ),
    Question(
        name="file-size",
        text="How is a file over 20 MB refused?",
        contacts=1,
        octets=_OVER,
        needs=(_REFERENCES,),
        ask=_file_size,
    ),
    Question(
        name="total-size",
        text="How are files over 25 MB together refused?",
        contacts=1,
        octets=2 * _HALF,
        needs=(_REFERENCES,),
        ask=_total_size,
    ),
    Question(
        name="file-names",
        text="Are doubled and invisible file names taken?",
        contacts=2,
        octets=48,
        ask=_file_names,
    ),
    Question(
        name="attachments",
        text="Are more than 10 attachments taken?",
        contacts=1,
        octets=16 * (DEFAULT_ATTACHMENTS + 1),
        ask=_attachments,
    ),
    Question(name="data-image", text="Is a picture inside the body shown?", contacts=1, ask=_data_image),
)
