"""Upkeep: what may be forgotten, and whether the database is whole."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, text, update

from crm_store import schema
from crm_store.rows import insert, is_postgresql

BATCH = 500


def forget_expectations(tx: Connection, now: datetime) -> int:
    """Questions nobody answered in time."""
    return tx.execute(delete(schema.expectation).where(schema.expectation.c.expires_at < now)).rowcount


def forget_raw(tx: Connection, before: datetime) -> int:
    """Empty the bodies of raw messages that were processed before a time; their keys stay, against repeats."""
    inbox = schema.inbox
    old = (
        select(inbox.c.id)
        .where(inbox.c.state.in_(["done", "discarded"]), inbox.c.finished_at < before, inbox.c.body != b"")
        .limit(BATCH)
    )
    return tx.execute(update(inbox).where(inbox.c.id.in_(old)).values(body=b"")).rowcount


def forget_counters(tx: Connection, before: datetime) -> int:
    """Counters of a day (their names begin with it) that is past."""
    table = schema.counter
    day = before.date().isoformat()
    old = delete(table).where(table.c.name >= "2000", table.c.name < day)
    return tx.execute(old).rowcount


def forget_posts(tx: Connection, before: datetime) -> int:
    """What was posted to staff, marked and answered long ago; how customers' messages went is kept."""
    outbox = schema.outbox
    old = (
        select(outbox.c.id)
        .where(
            outbox.c.state.in_(["sent", "withdrawn"]),
            outbox.c.purpose.in_(["post", "card", "mark", "command", "erase"]),
            outbox.c.settled_at < before,
        )
        .limit(BATCH)
    )
    return tx.execute(delete(outbox).where(outbox.c.id.in_(old))).rowcount


def secret(tx: Connection) -> str:
    """The store's own secret for signatures, made when first asked for."""
    table = schema.meta
    tx.execute(insert(tx, table).values(name="secret", value=secrets.token_hex(32)).on_conflict_do_nothing())
    return str(tx.execute(select(table.c.value).where(table.c.name == "secret")).scalar_one())


def integrity(tx: Connection) -> str:
    """ "ok", or what the database finds wrong with itself."""
    if is_postgresql(tx):
        tx.execute(text("SELECT 1"))
        return "ok"
    rows: list[Any] = list(tx.execute(text("PRAGMA integrity_check")).scalars())
    broken = tx.execute(text("PRAGMA foreign_key_check")).all()
    if broken:
        rows.append(f"{len(broken)} rows refer to something that is not there")
    return "; ".join(str(r) for r in rows if r != "ok") or "ok"
