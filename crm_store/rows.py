"""What the queries share: inserts that know about conflicts, on either database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert(tx: Connection, table: Table) -> Any:
    """The dialect's own insert, with on_conflict_do_nothing and on_conflict_do_update."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def is_postgresql(tx: Connection) -> bool:
    return tx.dialect.name == "postgresql"


def insert_id(tx: Connection, statement: Any) -> int:
    """Run an insert of one row and return its id."""
    key = tx.execute(statement).inserted_primary_key
    if key is None:
        raise TypeError("not an insert of one row")
    return int(key[0])
