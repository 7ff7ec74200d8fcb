"""The audit log: who did what to whom, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, distinct, func, select

from crm_store import schema


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


def entries(tx: Connection, *, object: str = "", limit: int = 100) -> list[Any]:
    """The newest first."""
    query = select(schema.audit).order_by(schema.audit.c.id.desc()).limit(limit)
    if object:
        query = query.where(schema.audit.c.object == object)
    return list(tx.execute(query).all())


def count_objects(tx: Connection, actor: str, action: str, since: datetime, *, but: str = "") -> int:
    """To how many objects somebody did something since then, leaving one out."""
    table = schema.audit
    query = select(func.count(distinct(table.c.object))).where(
        table.c.actor == actor,
        table.c.at > since,
        table.c.action == action,
        table.c.outcome == "ok",
        table.c.object != but,
    )
    return int(tx.execute(query).scalar_one())
