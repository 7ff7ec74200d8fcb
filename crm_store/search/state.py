"""How far the index has come, and that one process writes it at a time."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection

from crm_store import schema
from crm_store.rows import is_postgresql
from crm_store.search.query import sql

Kind = Literal["contact", "order", "article", "message"]
KINDS: tuple[Kind, ...] = ("contact", "order", "article", "message")
PG_LOCK = 0x73656172  # one process indexes at a time: "sear"

SOURCES = {
    "contact": schema.contact,
    "order": schema.order,
    "article": schema.article,
    "message": schema.message,
}


def cursors(tx: Connection) -> dict[str, int]:
    """How far the index has come: kind → id."""
    return dict(tx.execute(sql("SELECT name, value FROM search_state")).all())


def keep(tx: Connection, name: str, value: int) -> None:
    tx.execute(
        sql(
            "INSERT INTO search_state (name, value) VALUES (:name, :value)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        {"name": name, "value": value},
    )


def alone(tx: Connection) -> bool:
    if is_postgresql(tx):
        return bool(tx.execute(sql("SELECT pg_try_advisory_xact_lock(:k)"), {"k": PG_LOCK}).scalar())
    return True


def wait_alone(tx: Connection) -> None:
    if is_postgresql(tx):
        tx.execute(sql("SELECT pg_advisory_xact_lock(:k)"), {"k": PG_LOCK})
