"""The audit log: who did what to whom, and how it ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, distinct, exists, func, literal, or_, select

from crm_store import schema
from crm_store.rows import insert_id, is_postgresql

MOST_OBJECTS = 500  # tickets, deals and orders of one customer whose entries are shown


def record(
    tx: Connection,
    now: datetime,
    actor: str,
    action: str,
    object: str = "",
    outcome: str = "ok",
    **detail: Any,
) -> None:
    """Write one entry. Actors are "staff:3", "telegram:77" or "cli"; objects "ticket:12", "contact:5"."""
    tx.execute(
        schema.audit.insert().values(
            at=now, actor=actor, action=action, object=object, outcome=outcome, detail=detail
        )
    )


def entry(tx: Connection, now: datetime, actor: str, action: str, object: str, **detail: Any) -> int:
    """The same, and return its id."""
    values = {
        "at": now,
        "actor": actor,
        "action": action,
        "object": object,
        "outcome": "ok",
        "detail": detail,
    }
    return insert_id(tx, schema.audit.insert().values(**values))


def get(tx: Connection, entry_id: int) -> Any:
    return tx.execute(select(schema.audit).where(schema.audit.c.id == entry_id)).first()


def entries(tx: Connection, *, object: str = "", limit: int = 100) -> list[Any]:
    """The newest first."""
    query = select(schema.audit).order_by(schema.audit.c.id.desc()).limit(limit)
    if object:
        query = query.where(schema.audit.c.object == object)
    return list(tx.execute(query).all())


def count_objects(
    tx: Connection, actor: str, action: str, since: datetime, *, like: str = "%", but: Collection[str] = ()
) -> int:
    """To how many objects of a kind ("contact:%") somebody did something since then, leaving some out."""
    table = schema.audit
    query = select(func.count(distinct(table.c.object))).where(
        table.c.actor == actor,
        table.c.at > since,
        table.c.action == action,
        table.c.outcome == "ok",
        table.c.object.like(like),
        table.c.object.not_in(list(but)),
    )
    return int(tx.execute(query).scalar_one())


def of_contact(
    tx: Connection, contact_ids: Sequence[int], *, before: int | None = None, limit: int = 20
) -> list[Any]:
    """What was done to a customer (all contacts that are one by now), their tickets, deals and orders; and the
    API's answers that showed them among others. Newest first, from `before` an entry's id on."""
    table, ids = schema.audit, list(contact_ids)
    objects = [f"contact:{one}" for one in ids]
    for kind, column, owner in (
        ("ticket", schema.ticket.c.number, schema.ticket.c.contact_id),
        ("deal", schema.deal.c.number, schema.deal.c.contact_id),
        ("order", schema.order.c.number, schema.order.c.contact_id),
    ):
        numbers = tx.execute(select(column).where(owner.in_(ids)).order_by(column.desc()).limit(MOST_OBJECTS))
        objects += [f"{kind}:{number}" for number in numbers.scalars()]
    among = and_(table.c.action.like("api:%"), or_(*(_names(tx, one) for one in ids)))
    return _page(tx, or_(table.c.object.in_(objects), among), before, limit)


def of_actors(
    tx: Connection, actors: Sequence[str], *, before: int | None = None, limit: int = 20
) -> list[Any]:
    """What somebody did, newest first."""
    return _page(tx, schema.audit.c.actor.in_(list(actors)), before, limit)


def of_object(tx: Connection, object: str, *, before: int | None = None, limit: int = 20) -> list[Any]:
    """What was done to a ticket or a deal, newest first."""
    return _page(tx, schema.audit.c.object == object, before, limit)


def _names(tx: Connection, contact_id: int) -> Any:
    """Whether an answer of the API showed this contact among others."""
    detail = schema.audit.c.detail
    if is_postgresql(tx):
        return detail.op("@>")(literal({"contacts": [contact_id]}, schema.Json))
    each = func.json_each(detail, "$.contacts").table_valued("value")
    return exists(select(1).select_from(each).where(each.c.value == contact_id))


def _page(tx: Connection, condition: Any, before: int | None, limit: int) -> list[Any]:
    query = select(schema.audit).where(condition).order_by(schema.audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(schema.audit.c.id < before)
    return list(tx.execute(query).all())
