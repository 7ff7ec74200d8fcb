"""What erasing leaves of the rows that are neither deleted nor blanked by columns alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, delete, func, or_, select, update

from crm_store import schema, sealed_scan
from crm_store.privacy import held, tombstones, traces
from crm_store.privacy.held import Person, ids
from crm_store.privacy.words import Words

ERASED = '{"type":"erased"}'  # what is left of an entry in a room's log: its number
PROBLEM = {"type": "about:blank", "title": "Gone", "status": 410, "detail": "the customer was erased"}
AT_ONCE = 500
TO_CUSTOMERS = ("reply", "answer", "notice")
s = schema


@dataclass(slots=True)
class Work:
    """One erasure being written."""

    tx: Connection
    now: datetime
    person: Person
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, rows: int) -> None:
        if rows > 0:
            self.counts[name] = self.counts.get(name, 0) + rows

    def where(self, name: str) -> Any:
        entry = held.HELD[name]
        assert isinstance(entry, held.Held)
        return entry.where(self.person)


def outgoing(work: Work) -> None:
    """What went to the customer stays to be counted; what was posted about them goes. What waits is not sent."""
    o = s.outbox
    theirs = work.where("outbox")
    stays = o.c.purpose.in_(TO_CUSTOMERS) & o.c.message_id.is_not(None)
    gone = work.tx.execute(delete(o).where(theirs, ~stays)).rowcount
    blanked = work.tx.execute(
        update(o)
        .where(theirs)
        .values(
            lane=held.numbered(o),
            room_id="",
            thread_id="",
            body="[]",
            options={},
            error="",
            event_id="",
            lease_until=None,
            state=case(
                (o.c.state.in_(["pending", "sending", "dead", "unknown"]), "withdrawn"), else_=o.c.state
            ),
            settled_at=func.coalesce(o.c.settled_at, work.now),
        )
    ).rowcount
    work.count("outbox", gone + blanked)


def raw(work: Work) -> None:
    """Raw messages are emptied; what waited is not taken any more, and none is known by its platform's id."""
    r, key = s.inbox, tombstones.key(work.tx)
    rows = work.tx.execute(
        select(r.c.id, r.c.channel, r.c.event_id, r.c.state).where(work.where("inbox"))
    ).all()
    for row in rows:
        forget_raw(work.tx, key, row, work.now)
    work.count("inbox", len(rows))


def forget_raw(tx: Connection, key: bytes, row: Any, now: datetime) -> None:
    """Empty one inbox row: what is left is that something came by this channel."""
    if row.event_id.startswith("erased:"):
        return
    r = s.inbox
    name = f"erased:{tombstones.event(key, row.channel, row.event_id)}"
    tx.execute(delete(r).where(r.c.channel == row.channel, r.c.event_id == name))  # it came a second time
    tx.execute(
        update(r)
        .where(r.c.id == row.id)
        .values(
            event_id=name,
            lane="erased",
            body=b"",
            evidence="",
            error="",
            lease_until=None,
            finished_at=func.coalesce(r.c.finished_at, now),
            state=case((r.c.state == "done", "done"), else_="discarded"),
        )
    )


def logs(work: Work) -> None:
    """The customer's own rooms go; of entries in staff's rooms the numbers stay, readers count by them."""
    j = s.journal
    rows = work.tx.execute(select(j.c.id, j.c.channel, j.c.body).where(work.where("journal"))).all()
    shas = {(row.channel, sha) for row in rows for sha in files_in(row.body)}
    rooms = list(work.person.rooms)
    gone = work.tx.execute(delete(j).where(j.c.room.in_(rooms))).rowcount
    entries = ids(work.person.found.get("journal", ()))
    blanked = work.tx.execute(update(j).where(j.c.id.in_(entries)).values(body=ERASED)).rowcount
    work.count("journal", gone + blanked + drop_logged(work.tx, shas))


def drop_logged(tx: Connection, shas: Iterable[tuple[str, str]]) -> int:
    """Delete the bytes of (channel, file) from the web's logs where no entry names them any more."""
    j = s.journal
    gone = 0
    for channel, sha in sorted(shas):
        room = f"file:{sha}"
        if not _is_named(tx, channel, sha):
            gone += tx.execute(delete(j).where(j.c.channel == channel, j.c.room == room)).rowcount
    return gone


def _is_named(tx: Connection, channel: str, sha: str) -> bool:
    if sealed_scan.is_sealed(tx):
        return sealed_scan.journal_names(tx, channel, sha)
    j = s.journal
    used = select(j.c.id).where(
        j.c.channel == channel, j.c.room.not_like("file:%"), j.c.body.contains(sha, autoescape=True)
    )
    return tx.execute(used.limit(1)).first() is not None


def files_in(body: str) -> set[str]:
    """The files that an entry names."""
    try:
        blocks = json.loads(body).get("blocks") or ()
    except (ValueError, AttributeError):
        return set()
    return {block["sha"] for block in blocks if isinstance(block, dict) and "sha" in block}


def answers(work: Work) -> None:
    """A repeat of such a request is told that it is over: done anew it would bring the customer back."""
    r = s.api_request
    values = {
        "status": 410,
        "headers": {"Content-Type": "application/problem+json"},
        "body": json.dumps(PROBLEM),
    }
    work.count(
        "api_request", work.tx.execute(update(r).where(work.where("api_request")).values(**values)).rowcount
    )


def audits(work: Work) -> None:
    """Who did what, when and to which number stays; what was said with it, and who the customer was, goes."""
    a, p = s.audit, work.person
    found = a.c.id.in_(ids(p.found.get("audit", ())))
    rows = work.tx.execute(
        update(a).where(or_(a.c.object.in_(list(p.objects)), found), a.c.action != "erase").values(detail={})
    ).rowcount
    # what names a number, or a colleague who is called the same, stays
    about_us = or_(a.c.action.like("staff_%"), a.c.action.like("token_%"), a.c.action == "enrol")
    named = ~or_(a.c.object.like("contact:%"), a.c.object.like("ticket:%"), about_us)
    work.tx.execute(update(a).where(found, named).values(object=""))
    rows += work.tx.execute(update(a).where(a.c.actor.in_(list(p.actors))).values(actor="erased")).rowcount
    work.count("audit", rows)


def lines(work: Work) -> None:
    """Names and numbers of products stay where somebody else bought the same; an engraving goes."""
    for line, parent, owner in (
        (s.order_line, "order_id", s.order),
        (s.deal_product, "deal_id", s.deal),
    ):
        for column in ("name", "sku"):
            alone = held.only_theirs(work.person, column, line, parent, owner)
            statement = update(line).where(work.where(line.name), alone, line.c[column] != "")
            work.count(line.name, work.tx.execute(statement.values({column: ""})).rowcount)


def mentions(work: Work) -> None:
    """Where they are named or wrote in others' conversations, what reaches them goes: from the recipients, from
    what was sent and waits to be, and from what staff read of it."""
    tx, p, m, o, t = work.tx, work.person, s.message, s.outbox, s.ticket
    theirs = set(held.user_ids(p))
    rows = tx.execute(
        select(m.c.id, m.c.recipients).where(m.c.conversation_id.in_(held.shared(p)), m.c.kind == "out")
    ).all()
    for row in rows:
        kept = ["erased" if address in theirs else address for address in row.recipients]
        if kept != row.recipients:
            tx.execute(update(m).where(m.c.id == row.id).values(recipients=kept))
    words, gone = traces.addressed(p), theirs | set(p.found.get("thread_ref", ()))
    of_tickets = select(t.c.id).where(t.c.conversation_id.in_(held.shared(p)))
    sent = select(o.c.id, o.c.body, o.c.options).where(
        or_(o.c.conversation_id.in_(held.shared(p)), o.c.ticket_id.in_(of_tickets))
    )
    for one in tx.execute(sent).all():
        body, options = _without(one.body, words), _left(one.options, gone)
        if (body, options) != (one.body, one.options):
            tx.execute(update(o).where(o.c.id == one.id).values(body=body, options=options))
            work.count("outbox", 1)
    _mentions_in_logs(work, words)


def _mentions_in_logs(work: Work, words: Words) -> None:
    """The same in the web's copies of it: threads of others' tickets in staff's rooms."""
    j, o, t, p = s.journal, s.outbox, s.ticket, work.person
    of_tickets = select(t.c.id).where(t.c.conversation_id.in_(held.shared(p)))
    keys = [
        f"out:{i}" for i in work.tx.execute(select(o.c.id).where(o.c.ticket_id.in_(of_tickets))).scalars()
    ]
    for start in range(0, len(keys), AT_ONCE):
        some = j.c.key.in_(keys[start : start + AT_ONCE]) & j.c.room.not_like("v:%")
        for row in work.tx.execute(select(j.c.id, j.c.body).where(some)).all():
            body = _without(row.body, words)
            if body != row.body:
                work.tx.execute(update(j).where(j.c.id == row.id).values(body=body))
                work.count("journal", 1)


def _without(body: str, words: Words) -> str:
    """A dumped reply or entry without a person's addresses and numbers."""
    try:
        value = json.loads(body)
    except ValueError:
        return words.without(body)
    kept = _clean(value, words)
    return body if kept == value else json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def _clean(value: Any, words: Words) -> Any:
    match value:
        case str():
            return words.without(value)
        case list():
            return [_clean(one, words) for one in value]
        case dict():
            return {key: _clean(one, words) for key, one in value.items()}
        case _:
            return value


def _left(options: Any, gone: set[str]) -> Any:
    """An outbox row's options without these recipients and messages."""
    left = dict(options)
    for key in ("cc", "references"):
        if isinstance(left.get(key), list):
            left[key] = [one for one in left[key] if (one[0] if isinstance(one, list) else one) not in gone]
    if left.get("in_reply_to_id") in gone:
        left["in_reply_to_id"] = ""
    return left


def shas(work: Work) -> list[str]:
    return list(work.tx.execute(select(s.blob.c.sha256).where(work.where("blob"))).scalars())


def files(work: Work, shas: list[str]) -> None:
    work.count("blob", drop_files(work.tx, shas))
    gone = {(channel, sha) for sha in shas for channel in _channels_of(work.tx, sha)}
    work.count("journal", drop_logged(work.tx, gone))


def drop_files(tx: Connection, shas: Iterable[str]) -> int:
    """Delete files that no message refers to any more."""
    a, b = s.attachment, s.blob
    gone = 0
    for sha in shas:
        if tx.execute(select(a.c.id).where(a.c.sha256 == sha).limit(1)).first() is None:
            gone += tx.execute(delete(b).where(b.c.sha256 == sha)).rowcount
    return gone


def _channels_of(tx: Connection, sha: str) -> list[str]:
    j = s.journal
    return list(tx.execute(select(j.c.channel).where(j.c.room == f"file:{sha}")).scalars())


SPECIAL = (outgoing, raw, logs, answers, audits, lines, mentions)
