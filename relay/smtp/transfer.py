"""A transfer: one mail on its way in, from its first octet to the reply at its end.

Owns the moving of large mail to its file, block by block, in threads, and the one way from the end of the
data to the reply. Nothing that has begun is cancelled: when the peer goes away during the commit the mail is
accepted all the same, and when it goes away before, nothing is kept. 250 is said only after the spool has
said that the mail is on disk, and nothing after that changes the reply.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Protocol

from relay import replies, telemetry
from relay.envelope import Peer, SpoolId
from relay.errors import SpoolError
from relay.smtp.acceptance import (
    Acceptance,
    Check,
    begin_acceptance,
    find_disposition,
    log_end,
    prepare,
    receive,
    reply_to,
    store_block,
)
from relay.smtp.actions import Hangup
from relay.smtp.content import CHEAP_BYTES, Content
from relay.smtp.data import ChunkReader
from relay.smtp.handler_content import show_mail
from relay.smtp.handlers import HandlerSession
from relay.smtp.identity import HASHED_AT_ONCE_BYTES
from relay.smtp.server import Server
from relay.smtp.transaction import Transaction
from relay.spool.model import Receipt
from relay.vocabulary import Reply


class Host(Protocol):
    """The session in which a mail arrives."""

    def proceed(self) -> None:
        """Read on: a block has gone to the file, and there is room in memory again."""

    def hang_up(self, reply: Reply) -> None:
        """Say this as the last word, and close: too much has come."""

    def arrived(self, transfer: Transfer, reply: Reply, spool_id: SpoolId | None) -> None:
        """Say the reply to the mail. The spool id is given when the mail was accepted."""


class Transfer:
    """One mail, from its octets to its reply."""

    __slots__ = (
        "_at_once",
        "_connected_at",
        "_due_at",
        "_ends_at",
        "_handlers",
        "_host",
        "_measured",
        "_moving",
        "_over",
        "_server",
        "_trim",
        "acceptance",
        "committing",
        "content",
        "transaction",
    )  # fmt: skip

    def __init__(
        self, *, server: Server, transaction: Transaction, peer: Peer, stuffed: bool, host: Host, now: float,
        connected_at: float, handlers: HandlerSession | None = None,
    ) -> None:  # fmt: skip
        settings, spool_id = transaction.settings, transaction.spool_id
        self._server = server
        self._handlers = handlers
        self._host = host
        self._connected_at = connected_at
        self.transaction = transaction
        self.acceptance: Acceptance = begin_acceptance(transaction, peer)
        self.content = Content(
            stuffed=stuffed,
            terms=settings.terms,
            block_bytes=settings.config.spool.large_message_bytes,
            open_file=lambda: server.intake.open_file(spool_id),
            observers=() if self.acceptance.signed is None else (self.acceptance.signed,),
        )
        limits = settings.limits
        #: The instant after which the peer is too slow, unless more has come. Each octet puts it off.
        self._due_at = now + limits.data_seconds if limits.min_bytes_per_second else math.inf
        self._ends_at = now + limits.transfer_seconds
        self._measured = 0  # octets that have put that instant off
        #: Set from the end of the data to the reply.
        self.committing = False
        self._moving = False
        self._trim = -1  # octets of end-of-data, when the end was read while a block was being moved
        self._over = False  # the session no longer waits for the outcome
        self._at_once = False  # the way to the reply is taken while the session reads

    @property
    def full(self) -> bool:
        """Returns whether the socket must wait for the disk."""
        return self._moving and (self.content.full or self.content.over)

    def deadline(self, heard_at: float) -> float:
        """The instant by which more must come. It limits slowness, silence, and the time of the whole
        mail.
        """
        return min(self._due_at, heard_at + self.transaction.settings.limits.command_seconds, self._ends_at)

    def measure(self, now: float) -> None:
        """Put the deadline off by the octets that have come: each buys the time that it takes at the least
        rate, within a window.

        So the rate holds over any `limits.data_seconds`, and a peer that was fast at first cannot be slow for
        hours after.
        """
        limits = self.transaction.settings.limits
        if limits.min_bytes_per_second:
            bought = (self.content.received - self._measured) / limits.min_bytes_per_second
            self._due_at = min(self._due_at + bought, now + limits.data_seconds)
        self._measured = self.content.received

    def excuse(self, now: float) -> None:
        """Begin a new window for a peer that had to wait for our disk."""
        if self.transaction.settings.limits.min_bytes_per_second:
            self._due_at = now + self.transaction.settings.limits.data_seconds

    def look(self) -> Reply | None:
        """Move a block when there is one. Returns the last word to a peer that has sent too much, else
        None.
        """
        content = self.content
        if self._moving:
            return None  # the measures of the block are missing: `_moved` looks again
        if content.over:
            content.measure()
            return content.fault
        if content.full:
            self._move()
        return None

    def _move(self) -> None:
        self._moving = True
        server = self._server
        future = server.loop.run_in_executor(
            server.writers, store_block, self.acceptance, self.content, self.content.take()
        )
        future.add_done_callback(self._moved)

    def _moved(self, done: asyncio.Future[None]) -> None:
        self._moving = False
        self.excuse(self._server.loop.time())
        error = None if done.cancelled() else done.exception()
        if error is not None:
            telemetry.fault_caught(where="smtp.move", error=repr(error))
            self.content.refuse(replies.LOCAL_ERROR)
        if self._over and not self.committing:
            self._discard()
            return
        if self._trim >= 0:
            self.end(self._trim)
        else:
            last_word = self.look()
            if last_word is not None:
                self._host.hang_up(last_word)
            else:
                self._host.proceed()

    def end(self, trim: int) -> None:
        """Commit a mail that is whole, with `trim` octets of end-of-data at its end, and tell the host."""
        self.committing = True
        if self._moving:
            self._trim = trim
            return
        is_examined = self._handlers is not None or self.acceptance.is_examined()
        is_costly = self.content.held > CHEAP_BYTES and self.content.is_costly()
        way = self._take_in(trim, is_examined=is_examined, is_costly=is_costly)
        if self.content.moved or is_examined or is_costly:
            self._server.work(way)
            return
        # The fast path: what waits for nothing but the spool needs no task, since the spool calls back.
        self._at_once = True
        self._server.step(way)
        self._at_once = False

    async def _take_in(self, trim: int, *, is_examined: bool, is_costly: bool) -> None:
        """The one way from the end of the data to the reply. Nobody cancels it.

        In this order: the last block of a large mail goes to its file (`store_block`), the whole mail is
        decided over (`complete`), it is examined where somebody asks for that and committed (`take_in`), the
        host is told.
        """
        content, server = self.content, self._server
        try:
            if content.moved and not content.failed:
                last = partial(store_block, self.acceptance, content, content.take(), trim=trim)
                await server.loop.run_in_executor(server.writers, last)
            elif is_costly and not content.moved:
                await server.loop.run_in_executor(
                    server.writers, partial(prepare, self.acceptance, content, trim=trim)
                )
            elif self.acceptance.signed is not None and content.held > HASHED_AT_ONCE_BYTES:
                await server.loop.run_in_executor(server.writers, partial(content.finish, trim=trim))
            outcome = await receive(
                self.acceptance,
                content,
                trim=trim,
                intake=server.intake,
                is_examined=is_examined,
                check=self._check() if self._handlers is not None else None,
            )
        except SpoolError as exc:
            outcome = reply_to(exc)
            if outcome is not replies.NO_ROOM:
                telemetry.spool_failed(where="smtp.put", why=str(exc), spool_id=self.transaction.spool_id)
        except Exception:  # noqa: BLE001 - one of three places: unknown trouble of ours defers, and is not told
            telemetry.fault_caught(where="smtp.receive", spool_id=self.transaction.spool_id)
            outcome = replies.LOCAL_ERROR
        if self._at_once:  # the host still reads: told now, it would begin to read within its reading
            await asyncio.sleep(0)
        if isinstance(outcome, Reply):
            self._settle(outcome)
        else:
            self._settle(replies.fill(replies.QUEUED, spool_id=outcome.spool_id), outcome)

    def _check(self) -> Check:
        """The look of the operator's handlers at the whole mail."""
        assert self._handlers is not None
        return partial(
            show_mail, handlers=self._handlers, acceptance=self.acceptance, threads=self._server.writers
        )

    def _settle(self, reply: Reply, receipt: Receipt | None = None) -> None:
        """Note the reply of the mail, and tell the host."""
        server = self._server
        spool_id = receipt.spool_id if receipt is not None else None
        duplicate = receipt is not None and receipt.duplicate
        now = server.loop.time()
        if reply is replies.NOT_STORED:
            server.overload.sickened(now=now)
        if spool_id is None or duplicate:
            self._discard()
        if self._over and not self.committing:
            seconds = now - self.transaction.started_at
            telemetry.commit_late(
                spool_id=self.transaction.spool_id,
                seconds=seconds,
                stored=reply.positive,
                duplicate=duplicate,
                sender=self.acceptance.author or self.transaction.reverse_path or "",
                size=self.content.size + self.acceptance.trace_size,
            )
            return
        self._log(reply, now=now, spool_id=spool_id, duplicate=duplicate)
        if not self._over:
            self._host.arrived(self, reply, spool_id)
        self._trace(reply, now=now, first_id=spool_id if duplicate else None)

    def _log(
        self, reply: Reply, *, now: float, spool_id: SpoolId | None = None, duplicate: bool = False
    ) -> None:
        acceptance = self.acceptance
        log_end(
            self.transaction,
            acceptance.peer,
            reply,
            now=now,
            mail=acceptance,
            size=self.content.size + acceptance.trace_size,
            spool_id=spool_id,
            duplicate=duplicate,
        )
        for forward_path, refusal in acceptance.refused.items():
            telemetry.recipient_refused(
                peer=acceptance.peer.address,
                forward_path=forward_path,
                said="DATA",  # after it, and for a single one of the recipients
                reply=refusal,
                spool_id=self.transaction.spool_id,
                again=False,
            )

    def _trace(self, reply: Reply, *, now: float, first_id: SpoolId | None = None) -> None:
        """Tell the end of the transaction as spans where these are exported; the peer has its reply."""
        if (spans := telemetry.current_spans()) is None or (instant := telemetry.span_instant()) is None:
            return
        late = self._server.loop.time() - now
        acceptance, transaction = self.acceptance, self.transaction
        end = telemetry.MailEnd(
            spool_id=transaction.spool_id,
            first_id=first_id,
            disposition=find_disposition(acceptance, reply, duplicate=first_id is not None),
            reply=f"{reply.code} {reply.enhanced}",
            routes=tuple(dict.fromkeys(each.route for each in acceptance.destinations())),
            protocol=acceptance.peer.protocol,
            is_encrypted=acceptance.peer.tls is not None,
            size=self.content.size + acceptance.trace_size,
            ended_at=instant - int(late * 1_000_000_000),
            connected_seconds=now - self._connected_at,
            seconds=now - transaction.started_at,
            put_at=acceptance.put_at,
        )
        spans.tell_mail(end)

    def replies(self, reply: Reply) -> list[Reply]:
        """The replies to an LMTP peer: one for each RCPT that was taken (RFC 2033 §4.2)."""
        refused = self.acceptance.refused
        return [refused.get(path.address, reply) for path in self.transaction.forward_paths]

    def give_up(self) -> None:
        """Give up a commit that takes too long. Its outcome, whenever it comes, is no longer told to the
        peer.
        """
        self._over, self.committing = True, False
        now = self._server.loop.time()
        self._server.overload.sickened(now=now)
        self._log(replies.TOO_SLOW, now=now)
        self._trace(replies.TOO_SLOW, now=now)

    def leave(self, why: str) -> None:
        """Drop a mail that is not whole: the session has ended, or begun anew. A commit goes on."""
        if self._over:
            return
        self._over = True
        if self.committing:
            return
        telemetry.transaction_aborted(
            spool_id=self.transaction.spool_id,
            peer=self.acceptance.peer.address,
            size=self.content.received,
            why=why,
        )
        if not self._moving:
            self._discard()

    def _discard(self) -> None:
        if self.content.file is not None:
            self._server.loop.run_in_executor(self._server.writers, self.content.discard)


def answer_chunk(chunk: ChunkReader, transfer: Transfer | None, *, now: float) -> Reply | Hangup:
    """The answer to a chunk that has ended and is not the last of its mail: octets that are taken, or
    refused, as those of a mail that has failed are, too.
    """
    refusal = chunk.refusal
    if refusal is None and transfer is not None:
        transfer.measure(now)
        if (last_word := transfer.look()) is not None:
            return Hangup(last_word)
        refusal = transfer.content.fault
        if refusal is not None:
            transfer.transaction.failed = True
    return refusal or replies.fill(replies.CHUNK_OK, octets=chunk.size)
