"""Every table, and what of it is held on a person: one place that takeout, erasing and their tests read.

A new table or column fails a test until it is said here how it is treated. What statistics count stays
without its words: a message was there, a ticket took so long, an order was worth so much. Whose it was
remains as the number of an empty contact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import String, Table, and_, bindparam, cast, func, literal, or_, select

from crm_store import schema
from crm_store.schema import metadata

_s = schema
NOW = object()  # the time of the erasure


@dataclass(frozen=True, slots=True)
class Person:
    """Whose data it is. `contacts` are one person's: themselves, and shells that a link left empty.

    `elsewhere` are messages they wrote in others' conversations. `found` names rows by the sweep (table → ids):
    those that belong to nobody by their columns and speak of this person all the same.
    """

    contacts: tuple[int, ...]
    identities: tuple[tuple[str, str], ...] = ()
    elsewhere: tuple[int, ...] = ()
    objects: tuple[str, ...] = ()  # as the audit names what is theirs: "contact:5", "ticket:12"
    actors: tuple[str, ...] = ()  # … and themselves: "telegram:77"
    rooms: tuple[str, ...] = ()  # logs of the web chat that are theirs alone
    found: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


Where = Callable[[Person], Any]


@dataclass(frozen=True, slots=True)
class Blank:
    """The rows stay to be counted; these columns get these values. `keep` names all others."""

    values: Mapping[str, Any]
    keep: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """The rows are deleted."""


@dataclass(frozen=True, slots=True)
class Special:
    """The rows are treated by this function of privacy.treat, which says why."""

    how: str


@dataclass(frozen=True, slots=True)
class Held:
    """A table with rows on a person, and what erasing does to them."""

    where: Where
    erased: Blank | Gone | Special


@dataclass(frozen=True, slots=True)
class Nobody:
    """A table that holds nothing on customers, and why."""

    why: str


def ids(values: Any) -> Any:
    """A list for `in_`, of any length: numbers of ours are written into the statement itself."""
    listed = list(values)
    if listed and all(isinstance(value, int) for value in listed):
        return bindparam(None, listed, expanding=True, literal_execute=True)
    return listed


def conversations(p: Person) -> Any:
    c = schema.conversation
    return select(c.c.id).where(c.c.contact_id.in_(ids(p.contacts)))


def messages(p: Person) -> Any:
    m = schema.message
    return select(m.c.id).where(or_(m.c.conversation_id.in_(conversations(p)), m.c.id.in_(ids(p.elsewhere))))


def tickets(p: Person) -> Any:
    t = schema.ticket
    return select(t.c.id).where(
        or_(t.c.contact_id.in_(ids(p.contacts)), t.c.conversation_id.in_(conversations(p)))
    )


def shared(p: Person) -> Any:
    """Others' conversations in which they are named, or wrote."""
    c, m, i = schema.conversation, schema.message, schema.participant
    named = select(i.c.conversation_id).where(i.c.user_id.in_(user_ids(p)))
    wrote = select(m.c.conversation_id).where(m.c.id.in_(ids(p.elsewhere)))
    both = or_(c.c.id.in_(named), c.c.id.in_(wrote))
    return select(c.c.id).where(both, c.c.contact_id.not_in(ids(p.contacts)))


def orders(p: Person) -> Any:
    return select(schema.order.c.id).where(schema.order.c.contact_id.in_(ids(p.contacts)))


def deals(p: Person) -> Any:
    return select(schema.deal.c.id).where(schema.deal.c.contact_id.in_(ids(p.contacts)))


def user_ids(p: Person) -> list[str]:
    return [user_id for _, user_id in p.identities]


def _contact(table: Table) -> Where:
    return lambda p: table.c.contact_id.in_(ids(p.contacts))


def _pair(table: Table, one: str, other: str) -> Where:
    return lambda p: or_(table.c[one].in_(ids(p.contacts)), table.c[other].in_(ids(p.contacts)))


def _import_change(p: Person) -> Any:
    c = _s.import_change
    return or_(
        c.c.contact_id.in_(ids(p.contacts)),
        and_(c.c.changed == _s.contact.name, c.c.row_id.in_(ids(p.contacts))),
        and_(c.c.changed == _s.order.name, c.c.row_id.in_(orders(p))),
    )


def _of(column: Any, whose: Callable[[Person], Any]) -> Where:
    return lambda p: column.in_(whose(p))


def _found(table: Table, column: Any) -> Where:
    return lambda p: column.in_(ids(p.found.get(table.name, ())))


def numbered(table: Table) -> Any:
    """What stands where something unique was."""
    return literal("erased-") + cast(table.c.id, String)


def only_theirs(p: Person, column: str, line: Table, parent: str, owner: Table) -> Any:
    """Lines whose product nobody else bought: an engraving is a person's, "Desk lamp" is not."""
    other, whose = line.alias(), owner.alias()
    shared = (
        select(other.c.id)
        .select_from(other.join(whose, whose.c.id == other.c[parent]))
        .where(other.c[column] == line.c[column], whose.c.contact_id.not_in(ids(p.contacts)))
        .correlate(line)
    )
    return ~shared.exists()


def _outbox(p: Person) -> Any:
    o = schema.outbox
    return or_(
        o.c.conversation_id.in_(conversations(p)),
        o.c.ticket_id.in_(tickets(p)),
        o.c.message_id.in_(messages(p)),
        o.c.room_id.in_(user_ids(p)),
        o.c.id.in_(ids(p.found.get("outbox", ()))),
    )


def _audit(p: Person) -> Any:
    a = schema.audit
    return or_(
        a.c.object.in_(list(p.objects)),
        a.c.actor.in_(list(p.actors)),
        a.c.id.in_(ids(p.found.get("audit", ()))),
    )


def _journal(p: Person) -> Any:
    j = schema.journal
    return or_(j.c.room.in_(list(p.rooms)), j.c.id.in_(ids(p.found.get("journal", ()))))


def _blobs(p: Person) -> Any:
    a = schema.attachment
    return schema.blob.c.sha256.in_(
        select(a.c.sha256).where(a.c.message_id.in_(messages(p)), a.c.sha256.is_not(None))
    )


def _api_request(p: Person) -> Any:
    r = schema.api_request
    pairs = [and_(r.c.token_id == token, r.c.key == key) for token, key in p.found.get("api_request", ())]
    return or_(*pairs) if pairs else func.length(r.c.key) < 0


HELD: dict[str, Held | Nobody] = {
    "contact": Held(
        lambda p: _s.contact.c.id.in_(ids(p.contacts)),
        Blank(
            {
                "name": "",
                "language": None,
                "timezone": None,
                "company": "",
                "country": "",
                "city": "",
                "tags": [],
                "fields": {},
                "source": "",
                "updated_at": NOW,
            },
            ("id", "owner_id", "merged_into_id", "created_at"),
        ),
    ),
    "identity": Held(_contact(_s.identity), Gone()),
    "conversation": Held(
        _contact(_s.conversation),
        Blank(
            {
                "key": numbered(_s.conversation),
                "room_id": "",
                "thread_id": "",
                "subject": "",
                "identity_id": None,
            },
            (
                "id",
                "channel",
                "contact_id",
                "language",
                "bot_muted",
                "next_seq",
                "created_at",
                "last_in_at",
                "last_out_at",
            ),
        ),
    ),
    "participant": Held(
        lambda p: or_(
            _s.participant.c.conversation_id.in_(conversations(p)),
            _s.participant.c.user_id.in_(user_ids(p)),
        ),
        Gone(),
    ),
    "thread_ref": Held(
        lambda p: or_(
            _s.thread_ref.c.conversation_id.in_(conversations(p)),
            _s.thread_ref.c.ref.in_(list(p.found.get("thread_ref", ()))),
        ),
        Gone(),
    ),
    "message": Held(
        _of(_s.message.c.id, messages),
        Blank(
            {
                "event_id": "",
                "dedupe": None,
                "external_id": "",
                "author": "",
                "text": "",
                "full_text": "",
                "subject": "",
                "recipients": [],
                "warnings": [],
                "album": "",
                "staff_channel": "",
                "staff_event_id": "",
            },
            (
                "id",
                "conversation_id",
                "ticket_id",
                "seq",
                "kind",
                "channel",
                "author_kind",
                "author_id",
                "sent_at",
                "created_at",
                "edited_at",
                "deleted_at",
            ),
        ),
    ),
    "message_version": Held(_of(_s.message_version.c.message_id, messages), Gone()),
    "attachment": Held(_of(_s.attachment.c.message_id, messages), Gone()),
    "blob": Held(_blobs, Special("files")),
    "ticket": Held(
        _of(_s.ticket.c.id, tickets),
        Blank(
            {
                "subject": "",
                "rating_comment": "",
                "snoozed_until": None,
                "waiting_since": None,
                "clock_at": None,
            },
            (
                "id",
                "number",
                "conversation_id",
                "contact_id",
                "kind",
                "status",
                "priority",
                "channel",
                "assignee_id",
                "linked_to_id",
                "opened_at",
                "first_response_at",
                "closed_at",
                "reopened",
                "acknowledged",
                "rating",
                "rating_asked_at",
                "rated_at",
            ),
        ),
    ),
    "thread": Held(_of(_s.thread.c.ticket_id, tickets), Gone()),
    "expectation": Held(
        lambda p: or_(
            _s.expectation.c.conversation_id.in_(conversations(p)),
            _s.expectation.c.id.in_(ids(p.found.get("expectation", ()))),
        ),
        Gone(),
    ),
    "audit": Held(_audit, Special("audits")),
    "inbox": Held(_found(_s.inbox, _s.inbox.c.id), Special("raw")),
    "outbox": Held(_outbox, Special("outgoing")),
    "journal": Held(_journal, Special("logs")),
    "api_request": Held(_api_request, Special("answers")),
    "webhook_event": Held(
        lambda p: _s.webhook_event.c.id.in_(ids(p.found.get("webhook_event", ()))),
        Blank(
            {"error": ""},
            (
                "id",
                "key",
                "url",
                "lane",
                "type",
                "object_id",
                "created_at",
                "state",
                "attempts",
                "due_at",
                "fence",
                "lease_until",
                "settled_at",
            ),
        ),
    ),
    "counter": Held(_found(_s.counter, _s.counter.c.name), Gone()),
    "cursor": Held(_found(_s.cursor, _s.cursor.c.channel), Gone()),
    "event_count": Held(_found(_s.event_count, _s.event_count.c.kind), Gone()),
    "confirmation": Held(_found(_s.confirmation, _s.confirmation.c.digest), Gone()),
    "customer_order": Held(
        _contact(_s.order),
        Blank(
            {"number": numbered(_s.order), "tracking": ""},
            ("id", "contact_id", "ordered_at", "status", "amount_minor", "currency", "updated_at"),
        ),
    ),
    "order_line": Held(_of(_s.order_line.c.order_id, orders), Special("lines")),
    "customer_event": Held(
        _contact(_s.customer_event),
        Blank(
            {"subject": "", "key": None, "fields": {}, "source": ""},
            ("id", "contact_id", "kind", "at", "created_at"),
        ),
    ),
    "deal": Held(
        _contact(_s.deal),
        Blank(
            {"title": "", "lost_reason": "", "key": None, "source": ""},
            (
                "id",
                "number",
                "contact_id",
                "owner_id",
                "stage",
                "amount_minor",
                "currency",
                "expected_on",
                "created_at",
                "updated_at",
                "stage_at",
                "closed_at",
            ),
        ),
    ),
    "deal_product": Held(_of(_s.deal_product.c.deal_id, deals), Special("lines")),
    "deal_stage": Held(
        _of(_s.deal_stage.c.deal_id, deals),
        Blank({}, ("id", "deal_id", "stage", "amount_minor", "actor", "at")),
    ),
    "contact_mark": Held(_contact(_s.contact_mark), Gone()),
    "merge": Held(_pair(_s.merge, "keep_id", "drop_id"), Gone()),
    "merge_row": Held(
        lambda p: _s.merge_row.c.merge_id.in_(
            select(_s.merge.c.id).where(_pair(_s.merge, "keep_id", "drop_id")(p))
        ),
        Gone(),
    ),
    "suggestion": Held(_pair(_s.suggestion, "low_id", "high_id"), Gone()),
    "import_change": Held(_import_change, Gone()),
    "import_run": Nobody("a file's name and how many rows it had"),
    "import_range": Nobody("which numbers a file made"),
    "contact_note": Held(_contact(_s.contact_note), Gone()),
    "consent": Held(
        _contact(_s.consent),
        Blank(
            {"source": "", "actor": "", "message_id": None},
            ("id", "contact_id", "purpose", "state", "at", "created_at"),
        ),
    ),
    "erasure": Held(
        _contact(_s.erasure),
        Blank({}, ("id", "uid", "contact_id", "actor", "state", "asked_at", "done_at", "counts")),
    ),
    "erased_key": Nobody("keyed hashes"),
    "article": Nobody("what is answered from"),
    "macro": Nobody("what agents answer again and again"),
    "staff": Nobody("colleagues"),
    "staff_identity": Nobody("colleagues"),
    "staff_code": Nobody("colleagues' one-time codes, hashed"),
    "api_token": Nobody("other systems' tokens, hashed"),
    "lease": Nobody("which process runs what"),
    "meta": Nobody("the store's own secrets"),
}


def tables() -> list[tuple[Table, Held]]:
    """The tables that hold something on people, parents first."""
    return [
        (table, entry) for table in metadata.sorted_tables if isinstance(entry := HELD.get(table.name), Held)
    ]
