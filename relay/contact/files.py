"""The files of a plan: candidates that become attachments, or are only stored, and their names.

Owns the limits on attachments: number, size, sum and type. Never does I/O. Amazon Connect administrator
guide, "feature specifications": 20 MB each, 25 MB with the body, the instance's list of extensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from relay.config.model import Config
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.candidates import Candidate, Role, default_name
from relay.contact.names import clean_name, complete_extension, cut_name, get_extension, make_unique
from relay.contact.plan import Adaptation, PlannedFile
from relay.contact.ranking import rank_candidate
from relay.message.sniff import EXECUTABLES
from relay.vocabulary import Rung

#: Octets of all files for each octet that a mail may have: those of the mail itself, and as many again of
#: what is made of its bodies and taken out of messages within.
_FILES_FACTOR = 2
#: Attachments that every Region takes; AWS began to raise the number in 2026.
_OLD_PLACES = 10

#: Extensions under which a person expects a program, or no kind of file.
_OF_PROGRAMS = frozenset({
    "", "apk", "app", "bash", "bat", "bin", "cgi", "class", "cmd", "com", "command", "cpl", "csh", "dex", "dll", "drv",
    "dylib", "efi", "elf", "exe", "ksh", "lnk", "mui", "node", "o", "ocx", "out", "pif", "pl", "ps1", "py", "rb", "run",
    "scr", "sh", "so", "sys", "tcl", "wasm", "xll", "zsh",
})  # fmt: skip

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of a plan."""

    attached: tuple[PlannedFile, ...]
    #: Files that are only stored, each with the reason.
    left: tuple[tuple[PlannedFile, Code], ...]
    changes: tuple[Adaptation, ...]
    #: The number of files that are kept only inside the message or the container which holds them.
    inside: int = 0

    @property
    def all(self) -> tuple[PlannedFile, ...]:
        """All files: the attached ones first, then the stored ones."""
        return (*self.attached, *(file for file, _ in self.left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The facts that the choice of files needs besides the candidates."""

    config: Config
    #: The beginning of all keys: `<prefix><spool id>/`.
    folder: str
    rung: Rung
    #: File names or keys that Connect refused.
    refused: frozenset[str]
    #: The numbers of candidates that stand in the body, and of those that its HTML refers to.
    inlined: frozenset[int]
    shown: frozenset[int]
    #: Bytes that the body leaves for files.
    room: int


def choose_files(candidates: Sequence[Candidate], choice: Choice) -> Files:
    """The files of a plan: every candidate that does not stand in the body is attached or stored."""
    allowed = frozenset(choice.config.connect.allowed_extensions)
    changes: list[Adaptation] = []
    files = _name_files(candidates, choice, allowed, changes)
    inside = _leave_inside(candidates, files, most_file_bytes(choice.config))
    if inside:
        detail = f"{inside:,} files: {Code.ATTACHMENTS_LEFT_INSIDE.sentence}"
        changes.append(Adaptation(code=Code.ATTACHMENTS_LEFT_INSIDE, detail=detail))
    changes += _contradictions(candidates, files)
    reasons = _check_each(candidates, files, choice, allowed)
    _choose(candidates, files, reasons, choice)
    attached, left = [], []
    for number, file in files.items():
        code = reasons.get(number)
        if code is None:
            attached.append(file)
        else:
            stored = replace(file, attached=False)
            left.append((stored, code))
            detail = f'"{file.name}": {code.sentence}'
            changes.append(
                Adaptation(code=code, detail=detail, before=file.name, after=f"{file.key} {file.sha256}")
            )
    return Files(attached=tuple(attached), left=tuple(left), changes=tuple(changes), inside=inside)


def most_file_bytes(config: Config) -> int:
    """The octets that all files of a mail may have together, decoded."""
    return _FILES_FACTOR * config.max_message_bytes


def _leave_inside(candidates: Sequence[Candidate], files: dict[int, PlannedFile], limit: int) -> int:
    """Remove files that stand inside others, and for which all files together leave no room.

    Messages within messages hold the same octets once for each level. The mail's own parts and bodies always
    have room: together they are smaller than `limit`.

    Returns the number of files removed.
    """
    room = limit - sum(
        files[one.number].size for one in candidates if one.number in files and not one.is_inside
    )
    removed = 0
    for one in candidates:
        if one.number not in files or not one.is_inside:
            continue
        if one.size <= room:
            room -= one.size
        else:
            del files[one.number]
            removed += 1
    return removed


def fit_name(candidate: Candidate, allowed: frozenset[str]) -> str:
    """The name of a candidate as Connect takes it, before names are made unique."""
    cleaned = clean_name(candidate.name) or default_name(candidate)
    if get_extension(f"x{cleaned}") in allowed and cleaned.startswith("."):
        cleaned = f"attachment{cleaned}"  # only the extension was left of the name
    if candidate.role is Role.MESSAGE and get_extension(cleaned) not in ("eml", "msg"):
        # Outlook names a forwarded mail after a file in it ("Contract.docx"); the file is a mail all the
        # same.
        return cut_name(f"{cleaned}.eml")
    return cut_name(
        complete_extension(
            cleaned, declared=candidate.content_type, detected=candidate.detected_type, allowed=allowed
        )
    )


def _name_files(
    candidates: Sequence[Candidate], choice: Choice, allowed: frozenset[str], changes: list[Adaptation]
) -> dict[int, PlannedFile]:
    """The files of all candidates by number, with their names; a candidate that another file holds whole is
    left out.
    """
    taken: dict[str, int] = {}
    whole: set[int] = set()
    files: dict[int, PlannedFile] = {}
    for candidate in candidates:
        # Names do not depend on which files are inlined or attached: a refused name is the same file at the
        # next rung.
        name = make_unique(fit_name(candidate, allowed), taken)
        if candidate.parent in whole:
            whole.add(candidate.number)
            continue
        fits = 0 < candidate.size <= choice.config.connect.max_attachment_bytes
        inlined = candidate.number in choice.inlined
        whole_by_itself = (
            candidate.role in {Role.MESSAGE, Role.PAGE} and fits and get_extension(name) in allowed
        )
        if whole_by_itself or (inlined and candidate.role is Role.PAGE):
            whole.add(candidate.number)
        if inlined:
            continue
        if candidate.part is not None and name != candidate.part.name:
            sent = candidate.part.name or ""
            code = Code.ATTACHMENT_RENAMED if sent else Code.ATTACHMENT_NAMED
            changes.append(Adaptation(code=code, detail=code.sentence, before=sent, after=name))
        kind = candidate.content_type
        files[candidate.number] = PlannedFile(
            name=name,
            content_type=kind if _TYPE.fullmatch(kind) else "application/octet-stream",
            size=candidate.size,
            sha256=candidate.sha256,
            key=f"{choice.folder}{candidate.number}",
            attached=True,
            chunks=candidate.chunks,
        )
    return files


def _contradictions(
    candidates: Sequence[Candidate], files: Mapping[int, PlannedFile]
) -> Iterator[Adaptation]:
    """The records of files that a machine would execute, under a name that promises something else."""
    code = Code.FILE_CONTENT_CONTRADICTS_NAME
    for candidate in candidates:
        file, kind = files.get(candidate.number), candidate.detected_type or ""
        if file is not None and kind in EXECUTABLES and get_extension(file.name) not in _OF_PROGRAMS:
            yield Adaptation(
                code=code, detail=f'"{file.name}": {code.sentence}', before=file.name, after=kind
            )


def _check_each(
    candidates: Sequence[Candidate], files: dict[int, PlannedFile], choice: Choice, allowed: frozenset[str]
) -> dict[int, Code]:
    """The reasons why single files cannot be attached, by number."""
    limit = choice.config.connect.max_attachment_bytes
    refused = {
        number for number, file in files.items() if file.name in choice.refused or file.key in choice.refused
    }
    reasons: dict[int, Code] = {}
    for candidate in candidates:
        file = files.get(candidate.number)
        if file is None:
            continue
        if candidate.role is Role.CONTAINER:
            reasons[candidate.number] = Code.ATTACHMENT_UNPACKED
        elif candidate.role is Role.NOISE:
            reasons[candidate.number] = Code.ATTACHMENT_NOISE
        elif file.size == 0:
            reasons[candidate.number] = Code.ATTACHMENT_EMPTY
        elif get_extension(file.name) not in allowed:
            rendered = candidate.role in {Role.MESSAGE, Role.PAGE}
            reasons[candidate.number] = (
                Code.ATTACHMENT_RENDERED if rendered else Code.ATTACHMENT_TYPE_NOT_ALLOWED
            )
        elif file.size > limit:
            reasons[candidate.number] = Code.ATTACHMENT_TOO_LARGE
        elif choice.rung is Rung.TEXT or (choice.rung is Rung.TRIMMED and candidate.number in refused):
            reasons[candidate.number] = Code.ATTACHMENT_REFUSED
    return reasons


def _choose(
    candidates: Sequence[Candidate], files: dict[int, PlannedFile], reasons: dict[int, Code], choice: Choice
) -> None:
    """Add a reason for each file that finds no place, the least wanted first."""
    fitting = [one for one in candidates if one.number in files and one.number not in reasons]
    fitting.sort(key=lambda one: (rank_candidate(one, shown=one.number in choice.shown), one.number))
    places, why = _count_places(len(fitting), reasons, choice)
    room = choice.room
    for one in fitting:
        if places == 0:
            reasons[one.number] = why
        elif one.size > room:
            reasons[one.number] = Code.ATTACHMENTS_TOO_LARGE
        else:
            places -= 1
            room -= one.size


def _count_places(wanted: int, reasons: dict[int, Code], choice: Choice) -> tuple[int, Code]:
    """The number of files that may be attached, and the adaptation for the others."""
    places = choice.config.connect.max_attachments
    if choice.rung is not Rung.TRIMMED or Code.ATTACHMENT_REFUSED in reasons.values():
        return places, Code.ATTACHMENTS_TOO_MANY
    # The refusal named no file of ours, and the next request must differ. Where more than ten files were
    # sent, this Region may take ten at most; otherwise no file goes.
    if min(places, wanted) > _OLD_PLACES:
        return _OLD_PLACES, Code.ATTACHMENTS_TOO_MANY
    return 0, Code.ATTACHMENT_REFUSED
