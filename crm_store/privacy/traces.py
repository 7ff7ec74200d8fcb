"""Who a person is in the store, and the rows that belong to nobody and yet speak of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from crm_store import schema
from crm_store.privacy.held import Person, ids, messages, orders, tickets, user_ids
from crm_store.privacy.words import Words, plain, said

SMALL = 256 * 1024  # bytes of a raw event that is read for names; mail belongs to its sender by columns
AT_ONCE = 500
SHORT = 6  # letters of a text that is looked for whole

s = schema
Found = dict[str, set[Any]]


def person(tx: Connection, contact_id: int) -> Person:
    """Everything that tells whose data it is. Raise LookupError when there is no such contact."""
    if tx.execute(select(s.contact.c.id).where(s.contact.c.id == contact_id)).first() is None:
        raise LookupError(contact_id)
    contacts = _one_person(tx, contact_id)
    identity = s.identity
    known = [
        (row.space, row.user_id)
        for row in tx.execute(
            select(identity.c.space, identity.c.user_id).where(identity.c.contact_id.in_(ids(contacts)))
        )
    ]
    found = Person(contacts=contacts, identities=tuple(known))
    numbers = tx.execute(select(s.ticket.c.number).where(s.ticket.c.id.in_(tickets(found)))).scalars().all()
    c = s.conversation
    own = tx.execute(select(c.c.room_id).where(c.c.contact_id.in_(ids(contacts)))).scalars()
    return Person(
        contacts=contacts,
        identities=tuple(known),
        elsewhere=_elsewhere(tx, contacts),
        objects=(*(f"contact:{i}" for i in contacts), *(f"ticket:{n}" for n in numbers)),
        actors=tuple(f"{space}:{user_id}" for space, user_id in known),
        rooms=tuple(dict.fromkeys([*user_ids(found), *(room for room in own if room.startswith("v:"))])),
    )


def _one_person(tx: Connection, contact_id: int) -> tuple[int, ...]:
    """The contact, those merged into it, and what a link left of others: rows with a name and nothing else."""
    merged, of = {contact_id}, s.contact
    while True:  # up to whom they became, and down to all who did
        ends = select(of.c.id, of.c.merged_into_id).where(
            or_(of.c.id.in_(ids(merged)), of.c.merged_into_id.in_(ids(merged)))
        )
        known = {number for row in tx.execute(ends) for number in row if number is not None}
        if known <= merged:
            break
        merged |= known
    empty = {one for number in sorted(merged) for one in _shells(tx, number)} - merged
    return (*sorted(merged), *sorted(empty))


def _shells(tx: Connection, contact_id: int) -> list[int]:
    m, c, a = s.message, s.conversation, s.audit
    wrote = (
        select(m.c.author_id)
        .join(c, c.c.id == m.c.conversation_id)
        .where(c.c.contact_id == contact_id, m.c.author_kind == "customer", m.c.author_id.is_not(None))
    )
    maybe = set(tx.execute(wrote.distinct()).scalars()) - {contact_id}
    for row in tx.execute(select(a.c.object, a.c.detail).where(a.c.action == "link")):
        if row.detail.get("contact") == contact_id and row.object.startswith("contact:"):
            maybe.add(int(row.object.removeprefix("contact:")))
    return [one for one in sorted(maybe) if _is_shell(tx, one)]


def _is_shell(tx: Connection, contact_id: int) -> bool:
    holders = (s.identity, s.conversation, s.ticket, s.order)
    return all(
        tx.execute(select(t.c.id).where(t.c.contact_id == contact_id).limit(1)).first() is None
        for t in holders
    )


def _elsewhere(tx: Connection, contacts: Iterable[int]) -> tuple[int, ...]:
    """What they wrote in others' conversations."""
    m, c = s.message, s.conversation
    listed = list(contacts)
    query = (
        select(m.c.id)
        .join(c, c.c.id == m.c.conversation_id)
        .where(m.c.author_kind == "customer", m.c.author_id.in_(ids(listed)))
        .where(c.c.contact_id.not_in(ids(listed)))
    )
    return tuple(tx.execute(query).scalars())


def words_of(tx: Connection, p: Person) -> Words:
    """What they are called, and what was written by and about them."""
    names: set[str] = set(user_ids(p))
    texts: list[str] = []
    whose = ids(p.contacts)
    for row in tx.execute(select(s.contact).where(s.contact.c.id.in_(whose))):
        names |= {row.name, row.company if row.company == row.name else ""}
        texts += [*row.tags, *map(str, row.fields.values())]
    i = s.identity
    for row in tx.execute(select(i.c.name, i.c.handle, i.c.user_id).where(i.c.contact_id.in_(whose))):
        names |= {row.name, row.handle.lstrip("@"), row.user_id.lstrip("+@")}
    names |= set(tx.execute(select(s.order.c.number).where(s.order.c.contact_id.in_(whose))).scalars())
    m, a = s.message, s.attachment
    query = select(m.c.text, m.c.full_text, m.c.subject, m.c.author_kind, m.c.author, m.c.event_id)
    for row in tx.execute(query.where(m.c.id.in_(messages(p)))):
        texts += [row.text, row.full_text, row.subject]
        if row.author_kind == "customer":
            names.add(row.author)
            names.add(row.event_id)
    of_messages: list[tuple[Any, Any]] = [
        (s.message_version.c.text, s.message_version.c.message_id),
        (a.c.filename, a.c.message_id),
    ]
    for column, link in of_messages:
        texts += tx.execute(select(column).where(link.in_(messages(p)))).scalars()
    t = s.ticket
    for row in tx.execute(select(t.c.subject, t.c.rating_comment).where(t.c.id.in_(tickets(p)))):
        texts += row
    texts += tx.execute(select(s.order.c.tracking).where(s.order.c.contact_id.in_(whose))).scalars()
    texts += tx.execute(select(s.order_line.c.name).where(s.order_line.c.order_id.in_(orders(p)))).scalars()
    e = s.customer_event
    for row in tx.execute(select(e.c.subject, e.c.fields).where(e.c.contact_id.in_(whose))):
        texts += [row.subject, *map(str, row.fields.values())]
    n, d = s.contact_note, s.deal
    texts += tx.execute(select(n.c.text).where(n.c.contact_id.in_(whose))).scalars()
    for row in tx.execute(select(d.c.title, d.c.lost_reason).where(d.c.contact_id.in_(whose))):
        texts += row
    short = {text for text in texts if SHORT <= len(plain(text)) <= 24}
    return Words(names | short, texts)


def sweep(tx: Connection, p: Person, words: Words, after: Mapping[str, int] | None = None) -> Found:
    """Rows of tables whose columns name nobody; of those with ids only what is above `after`."""
    since = after or {}
    found: Found = {
        "inbox": _raw(tx, p, words, since.get("inbox", 0)),
        "outbox": _answers(tx, words, since.get("outbox", 0)) | _posts_of_theirs(tx, p),
        "audit": _audits(tx, words, since.get("audit", 0)),
        "webhook_event": _by_words(
            tx, s.webhook_event, "id", ("error",), words, since.get("webhook_event", 0)
        ),
        "counter": _by_words(tx, s.counter, "name", ("name",), words),
        "event_count": _by_words(tx, s.event_count, "kind", ("kind",), words),
        "confirmation": _by_words(tx, s.confirmation, "digest", ("args", "seen"), words),
        "cursor": {
            name
            for name in _by_words(tx, s.cursor, "channel", ("channel", "value"), words)
            if name.startswith("audit:")
        },
        "api_request": set(),
        "thread_ref": _ids_elsewhere(tx, p),
        "expectation": _by_words(
            tx, s.expectation, "id", ("payload",), addressed(p)
        ),  # a code to their address
    }
    found["journal"] = _logs(tx, p, words, found["outbox"], since.get("journal", 0))
    r = s.api_request
    for row in tx.execute(select(r.c.token_id, r.c.key, r.c.body)):
        if words.in_(said(row.body)) or words.named_in(row.key):
            found["api_request"].add((row.token_id, row.key))
    return found


def addressed(p: Person) -> Words:
    """What reaches them: for what is others', and may stay but for that."""
    return Words(user_ids(p))


def _ids_elsewhere(tx: Connection, p: Person) -> set[str]:
    """Platforms' ids of what they wrote in others' conversations."""
    m = s.message
    query = select(m.c.event_id, m.c.dedupe, m.c.external_id).where(m.c.id.in_(ids(p.elsewhere)))
    return {one for row in tx.execute(query) for one in row if one}


def _posts_of_theirs(tx: Connection, p: Person) -> set[int]:
    """What was posted for staff of what they wrote in others' conversations."""
    m, o, t = s.message, s.outbox, s.ticket
    query = select(m.c.conversation_id, m.c.text, m.c.full_text).where(m.c.id.in_(ids(p.elsewhere)))
    wrote: dict[int, set[str]] = {}
    for row in tx.execute(query):
        wrote.setdefault(row.conversation_id, set()).update({plain(row.text), plain(row.full_text)} - {""})
    found: set[int] = set()
    posted = (
        select(o.c.id, o.c.body, t.c.conversation_id)
        .join(t, t.c.id == o.c.ticket_id)
        .where(o.c.purpose == "post", t.c.conversation_id.in_(ids(wrote)))
    )
    for row in tx.execute(posted) if wrote else ():
        parts = [plain(part) for part in said(row.body).split("\n")]
        flat = plain(said(row.body))
        for text in wrote[row.conversation_id]:
            if text in parts or (len(text) > SHORT and text in flat):
                found.add(row.id)
    return found


def marks(tx: Connection) -> dict[str, int]:
    """The highest ids now: what a sweep after this need not look at again."""
    tables = (s.inbox, s.outbox, s.audit, s.journal, s.webhook_event)
    return {t.name: tx.execute(select(func.max(t.c.id))).scalar() or 0 for t in tables}


def joined(*several: Found) -> dict[str, tuple[Any, ...]]:
    names = {name for one in several for name in one}
    return {name: tuple(set().union(*(one.get(name, set()) for one in several))) for name in names}


def _raw(tx: Connection, p: Person, words: Words, after: int) -> set[int]:
    """Raw messages: theirs by message, conversation or thread, and others' events that speak of them."""
    r, m = s.inbox, s.message
    same = and_(r.c.channel == m.c.channel, r.c.event_id == m.c.dedupe)
    found = set(tx.execute(select(r.c.id).join(m, same).where(m.c.id.in_(messages(p)))).scalars())
    for channel, lanes in _lanes(tx, p).items():
        for start in range(0, len(lanes), AT_ONCE):
            some = lanes[start : start + AT_ONCE]
            found |= set(
                tx.execute(select(r.c.id).where(r.c.channel == channel, r.c.lane.in_(some))).scalars()
            )
    query = select(r.c.id, r.c.lane, r.c.state, r.c.body, r.c.evidence, r.c.error, m.c.id.label("message"))
    query = query.select_from(r.outerjoin(m, same)).where(
        r.c.id > after, r.c.state != "pending", func.length(r.c.body).between(1, SMALL)
    )
    reached, others = addressed(p), _others(tx, p)
    for row in tx.execute(query.execution_options(yield_per=AT_ONCE)):
        if row.id in found:
            continue
        text = f"{said(row.body)}\n{said(row.evidence)}\n{row.error}"
        if (
            row.message is not None or row.state == "shelved"
        ):  # others' words, or nobody's yet: not to be lost
            known = row.state == "shelved" and row.lane in others
            if not known and reached.in_(text):
                found.add(row.id)
        elif words.in_(text):
            found.add(row.id)
    return found


def _others(tx: Connection, p: Person) -> set[str]:
    """Under which ids others write."""
    i = s.identity
    query = select(i.c.user_id).where(i.c.contact_id.not_in(ids(p.contacts)))
    waiting = select(s.inbox.c.lane).where(s.inbox.c.state == "shelved")
    lanes = set(tx.execute(waiting.distinct()).scalars())
    return set(tx.execute(query.where(i.c.user_id.in_(list(lanes)))).scalars()) if lanes else set()


def _lanes(tx: Connection, p: Person) -> dict[str, list[str]]:
    """Lanes in which only they, or only staff about them, speak: by channel."""
    c, t = s.conversation, s.thread
    lanes: dict[str, set[str]] = {}
    whose = ids(p.contacts)
    other = c.alias()
    shared = (
        select(other.c.id)
        .where(other.c.channel == c.c.channel, other.c.room_id == c.c.room_id)
        .where(other.c.contact_id.not_in(whose))
        .exists()
    )
    query = select(c.c.channel, c.c.room_id, c.c.thread_id, shared.label("shared"))
    places = [tuple(row) for row in tx.execute(query.where(c.c.contact_id.in_(whose)))]
    staff = select(t.c.channel, t.c.room_id, t.c.thread_id).where(t.c.ticket_id.in_(tickets(p)))
    places += [(*row, True) for row in tx.execute(staff)]
    for channel, room, thread, is_shared in places:
        if thread:
            lanes.setdefault(channel, set()).update((f"{room}:{thread}", f"{room}/{thread}"))
        if room and not is_shared:
            lanes.setdefault(channel, set()).add(room)
    everywhere = set(user_ids(p))
    for channel in tx.execute(select(s.inbox.c.channel).distinct()).scalars():
        lanes.setdefault(channel, set()).update(everywhere)
    return {channel: sorted(found) for channel, found in lanes.items()}


def _answers(tx: Connection, words: Words, after: int) -> set[int]:
    """What was answered to staff, or sent without a conversation."""
    o = s.outbox
    query = select(o.c.id, o.c.body, o.c.options, o.c.error, o.c.room_id).where(
        o.c.id > after, o.c.conversation_id.is_(None), o.c.ticket_id.is_(None), o.c.message_id.is_(None)
    )
    return {
        row.id
        for row in tx.execute(query.execution_options(yield_per=AT_ONCE))
        if words.in_(f"{said(row.body)}\n{said(json.dumps(row.options))}\n{row.error}\n{row.room_id}")
    }


def _logs(tx: Connection, p: Person, words: Words, answers: set[int], after: int) -> set[int]:
    """Entries of staff's rooms on the web: threads of their tickets, cards, answers, staff's own words."""
    j, o, t = s.journal, s.outbox, s.thread
    places = tx.execute(
        select(t.c.channel, t.c.room_id, t.c.thread_id).where(
            t.c.ticket_id.in_(tickets(p)), t.c.thread_id != ""
        )
    ).all()
    threads = {(channel, thread) for channel, _, thread in places}
    query = select(t.c.channel, t.c.thread_id).where(t.c.thread_id != "")
    others = {(channel, thread) for channel, thread in tx.execute(query)} - threads
    rows = select(o.c.id).where(or_(o.c.ticket_id.in_(tickets(p)), o.c.message_id.in_(messages(p))))
    keys = {f"out:{i}" for i in (*answers, *tx.execute(rows).scalars())}
    found: set[int] = set()
    query = select(j.c.id, j.c.channel, j.c.room, j.c.number, j.c.key, j.c.body).where(
        j.c.room.not_like("v:%"), j.c.room.not_like("file:%")
    )
    # Answers of ours are known by their outbox row and threads by their id, however old: all is read.
    for row in tx.execute(query.where(j.c.id > after).execution_options(yield_per=AT_ONCE)):
        entry = _loaded(row.body)
        places_said = {
            (row.channel, str(entry.get("thread", ""))),
            (row.channel, str(entry.get("target", ""))),
            (row.channel, f"{row.room}:{row.number}"),
        }
        theirs = row.key in keys or bool(places_said & threads)
        if theirs or (not places_said & others and words.in_(said(row.body))):
            found.add(row.id)
    return found


def _loaded(body: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _audits(tx: Connection, words: Words, after: int) -> set[int]:
    a = s.audit
    query = select(a.c.id, a.c.object, a.c.detail).where(a.c.id > after)
    return {
        row.id
        for row in tx.execute(query.execution_options(yield_per=AT_ONCE))
        if words.named_in(row.object) or (row.detail and words.in_(said(json.dumps(row.detail))))
    }


def _by_words(
    tx: Connection, table: Any, key: str, columns: tuple[str, ...], words: Words, after: int | None = None
) -> set[Any]:
    query = select(table.c[key], *(table.c[name].label(f"c_{name}") for name in columns))
    if after is not None:
        query = query.where(table.c[key] > after)
    return {row[0] for row in tx.execute(query) if words.in_("\n".join(map(str, row[1:])))}
