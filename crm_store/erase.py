"""Erase: a person's right to be forgotten. What statistics count stays, without words and without a name.

First everything is found, in a snapshot, while the line goes on. Then one transaction finds what came since,
notes in keyed hashes what may not come back, takes the words out of the search index and out of every table
(`privacy.held` says what is left of each), and asks the staff platforms to take back what was posted there.
At last the file itself is scrubbed: segments of the full-text index are merged, and the -wal is emptied.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from crm_store import audit, inbox, outbox, schema
from crm_store.db import Store
from crm_store.privacy import held, listed, tombstones, traces, treat
from crm_store.privacy.held import NOW, Blank, Gone, Person, ids
from crm_store.privacy.traces import Found
from crm_store.privacy.treat import Work
from crm_store.search import indexing, tables
from crm_store.wakeups import notify

SETTLE_S = 60.0
LARGEST = 512 << 20  # bytes of a file that is written anew while the service runs: writes wait for 5 s
NOTHING = '[{"_":"Text","text":"–"}]'  # a dumped reply: platforms take no empty post
s = schema


class Unknown(Exception):
    """There is no such customer."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What erasing reaches outside the store: the list for backups, and which channels can delete a post."""

    path: Path | None = None
    secret: bytes = b""
    deletes: Callable[[str], bool] = lambda channel: False


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done: rows by table, and how many posts staff platforms are asked to take back."""

    contact_id: int
    counts: Mapping[str, int]
    posts: int = 0
    touched: tuple[int, ...] = ()  # others' tickets whose cards named them
    clean: bool = True  # False: the -wal could not be emptied yet, somebody reads an old snapshot


def ask(
    tx: Connection, now: datetime, contact_id: int, actor: str, tell: Mapping[str, str] | None = None
) -> int:
    """Note that somebody is to be erased; a running service does it at once. Return the erasure's id. `tell`
    says where it was asked for, for whoever carries it out. Raise Unknown."""
    known = tx.execute(select(s.contact.c.id).where(s.contact.c.id == contact_id)).first()
    if known is None or was_erased(tx, contact_id):
        raise Unknown(contact_id)
    row = tx.execute(
        s.erasure.insert().values(
            uid=secrets.token_hex(8),
            contact_id=contact_id,
            actor=actor,
            state="asked",
            asked_at=now,
            counts={"tell": dict(tell)} if tell else {},
        )
    )
    audit.record(tx, now, actor, "erase", f"contact:{contact_id}", "asked")
    notify(tx, "erase")
    key = row.inserted_primary_key
    assert key is not None
    return int(key[0])


def asked(tx: Connection) -> list[Any]:
    """Erasures that wait, oldest first."""
    return list(
        tx.execute(select(s.erasure).where(s.erasure.c.state == "asked").order_by(s.erasure.c.id)).all()
    )


def was_erased(tx: Connection, contact_id: int) -> bool:
    e = s.erasure
    return (
        tx.execute(select(e.c.id).where(e.c.contact_id == contact_id, e.c.state == "done").limit(1)).first()
        is not None
    )


def preview(tx: Connection, contact_id: int) -> dict[str, int]:
    """How much of a person would go: rows by table, by their columns alone."""
    try:
        p = traces.person(tx, contact_id)
    except LookupError as error:
        raise Unknown(contact_id) from error
    counts = {}
    for table, entry in held.tables():
        n = tx.execute(select(func.count()).select_from(table).where(entry.where(p))).scalar_one()
        if n:
            counts[table.name] = int(n)
    return counts


async def carry_out(
    store: Store, erasure_id: int, clock: Callable[[], datetime], outside: Outside = Outside()
) -> Erased:
    """Erase whom an erasure names, and see to it that nothing is left in the file. Raise Unknown."""
    done = await _rows(store, erasure_id, clock, outside)
    return replace(done, clean=await settle(store))


async def _rows(store: Store, erasure_id: int, clock: Callable[[], datetime], outside: Outside) -> Erased:
    contact_id = await store.read(_whose, erasure_id)
    found, marks = await store.read(_look, contact_id)
    return await store.write(_erase, clock(), erasure_id, contact_id, found, marks, outside)


async def replay(store: Store, outside: Outside, clock: Callable[[], datetime]) -> int:
    """Erase again whom the list outside names and this store has back, from a backup. Return how many contacts.

    What a backup knows to be erased is left alone: whoever wrote again after that is somebody new. Raise
    listed.Unreadable.
    """
    if outside.path is None or not outside.path.exists():
        return 0
    missing = await store.read(_unknown, listed.uids(outside.path))
    if not missing:
        return 0
    key, entries = listed.read(outside.path, outside.secret)
    wanted = [entry for entry in entries if entry.uid in missing]
    found = await store.write(_ask_again, key, wanted, clock())
    again = Outside(None, b"", outside.deletes)
    for erasure_id in found:
        await _rows(store, erasure_id, clock, again)
    await store.write(_replayed, wanted, clock())
    await settle(store)
    return len(found)


def _unknown(tx: Connection, uids: list[str]) -> set[str]:
    """Which erasures this store has not seen through."""
    e = s.erasure
    done = set(tx.execute(select(e.c.uid).where(e.c.state == "done")).scalars())
    played = {str(uid) for (uid,) in tombstones.erased_of(tx, "replayed", [(uid,) for uid in uids])}
    return set(uids) - done - played


def _ask_again(tx: Connection, key: bytes, entries: list[listed.Entry], now: datetime) -> list[int]:
    """Note the erasures of those who are back, and what else of them may not come; return the erasures' ids."""
    known = tx.execute(select(s.meta.c.value).where(s.meta.c.name == tombstones.KEY)).scalar()
    if known is None:
        tx.execute(s.meta.insert().values(name=tombstones.KEY, value=key.hex()))
    elif bytes.fromhex(known) != key:
        raise listed.Unreadable("the list of the erased is another store's: nobody of it can be erased again")
    for entry in entries:
        tombstones.remember(tx, [*entry.identities, *entry.rest], now)
    contacts = {digest: entry.uid for entry in entries for digest in entry.contacts}
    identities = {digest: entry.uid for entry in entries for digest in entry.identities}
    back: dict[int, str] = {}
    c, i, e = s.contact, s.identity, s.erasure
    for row in tx.execute(select(c.c.id, c.c.created_at).execution_options(yield_per=1000)):
        if uid := contacts.get(tombstones.contact(key, row.id, row.created_at)):
            back[row.id] = uid
    held_by = select(i.c.contact_id, i.c.space, i.c.user_id).execution_options(yield_per=1000)
    for contact_id, space, user_id in tx.execute(held_by):
        if uid := identities.get(tombstones.identity(key, space, user_id)):
            back.setdefault(contact_id, uid)
    found = []
    for contact_id, uid in back.items():
        waiting = tx.execute(select(e.c.id, e.c.contact_id).where(e.c.uid == uid)).first()
        if waiting is not None and waiting.contact_id == contact_id:
            found.append(int(waiting.id))
            continue
        name = uid if waiting is None else secrets.token_hex(8)
        values = {"uid": name, "contact_id": contact_id, "actor": "replay", "state": "asked"}
        added = tx.execute(e.insert().values(**values, asked_at=now, counts={})).inserted_primary_key
        assert added is not None
        found.append(int(added[0]))
    return found


def _replayed(tx: Connection, entries: list[listed.Entry], now: datetime) -> None:
    key = tombstones.key(tx)
    tombstones.remember(tx, [tombstones.digest(key, "replayed", entry.uid) for entry in entries], now)


async def settle(store: Store, timeout_s: float = SETTLE_S, *, largest: int = LARGEST) -> bool:
    """Scrub the file: True when nothing of what was deleted can be left in it.

    Deleted rows are overwritten as they go (secure_delete), but a page whose rows were moved about keeps old
    copies of them in its gaps: only writing the file anew (VACUUM) leaves none. Writes wait for that, 1 s for
    100 MB; a file above `largest` bytes is left for an hour that suits the operator. On PostgreSQL dead rows
    are vacuumed; what its write-ahead log and its backups keep is the operator's.
    """
    while not await store.write(tables.scrub):
        pass
    if store.path is None:
        emptied = [*(table.name for table, _ in held.tables()), *tables.ON_POSTGRESQL]
        names = ", ".join(f'"{name}"' for name in emptied)
        async with store.dedicated() as connection:
            await connection.execute(f"VACUUM {names}")
        return True
    steps = [_checkpoint]
    small = store.path.stat().st_size <= largest
    if small:
        steps.insert(0, _vacuum)
    until = asyncio.get_running_loop().time() + timeout_s
    for step in steps:
        while not await asyncio.to_thread(step, store.path):
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(0.05)
    return small


def _vacuum(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as opened:
        try:
            opened.execute("VACUUM")
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                return False
            raise
    return True


def _checkpoint(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=1.0)) as opened:
        try:
            busy = opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:  # locked by a write of ours
            return False
    return bool(busy == 0)


def _whose(tx: Connection, erasure_id: int) -> int:
    row = tx.execute(select(s.erasure).where(s.erasure.c.id == erasure_id)).first()
    if row is None:
        raise Unknown(erasure_id)
    return int(row.contact_id)


def _look(tx: Connection, contact_id: int) -> tuple[Found, dict[str, int]]:
    p = traces.person(tx, contact_id)
    return traces.sweep(tx, p, traces.words_of(tx, p)), traces.marks(tx)


def _erase(
    tx: Connection,
    now: datetime,
    erasure_id: int,
    contact_id: int,
    found: Found,
    marks: Mapping[str, int],
    outside: Outside,
) -> Erased:
    """Everything, in one transaction."""
    row = tx.execute(select(s.erasure).where(s.erasure.c.id == erasure_id).with_for_update()).one()
    if row.state == "done":
        return Erased(contact_id, row.counts)
    whole = traces.person(tx, contact_id)
    since = traces.sweep(tx, whole, traces.words_of(tx, whole), marks)
    work = Work(tx, now, _with(whole, traces.joined(found, since)))
    digests = _digests(work)
    if outside.path is not None:
        entry = listed.Entry(row.uid, now, *digests)
        listed.add(outside.path, outside.secret, tombstones.key(tx), entry)
    tombstones.remember(tx, [*digests[1], *digests[2]], now)
    posts = _posts(work, outside.deletes)
    of_others = select(s.ticket.c.id).where(s.ticket.c.conversation_id.in_(held.shared(work.person)))
    touched = tuple(tx.execute(of_others.order_by(s.ticket.c.id)).scalars())
    for one in work.person.contacts:
        indexing.forget_contact(tx, one)
    _forget_elsewhere(work)
    for special in treat.SPECIAL:
        special(work)
    shas = treat.shas(work)
    for table, entry_of in held.tables():
        if isinstance(entry_of.erased, Blank) and entry_of.erased.values:
            values = {k: now if v is NOW else v for k, v in entry_of.erased.values.items()}
            statement = update(table).where(entry_of.where(work.person)).values(**values)
            work.count(table.name, tx.execute(statement).rowcount)
    for table, entry_of in reversed(held.tables()):
        if isinstance(entry_of.erased, Gone):
            work.count(table.name, tx.execute(delete(table).where(entry_of.where(work.person))).rowcount)
    treat.files(work, shas)
    for post in posts:
        outbox.put(tx, post, now)
    tx.execute(
        update(s.erasure)
        .where(s.erasure.c.contact_id.in_(ids(work.person.contacts)))
        .values(state="done", done_at=now, counts=work.counts)
    )
    audit.record(tx, now, row.actor, "erase", f"contact:{contact_id}", rows=sum(work.counts.values()))
    return Erased(contact_id, work.counts, len(posts), touched)


def _with(p: Person, found: Mapping[str, tuple[Any, ...]]) -> Person:
    return Person(p.contacts, p.identities, p.elsewhere, p.objects, p.actors, p.rooms, found)


def _digests(work: Work) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What may not come back, in keyed hashes: (contacts, identities, messages and the like)."""
    tx, p, key = work.tx, work.person, tombstones.key(work.tx)
    c, m, r = s.contact, s.message, s.inbox
    contacts = tx.execute(select(c.c.id, c.c.created_at).where(c.c.id.in_(ids(p.contacts))))
    rest: set[str] = set()
    for row in tx.execute(select(m.c.channel, m.c.dedupe, m.c.event_id).where(work.where("message"))):
        rest |= {tombstones.event(key, row.channel, x) for x in (row.dedupe, row.event_id) if x}
    for channel, event_id in tx.execute(select(r.c.channel, r.c.event_id).where(work.where("inbox"))):
        rest.add(tombstones.event(key, channel, event_id))
    for kind, table, column in (
        ("order", s.order, s.order.c.number),
        ("customer_event", s.customer_event, s.customer_event.c.key),
        ("deal", s.deal, s.deal.c.key),
    ):
        values = tx.execute(select(column).where(work.where(table.name), column.is_not(None))).scalars()
        rest |= {tombstones.digest(key, kind, value) for value in values}
    return (
        tuple(tombstones.contact(key, row.id, row.created_at) for row in contacts),
        tuple(tombstones.identity(key, space, user_id) for space, user_id in p.identities),
        tuple(sorted(rest)),
    )


def _posts(work: Work, deletes: Callable[[str], bool]) -> list[outbox.Order]:
    """Ask staff platforms to take back what was posted there, and what agents wrote, as far as they let us."""
    tx, o, m = work.tx, s.outbox, s.message
    wanted: dict[tuple[str, str], tuple[str, str]] = {}
    query = select(o.c.channel, o.c.room_id, o.c.thread_id, o.c.event_id, o.c.options).where(
        work.where("outbox"),
        o.c.purpose.not_in([*treat.TO_CUSTOMERS, "change", "code", "mark"]),
        o.c.op == "send",
        o.c.event_id != "",
    )
    for row in tx.execute(query):
        for target in (row.event_id, *row.options.get("parts", ())):
            wanted[row.channel, target] = (row.room_id, row.thread_id)
    t = s.thread
    places = {
        (row.ticket_id, row.channel): (row.room_id, row.thread_id)
        for row in tx.execute(select(t).where(work.where("thread")))
    }
    written = select(m.c.staff_channel, m.c.staff_event_id, m.c.ticket_id).where(
        work.where("message"), m.c.staff_event_id != ""
    )
    for channel, event_id, ticket_id in tx.execute(written):
        place = places.get((ticket_id, channel))
        if place is not None:
            wanted[channel, event_id] = place
    numbers = {
        row.id: row.number
        for row in tx.execute(select(s.ticket.c.id, s.ticket.c.number).where(work.where("ticket")))
    }
    cards = [  # a topic is called by its ticket's subject, and stays when its messages are gone
        _post(
            work,
            (row.channel, row.room_id, row.thread_id),
            "edit",
            NOTHING,
            {"target_id": row.card_event_id, "subject": f"#{numbers[row.ticket_id]}", "closed": True},
        )
        for row in tx.execute(select(t).where(work.where("thread"), t.c.card_event_id != ""))
        if deletes(row.channel)
    ]
    return cards + [
        _post(work, (channel, *place), "delete", "[]", {"target_id": target})
        for (channel, target), place in wanted.items()
        if deletes(channel)
    ]


def _post(
    work: Work, place: tuple[str, str, str], op: str, body: str, options: Mapping[str, Any]
) -> outbox.Order:
    channel, room, thread = place
    return outbox.Order(
        channel=channel,
        room_id=room,
        thread_id=thread,
        lane=f"erase:{channel}:{room}",
        op=op,
        purpose="erase",
        body=body,
        due_at=work.now,
        options=options,
    )


def _forget_elsewhere(work: Work) -> None:
    m = s.message
    rows = select(m.c.id, m.c.subject, m.c.text).where(m.c.id.in_(ids(work.person.elsewhere)))
    for row in work.tx.execute(rows).all():
        indexing.message_changed(work.tx, row.id, row.subject, row.text, None)


def came_again(tx: Connection, row: inbox.Waiting, now: datetime) -> bool:
    """Whether a raw message is one that was erased: read anew from a mailbox, or sent again. It is emptied."""
    if not tombstones.event_was_erased(tx, row.channel, row.event_id):
        return False
    inbox.finish(tx, row, now)
    held_by = select(s.inbox.c.id, s.inbox.c.channel, s.inbox.c.event_id).where(s.inbox.c.id == row.id)
    treat.forget_raw(tx, tombstones.key(tx), tx.execute(held_by).one(), now)
    return True
