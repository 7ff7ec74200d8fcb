"""Which key a store is sealed with: a row of `meta` names it, and never says it.

So a wrong or a missing key is one sentence at the start, and never a mixture. A store without rows takes the
key it is first opened with; one with rows is sealed by rekey.py, with the service stopped.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, select, text
from sqlalchemy.exc import DBAPIError

from crm_store.schema import metadata
from crm_store.schema.sealed import Sealed, SealedBytes, SealedJson
from crm_store.sealing import Seal

NAME = "sealed"  # of the row in meta: a key's id, or "busy", from which and to which
BUSY = "busy"


def sealed_columns() -> dict[Table, list[Any]]:
    """The columns that a key seals, by table, parents first."""
    found = {
        table: [c for c in table.columns if isinstance(c.type, Sealed | SealedJson | SealedBytes)]
        for table in metadata.sorted_tables
    }
    return {table: columns for table, columns in found.items() if columns}


def said(tx: Connection) -> str:
    """What the store says about its key; "" when it is not sealed, or has no schema yet."""
    try:
        return str(
            tx.execute(text("SELECT value FROM meta WHERE name = :name"), {"name": NAME}).scalar() or ""
        )
    except DBAPIError as error:
        if "no such table" in str(error.orig) or getattr(error.orig, "sqlstate", "") == "42P01":
            return ""
        raise


def problem(told: str, seal: Seal | None) -> str:
    """What is wrong between a store and a key: a sentence, or ""."""
    if told.startswith(BUSY):
        return "the store was being sealed or opened when that was cut off: run the same command again"
    if told and seal is None:
        return "the store is sealed: it opens with its key alone (privacy.key)"
    if seal is not None and not told:
        return "the store is not sealed yet and privacy.key is set: stop the service and run `wellheard seal`"
    if seal is not None and told != seal.id:
        return "privacy.key is not the key that the store is sealed with"
    return ""


def adopt(tx: Connection, seal: Seal) -> str:
    """Take the key for a store without rows; return what the store says then."""
    for table in sealed_columns():
        if tx.execute(select(table.primary_key.columns[0]).limit(1)).first() is not None:
            return said(tx)
    tx.execute(
        text("INSERT INTO meta (name, value) VALUES (:name, :id) ON CONFLICT DO NOTHING"),
        {"name": NAME, "id": seal.id},
    )
    return said(tx)
