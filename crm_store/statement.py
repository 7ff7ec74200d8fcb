"""Statements that are built once, for the queries every message runs.

Building a Core statement, looking up its compiled form and wrapping its result took 65 µs for a select by key
and 102 for an insert, all under the interpreter's lock. A `Statement` is compiled at its first use; on the
connections of SQLite's writer and readers the driver then runs the text itself (9 and 11 µs). On PostgreSQL the
same statement goes through SQLAlchemy.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, Connection, Table, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from crm_store import sealing
from crm_store.schema.base import UtcDateTime

Insert = Callable[[Table], Any]  # the dialect's own insert: it knows on_conflict_do_nothing and …_do_update


class Statement:
    """One statement with `bindparam`s; for inserts the columns are named by the values given.

        _by_key = Statement(select(conversation).where(conversation.c.key == bindparam("key")))
        row = _by_key.first(tx, key="c27b")

    A statement with on_conflict is given as a function of the dialect's insert. Lists (`IN`) are not for here.
    """

    __slots__ = ("_build", "_built", "_compiled")

    def __init__(self, statement: Any) -> None:
        self._build: Callable[[Insert], Any] = statement if callable(statement) else lambda _: statement
        self._built: dict[str, Any] = {}
        self._compiled: dict[Any, _Compiled] = {}

    def all(self, tx: Connection, /, **values: Any) -> list[Any]:
        """All rows, their columns as attributes."""
        if (driver := driver_of(tx)) is None:
            return list(tx.execute(self._for(tx.dialect), values).all())
        compiled = self._compile(tx.dialect, values)
        return [compiled.row(r) for r in compiled.run(driver, tx, values).fetchall()]

    def first(self, tx: Connection, /, **values: Any) -> Any:
        """The first row, or None."""
        if (driver := driver_of(tx)) is None:
            return tx.execute(self._for(tx.dialect), values).first()
        compiled = self._compile(tx.dialect, values)
        rows = compiled.run(driver, tx, values).fetchall()
        return compiled.row(rows[0]) if rows else None

    def scalar(self, tx: Connection, /, **values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.first(tx, **values)
        return None if row is None else row[0]

    def run(self, tx: Connection, /, **values: Any) -> int:
        """Run it for its effect; return how many rows it touched."""
        if (driver := driver_of(tx)) is None:
            return int(tx.execute(self._for(tx.dialect), values).rowcount)
        return int(self._compile(tx.dialect, values).run(driver, tx, values).rowcount)

    def many(self, tx: Connection, rows: Sequence[Mapping[str, Any]], /) -> int:
        """Run it once for each of the rows, which have the same keys; return how many rows were touched."""
        if not rows:
            return 0
        if (driver := driver_of(tx)) is None:
            return int(tx.execute(self._for(tx.dialect), list(rows)).rowcount)
        return int(self._compile(tx.dialect, rows[0]).run_many(driver, tx, rows).rowcount)

    def one(self, tx: Connection, /, **values: Any) -> Any:
        """The row that a statement certainly returns (an insert with RETURNING)."""
        row = self.first(tx, **values)
        if row is None:
            raise LookupError("no row")
        return row

    def insert(self, tx: Connection, /, **values: Any) -> int:
        """Insert one row and return its id."""
        if (driver := driver_of(tx)) is None:
            key = tx.execute(self._for(tx.dialect), values).inserted_primary_key
            if key is None:
                raise TypeError("not an insert of one row")
            return int(key[0])
        return int(self._compile(tx.dialect, values).run(driver, tx, values).lastrowid or 0)

    def _for(self, dialect: Dialect) -> Any:
        built = self._built.get(dialect.name)
        if built is None:
            insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
            built = self._built[dialect.name] = self._build(insert)
        return built

    def _compile(self, dialect: Dialect, values: Mapping[str, Any]) -> _Compiled:
        names = tuple(values)
        key = (sealing.of(dialect), names)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = _Compiled(self._for(dialect), dialect, names)
        return compiled


class _Compiled:
    """SQL text for sqlite3, how its arguments are made of named values, and what its rows become."""

    __slots__ = ("_constants", "_given", "_processes", "_results", "_row", "_sql")

    def __init__(self, statement: Any, dialect: Dialect, given: tuple[str, ...]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=given if statement.is_insert else None)
        self._sql = str(compiled)
        taken: list[str] = []
        self._processes: list[tuple[int, Callable[[Any], Any]]] = []  # by the place among those given
        self._constants: list[tuple[int, Any]] = []  # by the place among all
        for place, name in enumerate(compiled.positiontup or ()):
            parameter = compiled.binds[name]
            process = _bind_processor(parameter.type, dialect)
            if name in given:
                if process is not None:
                    self._processes.append((len(taken), process))
                taken.append(name)
            elif parameter.required:
                raise KeyError(f"no value for {name}")
            else:
                constant = parameter.effective_value
                self._constants.append((place, process(constant) if process else constant))
        if extra := set(given) - set(taken):
            raise KeyError(f"unknown: {', '.join(sorted(extra))}")
        self._given = _getter(taken)
        columns = list(statement.exported_columns) if statement.is_select or statement._returning else []
        names = [str(c.key) for c in columns]
        row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
        self._row: Callable[[Iterable[Any]], Any] = row._make if columns else tuple
        self._results = [
            (i, process)
            for i, c in enumerate(columns)
            if (process := _result_processor(c.type, dialect)) is not None
        ]

    def run(self, driver: sqlite3.Connection, tx: Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        try:
            return driver.execute(self._sql, self._bound(values))
        except sqlite3.Error as error:
            raise self._wrapped(error, tx) from error

    def run_many(
        self, driver: sqlite3.Connection, tx: Connection, rows: Iterable[Mapping[str, Any]]
    ) -> sqlite3.Cursor:
        try:
            return driver.executemany(self._sql, [self._bound(row) for row in rows])
        except sqlite3.Error as error:
            raise self._wrapped(error, tx) from error

    def row(self, values: tuple[Any, ...]) -> Any:
        if self._results:
            out = list(values)
            for i, process in self._results:
                out[i] = process(out[i])
            values = tuple(out)
        return self._row(values)

    def _bound(self, values: Mapping[str, Any]) -> list[Any]:
        bound = list(self._given(values))
        for place, process in self._processes:
            bound[place] = process(bound[place])
        for place, constant in self._constants:
            bound.insert(place, constant)
        return bound

    def _wrapped(self, error: sqlite3.Error, tx: Connection) -> BaseException:
        """The exception that SQLAlchemy would have raised, without the values: they are customers' words."""
        return DBAPIError.instance(
            self._sql, None, error, sqlite3.Error, hide_parameters=True, dialect=tx.dialect
        )


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """What takes these values out of a mapping, in this order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: [values[name] for name in names]


def _bind_processor(type_: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    if isinstance(type_, UtcDateTime):
        return _time_as_text
    found: Callable[[Any], Any] | None = type_.dialect_impl(dialect).bind_processor(dialect)
    if isinstance(type_, JSON) and found is not None:
        return partial(_json_as_text, found)
    return found


def _json_as_text(encode: Callable[[Any], Any], value: Any) -> Any:
    """Mostly nothing: no tags, no recipients, no warnings."""
    if value == [] or value == {}:
        return "[]" if isinstance(value, list) else "{}"
    return encode(value)


def _result_processor(type_: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    if isinstance(type_, UtcDateTime):
        return _time_of_text
    found: Callable[[Any], Any] | None = type_.dialect_impl(dialect).result_processor(dialect, None)
    return found


@lru_cache(maxsize=256)  # the rows of a transaction mostly have one and the same time
def _time_as_text(value: datetime | None) -> str | None:
    """As `UtcDateTime` writes it on SQLite; by way of SQLAlchemy it took seven times as long."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a time without its zone")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


@lru_cache(maxsize=256)
def _time_of_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def update_by_id(table: Table, columns: tuple[str, ...]) -> Statement:
    """Set columns of one row: give `row`, its id, and a `to_<column>` for each. For few sets of columns."""
    values = {column: bindparam(f"to_{column}", type_=table.c[column].type) for column in columns}
    return Statement(update(table).where(table.c.id == bindparam("row")).values(values))


def driver_of(tx: Connection) -> sqlite3.Connection | None:
    """The sqlite3 connection below, when it is one of this thread and inside a transaction."""
    raw = tx.connection.dbapi_connection
    return raw if isinstance(raw, sqlite3.Connection) and raw.in_transaction else None
