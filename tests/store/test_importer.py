"""Files of every make come in, once, and what is broken is named by its line."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from crm_store import articles, exporter, importer, schema
from crm_store.db import Store
from crm_store.importer import Defaults, Report
from crm_store.importing.columns import Kind
from tests.stores import open_sqlite

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 5, 2, 12, tzinfo=UTC)
DEFAULTS = Defaults(timezone=ZoneInfo("Asia/Shanghai"), language="en")

CHINESE = (
    "客户名称,手机,邮箱,公司,标签,国家,城市,语言\n"
    "张三,138 0013 8000,ZhangSan@example.com,示例公司,VIP;老客户,中国,上海,中文\n"
)


async def bring(store: Store, kind: Kind, directory: Path, text: str | bytes, **kw: Any) -> Report:
    path = directory / f"{kind}.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    kw.setdefault("now", NOW)
    return await importer.run(store, kind, path, kw.pop("defaults", DEFAULTS), **kw)


def everything(tx: Connection) -> dict[str, list[tuple[Any, ...]]]:
    tables = (schema.contact, schema.identity, schema.order, schema.order_line, schema.article)
    return {
        table.name: [tuple(map(str, row)) for row in tx.execute(select(table).order_by(table.c.id))]
        for table in tables
    }


def whole(tx: Connection, what: exporter.What, form: exporter.Form) -> str:
    return "".join(exporter.export(tx, what, form))


def people(tx: Connection) -> list[Any]:
    return list(tx.execute(select(schema.contact).order_by(schema.contact.c.id)))


def keys(tx: Connection) -> set[tuple[int, str, str]]:
    held = schema.identity.c
    return {tuple(row) for row in tx.execute(select(held.contact_id, held.space, held.user_id))}


def counts(report: Report) -> tuple[int, int, int]:
    return report.new, report.updated, report.unchanged


async def test_a_chinese_customer_list_comes_in(store: Store, tmp_path: Path) -> None:
    report = await bring(store, "customers", tmp_path, CHINESE)
    assert (counts(report), report.rejected) == ((1, 0, 0), [])
    [person] = await store.read(people)
    assert (person.name, person.company, person.country, person.city) == ("张三", "示例公司", "CN", "上海")
    assert (person.language, person.tags, person.source) == ("zh", ["VIP", "老客户"], "import:customers.txt")
    assert await store.read(keys) == {
        (person.id, "email", "zhangsan@example.com"),
        (person.id, "phone", "+8613800138000"),
    }


async def test_an_imported_identity_is_not_verified(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, "name,email,telegram\nAnna,anna@example.com,@Anna_K\n")
    rows = await store.read(lambda tx: list(tx.execute(select(schema.identity))))
    assert {(row.space, row.user_id, row.handle) for row in rows} == {
        ("email", "anna@example.com", ""),
        ("telegram", "@anna_k", "anna_k"),
    }
    assert [row.verified_at for row in rows] == [None, None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_encodings_and_delimiters_are_told_apart(tmp_path: Path, encoding: str, delimiter: str) -> None:
    table = [line.replace(";", "、").split(",") for line in CHINESE.splitlines()]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(table)
    async with open_sqlite(tmp_path) as store:
        report = await bring(store, "customers", tmp_path, out.getvalue().encode(encoding))
        assert (counts(report), report.rejected) == ((1, 0, 0), [])
        [person] = await store.read(people)
        assert (person.name, person.tags) == ("张三", ["VIP", "老客户"])


async def test_western_letters_without_unicode_are_read(tmp_path: Path) -> None:
    text = "name,email\nJürgen Müller,j@example.com\nRenée Nuñez,r@example.com\n"
    async with open_sqlite(tmp_path) as store:
        await bring(store, "customers", tmp_path, text.encode("cp1252"))
        assert [person.name for person in await store.read(people)] == ["Jürgen Müller", "Renée Nuñez"]


async def test_one_damaged_character_costs_one_row(store: Store, tmp_path: Path) -> None:
    lines = [f"客户{n},c{n}@example.com".encode() for n in range(50)]
    lines[9] = b"\xff" + lines[9]
    report = await bring(store, "customers", tmp_path, b"\n".join([b"name,email", *lines]))
    assert report.new == 49
    assert [(bad.line, bad.reason_key) for bad in report.rejected] == [(11, "encoding")]


async def test_json_and_json_lines_come_in(store: Store, tmp_path: Path) -> None:
    people_said = [
        {"name": "Anna", "email": ["a@example.com", "anna@example.com"], "tags": ["vip"], "shoe size": 39},
        {"name": "Bo {the [brave]}", "email": "b@example.com", "note": 'says "}"'},
    ]
    report = await bring(store, "customers", tmp_path, json.dumps(people_said, indent=1))
    assert (counts(report), report.rejected) == ((2, 0, 0), [])
    anna, bo = await store.read(people)
    assert (anna.tags, anna.fields, bo.name) == (["vip"], {"shoe size": "39"}, "Bo {the [brave]}")
    lines = "\n".join(json.dumps(person) for person in people_said)
    assert counts(await bring(store, "customers", tmp_path, lines)) == (0, 0, 2)


async def test_a_broken_row_is_named_by_its_line_and_the_rest_comes_in(store: Store, tmp_path: Path) -> None:
    text = (
        "name,email,phone\n"
        "Anna,anna@example.com,\n"
        '"A name\nof two lines",two@example.com,\n'
        "Bad,not an address,\n"
        "Nobody,,\n"
        "\n"
        "Half,half-an-address,+49 30 123456\n"
        "Long,long@example.com,,surplus\n"
        "Zoe,zoe@example.com,\n"
    )
    report = await bring(store, "customers", tmp_path, text)
    assert counts(report) == (4, 0, 0)
    assert [(bad.line, bad.reason_key) for bad in report.rejected] == [
        (5, "email"),
        (6, "no_identity"),
        (8, "email"),  # the value; its row came in with the phone
        (9, "columns"),
    ]
    assert report.rejected[0].values == {"value": "not an address"}


async def test_broken_json_is_named_by_its_line(store: Store, tmp_path: Path) -> None:
    lines = '{"email": "a@example.com"}\n{"email": \n[1]\n{"email": "b@example.com"}\n'
    report = await bring(store, "customers", tmp_path, lines)
    assert report.new == 2
    assert [(bad.line, bad.reason_key) for bad in report.rejected] == [(2, "json"), (3, "json")]
    listed = '[\n{"email": "c@example.com"},\n{"email": nonsense},\n{"email": "d@example.com"}, {"email": '
    report = await bring(store, "customers", tmp_path, listed)
    assert report.new == 2
    assert [(bad.line, bad.reason_key) for bad in report.rejected] == [(3, "json"), (4, "json")]


async def test_the_same_file_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    files: list[tuple[Kind, str]] = [
        ("customers", CHINESE + "李四,,li@example.com,,,,,\n张三丰,,zhangsan@example.com,别的公司,道士,,,\n"),
        (
            "orders",
            "订单号,下单时间,金额,币种,状态,邮箱,商品,数量\nA-1,2026年1月2日,￥12.50,,已发货,li@example.com,茶,2\n",
        ),
        ("articles", "key,language,title,body\nreturns,en,Returns,Within 30 days.\n"),
    ]
    for kind, text in files:
        first = await bring(store, kind, tmp_path, text)
        before = await store.read(everything)
        again = await bring(store, kind, tmp_path, text, now=LATER)
        assert await store.read(everything) == before
        assert counts(again) == (0, 0, sum(counts(first)))


async def test_customers_are_found_by_address_then_phone_then_reference(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, "ref,name,email,phone\nK1,Anna,a@example.com,+49301111111\n")
    text = (
        "ref,name,email,phone,city\n"
        ",,A@EXAMPLE.com,,Berlin\n"
        ",,new@example.com,+49 30 1111111,\n"
        "K1,Anna B.,,,\n"
        ",Anna,other@example.com,+49301111111,\n"
    )
    report = await bring(store, "customers", tmp_path, text, now=LATER)
    anna = (await store.read(people))[0]
    assert (anna.name, anna.city) == ("Anna", "Berlin")  # the first row that spoke of her counts
    assert counts(report) == (0, 3, 1)
    assert len(await store.read(people)) == 1
    assert {key[2] for key in await store.read(keys)} == {
        *("a@example.com", "new@example.com", "other@example.com", "+49301111111", "K1")
    }


@pytest.mark.parametrize(
    ("rows", "customers"),
    [
        ("Anna Smith,a@x.cc,+12125550123,\nBob Smith,b@x.cc,+12125550123,\n", 2),
        ("Anna,,+12125550123,R1\nAnna,,+12125550123,R2\n", 2),
        ("Anna Smith,a@x.cc,+12125550123,\nA. Smith,b@x.cc,+12125550123,\n", 1),
        ("Anna Smith,a@x.cc,+12125550123,\n,b@x.cc,+12125550123,\n", 1),
        ("Anna Smith,a@x.cc,+12125550123,\nBob,,+12125550123,\n", 1),
        ("Anna Smith,a@x.cc,+12125550123,R1\nAnna Smith,b@x.cc,+12125550123,R1\n", 1),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
async def test_a_phone_that_a_family_shares_makes_them_no_one_customer(
    store: Store, tmp_path: Path, rows: str, customers: int, apart: bool
) -> None:
    head, lines = "name,email,phone,ref\n", rows.splitlines()
    for text in [head + line for line in lines] if apart else [head + rows]:
        report = await bring(store, "customers", tmp_path, text)
    assert len(await store.read(people)) == customers
    assert [one.reason_key for one in report.rejected] == ["identity_taken"] * (customers - 1)
    before = await store.read(everything)
    again = await bring(store, "customers", tmp_path, text, now=LATER)
    assert (again.new, again.updated) == (0, 0)
    assert await store.read(everything) == before


async def test_an_address_stays_with_who_has_it_and_is_reported(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, "name,email,phone\nA,a@example.com,\nB,,+49301111111\n")
    report = await bring(store, "customers", tmp_path, "name,email,phone\nA,a@example.com,+49301111111\n")
    assert [(bad.line, bad.reason_key) for bad in report.rejected] == [(2, "identity_taken")]
    assert len(await store.read(people)) == 2


async def test_an_empty_cell_erases_nothing_and_a_filled_one_replaces(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, "name,email,city,tags,level\nA,a@example.com,Rome,x,1\n")
    report = await bring(
        store, "customers", tmp_path, "name,email,city,tags,level\n,a@example.com,Oslo,y,2\n"
    )
    [person] = await store.read(people)
    assert counts(report) == (0, 1, 0)
    assert (person.name, person.city, person.tags, person.fields) == ("A", "Oslo", ["x", "y"], {"level": "2"})


async def test_a_dry_run_says_the_same_and_writes_nothing(store: Store, tmp_path: Path) -> None:
    text = CHINESE + "Bad,,nope,,,,,\n"
    report = await bring(store, "customers", tmp_path, text, dry_run=True)
    assert (counts(report), len(report.rejected)) == ((1, 0, 0), 1)
    assert await store.read(people) == []
    assert await bring(store, "customers", tmp_path, text) == report


async def test_orders_find_their_customer_or_bring_them(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, "ref,name,email\nK1,Anna,a@example.com\n")
    text = (
        "order_no,date,total,currency,status,email,customer_id,name\n"
        "A-1,2026-01-02 13:04,1200,JPY,Shipped,,K1,\n"
        "A-2,2026-01-03,9.90,EUR,weird state,b@example.com,,Bo\n"
        "A-3,2026-01-03,9.90,EUR,,,,\n"
        "A-4,2026-13-03,9.90,EUR,,a@example.com,,\n"
        ",2026-01-03,9.90,EUR,,a@example.com,,\n"
        "A-5,2026-01-03,9.90,,,a@example.com,,\n"
    )
    report = await bring(store, "orders", tmp_path, text)
    assert counts(report) == (2, 0, 0)
    assert sorted((bad.line, bad.reason_key) for bad in report.rejected) == [
        *((4, "no_customer"), (5, "date"), (6, "no_number"), (7, "currency_missing"))
    ]
    anna, bo = await store.read(people)
    rows = await store.read(lambda tx: list(tx.execute(select(schema.order).order_by(schema.order.c.number))))
    assert [(row.number, row.contact_id, row.amount_minor, row.currency, row.status) for row in rows] == [
        ("A-1", anna.id, 1200, "JPY", "shipped"),
        ("A-2", bo.id, 990, "EUR", "weird state"),
    ]
    assert rows[0].ordered_at == datetime(2026, 1, 2, 5, 4, tzinfo=UTC)


async def test_an_order_of_several_rows_is_one_order(store: Store, tmp_path: Path) -> None:
    text = (
        "订单号,下单时间,币种,单价,数量,商品,邮箱\n"
        "A-1,2026-01-02,CNY,10.00,2,茶,a@example.com\n"
        "A-1,2026-01-02,CNY,5.00,1,杯子,a@example.com\n"
        "A-2,2026-01-02,CNY,1.00,1,糖,a@example.com\n"
    )
    assert counts(await bring(store, "orders", tmp_path, text)) == (2, 0, 0)
    rows = await store.read(lambda tx: list(tx.execute(select(schema.order).order_by(schema.order.c.id))))
    lines = await store.read(lambda tx: list(tx.execute(select(schema.order_line))))
    assert [row.amount_minor for row in rows] == [2500, 100]
    assert [(line.name, line.quantity, line.amount_minor) for line in lines] == [
        *(("茶", 2, 2000), ("杯子", 1, 500), ("糖", 1, 100))
    ]
    changed = text.replace("5.00,1,杯子", "5.00,3,杯子")
    assert counts(await bring(store, "orders", tmp_path, changed)) == (0, 1, 1)
    assert len(await store.read(lambda tx: list(tx.execute(select(schema.order_line))))) == 3


async def test_an_order_does_not_change_hands_by_a_file(store: Store, tmp_path: Path) -> None:
    text = "number,date,amount,currency,email\nA-1,2026-01-02,1,EUR,a@example.com\n"
    await bring(store, "orders", tmp_path, text)
    await bring(store, "customers", tmp_path, "email\nb@example.com\n")
    report = await bring(store, "orders", tmp_path, text.replace("a@", "b@"))
    assert [bad.reason_key for bad in report.rejected] == ["order_owner"]


async def test_articles_keep_what_people_said_of_them(store: Store, tmp_path: Path) -> None:
    said = [
        {
            "key": "returns",
            "title": "Returns",
            "body": "Within\n30 days.",
            "phrasings": ["send back", "refund"],
        }
    ]
    await bring(store, "articles", tmp_path, json.dumps(said))
    row = await store.read(articles.get, "returns", "en")
    assert (row.body, row.phrasings) == ("Within\n30 days.", ["send back", "refund"])
    await store.write(articles.count, row.id, helped=True)
    await store.write(articles.count, row.id, helped=False)
    said[0]["title"] = "Returning things"
    assert counts(await bring(store, "articles", tmp_path, json.dumps(said))) == (0, 1, 0)
    row = await store.read(articles.by_id, row.id)
    assert (row.title, row.helped, row.not_helped) == ("Returning things", 1, 1)
    assert [row.key for row in await store.read(articles.listing, "en")] == ["returns"]
    assert await store.read(articles.listing, "zh") == []
    assert await store.write(articles.remove, "returns", "en")


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"name,email\n", b"[]", b"\xff\xfe", b"{", b'"', b"\x00\x01\x02" * 99]
)
@pytest.mark.parametrize("kind", ["customers", "orders", "articles"])
async def test_an_empty_or_senseless_file_brings_nothing(tmp_path: Path, kind: Kind, content: bytes) -> None:
    async with open_sqlite(tmp_path) as store:
        assert counts(await bring(store, kind, tmp_path, content)) == (0, 0, 0)


async def test_text_no_database_takes_is_cleaned(store: Store, tmp_path: Path) -> None:
    rude = [{"name": "A\x00nna\ud800\u0007", "email": "a@example.com", "no\x00te": "x\x00y"}]
    report = await bring(store, "customers", tmp_path, json.dumps(rude))
    assert counts(report) == (1, 0, 0)
    [person] = await store.read(people)
    assert (person.name, person.fields) == ("Anna", {"note": "xy"})


async def test_many_rows_take_many_transactions_and_tell_how_far_they_are(tmp_path: Path) -> None:
    text = "name,email\n" + "".join(f"C{n},c{n}@example.com\n" for n in range(1200))
    done: list[int] = []
    async with open_sqlite(tmp_path) as store:
        report = await bring(store, "customers", tmp_path, text, progress=done.append)
        assert (report.new, done) == (1200, [1000, 1200])
        assert counts(await bring(store, "customers", tmp_path, text)) == (0, 0, 1200)


async def test_what_is_exported_comes_back_the_same(store: Store, tmp_path: Path) -> None:
    await bring(
        store,
        "customers",
        tmp_path,
        json.dumps(
            [
                {
                    "name": "=cmd()",
                    "email": ["a@example.com", "b@example.com"],
                    "phone": "+49301111111",
                    "tags": ["[1]"],
                },
                {
                    "name": "'+quoted",
                    "ref": "K-7",
                    "tags": ["a,b", "c"],
                    "note": "-1+1\nsecond",
                    "telegram": "anna_k",
                },
            ]
        ),
    )
    orders = [
        {
            **{
                "number": "A-1",
                "ordered_at": "2026-01-02T03:04:05Z",
                "currency": "EUR",
                "email": "a@example.com",
            },
            **{"amount": "12.34", "lines": [{"name": "@tea", "quantity": 2, "amount": "12.34"}]},
        }
    ]
    await bring(store, "orders", tmp_path, json.dumps(orders))
    said = {"key": "k", "language": "zh", "title": "标题", "body": "=正文\n二", "phrasings": ["a|b", "c"]}
    await bring(store, "articles", tmp_path, json.dumps([said]))
    before = await store.read(everything)
    kinds: list[Kind] = ["customers", "orders", "articles"]
    forms: list[exporter.Form] = ["csv", "json"]
    for form in forms:
        async with open_sqlite(tmp_path / form) as fresh:
            for kind in kinds:
                text = await store.read(whole, kind, form)
                if form == "csv":
                    assert not any(
                        cell[:1] in "=@" for row in csv.reader(io.StringIO(text)) for cell in row if cell
                    )
                report = await bring(fresh, kind, tmp_path, text)
                assert report.rejected == []
                assert counts(await bring(store, kind, tmp_path, text, now=LATER))[:2] == (0, 0)
            assert len(await fresh.read(people)) == 2
        assert await store.read(everything) == before


async def test_an_empty_store_exports_only_a_heading(store: Store) -> None:
    for what in exporter.EXPORTS:
        assert (await store.read(whole, what, "csv")).count("\n") == 1
        assert json.loads(await store.read(whole, what, "json")) == []


NAMES = st.sampled_from(["", "Anna", "Bo", "张三"])
ADDRESSES = st.lists(st.sampled_from(["a@x.org", "b@x.org", "info@x.org", "c@x.org", "nonsense"]), max_size=2)
PHONES = st.sampled_from(["", "+49301111111", "+49302222222", "12"])


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "name": NAMES,
                "email": ADDRESSES,
                "phone": PHONES,
                "city": NAMES,
                "tags": st.lists(NAMES, max_size=2),
            },
            optional={"ref": st.sampled_from(["K1", "K2", ""]), "level": NAMES},
        ),
        max_size=9,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_import_twice_is_import_once(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with open_sqlite(directory) as store:
            text = "\n".join(map(json.dumps, rows)) or "[]"
            first = await bring(store, "customers", directory, text)
            before = await store.read(everything)
            again = await bring(store, "customers", directory, text, now=LATER)
            assert await store.read(everything) == before
            assert counts(again) == (0, 0, sum(counts(first)))


async def test_the_lines_of_an_order_may_stand_in_words(store: Store, tmp_path: Path) -> None:
    text = (
        "number,email,ordered_on,items,amount,currency,status\n"
        'A-1,a@example.com,2026-01-02,"2x Table lamp; 1 × Rug; 茶*3; Cup",10.00,EUR,待发货\n'
    )
    assert counts(await bring(store, "orders", tmp_path, text)) == (1, 0, 0)
    lines = await store.read(lambda tx: list(tx.execute(select(schema.order_line))))
    assert [(line.quantity, line.name) for line in lines] == [
        (2, "Table lamp"),
        (1, "Rug"),
        (3, "茶"),
        (1, "Cup"),
    ]
    assert (await store.read(lambda tx: tx.execute(select(schema.order)).one())).status == "processing"
