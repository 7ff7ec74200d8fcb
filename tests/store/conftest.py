"""Every test that asks for `store` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from crm_store.db import Store
from tests import postgres
from tests.stores import open_postgres, open_sqlite

ENGINES = ["sqlite", "postgresql"]


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_sqlite(tmp_path) if request.param == "sqlite" else open_postgres() as opened:
        yield opened


@pytest.fixture(params=ENGINES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a schema."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/state/empty.db"
        return
    with postgres.database(migrated=False) as url:
        yield url
