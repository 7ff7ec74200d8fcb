"""The schema's history: Alembic without an ini file, run from the program on both engines."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from crm_store.db import StoreError, cause, describe, parse_url, sqlite_engine

# the newest file in versions/; said here so that a start that has nothing to do loads no Alembic
HEAD = "0014"

PG_LOCK = 0x77656C6C  # any fixed number, the same in every process: "well"


def upgrade(url: str) -> None:
    """Bring the store to the newest schema, creating it if it is not there; nothing to do is no error.

    Synchronous, with a loop of its own on PostgreSQL: inside one call it through asyncio.to_thread. Two
    processes may call it at once, one of them waits. All in one transaction. Raise StoreError.
    """
    parsed = parse_url(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            _upgrade_sqlite(parsed)
        else:
            asyncio.run(_upgrade_postgresql(parsed))
    except (OSError, DBAPIError) as error:
        raise StoreError(f"the store {describe(parsed)} cannot be migrated: {cause(error)}") from error


def current(url: str) -> str | None:
    """The schema's version in the store, None where there is none yet. Raise StoreError."""
    parsed = parse_url(url)
    try:
        if parsed.get_backend_name() == "postgresql":
            return asyncio.run(_current_postgresql(parsed))
        path = Path(parsed.database or "")
        if not path.exists() or path.stat().st_size == 0:
            return None  # asking must not create the file
        engine = create_engine(parsed.set(drivername="sqlite+pysqlite"))
        try:
            with engine.connect() as connection:
                return _version(connection)
        finally:
            engine.dispose()
    except (OSError, DBAPIError) as error:
        raise StoreError(f"the store {describe(parsed)} cannot be read: {cause(error)}") from error


def _upgrade_sqlite(url: URL) -> None:
    engine = sqlite_engine(url)
    try:
        with engine.connect() as connection:
            # Changing a column rebuilds its table; with foreign keys on, dropping the old one would delete
            # its children.
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
            with connection.begin():  # BEGIN IMMEDIATE: another process waits here
                if _migrate(connection):
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                    if broken is not None:
                        raise StoreError(f"the migration left rows of {broken[0]} without their {broken[2]}")
    finally:
        engine.dispose()


async def _upgrade_postgresql(url: URL) -> None:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PG_LOCK})
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


async def _current_postgresql(url: URL) -> str | None:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_version)
    finally:
        await engine.dispose()


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _migrate(connection: Connection) -> bool:
    """Run what is missing inside the caller's transaction; tell whether anything was."""
    version = _version(connection)
    if version == HEAD:
        return False
    if version is not None and version > HEAD:
        raise StoreError(
            f"the store has schema {version}, this program knows it up to {HEAD}: update the program"
        )
    from alembic import command  # 0.2 s, and only an upgrade needs it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True
