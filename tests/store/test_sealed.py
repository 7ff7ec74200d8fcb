"""With a key contact data is nowhere in the store in plain, and everything is found, kept and told as without."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, String, select, text
from sqlalchemy.types import JSON

from crm_store import backup, importer, keyring, rekey, schema, sealing, segments
from crm_store.db import Store, StoreError
from crm_store.importing.values import Defaults
from crm_store.privacy import held
from crm_store.search import find_contacts, indexing
from crm_store.search import text as fulltext
from tests import postgres
from tests.store import test_erase as canaries
from tests.store import test_merges, test_quality
from tests.stores import open_sqlite, sqlite_url

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
KEY, OTHER = sealing.new_key(), sealing.new_key()
ENGINES = ["sqlite", "postgresql"]

# What is not sealed, by table: numbers of ours, ids and states of platforms, kinds and words of ours, and what
# was bought. Who comes here with a new column says why it may be read by a thief of the file.
CLEAR = {
    "contact": "language timezone country tags source",
    "identity": "space verified_how",
    "contact_mark": "field how",
    "conversation": "key channel thread_id language",
    "message": "kind channel author_kind album staff_channel staff_event_id",
    "thread_ref": "channel",
    "attachment": "content_type kind content_id sha256 channel",
    "blob": "sha256",
    "ticket": "kind status priority channel",
    "thread": "channel room_id thread_id card_event_id",
    "expectation": "kind",
    "audit": "action outcome",
    "inbox": "channel state",
    "outbox": "channel thread_id op purpose state",
    "journal": "channel room key",
    "cursor": "channel value",
    "event_count": "channel kind",
    "webhook_event": "key url lane type state error",
    "api_request": "key digest",
    "confirmation": "digest command",
    "customer_order": "number status currency tracking",
    "order_line": "sku name",
    "customer_event": "kind key source",
    "deal": "stage currency key source",
    "deal_product": "sku name",
    "deal_stage": "stage actor",
    "contact_note": "author",
    "consent": "purpose state actor",
    "merge": "actor how marks undone_by",
    "merge_row": "kind",
    "suggestion": "state decided_by",
    "import_change": "changed",
    "erasure": "uid actor state counts",
}


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
        return
    with postgres.database() as made:
        yield made


def plainly(tx: Connection) -> str:
    """Everything that PostgreSQL stores, as it is stored, the search index too."""
    there = MetaData()
    there.reflect(tx)
    return "\n".join(repr(tuple(row)) for table in there.sorted_tables for row in tx.execute(select(table)))


async def stored(store: Store) -> bytes:
    """The same, of SQLite the bytes of its files."""
    if store.path is None:
        return (await store.read(plainly)).encode()
    files = await asyncio.to_thread(lambda: sorted(store.path.parent.iterdir()))  # type: ignore[union-attr]
    return b"".join([await asyncio.to_thread(file.read_bytes) for file in files])


def test_what_is_held_on_people_is_sealed_or_said_not_to_be() -> None:
    sealed = keyring.sealed_columns()
    for table, _ in held.tables():
        words = {c.name for c in table.columns if isinstance(c.type, String | JSON)}
        shut = {c.name for c in sealed.get(table, ())}
        assert words - shut == set(CLEAR.get(table.name, "").split()) - shut, table.name


def test_what_is_sealed_opens_to_itself_in_its_own_column_and_with_its_key_only() -> None:
    seal, other = sealing.Seal(KEY), sealing.Seal(OTHER)
    for column in (c for columns in keyring.sealed_columns().values() for c in columns):
        for value in ("s1:x", "Zoë 张三", "a" * 3000, "\x00"):
            told: Any = value
            if isinstance(column.type, schema.SealedJson):
                told = {"name": [value, None, 1.5]}
            elif isinstance(column.type, schema.SealedBytes):
                told = value.encode()
            shut = column.type.shut(seal, told)
            assert shut != told
            assert column.type.open(seal, shut) == told
            for kind, key in ((column.type, other), (type(column.type)("another"), seal)):
                with pytest.raises(sealing.BadKey):
                    kind.open(key, shut)


async def test_nothing_that_is_sealed_stands_in_the_store_or_its_backup(url: str, tmp_path: Path) -> None:
    async with Store(url, key=KEY) as store:
        await canaries.desk(store)
        raw = await stored(store)
    said = await told(url, KEY)
    copy = tmp_path / "copy.db"
    await asyncio.to_thread(backup.backup, url, copy)
    raw += await asyncio.to_thread(copy.read_bytes)
    twice = {
        ("message", "text"),
        ("identity", "user_id"),
    }  # columns that are clear repeat these in the test's rows
    for table, columns in keyring.sealed_columns().items():
        if isinstance(held.HELD[table.name], held.Nobody) or table.name in ("audit", "journal"):
            continue
        for column in columns:
            word = canaries.canary(1, table.name, column.name)
            if (table.name, column.name) not in twice and word in repr(said):
                assert canaries.traces(raw, word) == [], f"{table.name}.{column.name}"
    assert canaries.traces(raw, canaries.canary(1, "customer_order", "number"))  # it would have been seen
    again = f"sqlite:///{tmp_path}/again/wellheard.db"
    await asyncio.to_thread(backup.restore, again, copy)
    with pytest.raises(StoreError, match="is sealed"):
        await Store(again).open()
    assert await told(again, KEY) == sorted(cell for cell in said if cell[0] != "lease")


async def test_a_store_opens_with_its_key_alone(url: str) -> None:
    async with Store(url, key=KEY):
        pass
    for key, said in (("", "is sealed"), (OTHER, "not the key"), ("short", "is not a key")):
        with pytest.raises(StoreError, match=said):
            await Store(url, key=key).open()


async def test_sealing_and_opening_a_store_changes_nothing_that_is_told(url: str) -> None:
    async with Store(url) as store:
        await canaries.desk(store, 3)
        note = {"contact_id": 1, "author": "Mei", "text": "s1:looks sealed", "created_at": NOW}
        await store.write(lambda tx: tx.execute(schema.contact_note.insert().values(**note)))
        before = await store.read(canaries.cells)
    with pytest.raises(StoreError, match="not sealed yet"):
        await Store(url, key=KEY).open()
    first, second = sealing.Seal(KEY), sealing.Seal(OTHER)
    with interrupted(), pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(rekey.convert, url, None, first)
    for key in ("", KEY):
        with pytest.raises(StoreError, match="cut off"):
            await Store(url, key=key).open()
    await asyncio.to_thread(rekey.convert, url, None, first)
    assert await told(url, KEY) == sorted(before)
    await asyncio.to_thread(rekey.convert, url, first, second)
    assert await told(url, OTHER) == sorted(before)
    with interrupted(), pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(rekey.convert, url, second, None)
    await asyncio.to_thread(rekey.convert, url, second, None)
    assert await told(url, "") == sorted(before)


@pytest.mark.parametrize(
    "claim",
    [
        test_merges.test_a_merge_undone_was_never,
        test_merges.test_what_came_since_stays_with_the_one_by_whose_account_it_came,
        canaries.test_nothing_of_the_erased_is_left_in_any_table_and_everything_of_others,
    ],
)
async def test_what_holds_of_an_open_store_holds_of_a_sealed_one(
    tmp_path: Path, claim: Callable[[Store], Awaitable[None]]
) -> None:
    async with open_sqlite(tmp_path, key=KEY) as store:
        await claim(store)


async def test_the_quality_of_sealed_data_is_measured(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path, key=KEY) as store:
        await test_quality.test_anomalies_are_counted_by_field_and_source(store, tmp_path)


async def test_a_store_in_use_is_not_sealed(url: str) -> None:
    async with Store(url):
        with pytest.raises(StoreError, match="in use"):
            await asyncio.to_thread(rekey.convert, url, None, sealing.Seal(KEY))


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
    """After some tables the machine stops."""
    rewrite = rekey._rewrite

    def stop(*arguments: Any) -> int:
        if arguments[1].name == "message_version":
            raise KeyboardInterrupt
        return rewrite(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rekey, "_rewrite", stop)
        yield


async def told(url: str, key: str) -> list[tuple[str, str]]:
    async with Store(url, key=key) as store:
        found = await store.read(canaries.cells)
    return sorted(cell for cell in found if not (cell[0] == "meta" and f"'{keyring.NAME}'" in cell[1]))


PEOPLE = """name,email,phone,city,company,Favourite
John Smith,john.smith@zqcanary.example,+4915112345678,Zqberlin,Zqacme Ltd,zqvalue
Johanna Schmidt,js@zqcanary.example,+4915187654321,Hamburg,,
张三丰,zsf@zqcanary.example,+8613912345678,上海,,
"""


@pytest.fixture
async def shop(url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """Three customers under a key, in the index."""
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE, "utf-8")
    async with Store(url, key=KEY) as store:
        await importer.run(store, "customers", file, Defaults(), NOW)
        await indexing.catch_up(store)
        yield store


async def test_customers_are_found_under_a_key_as_without(shop: Store, tmp_path: Path) -> None:
    wanted = {
        "john smith": 1, "jonh smtih": 1, "joh smi": 1, "johanna": 2, "john.smith@zqcanary.example": 1,
        "0151 87654321": 2, "4321": 2, "张三丰": 3, "zhangsanfeng": 3, "zsf": 3, "三丰": 3, "章三丰": 3,
        "zqacme": 1,
    }  # fmt: skip
    first = {}
    for asked in wanted:
        hits = await shop.read(find_contacts, asked)
        first[asked] = hits[0].contact_id if hits else None
    assert first == wanted
    assert await shop.read(find_contacts, "0151 99999999") == []
    for asked, ids in (
        ("city:zqber", [1]), ("email:zqcanary", [1, 2, 3]), ("phone:8765", [2]), ("name=张三丰", [3]),
        ("field.Favourite:ZQVALUE", [1]), ("-company:zqacme", [2, 3]),
    ):  # fmt: skip
        assert await shop.read(segments.select_ids, segments.parse(asked), NOW) == ids, asked
    again = await importer.run(shop, "customers", tmp_path / "people.csv", Defaults(), NOW)
    assert (again.new, again.updated, again.unchanged) == (0, 0, 3)
    raw = await stored(shop)
    for word in (
        "zqcanary",
        "Zqberlin",
        "Zqacme",
        "zqvalue",
        "John Smith",
        "Johanna",
        "15112345678",
        "张三丰",
    ):
        assert canaries.traces(raw, word) == [], word
    await shop.write(lambda tx: tx.execute(text("UPDATE search_state SET value = 2 WHERE name = 'format'")))
    assert await indexing.catch_up(shop) >= 3  # an index without a key, or of another one, is none
    assert [hit.contact_id for hit in await shop.read(find_contacts, "zhangsanfeng")] == [3]


async def test_what_was_said_is_found_under_a_key_as_without(shop: Store) -> None:
    def talk(tx: Connection) -> None:
        for n, said in enumerate(["Where is my zqparcel, please?", "我的包裹在哪里"], 1):
            row: dict[str, Any] = {
                "conversation_id": n, "seq": 1, "kind": "in", "channel": "web", "author_kind": "customer",
                "author": "Zqjohn", "text": said, "recipients": [], "warnings": [], "sent_at": NOW,
                "created_at": NOW,
            }  # fmt: skip
            tx.execute(
                schema.conversation.insert().values(
                    id=n,
                    key=f"c{n}",
                    channel="web",
                    room_id=f"v:{n}",
                    contact_id=n,
                    language="en",
                    created_at=NOW,
                )
            )
            tx.execute(schema.message.insert().values(**row))

    await shop.write(talk)
    for behind in (True, False):
        for asked, count in (
            ("zqparcel", 1), ("zqpar", 1), ("parcel", 0), ('"my zqparcel"', 1), ("包裹", 1), ("包", 1),
            ("from:zqjo", 2),
        ):  # fmt: skip
            found = await shop.read(fulltext.search, fulltext.parse(asked), NOW)
            assert len(found) == count, (behind, asked)
        await indexing.catch_up(shop)
    assert canaries.traces(await stored(shop), "zqparcel") == []
