"""Many rows in few statements: ids drawn together, keys looked up together, rows written together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, text
from sqlalchemy.exc import DBAPIError

from crm_store import sealing
from crm_store.rows import is_postgresql
from crm_store.search.query import sql
from crm_store.statement import driver_of

Key = tuple[str, str]  # (space, user_id)


def draw_ids(tx: Connection, table: Table, count: int) -> range | list[int]:
    """New ids, in order. On SQLite the writer is alone: they are those the rows would get by themselves."""
    if count == 0:
        return range(0)
    if is_postgresql(tx):
        drawn = "SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :count)"
        return sorted(tx.execute(sql(drawn), {"table": table.name, "count": count}).scalars())
    highest: int = tx.execute(sql(f"SELECT coalesce(max(id), 0) FROM {table.name}")).scalar_one()
    return range(highest + 1, highest + 1 + count)


def insert(tx: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows, their values in the order of `columns`. On SQLite by the driver, at 4 µs a row instead of
    15: a value that many rows share (a time, an empty list) is put into the database's form once."""
    if not rows:
        return
    driver = driver_of(tx)
    if driver is None:
        tx.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])
        return
    statement, processes = _plan(table, columns, tx.dialect)
    made = [
        list(column) if process is None else _processed(process, column)
        for process, column in zip(processes, zip(*rows, strict=True), strict=True)
    ]
    try:
        driver.executemany(statement, zip(*made, strict=True))
    except driver.Error as error:
        raise DBAPIError.instance(
            statement, None, error, driver.Error, hide_parameters=True, dialect=tx.dialect
        ) from error


def _processed(process: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    done: dict[Any, Any] = {}
    out = []
    for value in values:
        if value.__hash__ is not None:
            key = value
        elif value:
            out.append(process(value))
            continue
        else:
            key = type(value)  # an empty list, an empty dict
        if key not in done:
            if len(done) > 100:
                done.clear()
            done[key] = process(value)
        out.append(done[key])
    return out


@lru_cache(maxsize=64)
def _plan(table: Table, columns: tuple[str, ...], dialect: Dialect) -> tuple[str, list[Any]]:
    processes = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]
    named = ", ".join(columns)
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({named}) VALUES ({places})", processes


def owners(tx: Connection, keys: Iterable[Key]) -> dict[Key, int]:
    """Who holds these identities: key → contact."""
    by_space: dict[str, set[str]] = {}
    for space, user_id in keys:
        by_space.setdefault(space, set()).add(user_id)
    found: dict[Key, int] = {}
    seal = sealing.of(tx.dialect)
    for space, wanted in by_space.items():
        stored = {seal.shut("identity.user_id", one) if seal else one: one for one in wanted}
        user_ids = stored.keys()
        if is_postgresql(tx):
            query = "SELECT user_id, contact_id FROM identity WHERE space = :space AND user_id = ANY(:ids)"
            rows = tx.execute(sql(query), {"space": space, "ids": sorted(user_ids)})
        else:  # one parameter for all of them; CROSS: the list first, then the index over (space, user_id)
            query = (
                "SELECT i.user_id, i.contact_id FROM json_each(:ids) j CROSS JOIN identity i"
                " WHERE i.space = :space AND i.user_id = j.value"
            )
            ids = json.dumps(sorted(user_ids), ensure_ascii=False)
            rows = tx.execute(sql(query), {"space": space, "ids": ids})
        found |= {(space, stored[user_id]): contact_id for user_id, contact_id in rows.all()}
    return found


def by_ids(
    tx: Connection, table: Table, ids: Iterable[int], column: str = "id", only: tuple[str, ...] = ()
) -> list[Any]:
    """The rows of these ids, whole or `only` some columns. Numbers of ours stand in the statement: a thousand
    parameters cost more."""
    listed = ", ".join(str(int(number)) for number in sorted(ids))
    if not listed:
        return []
    columns = [table.c[name] for name in only] or list(table.columns)
    named = ", ".join(one.name for one in columns)  # in our order, which need not be the database's
    keys = ", ".join(one.name for one in table.primary_key)
    statement = text(f"SELECT {named} FROM {table.name} WHERE {column} IN ({listed}) ORDER BY {keys}")
    return list(tx.execute(statement.columns(*columns)).all())


def delete_ids(tx: Connection, table: Table, ids: Iterable[int], column: str = "id") -> None:
    listed = ", ".join(str(int(number)) for number in ids)
    if listed:
        tx.execute(text(f"DELETE FROM {table.name} WHERE {column} IN ({listed})"))


def spans(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Ids as ranges from first to last."""
    found: list[tuple[int, int]] = []
    for number in sorted(ids):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
