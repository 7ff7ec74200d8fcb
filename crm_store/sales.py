"""Orders: what a contact bought, what it is worth, and one order by its number."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from crm_store import schema
from crm_store.money import in_units

order = schema.order
VOID = ("cancelled", "refunded", "returned")  # they count as orders, not as value


@dataclass(frozen=True, slots=True)
class Value:
    """Money of one currency, in its minor unit."""

    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Sales:
    """A contact's orders in numbers; `values` is the largest first and leaves out what was cancelled or returned."""

    count: int
    last_ordered_at: datetime | None
    values: tuple[Value, ...]


def summary(tx: Connection, contact_id: int) -> Sales:
    rows = tx.execute(
        select(
            order.c.currency,
            func.count().label("orders"),
            func.max(order.c.ordered_at).label("last"),
            func.sum(order.c.amount_minor).filter(order.c.status.not_in(VOID)).label("amount"),
        )
        .where(order.c.contact_id == contact_id)
        .group_by(order.c.currency)
    ).all()
    values = [Value(int(row.amount), row.currency) for row in rows if row.amount is not None]
    return Sales(
        count=sum(row.orders for row in rows),
        last_ordered_at=max((row.last for row in rows), default=None),
        values=tuple(sorted(values, key=lambda value: (-value.amount_minor, value.currency))),
    )


def orders_of(tx: Connection, contact_id: int, *, limit: int = 10, skip: int = 0) -> list[Any]:
    """A contact's orders, newest first, but for the first `skip`."""
    return list(
        tx.execute(
            select(order)
            .where(order.c.contact_id == contact_id)
            .order_by(order.c.ordered_at.desc(), order.c.id.desc())
            .limit(limit)
            .offset(skip)
        ).all()
    )


def order_by_number(tx: Connection, number: str) -> Any:
    """The order as a person would write its number: "#a-1001" finds A-1001. None when there is none."""
    plain = unicodedata.normalize("NFKC", number).strip().removeprefix("#").strip()
    written = list(dict.fromkeys([plain, plain.upper(), plain.lower(), f"#{plain}"]))
    rows = {row.number: row for row in tx.execute(select(order).where(order.c.number.in_(written)))}
    return next((rows[form] for form in written if form in rows), None)


def lines(tx: Connection, order_id: int) -> list[Any]:
    table = schema.order_line
    return list(tx.execute(select(table).where(table.c.order_id == order_id).order_by(table.c.id)).all())


def money(amount_minor: int, currency: str) -> str:
    """123456 CNY as "1,234.56 CNY": grouped as English and Chinese both do."""
    whole, point, rest = in_units(abs(amount_minor), currency).partition(".")
    return f"{'-' if amount_minor < 0 else ''}{int(whole):,}{point}{rest} {currency}"
