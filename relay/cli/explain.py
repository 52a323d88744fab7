"""The command `relay explain`: the contact that a mail would become, as a page for a person or as JSON lines.

Owns the look of the page. A file that cannot be read has its line and ends nothing. Bidirectional and
invisible characters of the sender's are written out, so that a name cannot look like another.
"""

from __future__ import annotations

import json
import os
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, BinaryIO

import click

from relay.auth.identity import IdentitySummary
from relay.cli.entries import printable
from relay.cli.explanations import build_record
from relay.cli.mail_file import MailFileError, read_mail
from relay.cli.origin import Asked, add_origin_options, build_asked
from relay.cli.progress import tracked
from relay.config import Config
from relay.config.builtin import builtin_config
from relay.config.load import load_config
from relay.contact.body import HTML
from relay.contact.characters import clean_line, count_utf8
from relay.contact.html_text import make_text
from relay.contact.note import count_bytes
from relay.contact.plan import Plan
from relay.explain import Explainer, Explanation, Origin
from relay.message.model import Message
from relay.terminal import write_out_json
from relay.understand import wire
from relay.understand.alone import LoneWorker
from relay.understand.attendance import Call, GivenUpError
from relay.understand.folder import open_memory
from relay.understand.reading import CAUSES, build_allowance
from relay.understand.supply import BusyError
from relay.understand.worker import Mail
from relay.vocabulary import Cause, Disposition

_WIDTH = 100
#: Most octets of the pages or the JSON of one file: `limits.recipients` times its words.
_PAGES_BYTES = 1 << 31
_PIECE_BYTES = 1 << 20
#: Lines of the body that the page shows.
_PREVIEW = 12
#: Deepest level of the tree that is shown with its own indent.
_DEEPEST = 10


@click.command("explain")
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    help="The configuration; default: a built-in one for example.com.",
)
@click.option("--rcpt", "recipients", metavar="ADDRESS", multiple=True, help="As if sent to this address.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, for each file and destination."
)
@add_origin_options
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.pass_context
def explain_command(
    ctx: click.Context,
    /,
    config_path: str | None,
    recipients: tuple[str, ...],
    files: tuple[str, ...],
    *,
    as_json: bool,
    **origin: Any,
) -> None:
    """Show what a mail would become: a dry run, without network but for DNS where --peer asks for it.

    FILE is a mail as it would be sent; "-" is the standard input.
    """
    config = load_config(config_path) if config_path else builtin_config()
    asked = build_asked(**origin)
    explaining = _Explaining(config, Explainer(config, recipients=recipients), asked, as_json=as_json)
    with explaining.worker:
        failed = [file for file in tracked("explain", files) if not explaining.explain(file)]
    ctx.exit(1 if failed else 0)


class _Explaining:
    """The files of one command, each read by a worker as the deliverer's mails are."""

    def __init__(self, config: Config, explainer: Explainer, asked: Asked, *, as_json: bool) -> None:
        self._config = config
        self._asked = asked
        self._explainer = explainer
        self._as_json = as_json
        self.worker = LoneWorker(self._read)

    def explain(self, file: str) -> bool:
        """Show what one file would become. Returns whether nothing is wrong with it."""
        try:
            raw = read_mail(file)
        except MailFileError as exc:
            return self._show(Explanation(file=file, error=str(exc)))
        origin = self._asked.find_origin(raw, self._config)
        with ExitStack() as stack:
            written = stack.enter_context(tempfile.TemporaryFile())
            handle = open_memory(raw)
            stack.callback(os.close, handle)
            call = Call(
                job="",
                order={"file": file, "origin": wire.pack(origin)},
                raw=handle,
                files=written.fileno(),
                size=len(raw),
                config=self._config,
                allowance=replace(build_allowance(self._config), files_bytes=_PAGES_BYTES),
                spool_id="",
            )
            try:
                sound = bool(self.worker.run(call)["sound"])
            except BusyError as exc:
                return self._show(Explanation(file=file, error=str(exc)))
            except GivenUpError as exc:
                cause = Cause(CAUSES.get(exc.kind, Cause.CRASH))
                found = self._explainer.explain_original(file, raw, origin, cause=cause, why=str(exc))
                return self._show(*found)
            self._copy(written)
            return sound

    def _copy(self, written: BinaryIO) -> None:
        """Print what the worker has written: whole lines, a piece at a time."""
        written.seek(0)
        while lines := written.readlines(_PIECE_BYTES):
            click.echo(b"".join(lines), nl=False)

    def _read(self, mail: Mail) -> dict[str, Any]:
        """Explain one file, in the worker, and write the explanations as they are to be shown."""
        origin = wire.unpack(Origin, mail.order["origin"])
        found = self._explainer.read(mail.order["file"], bytes(mail.raw), origin)
        for explanation in found:
            octets = self._render(explanation).encode("utf-8", "backslashreplace")
            mail.files.write([octets], len(octets))
        return {"sound": all(explanation.error is None for explanation in found)}

    def _show(self, *found: Explanation) -> bool:
        for explanation in found:
            click.echo(self._render(explanation), nl=False)
        return all(explanation.error is None for explanation in found)

    def _render(self, explanation: Explanation) -> str:
        """The text of one explanation, its line end included."""
        if self._as_json:
            return write_out_json(json.dumps(build_record(explanation))) + "\n"
        return "\n".join(map(printable, [*_build_page(explanation), ""])) + "\n"


def _build_page(explanation: Explanation) -> Iterator[str]:
    """Give the lines of one page."""
    title = clean_line(explanation.file)
    yield f"━━ {title}{f'  →  {explanation.destination}' if explanation.destination else ''}"
    if explanation.error:
        yield from _fact("Error", explanation.error)
    if explanation.message is None:
        return
    plan = explanation.plan
    disposition = str(explanation.disposition)
    yield from _fact("Verdict", disposition + (f": {explanation.reason}" if explanation.reason else ""))
    if explanation.route:
        yield from _fact("Route", explanation.route.name)
    if plan:
        yield from _fact("Class", str(plan.classification))
        if explanation.identity or explanation.disposition is Disposition.ACCEPT:
            yield from _fact("Checks", _describe_checks(explanation.identity))
    yield ""
    yield "The mail"
    yield from _list_parts(explanation.message, "  ")
    if plan:
        yield ""
        yield "What the agent will see"
        yield from _show_contact(plan)
        yield ""
        yield from _show_changes(plan)


def _describe_checks(identity: IdentitySummary | None) -> str:
    if identity is None:
        return "SPF, DKIM, DMARC and ARC are asked for with --peer or --dns"
    words = f"spf={identity.spf} dkim={identity.dkim} dmarc={identity.dmarc} arc={identity.arc}"
    return f"{words} iprev={identity.iprev} dnsbl={identity.dnsbl}: {identity.summary}"


def _fact(name: str, value: str) -> Iterator[str]:
    """Give a named value, wrapped under itself."""
    lines = textwrap.wrap(clean_line(value), _WIDTH - 14) or [""]
    yield f"  {name:<12}{lines[0]}"
    yield from (" " * 14 + line for line in lines[1:])


def _list_parts(message: Message, indent: str) -> Iterator[str]:
    """Give the tree of parts: a step to the right for each level."""
    bodies = {id(part) for part in message.bodies}
    inner = {one.path: one.message for one in message.embedded}
    for part in message.parts:
        name = f' "{clean_line(part.name)}"' if part.name else ""
        marks = [count_bytes(part.size)]
        if id(part) in bodies:
            marks.append("body")
        if part.content_disposition:
            marks.append(part.content_disposition)
        if part.origin:
            marks.append(f"from {part.origin}")
        if part.detected_type and part.detected_type != part.content_type:
            marks.append(f"looks like {part.detected_type}")
        step = indent + "  " * min(_DEEPEST, max(0, len(part.path) - 1))
        yield f"{step}{clean_line(part.content_type)}{name} ({', '.join(marks)})"
        if part.path in inner:
            embedded = inner.pop(part.path)
            yield f'{step}  the message "{clean_line(embedded.subject)}"'
            yield from _list_parts(embedded, step + "  ")
    if message.defects:
        yield f"{indent}Repaired: {', '.join(message.defects)}"


def _show_contact(plan: Plan) -> Iterator[str]:
    yield from _fact("From", _mailbox(plan.from_address, plan.from_name))
    yield from _fact("To", ", ".join([plan.destination, *(_mailbox(*one) for one in plan.to)]))
    if plan.cc:
        yield from _fact("Cc", ", ".join(_mailbox(*one) for one in plan.cc))
    yield from _fact("Subject", plan.subject or "(none)")
    yield from _fact("Body", f"{plan.content_type}, {count_utf8(plan.body):,} bytes")
    # A body of megabytes is mostly pictures; its beginning is enough here.
    text = make_text(plan.body[:200_000]) if plan.content_type == HTML else plan.body[:200_000]
    lines = text.strip("\n").split("\n")
    for line in lines[:_PREVIEW]:
        yield "    │ " + textwrap.shorten(clean_line(line), _WIDTH, placeholder=" …")
    if len(lines) > _PREVIEW:
        yield f"    │ … {len(lines) - _PREVIEW:,} lines more"
    attached = [file for file in plan.files if file.attached]
    for file in attached:
        yield from _fact("Attachment", f"{file.name} ({count_bytes(file.size)})")
    stored = [file for file in plan.files if not file.attached]
    for file in stored:
        yield from _fact("Only stored", f"{file.name} ({count_bytes(file.size)}) as {file.key}")
    if plan.original_key:
        yield from _fact("Original", plan.original_key)
    yield from _show_filled(plan)
    for key, value in plan.attributes.items():
        yield from _fact("Attribute", f"{key} = {value}")


def _show_filled(plan: Plan) -> Iterator[str]:
    """Give what the operator's templates made."""
    for name, text in (
        ("Name", plan.name if plan.name != plan.subject else ""),
        ("Description", plan.description),
    ):
        if text:
            yield from _fact(name, text)
    for key, reference in plan.references.items():
        yield from _fact("Reference", f"{key} = {reference['Value']} ({reference['Type']})")
    for one in plan.segments:
        yield from _fact(
            "Segment", f"{'.'.join(one.path)} = {one.text if one.number is None else one.number}"
        )


def _mailbox(address: str, name: str) -> str:
    return f"{name} <{address}>" if name else address


def _show_changes(plan: Plan) -> Iterator[str]:
    if not plan.adaptations:
        yield "Nothing had to be changed."
        return
    yield "What was changed so that it fits"
    for change in plan.adaptations:
        yield from textwrap.wrap(
            f"{change.code}: {clean_line(change.detail)}",
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="      ",
        )
        for label, value in (("before", change.before), ("after", change.after)):
            if value:
                yield f"      {label}: {textwrap.shorten(clean_line(value), _WIDTH, placeholder=' …')}"
