"""The migrations and the schema say the same, on both engines, and an upgrade can be repeated."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from crm_store import migrations
from crm_store.db import Store, StoreError, parse_url, sqlite_engine
from crm_store.schema import metadata
from tests.postgres import MISSING

T = TypeVar("T")


def on(url: str, fn: Callable[[Connection], T]) -> T:
    """Run `fn` in a transaction on the database, whichever engine."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sqlite_engine(parsed)
        try:
            with engine.begin() as connection:
                return fn(connection)
        finally:
            engine.dispose()

    async def run() -> T:
        pg = create_async_engine(parsed)
        try:
            async with pg.begin() as connection:
                return await connection.run_sync(fn)
        finally:
            await pg.dispose()

    return asyncio.run(run())


def shape(connection: Connection) -> dict[str, Any]:
    """Everything the database can tell about its tables, comparable."""
    looked = inspect(connection)

    def table(name: str) -> dict[str, Any]:
        return {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in looked.get_columns(name)
            },
            "key": looked.get_pk_constraint(name),
            "foreign": sorted(map(str, looked.get_foreign_keys(name))),
            "unique": sorted(map(str, looked.get_unique_constraints(name))),
            "indexes": sorted(str(_plain(index)) for index in looked.get_indexes(name)),
        }

    return {
        name: table(name)
        for name in looked.get_table_names()
        if name != "alembic_version" and not is_derived(name)
    }


def is_derived(name: str) -> bool:
    """The search index: not in the schema, because SQLite and PostgreSQL each have their own kind of it."""
    return name.startswith("search_")


def _plain(index: Any) -> dict[str, Any]:
    options = {key: str(value) for key, value in index.get("dialect_options", {}).items()}
    return {**index, "dialect_options": options}


def test_the_migrations_build_exactly_the_schema(empty_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    migrations.upgrade(empty_url)
    upgraded = on(empty_url, shape)

    def differences(connection: Connection) -> Any:
        options = {"compare_type": True, "include_name": lambda name, kind, _: not is_derived(name or "")}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, metadata)

    assert on(empty_url, differences) == []

    def rebuild(connection: Connection) -> dict[str, Any]:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        return shape(connection)

    assert upgraded == on(empty_url, rebuild)


def test_partial_indexes_are_partial(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    catalogue = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
        if empty_url.startswith("sqlite")
        else "SELECT indexname, indexdef FROM pg_indexes"
    )
    definitions = {
        name: str(sql) for name, sql in on(empty_url, lambda tx: tx.execute(text(catalogue)).all())
    }
    for name in ("ix_inbox_waiting", "ix_inbox_shelved", "ix_outbox_waiting", "ix_ticket_unclosed"):
        assert "WHERE" in definitions[name]


def test_an_upgrade_twice_is_an_upgrade_once(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    on(empty_url, lambda tx: tx.execute(text("INSERT INTO counter (name, value) VALUES ('ticket', 7)")))
    before = on(empty_url, shape)
    migrations.upgrade(empty_url)
    assert on(empty_url, shape) == before
    assert on(empty_url, lambda tx: tx.execute(text("SELECT value FROM counter")).scalar()) == 7


def test_the_version_is_known_before_and_after(empty_url: str) -> None:
    assert migrations.current(empty_url) is None
    migrations.upgrade(empty_url)
    assert migrations.current(empty_url) == migrations.HEAD


def test_the_newest_migration_is_the_one_that_is_named() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert script.get_heads() == [migrations.HEAD]


def test_several_processes_may_upgrade_at_once(empty_url: str) -> None:
    code = f"from crm_store import migrations; migrations.upgrade({empty_url!r})"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, env=os.environ)
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert migrations.current(empty_url) == migrations.HEAD


def test_a_store_from_the_future_is_refused_in_one_sentence(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    on(empty_url, lambda tx: tx.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreError, match="9999"):
        migrations.upgrade(empty_url)


def test_asking_for_the_version_creates_no_file(tmp_path: Path) -> None:
    assert migrations.current(f"sqlite:///{tmp_path}/none.db") is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is a letter, not a database\n" * 200)
    with pytest.raises(StoreError, match="cannot be migrated"):
        migrations.upgrade(f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(StoreError, match="cannot be read"):
        migrations.current(f"sqlite:///{tmp_path}/store.db")


def test_nobody_at_the_far_end_is_a_sentence_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("asyncpg", reason=MISSING)
    with pytest.raises(StoreError) as caught:
        migrations.upgrade(f"postgresql://clerk:hush@/desk?host={tmp_path}")
    assert "hush" not in str(caught.value)


def test_a_relative_path_is_beside_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    migrations.upgrade("sqlite:///state/wellheard.db")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "wellheard.db").stat().st_mode & 0o777 == 0o600


async def test_a_migrated_store_opens(store: Store) -> None:
    assert await store.read(lambda tx: tx.execute(text("SELECT count(*) FROM ticket")).scalar()) == 0
