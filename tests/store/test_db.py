"""What the store promises about writes and reads, on both engines; crashes on SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.util import await_only

from crm_store.db import Conflict, Store, StoreError, parse_url, savepoint
from crm_store.schema import counter, event_count
from tests.stores import open_postgres, open_sqlite, sqlite_url


def put(tx: Connection, name: str, value: int = 0) -> str:
    tx.execute(counter.insert().values(name=name, value=value))
    return name


def names(tx: Connection) -> list[str]:
    return list(tx.scalars(select(counter.c.name).order_by(counter.c.name)))


def bump(tx: Connection, name: str) -> int:
    value: int = tx.execute(select(counter.c.value).where(counter.c.name == name)).scalar_one()
    tx.execute(counter.update().where(counter.c.name == name).values(value=value + 1))
    return value + 1


class Refused(Exception):
    pass


@contextlib.asynccontextmanager
async def busy(store: Store) -> AsyncIterator[None]:
    """Hold the writer with a write, so that what is asked inside waits and shares a transaction."""
    loop, began, gate = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hold(tx: Connection) -> None:
        loop.call_soon_threadsafe(began.set)
        assert gate.wait(10)

    holding = asyncio.create_task(store.write(hold))
    await began.wait()
    try:
        yield
        await asyncio.sleep(0)
    finally:
        gate.set()
        await holding


def put_and_refuse(tx: Connection, name: str) -> None:
    put(tx, name)
    raise Refused(name)


async def test_a_write_returns_what_its_function_returned_and_is_read_by_all(store: Store) -> None:
    assert await store.write(put, "a", value=3) == "a"
    assert await store.read(names) == ["a"]


async def test_a_failing_write_raises_and_undoes_only_itself(store: Store) -> None:
    writes = [store.write(put_and_refuse if n % 3 == 0 else put, f"n{n:02}") for n in range(30)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [n % 3 == 0 for n in range(30)]
    assert await store.read(names) == [f"n{n:02}" for n in range(30) if n % 3]


async def test_a_savepoint_undoes_only_what_is_inside(store: Store) -> None:
    def work(tx: Connection) -> None:
        put(tx, "before")
        with contextlib.suppress(IntegrityError), savepoint(tx):
            put(tx, "inside")
            put(tx, "before")
        put(tx, "after")

    await store.write(work)
    assert await store.read(names) == ["after", "before"]


async def test_a_read_cannot_write(store: Store) -> None:
    for read in (store.read, store.read_apart):
        with pytest.raises(DBAPIError):
            await read(put, "sneaked in")
    await store.write(put, "in order")
    assert await store.read(names) == await store.read_apart(names) == ["in order"]


@pytest.mark.parametrize("apart", [False, True])
async def test_a_read_is_one_snapshot(store: Store, apart: bool) -> None:
    loop, read_once, written = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    counts: list[int] = []

    def count(tx: Connection) -> None:
        counts.append(len(names(tx)))

    async def write() -> None:
        await read_once.wait()
        await store.write(put, "meanwhile")
        written.set()

    def report(tx: Connection) -> None:
        count(tx)
        loop.call_soon_threadsafe(read_once.set)
        if store.path is not None and not apart:  # in a thread of its own
            asyncio.run_coroutine_threadsafe(written.wait(), loop).result(10)
        else:
            await_only(written.wait())  # what every statement does inside: the loop goes on
        count(tx)

    await asyncio.gather((store.read_apart if apart else store.read)(report), write())
    assert counts == [0, 0]
    assert await store.read(names) == ["meanwhile"]


FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


async def test_whoever_is_cancelled_leaves_no_statement_running(tmp_path: Path) -> None:
    loop, began, interrupted = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def report(tx: Connection) -> None:
        loop.call_soon_threadsafe(began.set)
        try:
            tx.exec_driver_sql(FOREVER)
        except DBAPIError:
            loop.call_soon_threadsafe(interrupted.set)
            raise

    async with asyncio.timeout(10), open_sqlite(tmp_path) as store:
        await store.write(put, "a")
        reports = [asyncio.create_task(store.read(report)) for _ in range(20)]  # more than there are threads
        await began.wait()
        for task in reports:
            task.cancel()
        await interrupted.wait()
        assert await store.read(names) == ["a"]
        assert await asyncio.gather(*(store.read(names) for _ in range(40))) == [["a"]] * 40


async def test_reads_that_end_oddly_disturb_nobody(tmp_path: Path) -> None:
    def stop(tx: Connection) -> None:
        next(iter(()))

    def leave(tx: Connection) -> None:
        raise SystemExit(3)

    def lose(tx: Connection) -> None:
        tx.exec_driver_sql("ROLLBACK")
        raise Refused

    async with asyncio.timeout(10), open_sqlite(tmp_path) as store:
        outcomes = await asyncio.gather(
            *(store.read(end) for end in (stop, leave, lose)), store.read(names), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [RuntimeError, RuntimeError, Refused, list]
        await store.write(put, "later")
        assert await asyncio.gather(*(store.read(names) for _ in range(9))) == [["later"]] * 9


async def test_many_waiting_writes_share_few_commits(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as store:
        writer = store._writer
        assert writer is not None
        await asyncio.gather(*(store.write(put, f"n{n}") for n in range(500)))
        assert writer.writes == 500
        assert writer.groups < 50  # 2 where nothing else runs; a group also ends after its 10 ms
        assert len(await store.read(names)) == 500


async def test_a_lost_transaction_is_reported_to_everyone_in_it(tmp_path: Path) -> None:
    def lose(tx: Connection) -> None:
        tx.exec_driver_sql("ROLLBACK")  # what SQLite does by itself when the disk is full
        raise Refused

    async with open_sqlite(tmp_path) as store:
        async with busy(store):
            rest = [store.write(put, "a"), store.write(lose), store.write(put, "b"), store.write(put, "c")]
            waiting = asyncio.gather(*rest, return_exceptions=True)
        outcomes = await waiting
        assert [isinstance(outcome, Exception) for outcome in outcomes] == [True, True, False, False]
        assert await store.read(names) == ["b", "c"]  # they waited for the next one
        await store.write(put, "later")
        assert await store.read(names) == ["b", "c", "later"]


async def test_what_somebody_outside_waits_for_goes_first(tmp_path: Path) -> None:
    order: list[str] = []

    def note(_: Connection, name: str) -> None:
        order.append(name)

    async with open_sqlite(tmp_path) as store:
        async with busy(store):
            writes = [store.write(note, "a"), store.write(note, "b"), store.write_first(note, "urgent")]
            waiting = asyncio.gather(*writes)
        await waiting
    assert order == ["urgent", "a", "b"]


async def test_a_store_says_while_many_outside_wait(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as store, asyncio.timeout(10):
        for n in range(20):
            await store.write(put, f"n{n}")
        assert not store.pressed
        await asyncio.gather(*(store.write_first(put, f"m{n}") for n in range(20)))
        assert store.pressed
        while store.pressed:
            await store.read(names)


async def test_what_goes_first_cannot_starve_the_rest(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as store, asyncio.timeout(10):
        stop = asyncio.Event()

        async def flood(n: int) -> None:
            while not stop.is_set():
                await store.write_first(lambda tx: bump(tx, "flood"))

        await store.write(put, "flood")
        async with asyncio.TaskGroup() as group:
            for n in range(20):
                group.create_task(flood(n))
            for n in range(20):
                await store.write(put, f"n{n}")
            stop.set()


async def test_a_full_disk_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    def fill(tx: Connection, n: int) -> None:
        tx.execute(event_count.insert().values(channel="x" * 20_000, kind=str(n), count=n))

    async with open_sqlite(tmp_path) as store:
        pages = await store.write(lambda tx: tx.exec_driver_sql("PRAGMA page_count").scalar_one())
        await store.write(lambda tx: tx.exec_driver_sql(f"PRAGMA max_page_count = {pages + 100}"))
        outcomes = await asyncio.gather(*(store.write(fill, n) for n in range(60)), return_exceptions=True)
        confirmed = {n for n, outcome in enumerate(outcomes) if outcome is None}
        assert len(confirmed) < 60
        kept = await store.read(lambda tx: set(tx.scalars(select(event_count.c.count))))
        assert kept == confirmed
        await store.write(lambda tx: tx.exec_driver_sql(f"PRAGMA max_page_count = {pages + 10_000}"))
        await store.write(fill, 1000)


async def test_a_failing_commit_reaches_all_who_waited(tmp_path: Path) -> None:
    def orphan(tx: Connection) -> None:
        tx.exec_driver_sql("PRAGMA defer_foreign_keys=ON")  # makes the violation show at the commit only
        tx.execute(text("INSERT INTO message_version (message_id, text, at) VALUES (99, '', '2026-01-01')"))

    async with open_sqlite(tmp_path) as store:
        async with busy(store):
            waiting = asyncio.gather(store.write(put, "a"), store.write(orphan), return_exceptions=True)
        outcomes = await waiting
        assert [type(outcome) for outcome in outcomes] == [IntegrityError, IntegrityError]
        assert await store.read(names) == []
        await store.write(put, "later")


async def test_exceptions_a_future_cannot_carry_do_not_stop_the_others(tmp_path: Path) -> None:
    def stop(tx: Connection) -> None:
        next(iter(()))

    def leave(tx: Connection) -> None:
        raise SystemExit(3)

    async with open_sqlite(tmp_path) as store, asyncio.timeout(10):
        outcomes = await asyncio.gather(
            store.write(stop), store.write(leave), store.write(put, "a"), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [RuntimeError, RuntimeError, str]
        assert await store.read(names) == ["a"]


async def test_a_cancelled_writer_disturbs_nobody(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as store:
        async with busy(store):
            second = asyncio.create_task(store.write(put, "second"))
            third = asyncio.create_task(store.write(put, "third"))
            await asyncio.sleep(0)
            second.cancel()
        assert await third == "third"
        with pytest.raises(asyncio.CancelledError):
            await second


async def test_closing_finishes_what_waits(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    store = Store(url)
    await store.open()
    writes = [asyncio.create_task(store.write(put, f"n{n:03}")) for n in range(300)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*writes)) == 300
    with pytest.raises(StoreError):
        await store.write(put, "too late")
    with pytest.raises(StoreError):
        await store.read(names)
    await store.close()
    async with Store(url) as again:
        assert len(await again.read(names)) == 300


async def test_a_write_during_closing_is_done_or_refused_never_forgotten(tmp_path: Path) -> None:
    store = Store(sqlite_url(tmp_path))
    await store.open()
    closing = asyncio.create_task(store.close())
    async with asyncio.timeout(10):
        for n in range(2000):
            try:
                await store.write(put, f"n{n}")
            except StoreError:
                break
    await closing


KILLED = """
import asyncio, sys
from crm_store.db import Store
from crm_store.schema import counter

def put(tx, n):
    tx.execute(counter.insert().values(name=str(n), value=n))
    return n

async def main():
    async with Store(sys.argv[1]) as store:
        async def work(start):
            for n in range(start, 10**9, 8):
                print(await store.write(put, n), flush=True)
        await asyncio.gather(*(work(start) for start in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 40, 333])
def test_what_was_confirmed_survives_kill_9(tmp_path: Path, after: int) -> None:
    url = sqlite_url(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout is not None
    confirmed = {int(process.stdout.readline()) for _ in range(after)}
    process.send_signal(signal.SIGKILL)
    confirmed |= {int(line) for line in process.stdout.read().split(b"\n")[:-1]}
    process.wait()
    process.stdout.close()

    async def look() -> tuple[set[int], str]:
        async with Store(url) as store:
            integrity = await store.read(
                lambda tx: str(tx.exec_driver_sql("PRAGMA integrity_check").scalar())
            )
            return {int(name) for name in await store.read(names)}, integrity

    kept, integrity = asyncio.run(look())
    assert integrity == "ok"
    assert confirmed <= kept
    assert len(kept - confirmed) <= 8  # at most what was under way


async def test_twenty_writers_on_postgresql_lose_no_update() -> None:
    def serializable(tx: Connection, name: str) -> int:
        tx.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        return bump(tx, name)

    async with open_postgres() as store:
        await store.write(put, "tickets")

        async def work() -> None:
            for _ in range(5):
                await store.write(serializable, "tickets")

        await asyncio.gather(*(work() for _ in range(20)))
        assert await store.read(lambda tx: tx.execute(select(counter.c.value)).scalar_one()) == 100


async def test_a_function_may_ask_to_be_repeated_on_postgresql() -> None:
    calls = iter(range(9))

    def meet(tx: Connection) -> int:
        if (call := next(calls)) < 3:
            raise Conflict
        return call

    async with open_postgres() as store:
        assert await store.write(meet) == 3


async def test_a_restarted_postgresql_costs_no_write() -> None:
    async with open_postgres() as store:
        await asyncio.gather(*(store.write(put, f"n{n}") for n in range(10)))
        others = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert await store.write(lambda tx: tx.exec_driver_sql(others).scalar_one()) > 0
        await asyncio.gather(*(store.write(put, f"m{n}") for n in range(10)))


async def test_two_who_insert_the_same_key_meet_and_one_finds_the_other() -> None:
    def find_or_put(tx: Connection, name: str) -> str:
        if tx.execute(select(counter.c.value).where(counter.c.name == name)).first() is None:
            put(tx, name)
            return "made"
        return "found"

    async with open_postgres() as store:
        outcomes = await asyncio.gather(*(store.write(find_or_put, "same") for _ in range(20)))
        assert sorted(outcomes) == ["found"] * 19 + ["made"]


async def test_times_come_from_the_clock_that_was_given(tmp_path: Path) -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    async with open_sqlite(tmp_path, clock=lambda: moment) as store:
        assert await store.write(store.now) == moment
    async with open_postgres() as store:
        assert abs((await store.write(store.now) - datetime.now(UTC)).total_seconds()) < 5


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://localhost/x", "mysql is not supported"),
        ("what is this", "not a database URL"),
        ("oracle+nonsense://x", "not"),
    ],
)
def test_a_url_that_cannot_be_is_a_sentence(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says):
        parse_url(url)


async def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is a letter, not a database\n" * 200)
    with pytest.raises(StoreError, match="cannot be opened"):
        await Store(f"sqlite:///{tmp_path}/store.db").open()


async def test_a_directory_that_may_not_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        await Store(f"sqlite:///{tmp_path}/file/store.db").open()


async def test_nobody_at_the_far_end_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        await Store(f"postgresql://clerk:hush@/desk?host={tmp_path}").open()
    assert "hush" not in str(caught.value)
