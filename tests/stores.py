"""Stores for tests: open, migrated, thrown away afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from crm_store import migrations
from crm_store.db import Store
from tests import postgres

Clock = Callable[[], datetime]
# Any test of the store may be run on sealed ones: WELLHEARD_TEST_KEY=$(wellheard key) ./run test tests/store
KEY = os.environ.get("WELLHEARD_TEST_KEY", "")


@asynccontextmanager
async def open_sqlite(directory: Path, *, clock: Clock | None = None, key: str = KEY) -> AsyncIterator[Store]:
    """A store in a new file in `directory`."""
    async with Store(sqlite_url(directory), clock=clock, key=key) as store:
        yield store


@asynccontextmanager
async def open_postgres(*, clock: Clock | None = None, key: str = KEY) -> AsyncIterator[Store]:
    """A store in a new PostgreSQL database; the test is skipped where there is no server."""
    database = postgres.database()
    url = await asyncio.to_thread(database.__enter__)
    try:
        async with Store(url, clock=clock, key=key) as store:
            yield store
    finally:
        await asyncio.to_thread(database.__exit__, None, None, None)


def sqlite_url(directory: Path) -> str:
    """The URL of a new, migrated SQLite file: a copy, because migrating takes 0.2 s."""
    path = directory / "store" / "wellheard.db"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy(_migrated(), path)
    path.chmod(0o600)
    return f"sqlite:///{path}"


@cache
def _migrated() -> Path:
    import atexit

    directory = Path(mkdtemp(prefix="wellheard-tests-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    migrations.upgrade(f"sqlite:///{directory / 'template.db'}")
    return directory / "template.db"
