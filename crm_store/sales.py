"""Orders: what a contact bought."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from crm_store import schema
from crm_store.money import in_units

order = schema.order


def order_by_number(tx: Connection, number: str) -> Any:
    """The order of that number, whatever its case and with or without "#"; None when there is none."""
    wanted = number.strip().lstrip("#").lower()
    return tx.execute(select(order).where(func.lower(order.c.number) == wanted)).first()


def lines(tx: Connection, order_id: int) -> list[Any]:
    table = schema.order_line
    return list(tx.execute(select(table).where(table.c.order_id == order_id).order_by(table.c.id)).all())


def money(amount_minor: int, currency: str) -> str:
    """1234 CNY as "12.34 CNY"."""
    return f"{in_units(amount_minor, currency)} {currency}"
