"""What all tables share: their names' rules and the columns every one of them has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: timestamptz on PostgreSQL, fixed-width text (so that it sorts) on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")


def id_() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def ref(name: str, target: str, **kw: Any) -> Column[int]:
    kw.setdefault("index", True)
    return Column(name, Integer, ForeignKey(target, ondelete=kw.pop("ondelete", None)), **kw)


def at(name: str, **kw: Any) -> Column[datetime]:
    return Column(name, UtcDateTime, **kw)


def where_given(column: Column[Any]) -> None:
    """Index a column where it has a value: `column = x` finds it there, and rows without one cost nothing."""
    condition = text(f"{column.name} IS NOT NULL")
    name = f"ix_{column.table.name}_{column.name}"
    Index(name, column, sqlite_where=condition, postgresql_where=condition)
