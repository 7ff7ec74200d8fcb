"""Intake: turns what waits in the inbox into rows, each message's effect in one transaction.

Lanes are independent: each is worked through in order by one task. What fails is tried again after a while,
its lane waiting behind it, and in the end goes to the shelf. Nothing is dropped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from bot import arrivals, commands, routing
from bot.access import recognise
from bot.answers.decide import Decision
from bot.arrivals import Prepared
from bot.cleaning import clean
from bot.decisions import decide_for
from bot.office import Office, Turn
from bot.sandbox import MANY, DecodeFailed, Sandbox
from bot.thinking import thinking
from bot.yielding import Yielding, few_of_each
from channels.base import Channel, Examines, Isolated
from channels.conversation import Inbound, Kind, Raw
from crm_store import erase, inbox
from crm_store.db import Store, is_conflict, savepoint
from crm_store.inbox import LostLease, Waiting

log = structlog.get_logger()
LANES_AT_ONCE = 192
OF_ONE_CHANNEL = 96  # lanes: slow mail (DNS, parsers) may not take the room of a chat
REFILL = OF_ONE_CHANNEL // 2  # lanes of a channel below which it gets more: one claim for many, not one each
CROWD = 8  # lanes of a channel from which on what can wait lets them first
LARGE_AT_ONCE = 1  # messages above inbox.LARGE: each is held several times over while it is understood
POLL_S = 2.0  # a net under the wake-ups
BUSY_POLL_S = 0.2  # while lanes are worked on nobody looks up when the next of the others is due
STORE_AGAIN_S = 1.0  # after the store could not be asked
EXAMINE_TIMEOUT_S = 20.0
RETRY_S = (1.0, 5.0, 30.0, 120.0, 600.0)


class Intake:
    """Works through the inbox until cancelled; `wake` says that there is something new."""

    def __init__(
        self,
        store: Store,
        office: Office,
        channels: Mapping[str, Channel],
        *,
        wake_delivery: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._office = office
        self._channels = channels
        self._wake_delivery = wake_delivery
        self._clock = clock
        self._wake = asyncio.Event()
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._claiming = False
        self._busy: dict[tuple[str, str], tuple[asyncio.Task[None], list[Waiting]]] = {}
        self._used: Counter[str] = Counter()  # lanes being worked on, by channel
        self._yielding = Yielding(store)
        self._sandboxes = {
            name: Sandbox(channel.decoder)
            for name, channel in channels.items()
            if isinstance(channel, Isolated)
        }
        self._examining = {n: channel for n, channel in channels.items() if isinstance(channel, Examines)}
        self.processed = 0

    def wake(self) -> None:
        self._wake.set()

    def crowded(self) -> bool:
        """Whether one channel brings more than a few conversations at once can be: what can wait should."""
        return any(count >= CROWD for count in self._used.values())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_leases())
            for sandbox in self._sandboxes.values():
                group.create_task(sandbox.run())
            while True:
                self._wake.clear()
                try:
                    if not await self._claim(group):
                        await self._rest()
                except Exception:  # the store is away: what it holds is still there when it is back
                    log.exception("intake_waits_for_the_store")
                    await asyncio.sleep(STORE_AGAIN_S)

    async def drain(self, until: Callable[[], bool] = lambda: False) -> None:
        """Wait until nothing that is due waits or is being worked on."""
        while not until():
            due = await self._store.read(inbox.next_due)
            if not self._busy and not self._claiming and (due is None or due > self._clock()):
                return
            self._wake.set()
            await asyncio.sleep(0.02)

    async def _claim(self, group: asyncio.TaskGroup) -> bool:
        room = LANES_AT_ONCE - len(self._busy)
        if room <= 0:
            tasks = [task for task, _ in self._busy.values()]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return True
        most = await self._yielding.limit(REFILL)
        full = sorted(channel for channel, count in self._used.items() if count >= most)
        room = min(room, most)
        self._claiming = True  # claimed, and not yet in the hands of a task: nobody may think that we rest
        try:
            lanes = await self._claimed(room, full)
        finally:
            self._claiming = False
        for lane in lanes:
            key = (lane[0].channel, lane[0].lane)
            task = group.create_task(self._guarded(lane))
            self._busy[key] = task, lane
            self._used[key[0]] += 1
            task.add_done_callback(lambda _, key=key: self._done(key))  # type: ignore[misc]
        return bool(lanes)

    async def _claimed(self, room: int, skip: list[str]) -> list[list[Waiting]]:
        """Claim lanes; what was claimed when we were told to stop is given back."""
        claiming = asyncio.ensure_future(self._store.write(self._claim_now, room, list(self._busy), skip))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await self._store.write(inbox.release, [row for lane in await claiming for row in lane])
            raise

    def _claim_now(
        self, tx: Connection, room: int, busy: list[tuple[str, str]], skip: list[str]
    ) -> list[list[Waiting]]:
        now, lease_s = self._store.now(tx), self._office.config.line.lease_s

        def claim(skipped: list[str]) -> list[list[Waiting]]:
            return inbox.claim(tx, now, lanes=room, lease_s=lease_s, busy=busy, skip=skipped)

        return few_of_each(claim, lambda lane: lane[0].channel, room, skip)

    async def _keep_leases(self) -> None:
        """Renew what is being worked on: a lane of fifty slow mails takes longer than a lease lasts."""
        lease_s = self._office.config.line.lease_s

        def renew(tx: Connection, rows: list[Waiting]) -> None:
            inbox.renew(tx, rows, self._store.now(tx) + timedelta(seconds=lease_s))

        while True:
            await asyncio.sleep(lease_s / 3)
            rows = [row for _, lane in self._busy.values() for row in lane]
            try:
                if rows:
                    await self._store.write(renew, rows)
            except Exception:
                log.exception("leases_not_renewed")

    def _done(self, key: tuple[str, str]) -> None:
        self._busy.pop(key, None)
        self._used[key[0]] -= 1
        if self._used[key[0]] < REFILL:
            self._wake.set()

    async def _rest(self) -> None:
        if self._wake.is_set():
            return
        wait = BUSY_POLL_S
        if not self._busy:
            due = await self._store.read(inbox.next_due)
            wait = POLL_S if due is None else min(POLL_S, max(0.01, (due - self._clock()).total_seconds()))
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _guarded(self, rows: list[Waiting]) -> None:
        try:
            await self._bounded(rows)
        except Exception:  # nothing of it is written: the lease runs out and the lane is taken again
            log.exception("lane_given_up", channel=rows[0].channel, inbox=rows[0].id)

    async def _bounded(self, rows: list[Waiting]) -> None:
        """Work on a lane up to its first large message; on that alone, and on one such at a time. Twenty mails
        of 25 MB at once took 630 MiB when they were all held together."""
        small = len(list(takewhile(lambda row: row.body is not None, rows)))
        now, later = rows[: small or 1], rows[small or 1 :]
        if later:
            await self._store.write(inbox.release, later)
        if small:
            await self._lane(now)
            return
        async with self._large:
            body = await self._store.read(inbox.body, now[0].id)
            await self._lane([replace(now[0], body=body)])

    async def _lane(self, rows: list[Waiting]) -> None:
        """Prepare a lane's rows and take them, in order, in one transaction with a savepoint each."""
        ready: list[tuple[Waiting, list[Prepared]]] = []
        failure: tuple[Waiting, str, bool] | None = None
        for row in rows:
            try:
                ready.append((row, await self._prepare(row)))
            except DecodeFailed as error:
                last = row.attempts + 1 >= min(error.tries, self._office.config.line.intake_attempts)
                fallback = self._undecodable(row) if last else None
                if fallback is not None:
                    ready.append((row, fallback))
                    continue
                failure = (row, str(error), last)
                break
            except Exception as error:
                log.exception("intake_prepare_failed", channel=row.channel, inbox=row.id)
                failure = (row, f"{type(error).__name__}: {error}", False)
                break
        if getattr(self._channels.get(rows[0].channel), "overtakes", False):
            ready.sort(key=arrivals.when)
        done = 0
        try:
            done, reason = await self._write_all(arrivals.joined(ready))
        except Exception as error:
            log.exception("intake_failed", channel=rows[0].channel, inbox=rows[0].id)
            reason = f"{type(error).__name__}: {error}"
        if reason:
            failure = (ready[done][0] if ready else rows[0], reason, False)
        self.processed += done
        if failure is not None:
            await self._fail(failure, rows)
        self._wake_delivery()

    async def _prepare(self, row: Waiting) -> list[Prepared]:
        channel = self._channels.get(row.channel)
        if channel is None:
            raise DecodeFailed(f"the channel {row.channel} is not configured", tries=MANY)
        raw = Raw(
            row.channel, row.event_id, row.lane, row.body or b"", row.received_at, evidence=row.evidence
        )
        if not raw.evidence and (examining := self._examining.get(row.channel)):
            raw = replace(raw, evidence=await self._examine(examining, raw))
        sandbox = self._sandboxes.get(row.channel)
        if sandbox:
            understood = await sandbox.understand(raw, self._office.mind)
        else:
            understood = [(clean(inbound), None) for inbound in channel.decode(raw)]
        return [await self._consider(inbound, channel, decision) for inbound, decision in understood]

    async def _examine(self, channel: Examines, raw: Raw) -> str:
        try:
            async with asyncio.timeout(EXAMINE_TIMEOUT_S):
                return await channel.examine(raw)
        except Exception:
            log.exception("examine_failed", channel=raw.channel)
            return "{}"

    async def _consider(self, inbound: Inbound, channel: Channel, decision: Decision | None) -> Prepared:
        """Do outside the transaction what needs none: names, the bot's decision, commands that only read."""
        speaks = inbound.kind in (Kind.MESSAGE, Kind.START, Kind.COMMAND, Kind.ACTION)
        if speaks and not inbound.author.name and inbound.author.user_id:
            inbound = await self._named(inbound, channel)
        if inbound.kind is Kind.ACTION and inbound.action == "home":
            asked = replace(inbound, kind=Kind.COMMAND, text="/home")
            return Prepared(inbound, performed=await self._store.read(self._perform, asked))
        if inbound.kind not in (Kind.MESSAGE, Kind.COMMAND):
            return Prepared(inbound)
        if commands.is_one(inbound) and commands.is_read(inbound.text):
            async with thinking(channel, inbound.address):
                performed = await self._store.read(self._perform, inbound)
            if performed is not None:
                return Prepared(inbound, performed=performed)
        if self._office.is_staff_room(inbound.address.channel, inbound.address.room_id):
            return Prepared(inbound)
        return Prepared(inbound, decision=decision or decide_for(self._office, inbound))

    async def _named(self, inbound: Inbound, channel: Channel) -> Inbound:
        try:
            async with asyncio.timeout(3.0):
                known = await channel.profile(inbound.author.user_id)
        except Exception as error:
            log.info("profile_failed", channel=channel.name, error=type(error).__name__)
            return inbound
        if known is None:
            return inbound
        author = replace(
            inbound.author,
            name=known.name or inbound.author.name,
            handle=inbound.author.handle or known.handle,
            verified_email=inbound.author.verified_email or known.verified_email,
            is_bot=inbound.author.is_bot or known.is_bot,
            may_command=inbound.author.may_command and known.may_command,
        )
        return replace(inbound, author=author)

    def _perform(self, tx: Connection, inbound: Inbound) -> commands.Performed | None:
        from crm_store import tickets

        office, address = self._office, inbound.address
        member = recognise(tx, office.space(address.channel), inbound.author)
        if member is None:
            return None
        ticket = None
        if office.is_staff_room(address.channel, address.room_id):
            ticket = tickets.in_thread(tx, address.channel, address.room_id, address.thread_id)
        turn = Turn(tx, office, self._clock(), via=address.channel)
        return commands.perform(turn, member, inbound.text, ticket, inbound=inbound)

    async def _write_all(self, ready: Sequence[tuple[Waiting, list[Prepared]]]) -> tuple[int, str]:
        """Take prepared rows. Return how many; with the reason when one failed and the rest must wait."""
        if len(ready) == 1:
            return await self._write_one(*ready[0])
        try:
            return await self._store.write(self._take_all, ready, False)
        except DBAPIError as error:
            if not is_conflict(error):
                raise
        # Two processes met, again and again: whose fault it is shows when each row stands for itself.
        return await self._store.write(self._take_all, ready, True)

    async def _write_one(self, row: Waiting, prepared: list[Prepared]) -> tuple[int, str]:
        """The same for one row, as most lanes have: what the store undoes is what its own savepoint would."""
        try:
            await self._store.write(self._take_row, row, prepared)
        except Exception as error:
            return 0, _not_taken(row, error)
        return 1, ""

    def _take_all(
        self, tx: Connection, ready: Sequence[tuple[Waiting, list[Prepared]]], alone: bool
    ) -> tuple[int, str]:
        for count, (row, prepared) in enumerate(ready):
            try:
                with savepoint(tx):
                    self._take_row(tx, row, prepared)
            except Exception as error:
                if is_conflict(error) and not alone:
                    raise  # the store repeats the transaction
                return count, _not_taken(row, error)
        return len(ready), ""

    def _take_row(self, tx: Connection, row: Waiting, prepared: list[Prepared]) -> None:
        turn = Turn(tx, self._office, self._clock())
        if erase.came_again(tx, row, turn.now):
            return
        for one in prepared:
            self._take(turn, one)
        inbox.finish(tx, row, turn.now)

    def _take(self, turn: Turn, one: Prepared) -> None:
        if one.performed is not None:
            member = recognise(turn.tx, turn.office.space(one.inbound.address.channel), one.inbound.author)
            if member is not None:  # not disabled since
                here = replace(turn, via=one.inbound.address.channel)
                commands.finish(here, one.inbound, member, one.performed)
                return
        routing.take(turn, one.inbound, one.decision)

    def _undecodable(self, row: Waiting) -> list[Prepared] | None:
        """A mail that no parser can read is a ticket all the same, with the original attached."""
        decoder = getattr(self._channels.get(row.channel), "decoder", None)
        minimal = getattr(decoder, "undecodable", None)
        if minimal is None:
            return None
        raw = Raw(
            row.channel, row.event_id, row.lane, row.body or b"", row.received_at, evidence=row.evidence
        )
        try:
            return [Prepared(clean(inbound)) for inbound in minimal(raw)]
        except Exception:
            log.exception("undecodable_failed", channel=row.channel, inbox=row.id)
            return None

    async def _fail(self, failure: tuple[Waiting, str, bool], rows: Sequence[Waiting]) -> None:
        row, reason, final = failure
        attempts = row.attempts + 1
        shelve = final or attempts >= self._office.config.line.intake_attempts
        now = self._clock()
        delay = RETRY_S[min(attempts - 1, len(RETRY_S) - 1)]
        retry_at = None if shelve else now + timedelta(seconds=delay)
        if shelve:
            log.error("shelved", channel=row.channel, inbox=row.id)

        def write(tx: Connection) -> None:
            inbox.release(tx, [r for r in rows if r.id != row.id])
            inbox.failed(tx, row, reason, retry_at=retry_at, now=now)

        try:
            await self._store.write(write)
        except LostLease:
            log.warning("lease_lost", inbox=row.id)


def _not_taken(row: Waiting, error: Exception) -> str:
    """Why a row was not taken, "" where somebody else has it by now."""
    match error:
        case LostLease():
            log.warning("lease_lost", inbox=row.id)
            return ""
        case routing.NotYet():
            log.info("not_yet", channel=row.channel, inbox=row.id)
            return "it waits for a card to be placed"
    log.error("intake_failed", channel=row.channel, inbox=row.id, exc_info=error)
    return f"{type(error).__name__}: {error}"
