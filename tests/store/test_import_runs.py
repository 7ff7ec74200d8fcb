"""An import goes on where it was cut off, and undoing it leaves nothing of it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, update

from crm_store import contacts, conversations, importer, schema
from crm_store.db import Store
from crm_store.importer import Defaults, Report
from crm_store.importing import runs
from crm_store.importing.columns import Kind
from crm_store.importing.undo import Undone, Unknown, undo
from crm_store.search import find_contacts, indexing
from tests.stores import open_sqlite

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 5, 2, 12, tzinfo=UTC)
MUCH_LATER = datetime(2026, 5, 3, 12, tzinfo=UTC)
DEFAULTS = Defaults(language="en", currency="EUR", region="DE")

BEFORE = (
    "ref,name,email,phone,city,tags,level\n"
    "K1,Anna,anna@example.com,+49301111111,Rome,x,1\n"
    "K2,Bo,bo@example.com,,,,\n"
    ",Cleo,,+8613800138000,,,\n"
)
AFTER = (
    "ref,name,email,phone,city,tags,level,shoes\n"
    "K1,Anna B.,anna2@example.com,,Oslo,y,2,39\n"
    "K2,Bo,bo@example.com,+49302222222,,,,\n"
    "K9,Dora,dora@gmial.com,+49303333333,Bonn,,,\n"
    ",,eva.braun@example.com,,,,,\n"
    "K9,,,+49304444444,,,,\n"
)
ORDERS = (
    "number,date,amount,email,product,quantity\nA-1,2026-01-02,10,anna@example.com,tea,2\n"
    "A-2,2026-01-02,10,new@example.com,cup,1\n"
)


async def bring(
    store: Store, kind: Kind, directory: Path, text: str, now: datetime = NOW, **kw: Any
) -> Report:
    path = directory / f"{kind}.txt"
    path.write_text(text)
    return await importer.run(store, kind, path, DEFAULTS, now, **kw)


def everything(tx: Connection) -> dict[str, list[str]]:
    """All rows of all tables but those in which imports note what they did."""
    return {
        table.name: [str(row) for row in tx.execute(select(table).order_by(*table.primary_key))]
        for table in schema.metadata.tables.values()
        if not table.name.startswith("import_")
    }


def table_rows(tx: Connection, table: Any) -> list[Any]:
    return list(tx.execute(select(table).order_by(*table.primary_key)))


def why(done: Undone) -> list[tuple[str, str, str]]:
    return [(one.name, one.why, one.what) for one in done.kept]


async def test_undoing_an_import_leaves_everything_as_it_was(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, BEFORE)
    await bring(store, "orders", tmp_path, ORDERS.split("A-2")[0])
    said = [{"key": "k", "title": "T", "body": "B", "phrasings": []}]
    await bring(store, "articles", tmp_path, json.dumps(said))
    await indexing.catch_up(store)
    before = await store.read(everything)
    files: list[tuple[Kind, str]] = [
        ("customers", AFTER),
        ("orders", ORDERS.replace(",10,anna", ",12.50,anna").replace("tea,2", "tea,3")),
        ("articles", json.dumps([{**said[0], "title": "U"}, {**said[0], "key": "l"}])),
    ]
    ids = []
    for kind, text in files:
        report = await bring(store, kind, tmp_path, text, LATER)
        assert report.new
        assert report.updated
        ids.append(report.run_id)
    await indexing.catch_up(store)
    assert [hit.why for hit in await store.read(find_contacts, "Dora")] == ["exact"]
    assert await store.read(everything) != before
    for number in reversed(ids):
        done = await undo(store, number, MUCH_LATER)
        assert done.kept == []
        assert done.removed
        assert done.restored
    assert await store.read(everything) == before
    await indexing.catch_up(store)
    assert await store.read(find_contacts, "Dora") == []
    assert await store.read(find_contacts, "3333333") == []
    assert [hit.contact_id for hit in await store.read(find_contacts, "Anna")] == [1]
    assert await store.read(table_rows, schema.import_change) == []
    with pytest.raises(Unknown):
        await undo(store, ids[0], MUCH_LATER)


async def test_who_comes_after_an_undone_import_is_found(store: Store, tmp_path: Path) -> None:
    report = await bring(store, "customers", tmp_path, BEFORE)
    await indexing.catch_up(store)
    await undo(store, report.run_id, LATER)
    await bring(store, "customers", tmp_path, "name,phone\nZoe,+49309999999\n", LATER)
    await indexing.catch_up(store)
    assert [hit.why for hit in await store.read(find_contacts, "Zoe")] == ["exact"]
    assert [hit.why for hit in await store.read(find_contacts, "9999999")] == ["phone"]
    assert await store.read(find_contacts, "Anna") == []


async def test_what_somebody_changed_since_is_kept_and_named(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, BEFORE)
    report = await bring(store, "customers", tmp_path, AFTER, LATER)
    anna, dora = 1, 4

    def meanwhile(tx: Connection) -> None:
        contacts.set_values(tx, MUCH_LATER, anna, city="Paris")
        conversations.open_at(
            tx, MUCH_LATER, channel="web", room_id="r", thread_id="", contact_id=dora, language="en"
        )

    await store.write(meanwhile)
    done = await undo(store, report.run_id, MUCH_LATER)
    assert why(done) == [("Anna B.", "changed", "city"), ("Dora", "used", "")]
    people = await store.read(table_rows, schema.contact)
    assert [(row.name, row.city) for row in people] == [
        *(("Anna", "Paris"), ("Bo", ""), ("Cleo", ""), ("Dora", "Bonn"))
    ]
    assert (people[0].tags, people[0].fields) == (["x"], {"level": "1"})


async def test_an_address_that_was_proved_since_stays(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, BEFORE)
    report = await bring(store, "customers", tmp_path, AFTER, LATER)
    held = schema.identity
    proved = update(held).where(held.c.user_id.in_(["anna2@example.com", "dora@gmail.com"]))
    await store.write(
        lambda tx: tx.execute(proved.values(verified_at=MUCH_LATER, verified_how="code")) and None
    )
    done = await undo(store, report.run_id, MUCH_LATER)
    assert why(done) == [("Anna B.", "verified", "email"), ("Dora", "verified", "")]


async def test_an_import_of_the_same_file_is_said_to_be_one(store: Store, tmp_path: Path) -> None:
    first = await bring(store, "customers", tmp_path, AFTER)
    again = await bring(store, "customers", tmp_path, AFTER, LATER)
    assert (again.new, again.updated, again.seen_before) == (0, 0, first.run_id)
    listed = await store.read(runs.listing)
    assert [(row.id, row.counts["new"], row.position) for row in listed] == [
        *((again.run_id, 0, 5), (first.run_id, 4, 5))
    ]


async def test_a_dry_run_leaves_no_record(store: Store, tmp_path: Path) -> None:
    before = await store.read(everything)
    report = await bring(store, "customers", tmp_path, AFTER, dry_run=True)
    assert (report.new, report.run_id) == (4, 0)
    assert await store.read(everything) == before
    assert await store.read(runs.listing) == []


class Cut(Exception):
    pass


def many(count: int) -> str:
    rows = [f"C{n},c{n}@example.com,{n % 7}\n" for n in range(count)]
    rows[-1] = "C5 again,c5@example.com,9\n"  # far from its first row
    return "name,email,level\n" + "".join(rows)


async def test_an_import_that_was_cut_off_goes_on(store: Store, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(importer, "BATCH", 50)

    def stop(done: int) -> None:
        if done == 150:
            raise Cut

    text = many(300)
    with pytest.raises(Cut):
        await bring(store, "customers", tmp_path, text, progress=stop)
    [cut] = await store.read(runs.listing)
    assert (cut.position, cut.finished_at) == (150, None)
    done: list[int] = []
    report = await bring(store, "customers", tmp_path, text, LATER, progress=done.append)
    assert (report.run_id, report.resumed, done) == (cut.id, 150, [200, 250, 300])
    assert (report.new, report.updated, report.unchanged) == (299, 0, 1)
    assert [(one.line, one.of_line) for one in report.duplicates] == [(301, 7)]
    people = await store.read(table_rows, schema.contact)
    assert len(people) == 299
    assert (people[5].name, people[5].fields) == ("C5", {"level": "5"})
    undone = await undo(store, report.run_id, LATER)
    assert (undone.removed, await store.read(table_rows, schema.contact)) == (299, [])


KILLED = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from crm_store import importer
from crm_store.db import Store

async def main() -> None:
    async with Store(sys.argv[1]) as store:
        importer.BATCH = 50
        now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        defaults = importer.Defaults(language="en", currency="EUR", region="DE")
        path = Path(sys.argv[2])
        await importer.run(store, "customers", path, defaults, now, progress=lambda n: print(n, flush=True))

asyncio.run(main())
"""


async def test_a_killed_import_ends_as_one_that_was_not(tmp_path: Path) -> None:
    text = many(2000)
    async with open_sqlite(tmp_path / "whole") as store:
        await bring(store, "customers", tmp_path, text)
        whole = await store.read(everything)
    async with open_sqlite(tmp_path / "killed") as store:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", KILLED, str(store.url), str(tmp_path / "customers.txt")),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async for _ in process.stdout:
            process.kill()
            break
        await process.wait()
        [cut] = await store.read(runs.listing)
        assert 0 < cut.position < 2000
        report = await bring(store, "customers", tmp_path, text, LATER)
        assert report.resumed == cut.position
        assert report.new == 1999
        assert await store.read(everything) == whole


async def test_two_processes_do_not_import_one_file_at_once(
    store: Store, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(importer, "BATCH", 20)
    text = many(200)
    path = tmp_path / "customers.txt"
    path.write_text(text)
    results = await asyncio.gather(
        *(importer.run(store, "customers", path, DEFAULTS, NOW) for _ in range(2)), return_exceptions=True
    )
    assert any(isinstance(one, importer.Busy | Report) for one in results)
    again = await bring(store, "customers", tmp_path, text, LATER)
    assert len(await store.read(table_rows, schema.contact)) == 199
    assert again.new in (0, 199) or again.resumed


WORDS = st.text(alphabet="aZ9 ,;\"'=\n张伟１Ａ@.+\x00\t\ufeff", max_size=8)
CELLS = st.one_of(
    WORDS,
    st.sampled_from(
        [
            *("a@x.org", "b@gmial.com", "b@gmail.com", "anna.smith@x.de", "ｃ@x.org", "nonsense"),
            *("+49301111111", "030 1111111", "138 0013 8000", "１３８００１３８０００", "12", "2026年3月4日"),
            *("K1", "K2", "46000", "¥12", "CN", "中国", "x;y", ""),
        ]
    ),
)
HEADERS = st.lists(
    st.sampled_from(["name", "邮箱", "phone", "客户编号", "city", "tags", "国家", "level", "telegram", ""]),
    min_size=1,
    max_size=7,
    unique=True,
)


@st.composite
def rubbish(draw: st.DrawFn) -> str:
    header = draw(HEADERS)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    for _ in range(draw(st.integers(0, 8))):
        writer.writerow([draw(CELLS) for _ in range(draw(st.integers(1, len(header) + 1)))])
    return out.getvalue()


@given(first=rubbish(), second=rubbish())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_file_twice_is_once_and_undone_is_never(first: str, second: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with open_sqlite(directory) as store:
            await bring(store, "customers", directory, first)
            before = await store.read(everything)
            report = await bring(store, "customers", directory, second, LATER)
            after = await store.read(everything)
            again = await bring(store, "customers", directory, second, MUCH_LATER)
            assert await store.read(everything) == after
            assert (again.new, again.updated) == (0, 0)
            done = await undo(store, again.run_id, MUCH_LATER)
            assert (done.removed, done.restored, await store.read(everything)) == (0, 0, after)
            assert (await undo(store, report.run_id, MUCH_LATER)).kept == []
            assert await store.read(everything) == before


async def test_who_was_merged_since_is_kept(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, BEFORE)
    report = await bring(store, "customers", tmp_path, "name,email\nAnna,a.other@example.com\n", LATER)
    merged = update(schema.contact).where(schema.contact.c.id == 4).values(merged_into_id=1)
    await store.write(lambda tx: tx.execute(merged) and None)
    done = await undo(store, report.run_id, MUCH_LATER)
    assert (done.removed, why(done)) == (0, [("Anna", "used", "")])
