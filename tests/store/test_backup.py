"""A backup is everything at one moment, and comes back on either engine."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Connection, Date, Integer, LargeBinary, Table, func, select

from crm_store import migrations, schema, tickets, upkeep
from crm_store.backup import backup, restore
from crm_store.db import Store, StoreError
from tests import postgres
from tests.stores import sqlite_url

NOW = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)


def fill(tx: Connection) -> None:
    """Three rows in every table, with every column filled."""
    dice = random.Random(7)
    for table in schema.metadata.sorted_tables:
        for n in (1, 2, 3):
            tx.execute(table.insert().values(**{c.name: value(table, c, n, dice) for c in table.columns}))
    tx.execute(schema.ticket.update().where(schema.ticket.c.id == 1).values(linked_to_id=3))


def value(table: Table, column: Any, n: int, dice: random.Random) -> Any:
    for key in column.foreign_keys:
        if key.column.table is table:
            return None
        return f"sha256-{n}" if key.column.name == "sha256" else n
    match column.type:
        case Integer():
            return n
        case Boolean():
            return n == 2
        case LargeBinary() | schema.SealedBytes():
            return dice.randbytes(50_000)
        case JSON() | schema.SealedJson():
            return {"名": [n, "é", None, 1.5]} if n % 2 else []
        case Date():
            return NOW.date()
        case schema.UtcDateTime():
            return NOW + timedelta(seconds=n)
        case _:
            return (
                f"{column.name}-{n}"
                if column.name in ("sha256",)
                else f"{column.name} {n} 张三 '\"\\ \U0001f600"
            )


def everything(tx: Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table.name: [tuple(row) for row in tx.execute(select(table).order_by(*table.primary_key.columns))]
        for table in schema.metadata.sorted_tables
    }


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Migrated stores: two on SQLite, one on PostgreSQL."""
    with postgres.database() as url:
        yield {
            "sqlite": sqlite_url(tmp_path / "one"),
            "other sqlite": sqlite_url(tmp_path / "two"),
            "postgresql": url,
        }


async def at(url: str, fn: Any, *args: Any) -> Any:
    async with Store(url) as store:
        return await store.write(fn, *args)


def test_everything_travels_between_the_engines_and_back(urls: dict[str, str], tmp_path: Path) -> None:
    asyncio.run(at(urls["sqlite"], fill))
    before = asyncio.run(at(urls["sqlite"], everything))
    assert all(len(rows) == 3 for rows in before.values())
    first, second = tmp_path / "first.backup", tmp_path / "second.backup"
    assert backup(urls["sqlite"], first) == first.stat().st_size
    assert restore(urls["postgresql"], first) == 3 * len(before)
    assert asyncio.run(at(urls["postgresql"], everything)) == before
    backup(urls["postgresql"], second)
    restore(urls["other sqlite"], second)
    assert asyncio.run(at(urls["other sqlite"], everything)) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.backup", "one", "second.backup", "two"]


def test_a_restored_store_goes_on_counting(urls: dict[str, str], tmp_path: Path) -> None:
    def work(tx: Connection) -> tuple[int, int]:
        number = tickets.next_number(tx, "ticket")
        key = tx.execute(schema.staff.insert().values(name=f"Kim {number}", role="agent", created_at=NOW))
        assert key.inserted_primary_key is not None
        return number, key.inserted_primary_key[0]

    assert [asyncio.run(at(urls["sqlite"], work)) for _ in range(3)] == [(1, 1), (2, 2), (3, 3)]
    backup(urls["sqlite"], tmp_path / "file")
    for engine in ("postgresql", "other sqlite"):
        restore(urls[engine], tmp_path / "file")
        assert asyncio.run(at(urls[engine], work)) == (4, 4)


def test_a_backup_is_private_and_whole(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    asyncio.run(at(url, fill))
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "file"
    file.write_text("yesterday's")
    file.chmod(0o644)
    backup(url, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert opened.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_a_backup_under_load_is_one_moment(urls: dict[str, str], engine: str, tmp_path: Path) -> None:
    """Each write makes a contact with its order: a copy with one but not the other would be no moment."""
    numbers = itertools.count(1)
    confirmed: set[int] = set()
    promised: list[set[int]] = []
    done = False

    def pair(tx: Connection, n: int) -> None:
        stamp = {"updated_at": NOW, "id": n}
        tx.execute(schema.contact.insert().values(tags=[], fields={}, created_at=NOW, **stamp))
        words = {"number": f"A-{n}", "status": "paid", "currency": "EUR"}
        tx.execute(
            schema.order.insert().values(contact_id=n, ordered_at=NOW, amount_minor=n, **words, **stamp)
        )

    async with Store(urls[engine]) as store:

        async def work() -> None:
            while not done:
                number = next(numbers)
                await store.write(pair, number)
                confirmed.add(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(work())
            for n in range(3):
                promised.append(set(confirmed))
                await asyncio.to_thread(backup, urls[engine], tmp_path / f"{n}")
            done = True
    for n in range(3):
        with closing(sqlite3.connect(tmp_path / f"{n}")) as opened:
            contacts = {row[0] for row in opened.execute("SELECT id FROM contact")}
            orders = {row[0] for row in opened.execute("SELECT contact_id FROM customer_order")}
        assert contacts == orders
        assert promised[n] <= contacts


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_store_with_rows_is_not_restored_into(urls: dict[str, str], engine: str, tmp_path: Path) -> None:
    backup(urls["other sqlite"], tmp_path / "file")
    asyncio.run(at(urls[engine], tickets.next_number, "ticket"))
    with pytest.raises(StoreError, match="not empty: there are rows in counter"):
        restore(urls[engine], tmp_path / "file")
    assert asyncio.run(at(urls[engine], tickets.next_number, "ticket")) == 2


def test_a_store_that_was_only_started_counts_as_empty(urls: dict[str, str], tmp_path: Path) -> None:
    ours = asyncio.run(at(urls["sqlite"], upkeep.secret))
    backup(urls["sqlite"], tmp_path / "file")
    for engine in ("postgresql", "other sqlite"):
        assert asyncio.run(at(urls[engine], upkeep.secret)) != ours
        restore(urls[engine], tmp_path / "file")
        assert asyncio.run(at(urls[engine], upkeep.secret)) == ours  # links in sent mails stay good


def test_a_restore_that_fails_leaves_the_store_empty(urls: dict[str, str], tmp_path: Path) -> None:
    asyncio.run(at(urls["sqlite"], fill))
    backup(urls["sqlite"], tmp_path / "file")
    with closing(sqlite3.connect(tmp_path / "file")) as opened:
        opened.execute("UPDATE article SET helped = 99999999999999")  # more than PostgreSQL's integer
        opened.commit()
    with pytest.raises(StoreError, match="cannot be restored"):
        restore(urls["postgresql"], tmp_path / "file")
    assert (
        asyncio.run(
            at(urls["postgresql"], lambda tx: tx.execute(select(func.count(schema.staff.c.id))).scalar())
        )
        == 0
    )


def test_text_with_a_nul_comes_back_on_postgresql(urls: dict[str, str], tmp_path: Path) -> None:
    def write(tx: Connection) -> None:
        said = {
            "key": "k",
            "language": "en",
            "title": "a\x00b",
            "body": "",
            "phrasings": ["c\x00d"],
            "updated_at": NOW,
        }
        tx.execute(schema.article.insert().values(**said))

    asyncio.run(at(urls["sqlite"], write))
    backup(urls["sqlite"], tmp_path / "file")
    restore(urls["postgresql"], tmp_path / "file")
    row = asyncio.run(at(urls["postgresql"], lambda tx: tx.execute(select(schema.article)).one()))
    assert (row.title, row.phrasings) == ("ab", ["cd"])


def test_what_cannot_be_backed_up_or_restored_is_a_sentence(tmp_path: Path) -> None:
    url, file = sqlite_url(tmp_path), tmp_path / "file"
    nothing = f"sqlite:///{tmp_path}/nothing.db"
    with pytest.raises(StoreError, match="no store"):
        backup(nothing, file)
    (tmp_path / "nothing.db").touch()
    with pytest.raises(StoreError, match="no schema"):
        backup(nothing, file)
    with pytest.raises(StoreError, match="cannot be backed up"):
        backup(url, tmp_path / "no" / "such" / "directory")
    assert not file.exists()
    with pytest.raises(StoreError, match="no backup"):
        restore(url, file)
    file.write_bytes(b"this is a letter, not a database\n" * 200)
    with pytest.raises(StoreError, match="cannot be restored"):
        restore(url, file)
    file.unlink()
    sqlite3.connect(file).close()
    with pytest.raises(StoreError, match="no backup of a store"):
        restore(url, file)
    backup(url, file)
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("UPDATE alembic_version SET version_num = '9999'")
        opened.commit()
    with pytest.raises(StoreError, match="9999"):
        restore(url, file)


def test_a_restore_creates_the_store_it_fills(tmp_path: Path) -> None:
    backup(sqlite_url(tmp_path), tmp_path / "file")
    fresh = f"sqlite:///{tmp_path}/fresh/store.db"
    assert restore(fresh, tmp_path / "file") == 0
    assert migrations.current(fresh) == migrations.HEAD
