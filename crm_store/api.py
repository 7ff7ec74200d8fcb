"""What the API needs of the store: lists by page, and what other systems write. Its tokens and the answers that are
repeated are in crm_store/api_tokens.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, exists, func, literal, or_, select, update

from crm_store import schema
from crm_store.contacts import LIVE
from crm_store.privacy import tombstones
from crm_store.rows import insert, insert_id
from crm_store.scope import Scope, of_contact, of_message, of_ticket
from crm_store.search import indexing

contact, identity, order = schema.contact, schema.identity, schema.order


# --- pages, by id: what is added while somebody reads comes at the end ---------------------------------------


def customers(
    tx: Connection,
    *,
    after: int,
    limit: int,
    holding: tuple[str, str] | None = None,
    tag: str = "",
    since: datetime | None = None,
    scope: Scope | None = None,
) -> list[Any]:
    erased = select(schema.erasure.c.contact_id).where(schema.erasure.c.state == "done")
    query = select(contact).where(contact.c.id > after, LIVE, contact.c.id.not_in(erased))
    if holding is not None:
        held = select(identity.c.contact_id).where(
            identity.c.space == holding[0], identity.c.user_id == holding[1]
        )
        query = query.where(contact.c.id.in_(held))
    if since is not None:
        query = query.where(contact.c.updated_at >= since)
    if tag:
        query = query.where(_holds_tag(tx, tag))
    if scope is not None:
        query = query.where(of_contact(scope, contact.c.id))
    return _page(tx, query, contact, limit)


def _holds_tag(tx: Connection, tag: str) -> Any:
    if tx.dialect.name == "postgresql":
        return contact.c.tags.op("@>")(literal([tag], schema.Json))
    each = func.json_each(contact.c.tags).table_valued("value")
    return exists(select(1).select_from(each).where(each.c.value == tag))


def identities_of(tx: Connection, contact_ids: Sequence[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    query = select(identity).where(identity.c.contact_id.in_(list(contact_ids))).order_by(identity.c.id)
    for row in tx.execute(query):
        found.setdefault(row.contact_id, []).append(row)
    return found


def conversations(
    tx: Connection,
    *,
    after: int,
    limit: int,
    contact_id: int | None = None,
    channel: str = "",
    since: datetime | None = None,
    scope: Scope | None = None,
) -> list[Any]:
    table = schema.conversation
    query = select(table).where(table.c.id > after)
    if contact_id is not None:
        query = query.where(table.c.contact_id == contact_id)
    if channel:
        query = query.where(table.c.channel == channel)
    if since is not None:
        query = query.where(
            or_(table.c.created_at >= since, table.c.last_in_at >= since, table.c.last_out_at >= since)
        )
    if scope is not None:
        query = query.where(of_contact(scope, table.c.contact_id))
    return _page(tx, query, table, limit)


def messages(
    tx: Connection, *, after: int, limit: int, conversation_id: int, scope: Scope | None = None
) -> list[Any]:
    table = schema.message
    query = select(table).where(table.c.id > after, table.c.conversation_id == conversation_id)
    if scope is not None:
        query = query.where(of_message(scope))
    return _page(tx, query, table, limit)


def files_of(tx: Connection, message_ids: Sequence[int]) -> dict[int, list[Any]]:
    table = schema.attachment
    found: dict[int, list[Any]] = {}
    for row in tx.execute(
        select(table).where(table.c.message_id.in_(list(message_ids))).order_by(table.c.id)
    ):
        found.setdefault(row.message_id, []).append(row)
    return found


def deliveries_of(tx: Connection, message_ids: Sequence[int]) -> dict[int, str]:
    """How messages to customers are on their way: the state of the latest row of each."""
    table = schema.outbox
    query = (
        select(table.c.message_id, table.c.state)
        .where(table.c.message_id.in_(list(message_ids)), table.c.purpose.in_(["reply", "answer", "notice"]))
        .order_by(table.c.id)
    )
    return {row.message_id: row.state for row in tx.execute(query)}


def tickets(
    tx: Connection,
    *,
    after: int,
    limit: int,
    ticket_id: int | None = None,
    statuses: Sequence[str] = (),
    priority: str = "",
    kind: str = "",
    assignee: str = "",
    contact_id: int | None = None,
    since: datetime | None = None,
    scope: Scope | None = None,
) -> list[Any]:
    """Tickets with their assignees' names. `since`: anything happened to them, by staff or by the customer."""
    table, talk, log = schema.ticket, schema.conversation, schema.audit
    linked = table.alias("linked")
    query = (
        select(table, schema.staff.c.name.label("assignee"), linked.c.number.label("linked_to"))
        .join(schema.staff, schema.staff.c.id == table.c.assignee_id, isouter=True)
        .join(linked, linked.c.id == table.c.linked_to_id, isouter=True)
        .where(table.c.id > after)
    )
    for value, column in ((priority, table.c.priority), (kind, table.c.kind)):
        if value:
            query = query.where(column == value)
    if ticket_id is not None:
        query = query.where(table.c.id == ticket_id)
    if statuses:
        query = query.where(table.c.status.in_(list(statuses)))
    if assignee:
        query = query.where(func.lower(schema.staff.c.name) == assignee.lower())
    if contact_id is not None:
        query = query.where(table.c.contact_id == contact_id)
    if since is not None:
        times = [table.c[name] for name in ("opened_at", "closed_at", "first_response_at", "rated_at")]
        spoken = select(talk.c.id).where(
            talk.c.id == table.c.conversation_id, or_(talk.c.last_in_at >= since, talk.c.last_out_at >= since)
        )
        handled = select(log.c.id).where(
            log.c.object == literal("ticket:").concat(table.c.number),
            log.c.at >= since,
            log.c.outcome == "ok",
        )
        query = query.where(or_(*(c >= since for c in times), spoken.exists(), handled.exists()))
    if scope is not None:
        query = query.where(of_ticket(scope))
    return _page(tx, query, table, limit)


def orders(
    tx: Connection,
    *,
    after: int,
    limit: int,
    contact_id: int | None = None,
    number: str = "",
    status: str = "",
    since: datetime | None = None,
    scope: Scope | None = None,
) -> list[Any]:
    query = select(order).where(order.c.id > after)
    if contact_id is not None:
        query = query.where(order.c.contact_id == contact_id)
    if number:
        query = query.where(order.c.number == number)
    if status:
        query = query.where(order.c.status == status)
    if since is not None:
        query = query.where(order.c.updated_at >= since)
    if scope is not None:
        query = query.where(of_contact(scope, order.c.contact_id))
    return _page(tx, query, order, limit)


def lines_of(tx: Connection, order_ids: Sequence[int]) -> dict[int, list[Any]]:
    table = schema.order_line
    found: dict[int, list[Any]] = {}
    for row in tx.execute(select(table).where(table.c.order_id.in_(list(order_ids))).order_by(table.c.id)):
        found.setdefault(row.order_id, []).append(row)
    return found


def events(
    tx: Connection,
    *,
    after: int,
    limit: int,
    contact_id: int | None = None,
    kind: str = "",
    since: datetime | None = None,
    scope: Scope | None = None,
) -> list[Any]:
    table = schema.customer_event
    query = select(table).where(table.c.id > after)
    if contact_id is not None:
        query = query.where(table.c.contact_id == contact_id)
    if kind:
        query = query.where(table.c.kind == kind)
    if since is not None:
        query = query.where(table.c.created_at >= since)
    if scope is not None:
        query = query.where(of_contact(scope, table.c.contact_id))
    return _page(tx, query, table, limit)


def articles(
    tx: Connection, *, after: int, limit: int, language: str = "", since: datetime | None = None
) -> list[Any]:
    table = schema.article
    query = select(table).where(table.c.id > after)
    if language:
        query = query.where(table.c.language == language)
    if since is not None:
        query = query.where(table.c.updated_at >= since)
    return _page(tx, query, table, limit)


def _page(tx: Connection, query: Select[Any], table: Any, limit: int) -> list[Any]:
    return list(tx.execute(query.order_by(table.c.id).limit(limit)).all())


# --- what other systems tell us ------------------------------------------------------------------------------


def owner(tx: Connection, space: str, user_id: str) -> int | None:
    """Whose identity this is."""
    return tx.execute(
        select(identity.c.contact_id).where(identity.c.space == space, identity.c.user_id == user_id)
    ).scalar()


def record_event(
    tx: Connection,
    now: datetime,
    *,
    contact_id: int,
    kind: str,
    at: datetime,
    subject: str,
    key: str | None,
    fields: Mapping[str, Any],
    source: str,
) -> bool:
    """Note what a customer did. False when an event of that key is there already, or was until its customer was
    erased."""
    table = schema.customer_event
    if key is not None and tombstones.holds(tx, "customer_event", key):
        return False
    added = tx.execute(
        insert(tx, table)
        .values(
            contact_id=contact_id,
            kind=kind,
            at=at,
            subject=subject,
            key=key,
            fields=dict(fields),
            source=source,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(table.c.id)
    ).scalar()
    return added is not None


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    name: str
    quantity: int
    amount_minor: int


def put_order(
    tx: Connection,
    now: datetime,
    number: str,
    contact_id: int,
    values: Mapping[str, Any],
    lines: Sequence[Line],
) -> tuple[Any, str]:
    """Write the order of that number with its lines: ("new", "updated" or "unchanged"). It stays whose it is."""
    known = tx.execute(select(order).where(order.c.number == number).with_for_update()).first()
    if known is None:
        order_id = insert_id(
            tx, order.insert().values(number=number, contact_id=contact_id, **values, updated_at=now)
        )
        _put_lines(tx, order_id, lines)
        return by_number(tx, number), "new"
    before = [
        Line(r.sku, r.name, r.quantity, r.amount_minor) for r in lines_of(tx, [known.id]).get(known.id, [])
    ]
    if before == list(lines) and all(getattr(known, name) == value for name, value in values.items()):
        return known, "unchanged"
    tx.execute(update(order).where(order.c.id == known.id).values(**values, updated_at=now))
    if before != list(lines):
        tx.execute(schema.order_line.delete().where(schema.order_line.c.order_id == known.id))
        _put_lines(tx, known.id, lines)
    indexing.changed(tx, "order", [known.id])
    return by_number(tx, number), "updated"


def order_by_id(tx: Connection, order_id: int) -> Any:
    return tx.execute(select(order).where(order.c.id == order_id)).first()


def ticket_numbers(tx: Connection, ticket_ids: set[int]) -> dict[int | None, int]:
    table = schema.ticket
    query = select(table.c.id, table.c.number).where(table.c.id.in_(sorted(ticket_ids)))
    return {row.id: row.number for row in tx.execute(query)}


def by_number(tx: Connection, number: str) -> Any:
    """The order of exactly that number, or None."""
    return tx.execute(select(order).where(order.c.number == number)).first()


def _put_lines(tx: Connection, order_id: int, lines: Sequence[Line]) -> None:
    rows = [
        {
            "order_id": order_id,
            "sku": line.sku,
            "name": line.name,
            "quantity": line.quantity,
            "amount_minor": line.amount_minor,
        }
        for line in lines
    ]
    if rows:
        tx.execute(schema.order_line.insert(), rows)


def lock_contact(tx: Connection, contact_id: int) -> Any:
    """The contact's row, held until the transaction ends; None when there is none."""
    return tx.execute(select(contact).where(contact.c.id == contact_id).with_for_update()).first()
