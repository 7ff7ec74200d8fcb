"""Customers are found however their name is remembered; words are found wherever they were written."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from crm_store import articles, contacts, conversations, files, importer, schema, tickets
from crm_store.conversations import NewMessage
from crm_store.db import Store, sqlite_engine
from crm_store.importing.rows import CustomerRow
from crm_store.rows import insert_id
from crm_store.search import find_contacts, fold, indexing, naming, pinyin, tables, tokens
from crm_store.search import text as full_text
from crm_store.search.syntax import QueryError, moment
from tests.stores import sqlite_url

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
PEOPLE = [
    "张三", "张三丰", "章叁", "李四", "王伟", "汪伟", "曾单", "欧阳修", "陳大文", "赵丽娟", "刘国强", "孙国强华",
    "John Smith", "Jon Smithers", "Mary-Ann O'Brien", "Maria Müller", "Marie Muller", "Zoë Đorđević", "Łukasz Kowalski",
    "Christopher Robinson", "김민수", "Иван Петров", "Wei Zhang", "李Wei", "山田 太郎",
]  # fmt: skip


def add(tx: Connection, name: str, **identities: str) -> int:
    number = contacts.create(tx, NOW, name=name)
    for space, user_id in identities.items():
        handle = "" if space != "telegram" else "LiWei88"
        contacts.add_identity(tx, NOW, number, space=space, user_id=user_id, handle=handle)
    return number


def fill(tx: Connection) -> None:
    for name in PEOPLE:
        add(tx, name)


async def found(store: Store, query: str, limit: int = 8) -> list[str]:
    def names(tx: Connection) -> list[str]:
        return [contacts.get(tx, hit.contact_id).name for hit in find_contacts(tx, query, limit)]

    return await store.read(names)


@pytest.fixture(params=["behind", "indexed"])
async def people(request: pytest.FixtureRequest, store: Store) -> Store:
    """The same is found before the index has read it and after."""
    await store.write(fill)
    if request.param == "indexed":
        await indexing.catch_up(store)
    return store


REMEMBERED = [
    ("张三", "张三"),
    ("john smith", "John Smith"),
    ("SMITH, John", "John Smith"),
    ("ｊｏｈｎ　ｓｍｉｔｈ", "John Smith"),
    ("jonh smtih", "John Smith"),
    ("johnsmith", "John Smith"),
    ("joh smi", "John Smith"),
    ("Jo hn Smith", "John Smith"),
    ("christofer robinsn", "Christopher Robinson"),
    ("maryann obrien", "Mary-Ann O'Brien"),
    ("maria muller", "Maria Müller"),
    ("zoe dordevic", "Zoë Đorđević"),
    ("lukasz", "Łukasz Kowalski"),
    ("zhangsan", "张三"),
    ("zhang san", "张三"),
    ("zs", "张三"),
    ("zhangsanfeng", "张三丰"),
    ("Sanfeng Zhang", "张三丰"),
    ("zsf", "张三丰"),
    ("zhangsf", "张三丰"),
    ("zangsan", "张三"),
    ("zengshan", "曾单"),
    ("ouyangxiu", "欧阳修"),
    ("oyx", "欧阳修"),
    ("章三", "张三"),
    ("張三豐", "张三丰"),
    ("陈大文", "陳大文"),
    ("三丰", "张三丰"),
    ("国强", "刘国强"),
    ("强国刘", "刘国强"),
    ("张山丰", "张三丰"),
    ("刘国墙", "刘国强"),
    ("张三丰先生", "张三丰"),
    ("김민", "김민수"),
    ("петров иван", "Иван Петров"),
    ("ПЕТРОВ", "Иван Петров"),
    ("山田太郎", "山田 太郎"),
    ("李wei", "李Wei"),
]


async def test_a_name_is_found_however_it_is_remembered(people: Store) -> None:
    for query, name in REMEMBERED:
        assert name in (await found(people, query))[:5], query


async def test_whose_whole_name_it_is_comes_first(people: Store) -> None:
    for query, first in [("张三", "张三"), ("王伟", "王伟"), ("wei zhang", "Wei Zhang")]:
        assert (await found(people, query))[0] == first


async def test_what_fits_nobody_finds_nobody(people: Store) -> None:
    for query in ("qqqqqq wwwwww", "饕餮", "", "   ", "!!!", "\x00", "' OR 1=1 --", '"*', "@", "#", "%_%"):
        assert await found(people, query) == []


@pytest.mark.parametrize("indexed", [False, True])
async def test_numbers_and_addresses_find_exactly_theirs(store: Store, indexed: bool) -> None:
    def fill(tx: Connection) -> int:
        number = add(tx, "Li Wei", email="li.wei@shop.example", phone="+8613800138000", telegram="7700")
        add(tx, "Li Wei", email="li.wei@other.example", phone="+8613900139000")
        tx.execute(
            schema.order.insert().values(
                number="A-1001", contact_id=number, ordered_at=NOW, status="paid",
                amount_minor=1, currency="CNY", updated_at=NOW,
            )
        )  # fmt: skip
        return number

    number = await store.write(fill)
    if indexed:
        await indexing.catch_up(store)
    for query, why in [
        ("Li.Wei@Shop.example", "email"),
        ("+8613800138000", "phone"),
        ("+86 138 0013 8000", "phone"),
        ("138-0013-8000", "phone"),
        ("013800138000", "phone"),
        ("0138000", "phone"),
        ("8000", "phone"),
        ("7700", "identity"),
        ("@liwei88", "handle"),
        ("a-1001", "order"),
        ("#A-1001", "order"),
        (f"#{number}", "id"),
    ]:
        hits = await store.read(find_contacts, query)
        assert [(hit.contact_id, hit.why) for hit in hits] == [(number, why)], query


async def test_a_new_name_is_found_and_the_old_one_forgotten(store: Store) -> None:
    def meet(tx: Connection, name: str) -> None:
        contacts.meet(
            tx, NOW, space="telegram", user_id="5", name=name, handle="old_handle" if not name else ""
        )

    await store.write(meet, "")
    await indexing.catch_up(store)
    await store.write(meet, "Rosalind Franklin")
    assert await found(store, "rosalind franclin") == ["Rosalind Franklin"]
    await indexing.catch_up(store)
    assert await found(store, "rosalind franclin") == ["Rosalind Franklin"]


async def test_an_import_that_renames_is_found_by_the_new_name(store: Store) -> None:
    def row(name: str) -> CustomerRow:
        return CustomerRow(1, (("email", "x@y.example"),), name=name)

    await store.write(importer.write, [row("Aloysius Pepper")], importer.Seen(), NOW)
    await indexing.catch_up(store)
    await store.write(importer.write, [row("Barnaby Salt")], importer.Seen(), NOW)
    await indexing.catch_up(store)
    assert await found(store, "barnaby") == ["Barnaby Salt"]
    known = await store.read(naming.named, ["barnaby salt"])
    assert list(known) == ["barnaby salt"]


async def test_thousands_of_one_name_do_not_hide_the_others(store: Store) -> None:
    def fill(tx: Connection) -> None:
        for _ in range(60):
            add(tx, "Michael Smith")
        add(tx, "Michaela Smythe")
        add(tx, "Micheal Smith")

    await store.write(fill)
    await indexing.catch_up(store)
    assert await found(store, "Michael Smith") == ["Michael Smith"] * 8
    assert (await found(store, "Micheal Smith"))[0] == "Micheal Smith"
    assert "Michaela Smythe" in await found(store, "Michaela Smyth")


@pytest.mark.parametrize("name", ["a " * 200, "张 " * 150, "x" * 500, "' " * 200, "\u200b", "a" * 199 + " b"])
async def test_a_name_of_any_shape_hinders_no_search(store: Store, name: str) -> None:
    await store.write(add, name)
    await store.write(add, "Ada Lovelace")
    for _ in range(2):
        for query in ("ada lovelcae", "lovelace", "a", "张", "xx", name[:40]):
            await found(store, query)
        assert await found(store, "ada lovelcae") == ["Ada Lovelace"]
        await indexing.catch_up(store)


async def test_a_whole_name_is_found_while_thousands_wait_to_be_indexed(store: Store) -> None:
    def fill(tx: Connection) -> None:
        add(tx, "Anna Żółw")
        add(tx, "欧阳修")
        for number in range(1100):
            add(tx, f"Waiting{number:x} Person{number:x}")

    await store.write(fill)
    assert (await found(store, "anna Żółw"))[0] == "Anna Żółw"
    assert (await found(store, "欧阳修"))[0] == "欧阳修"


async def test_an_index_of_another_make_is_built_anew(people: Store) -> None:
    await indexing.catch_up(people)
    await people.write(
        lambda tx: tx.execute(text("UPDATE search_state SET value = -1 WHERE name = 'format'"))
    )
    told: list[int] = []
    assert await indexing.catch_up(people, progress=told.append) == len(PEOPLE) == told[-1]
    assert await found(people, "zhangsanfeng") == ["张三丰"]


async def test_words_and_names_nobody_bears_leave_the_index(people: Store) -> None:
    await indexing.catch_up(people)

    def forget(tx: Connection) -> None:
        for number in range(1, len(PEOPLE) + 1):
            indexing.forget_contact(tx, number)
            tx.execute(schema.contact.delete().where(schema.contact.c.id == number))

    await people.write(forget)
    for table in ("search_name", "search_word", "search_due", "search_phone"):
        count = await people.read(lambda tx, t=table: tx.execute(text(f"SELECT count(*) FROM {t}")).scalar())
        assert count == 0, table
    await people.write(lambda tx: add(tx, "Next One"))
    await indexing.catch_up(people)
    assert await found(people, "next one") == ["Next One"]


async def test_nothing_of_what_was_erased_stays_in_the_file(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    async with Store(url) as store:
        await store.write(lambda tx: add(tx, "Xylocanary Quibbleton", telegram="9"))
        await store.write(write_message, 1, "the wordcanaryzz was written", "xysubject")
        for name in PEOPLE:
            await store.write(add, name)
            await indexing.catch_up(store)

        def erase(tx: Connection) -> None:
            indexing.forget_contact(tx, 1)
            for table in (schema.message, schema.conversation, schema.identity, schema.contact):
                tx.execute(table.delete())

        await store.write(erase)
        while not await store.write(tables.scrub, pages=5):
            pass
        assert store.path is not None
        path = store.path
    engine = sqlite_engine(store.url)
    with engine.connect() as connection:
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    content = path.read_bytes().lower()
    for canary in (b"xylocanary", b"quibbleton", b"wordcanary", b"xysubject", b"liwei88", b"ylocanary"):
        assert canary not in content, canary


# --- full text ----------------------------------------------------------------------------------------


def write_message(tx: Connection, contact_id: int, said: str, subject: str = "", **values: Any) -> int:
    values = {"kind": "in", "author_kind": "customer", "author": "Li Wei", "channel": "support", **values}
    conversation = conversations.open_at(
        tx, NOW, channel=values["channel"], room_id=f"r{contact_id}", thread_id="", contact_id=contact_id,
        language="en",
    )  # fmt: skip
    at = values.pop("at", NOW)
    number = conversations.add(
        tx, at, conversation.id, NewMessage(text=said, subject=subject, sent_at=at, **values)
    )
    assert number is not None
    return number


def fill_messages(tx: Connection) -> None:
    li, chen = add(tx, "Li Wei", email="li@acme.example"), add(tx, "陈大文")
    tx.execute(schema.contact.update().where(schema.contact.c.id == li).values(tags=["VIP", "Berlin"]))
    write_message(tx, li, "I want a refund for my broken lamp", "Refund please")
    write_message(tx, li, "We refunded you two weeks ago", kind="out", author_kind="staff", author="Anna")
    write_message(tx, chen, "我要申请退款，灯坏了", author="陈大文", channel="telegram")
    write_message(tx, chen, "訂單還沒到", author="陈大文", channel="telegram", at=NOW - timedelta(days=40))
    noted = write_message(
        tx, li, "weeks two of waiting: angry", kind="note", author_kind="staff", author="Bo"
    )
    files.attach(
        tx, noted, filename="a.pdf", content_type="application/pdf", size=1, kind="file", channel="x"
    )
    order = insert_id(
        tx,
        schema.order.insert().values(
            number="A-7", contact_id=li, ordered_at=NOW, status="paid", amount_minor=1, currency="CNY",
            tracking="SF123456", updated_at=NOW,
        ),
    )  # fmt: skip
    tx.execute(
        schema.order_line.insert().values(
            order_id=order, sku="L1", name="Blaue Lampe 蓝色台灯", quantity=1, amount_minor=1
        )
    )
    articles.upsert(
        tx,
        NOW,
        key="returns",
        language="zh",
        title="退款政策",
        body="七天内可以退款。",
        phrasings=["怎么退货"],
    )


@pytest.fixture(params=["behind", "indexed"])
async def written(request: pytest.FixtureRequest, store: Store) -> Store:
    await store.write(fill_messages)
    await indexing.catch_up(store)  # articles and orders are only found once they are indexed
    if request.param == "behind":
        await store.write(
            lambda tx: tx.execute(text("UPDATE search_state SET value = 0 WHERE name = 'message'"))
        )
    return store


async def searched(store: Store, query: str) -> list[tuple[str, int]]:
    asked = full_text.parse(query)
    return [(one.kind, one.ref) for one in await store.read(full_text.search, asked, NOW)]


WRITTEN: list[tuple[str, list[tuple[str, int]]]] = [
    ("refund", [("out", 2), ("in", 1)]),
    ("REFUND lamp", [("in", 1)]),
    ('"two weeks"', [("out", 2)]),
    ("two weeks", [("note", 5), ("out", 2)]),
    ("退款", [("in", 3), ("article", 1)]),
    ("申请退款", [("in", 3)]),
    ("灯", [("in", 3), ("order", 1)]),
    ("订单", [("in", 4)]),
    ("蓝色台灯", [("order", 1)]),
    ("sf1234", [("order", 1)]),
    ("a-7", [("order", 1)]),
    ("怎么退货", [("article", 1)]),
    ("refund kind:out", [("out", 2)]),
    ("refund from:anna", [("out", 2)]),
    ("from:陈大文", [("in", 4), ("in", 3)]),
    ("from:Li@Acme.example", [("in", 1)]),
    ("有:附件", [("note", 5)]),
    ("channel:telegram before:30d", [("in", 4)]),
    ("channel:telegram after:30d", [("in", 3)]),
    ("has:attachment", [("note", 5)]),
    ("tag:vip refund", [("out", 2), ("in", 1)]),
    ("tag:nobody refund", []),
    ("退款 kind:文章", [("article", 1)]),
    ("before:2026-09-01", [("in", 4)]),
    ("nowhere", []),
]


async def test_words_and_filters_find_what_was_written(written: Store) -> None:
    for query, right in WRITTEN:
        assert await searched(written, query) == right, query


async def test_an_edited_message_is_found_by_its_new_words(written: Store) -> None:
    await written.write(conversations.edit, NOW, 1, "I want an exchange instead")
    assert await searched(written, "exchange") == [("in", 1)]
    assert await searched(written, "broken lamp") == []


async def test_a_match_says_where_it_is(written: Store) -> None:
    def open_ticket(tx: Connection) -> int:
        row = tickets.open_new(tx, NOW, **ticket_of(tx))
        conversations.set_values(tx, 1, ticket_id=row.id)
        return int(row.number)

    def ticket_of(tx: Connection) -> dict[str, Any]:
        return {
            "conversation_id": 1,
            "contact_id": 1,
            "kind": "enquiry",
            "subject": "x",
            "channel": "support",
        }

    number = await written.write(open_ticket)
    asked = full_text.parse("broken")
    (one,) = await written.read(full_text.search, asked, NOW)
    assert (one.ticket, one.who, one.snippet) == (number, "Li Wei", "I want a refund for my broken lamp")


@pytest.mark.parametrize(
    ("query", "reason", "at"),
    [("", "empty", 0), ("before:soon", "date", 0), ("lamp kind:cheese", "value", 5), ('a "b', "quote", 2),
     ("has:legs", "value", 0), ("from:", "value", 0), ("x" * 600, "long", 500)],
)  # fmt: skip
def test_a_query_that_is_wrong_says_where(query: str, reason: str, at: int) -> None:
    with pytest.raises(QueryError) as caught:
        full_text.parse(query)
    assert (caught.value.reason, caught.value.at) == (reason, at)


def test_a_snippet_shows_the_word_and_not_the_rest() -> None:
    said = "filler " * 60 + "the NEEDLE is here" + " filler" * 60
    shown = full_text.snippet(said, (("needle",),))
    assert "NEEDLE" in shown
    assert len(shown) <= full_text.SNIPPET + 2


# --- properties ---------------------------------------------------------------------------------------

ODD = st.text(max_size=40) | st.text(alphabet="张三丰a1@+#-:\"'*()& \x00̈ßé🙂", max_size=20)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Any:
    url = sqlite_url(tmp_path_factory.mktemp("search"))
    engine = sqlite_engine(Store(url).url)
    with engine.connect() as tx:
        with tx.begin():
            fill_messages(tx)
            fill(tx)
            while indexing.step(tx):
                pass
        yield tx
    engine.dispose()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=ODD)
def test_finding_never_raises(snapshot: Connection, query: str) -> None:
    assert all(0 < hit.score <= 100 for hit in find_contacts(snapshot, query))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=ODD | st.builds("{}:{}".format, st.sampled_from(["from", "before", "tag", "kind"]), ODD))
def test_searching_finds_or_says_where_it_is_wrong(snapshot: Connection, query: str) -> None:
    wrong = None
    try:
        full_text.search(snapshot, full_text.parse(query), NOW)
    except QueryError as error:
        wrong = error.at
    assert wrong is None or 0 <= wrong <= len(query)


@given(name=ODD)
def test_tokens_are_letters_and_digits(name: str) -> None:
    key = fold.name_key(name)
    assert fold.name_key(key) == key
    assert all(one.isalnum() or not one.isascii() for one in tokens.of_name(key))
    assert not any(" " in one for one in tokens.of_text(name))


@given(st.text(max_size=12))
def test_a_moment_is_read_or_refused(said: str) -> None:
    found = moment(said, UTC)
    if found is not None:
        found.before(NOW)


def test_surnames_are_read_as_surnames() -> None:
    assert pinyin.readings("曾单")[0] == ("zeng", "dan") or pinyin.readings("曾单")[0][0] == "zeng"
    assert pinyin.readings("尉迟恭")[0][:2] == ("yu", "chi")


def test_fts5_is_there() -> None:
    sqlite3.connect(":memory:").execute("CREATE VIRTUAL TABLE t USING fts5(x, content='', detail=none)")
