"""Delivery: claims outbox rows, sends them outside any transaction, and settles what became of them.

At least once, and it says so. The claim records the attempt; a row whose outcome is unknown is repeated where
the platform recognises the repeat, and for an agent's reply (once, and marked); never for what is automatic.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from bot import posting, relay
from bot.i18n import say
from bot.office import Office, Turn
from bot.service import card, placing
from bot.yielding import Yielding, few_of_each
from channels import rich
from channels.base import Capabilities, Channel, FetchFailed, RetryLater, Undeliverable
from channels.conversation import Address, Attachment, Author, Op, Outbound, Sent
from channels.rich import Block, File, Reply, Text
from crm_store import conversations, files, outbox, people, tickets
from crm_store.db import Store, is_conflict, savepoint
from crm_store.outbox import Leaving

log = structlog.get_logger()
AT_ONCE = 128
OF_ONE_CHANNEL = 48  # a platform that does not answer may not take the room of the others
REFILL = OF_ONE_CHANNEL // 2  # rows of a channel below which it gets more: one claim for many, not one each
POLL_S = 2.0
BUSY_POLL_S = 0.2  # while rows are sent nobody looks up when the next of the others is due
STORE_AGAIN_S = 1.0  # after the store could not be asked
RECORD_AGAIN_S = (0.2, 1.0, 5.0, 15.0, 30.0)  # what was sent is known here only: worth some patience
SEND_TIMEOUT_S = 90.0
FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 3 * 3600.0
GIVE_UP_AFTER = timedelta(days=3)
UNFETCHABLE_TRIES = 5
IMPORTANT = ("reply", "answer", "notice", "card", "post", "code", "change")


@dataclass(frozen=True, slots=True)
class Withheld:
    """A reply that may not leave: whoever wrote it works here no longer."""

    author: str


class Delivery:
    """Works through the outbox until cancelled; `wake` says that there is something new."""

    def __init__(
        self,
        store: Store,
        office: Office,
        channels: Mapping[str, Channel],
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._office = office
        self._channels = channels
        self._clock = clock
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._claiming = False
        self._busy: dict[asyncio.Task[None], Leaving] = {}
        self._used: Counter[str] = Counter()  # rows being sent, by channel
        self._yielding = Yielding(store, crowded=crowded)
        self.sent = 0

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_leases())
            while True:
                self._wake.clear()
                try:
                    if not await self._claim(group):
                        await self._rest()
                except Exception:  # the store is away: what it holds is still there when it is back
                    log.exception("delivery_waits_for_the_store")
                    await asyncio.sleep(STORE_AGAIN_S)

    async def drain(self, until: Callable[[], bool] = lambda: False) -> None:
        """Wait until nothing that is due waits or is being sent."""
        while not until():
            due = await self._store.read(outbox.next_due)
            if not self._busy and not self._claiming and (due is None or due > self._clock()):
                return
            self._wake.set()
            await asyncio.sleep(0.02)

    async def _claim(self, group: asyncio.TaskGroup) -> bool:
        room = AT_ONCE - len(self._busy)
        if room <= 0:
            await asyncio.wait(self._busy, return_when=asyncio.FIRST_COMPLETED)
            return True
        most = await self._yielding.limit(REFILL)
        full = sorted(channel for channel, count in self._used.items() if count >= most)
        self._claiming = True  # claimed, and not yet in the hands of a task: nobody may think that we rest
        try:
            rows = await self._claimed(min(room, most), full)
        finally:
            self._claiming = False
        for row, message in rows:
            task = group.create_task(self._guarded(row, message))
            self._busy[task] = row
            self._used[row.channel] += 1
            task.add_done_callback(self._done)
        return bool(rows)

    async def _claimed(self, room: int, skip: list[str]) -> list[tuple[Leaving, Outbound | Withheld | str]]:
        """Claim rows; what was claimed when we were told to stop is given back, since nothing was tried."""
        claiming = asyncio.ensure_future(self._store.write(self._claim_now, room, skip))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await self._store.write(outbox.unclaim, [row for row, _ in await claiming])
            raise

    def _claim_now(
        self, tx: Connection, room: int, skip: list[str]
    ) -> list[tuple[Leaving, Outbound | Withheld | str]]:
        now = self._store.now(tx)

        def claim(skipped: list[str]) -> list[Leaving]:
            return outbox.claim(tx, now, limit=room, lease_s=self._lease_s, skip=skipped)

        rows = few_of_each(claim, lambda row: row.channel, room, skip)
        return [(row, self._understood(tx, row)) for row in rows]

    def _understood(self, tx: Connection, row: Leaving) -> Outbound | Withheld | str:
        """What a row says, or why nobody understands it: it may not hold up the others."""
        try:
            with savepoint(tx):
                if row.purpose == "reply" and not row.maybe_sent:
                    name = people.ended_author(tx, row.message_id or 0)
                    if name:
                        return Withheld(name)
                return self._outbound(tx, row)
        except Exception as error:
            log.exception("outbox_row_not_understood", channel=row.channel, outbox=row.id)
            return f"{type(error).__name__}: {error}"

    async def _keep_leases(self) -> None:
        """Renew what is being sent: a message with several large files takes longer than a lease lasts."""

        def renew(tx: Connection, rows: list[Leaving]) -> None:
            outbox.renew(tx, rows, self._store.now(tx) + timedelta(seconds=self._lease_s))

        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                if rows := list(self._busy.values()):
                    await self._store.write(renew, rows)
            except Exception:
                log.exception("leases_not_renewed")

    @property
    def _lease_s(self) -> float:
        return self._office.config.line.lease_s

    def _done(self, task: asyncio.Task[None]) -> None:
        channel = self._busy.pop(task).channel
        self._used[channel] -= 1
        if self._used[channel] < REFILL:
            self._wake.set()

    async def _rest(self) -> None:
        if self._wake.is_set():
            return
        wait = BUSY_POLL_S
        if not self._busy:
            due = await self._store.read(outbox.next_due)
            wait = POLL_S if due is None else min(POLL_S, max(0.01, (due - self._clock()).total_seconds()))
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            return

    def _outbound(self, tx: Connection, row: Leaving) -> Outbound:
        """The value a channel sends. The recipient is the row's; only a ticket's own thread is looked up,
        since it exists once its card was sent."""
        options: dict[str, Any] = dict(row.options)
        thread_id, target_id = row.thread_id, options.get("target_id", "")
        if row.ticket_id is not None and row.purpose in ("post", "card"):
            thread = tickets.thread_of(tx, row.ticket_id, row.channel, row.room_id)
            if thread is not None:
                thread_id = thread_id or thread.thread_id
                if row.purpose == "card" and row.op == Op.EDIT:
                    target_id = thread.card_event_id
        if row.purpose == "change" and row.message_id is not None and not target_id:
            target_id = conversations.get_message(tx, row.message_id).external_id
        return Outbound(
            address=Address(row.channel, row.room_id, thread_id),
            reply=rich.load(row.body),
            key=str(row.id),
            op=Op(row.op),
            in_reply_to_id=options.get("in_reply_to_id", ""),
            subject=options.get("subject", ""),
            target_id=target_id,
            mark=options.get("mark", ""),
            trigger=options.get("trigger", ""),
            private_to=options.get("private_to", ""),
            thread_key=options.get("thread_key", ""),
            references=tuple(options.get("references", ())),
            cc=tuple(Author(user_id, name) for user_id, name in options.get("cc", ())),
            opens_thread=bool(options.get("opens_thread")),
            closed=options.get("closed"),
            automatic=bool(options.get("automatic")),
            attempt=row.attempts,
        )

    async def _guarded(self, row: Leaving, message: Outbound | Withheld | str) -> None:
        try:
            if isinstance(message, str):
                await self._end(row, "dead", message)
            elif isinstance(message, Withheld):
                await self._withhold(row, message.author)
            else:
                await self._deliver(row, message)
        except Exception:  # not recorded: the lease runs out, and the outcome is unknown to whoever is next
            log.exception("delivery_not_recorded", channel=row.channel, outbox=row.id)

    async def _deliver(self, row: Leaving, message: Outbound) -> None:
        channel = self._channels.get(row.channel)
        caps = channel.caps if channel is not None else Capabilities()
        if row.maybe_sent and not self._may_repeat(row, caps):
            await self._end(row, "unknown", "the outcome of an earlier attempt is unknown")
            return
        begun = False
        try:
            if channel is None:
                raise Undeliverable(f"the channel {row.channel} is not configured")
            if message.op in (Op.EDIT, Op.DELETE, Op.MARK) and not message.target_id:
                raise Undeliverable("there is nothing to change")
            message = replace(message, reply=await self._with_files(row, message.reply))
            begun = True
            async with asyncio.timeout(SEND_TIMEOUT_S):
                sent = await channel.send(message)
        except RetryLater as error:
            await self._later(row, error)
        except Undeliverable as error:
            await self._refused(row, error)
        except TimeoutError:
            await self._later(row, RetryLater("no answer in time", maybe_sent=begun))
        except Exception as error:
            log.exception("send_failed", channel=row.channel, outbox=row.id)
            await self._later(row, RetryLater(f"{type(error).__name__}: {error}", maybe_sent=begun))
        else:
            await self._sent(row, sent)

    def _may_repeat(self, row: Leaving, caps: Capabilities) -> bool:
        if caps.safe_repeat or row.op != Op.SEND:
            return True
        return row.purpose in ("reply", "card", "post") and not row.repeated

    async def _with_files(self, row: Leaving, reply: Reply) -> Reply:
        """Fill in the content of files: from the store, or from the platform they came by."""
        if not any(isinstance(b, File) and not b.content for b in reply.blocks):
            return reply
        blocks: list[Block] = []
        for block in reply.blocks:
            if isinstance(block, File) and not block.content:
                blocks.append(await self._filled(row, block))
            else:
                blocks.append(block)
        return Reply(tuple(blocks))

    async def _filled(self, row: Leaving, block: File) -> Block:
        sha256 = block.blob
        if not sha256 and block.attachment_id:
            known = await self._store.read(files.get, block.attachment_id)
            sha256 = (known.sha256 or "") if known is not None else ""
        if sha256:
            content = await self._store.read(files.content, sha256)
            if content is not None:
                return replace(block, content=content)
        reason = "gone"
        source = self._channels.get(block.source)
        if source is not None and block.ref:
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    attachment = Attachment(
                        block.filename, block.content_type, ref=block.ref, kind=block.kind
                    )
                    content = await source.fetch(attachment)
            except (FetchFailed, TimeoutError) as error:
                reason = getattr(error, "reason", "timeout")
                final = getattr(error, "final", False) or row.attempts >= UNFETCHABLE_TRIES
                if not final:
                    raise RetryLater(f"a file cannot be fetched yet: {reason}") from error
            else:
                if block.attachment_id:
                    await self._store.write(files.fetched, block.attachment_id, content, self._clock())
                return replace(block, content=content)
        if row.purpose == "reply":  # half an answer is none: the agent is told and can send it otherwise
            raise Undeliverable(f"{block.filename}: {reason}")
        lang = self._office.staff_language
        return Text(say("thread.file_missing", lang, filename=block.filename, reason=reason), small=True)

    async def _sent(self, row: Leaving, sent: Sent) -> None:
        def write(tx: Connection) -> None:
            now = self._clock()
            if not outbox.settle(tx, row, "sent", now, event_id=sent.event_id):
                log.warning("lease_lost", outbox=row.id)
                return
            with self._consequences(tx, row):
                turn = Turn(tx, self._office, now)
                relay.delivered(turn, row, sent.event_id, sent.address.thread_id, sent.event_ids)
                caps = self._office.can(row.channel)
                if row.maybe_sent and row.op == Op.SEND and not caps.safe_repeat:
                    _say_repeated(turn, row)

        await self._record(write)
        self.sent += 1

    @contextmanager
    def _consequences(self, tx: Connection, row: Leaving) -> Iterator[None]:
        """What settling a row leads to. If that fails, the row is settled all the same: it was sent."""
        try:
            with savepoint(tx):
                yield
        except Exception as error:
            if is_conflict(error):
                raise
            log.exception("settled_without_consequences", channel=row.channel, outbox=row.id)

    async def _record(self, write: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        for wait_s in RECORD_AGAIN_S:
            try:
                await self._store.write(write, *args, **kwargs)
                return
            except Exception as error:
                log.warning("not_recorded_yet", error=type(error).__name__)
                await asyncio.sleep(wait_s)
        await self._store.write(write, *args, **kwargs)

    async def _later(self, row: Leaving, error: RetryLater) -> None:
        now = self._clock()
        if now - row.created_at > GIVE_UP_AFTER or row.op == Op.TYPING:  # which is for now or never
            await self._end(row, "dead", error.reason)
            return
        backoff = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(row.attempts - 1, 16))
        delay = error.after_s if error.after_s is not None else backoff * (0.8 + 0.4 * self._jitter())
        log.info("retry_later", channel=row.channel, outbox=row.id, after_s=round(delay, 1))
        maybe = error.maybe_sent or row.maybe_sent
        caps = self._office.can(row.channel)
        if error.maybe_sent and row.maybe_sent and not caps.safe_repeat and row.op == Op.SEND:
            await self._end(row, "unknown", error.reason)  # one repeat for an unknown outcome, not more
            return
        await self._record(
            outbox.postpone,
            row,
            now + timedelta(seconds=max(0.0, delay)),
            error=error.reason,
            maybe_sent=maybe,
        )

    async def _refused(self, row: Leaving, error: Undeliverable) -> None:
        if error.moved_to:

            def moved(tx: Connection) -> None:
                placing.moved(Turn(tx, self._office, self._clock()), row.channel, row.room_id, error.moved_to)
                outbox.postpone(tx, row, self._clock(), error=error.reason, maybe_sent=row.maybe_sent)

            await self._record(moved)
            return
        await self._end(row, "dead", error.reason, gone=error.gone)

    async def _withhold(self, row: Leaving, author: str) -> None:
        def write(tx: Connection) -> None:
            now = self._clock()
            if outbox.settle(tx, row, "withdrawn", now, error="the author has left"):
                with self._consequences(tx, row):
                    relay.withheld(Turn(tx, self._office, now), row, author)

        await self._record(write)

    async def _end(self, row: Leaving, state: str, reason: str, *, gone: bool = False) -> None:
        """Give up on a row. What nobody would miss (a mark, an answer to a command) is simply withdrawn; so is a
        change of a message that was refused, since the agent is told and nothing can be retried."""
        missed = row.purpose in IMPORTANT and row.op not in (Op.MARK, Op.FORM)
        if row.purpose == "card" and row.op == Op.EDIT:
            missed = False
        kept = missed and row.purpose != "change"

        def write(tx: Connection) -> None:
            now = self._clock()
            if not outbox.settle(tx, row, state if kept else "withdrawn", now, error=reason):
                log.warning("lease_lost", outbox=row.id)
                return
            if missed:
                with self._consequences(tx, row):
                    relay.undelivered(Turn(tx, self._office, now), row, state, reason, gone=gone)

        await self._record(write)
        if kept:
            log.warning("undelivered", channel=row.channel, outbox=row.id, state=state)


def _say_repeated(turn: Turn, row: Leaving) -> None:
    ticket = tickets.get(turn.tx, row.ticket_id) if row.ticket_id else None
    conversation = conversations.get(turn.tx, row.conversation_id) if row.conversation_id else None
    if ticket is not None and row.purpose in ("post", "card"):
        text = say("thread.repeated_here", turn.office.staff_language)
        posting.to_thread(turn, ticket, row.channel, row.room_id, Reply.of(Text(text, small=True)))
    elif ticket is not None and conversation is not None and row.purpose == "reply":
        message = conversations.get_message(turn.tx, row.message_id) if row.message_id else None
        who = card.recipients(turn, conversation, message.recipients if message is not None else None)
        text = say("thread.repeated", turn.office.staff_language, recipients=who)
        posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))
