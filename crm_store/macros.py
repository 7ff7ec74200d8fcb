"""Macros: answers that agents give again and again, by name and language."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from crm_store import schema
from crm_store.rows import insert

macro = schema.macro


def put(tx: Connection, now: datetime, name: str, language: str, text: str) -> None:
    """Write a macro; one of that name and language is replaced."""
    tx.execute(
        insert(tx, macro)
        .values(name=name.lower(), language=language, text=text, updated_at=now)
        .on_conflict_do_update(index_elements=["name", "language"], set_={"text": text, "updated_at": now})
    )


def find(tx: Connection, name: str, language: str) -> Any:
    """The macro of that name, in that language where there is one; None when unknown."""
    rows = tx.execute(select(macro).where(macro.c.name == name.lower()).order_by(macro.c.id)).all()
    return next((r for r in rows if r.language == language), rows[0] if rows else None)


def get(tx: Connection, macro_id: int) -> Any:
    return tx.execute(select(macro).where(macro.c.id == macro_id)).first()


def listing(tx: Connection) -> list[Any]:
    return list(tx.execute(select(macro).order_by(macro.c.name, macro.c.language)).all())


def remove(tx: Connection, name: str, language: str = "") -> int:
    """Remove a macro in one language or in all; return how many were there."""
    statement = delete(macro).where(macro.c.name == name.lower())
    if language:
        statement = statement.where(macro.c.language == language)
    return tx.execute(statement).rowcount
