"""A segment is understood or refused with its place, and means the same on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, select

from crm_store import consent, contacts, conversations, deals, notes, people, schema, segments
from crm_store.conversations import NewMessage
from crm_store.db import Store, sqlite_engine
from crm_store.segments import QueryError
from tests.stores import sqlite_url

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def add(tx: Connection, name: str, created: datetime = NOW, **values: Any) -> int:
    number = contacts.create(tx, created, name=name)
    if values:
        tx.execute(schema.contact.update().where(schema.contact.c.id == number).values(**values))
    return number


def buy(
    tx: Connection, number: int, amount: int, at: datetime, currency: str = "EUR", status: str = "paid"
) -> None:
    tx.execute(
        schema.order.insert().values(
            number=f"A-{number}-{amount}-{at.timestamp()}", contact_id=number, ordered_at=at, status=status,
            amount_minor=amount, currency=currency, updated_at=NOW,
        )
    )  # fmt: skip


def fill(tx: Connection) -> None:
    anna = add(
        tx, "Anna", country="DE", city="Berlin", tags=["VIP", "press"], language="de", fields={"size": "XL"}
    )
    ben = add(tx, "Ben", ago(400), country="DE", city="München", tags=["test"])
    chen = add(tx, "陈大文", country="CN", language="zh", company="Blau & Söhne GmbH")
    add(tx, "Dora")
    for number, space, user_id in [
        (anna, "email", "anna@blau.example"),
        (ben, "telegram", "5"),
        (chen, "phone", "+8613800138000"),
    ]:
        contacts.add_identity(tx, NOW, number, space=space, user_id=user_id)
    buy(tx, anna, 150_000, ago(10))
    buy(tx, anna, 900_000, ago(5), status="refunded")
    buy(tx, ben, 5_000, ago(100))
    buy(tx, chen, 300_000, ago(20), currency="CNY")
    for kind, days in (("visit", 90), ("cart", 2)):
        tx.execute(
            schema.customer_event.insert().values(
                contact_id=anna, kind=kind, at=ago(days), fields={}, created_at=NOW
            )
        )
    for number, rating in [(anna, 5), (anna, 2), (ben, 4)]:
        conversation = conversations.open_at(
            tx,
            NOW,
            channel="web",
            room_id=f"{number}{rating}",
            thread_id="",
            contact_id=number,
            language="en",
        )
        conversations.add(
            tx, ago(3), conversation.id,
            NewMessage(kind="note" if rating == 4 else "in", channel="web", text="likes Tea", author_kind="staff",
                       author="Bo", sent_at=ago(3)),
        )  # fmt: skip
        tx.execute(
            schema.ticket.insert().values(
                number=number * 10 + rating, conversation_id=conversation.id, contact_id=number,
                kind="complaint" if rating == 2 else "enquiry", status="open" if rating == 2 else "closed",
                subject="x", channel="web", opened_at=ago(9), rating=rating, rated_at=ago(rating),
            )
        )  # fmt: skip

    mei = people.add(tx, NOW, "Mei", "sales")
    tx.execute(
        schema.contact.update()
        .where(schema.contact.c.id == ben)
        .values(owner_id=mei, timezone="Asia/Shanghai")
    )
    dora = chen + 1
    notes.add(tx, NOW, dora, "prefers Coffee", staff_id=None, author="Mei")
    tx.execute(
        schema.contact.update().where(schema.contact.c.id == dora).values(fields={"Shoe Size": 42, "vat": ""})
    )
    for number, state, days in [(anna, "granted", 9), (ben, "granted", 9), (ben, "withdrawn", 5)]:
        consent.add(tx, NOW, number, "marketing_email", state, source="form", actor="cli", at=ago(days))
    consent.add(tx, NOW, ben, "phone", "granted", source="form", actor="cli")
    for number, stage in [(anna, "offer"), (anna, "lead"), (chen, "won")]:
        deals.add(
            tx, NOW, "cli", contact_id=number, title="Garden", stage=stage, amount_minor=5, currency="EUR", owner_id=mei
        )  # fmt: skip
    for status, sku, name in [("paid", "L-1", "Table Lamp"), ("refunded", "V-1", "Vase")]:
        of = select(schema.order.c.id).where(
            schema.order.c.contact_id == anna, schema.order.c.status == status
        )
        tx.execute(
            schema.order_line.insert().values(
                order_id=of.scalar_subquery(), sku=sku, name=name, quantity=1, amount_minor=1
            )
        )


ANSWERS = [
    ("value>1400", "Anna"),
    ("价值>1450", ""),
    ("value>30", "Anna Ben"),
    ("value>34.1", "Anna"),
    ("value>0CNY", "陈大文"),
    ("value:0", "陈大文 Dora"),
    ("consent:marketing_email", "Anna"),
    ("授权:email", "Anna"),
    ("-consent:marketing_email", "Ben 陈大文 Dora"),
    ("consent:*", "Anna Ben"),
    ("stage:offer", "Anna"),
    ("阶段:won", "陈大文"),
    ("stage:open", "Anna"),
    ("stage:*", "Anna 陈大文"),
    ("deals>1", "Anna"),
    ("deals:0", "Ben 陈大文 Dora"),
    ("owner:mei", "Ben"),
    ("负责人!=Mei", "Anna 陈大文 Dora"),
    ("-owner:*", "Anna 陈大文 Dora"),
    ("timezone:asia/shanghai", "Ben"),
    ("product:lamp", "Anna"),
    ("product=lamp", ""),
    ("商品:L-1", "Anna"),
    ("product:vase", ""),
    ("product:*", "Anna"),
    ("note:coffee", "Dora"),
    ("备注:*", "Ben Dora"),
    ('field."shoe size":42', "Dora"),
    ("字段.“Shoe Size”：42", "Dora"),
    ("field.SIZE:*", "Anna"),
    ("field.vat:*", ""),
    ("tag:*", "Anna Ben"),
    ("-company:*", "Anna Ben Dora"),
    ("email:* or phone:*", "Anna 陈大文"),
    ("-channel:*", "Dora"),
    ("event:*", "Anna"),
    ("-country:*", "Dora"),
    ("language:German", "Anna"),
    ("语言：中文", "陈大文"),
    ("spent>1.4k", "Anna"),
    ("消费>0.14万", "Anna"),
    ("spent>€1400", "Anna"),
    ("spent>2500¥", "陈大文"),
    ("消费>0.25万元", "陈大文"),
    ("country:DE", "Anna Ben"),
    ("country:germany", "Anna Ben"),
    ("国家：德国", "Anna Ben"),
    ("country:DE,CN", "Anna Ben 陈大文"),
    ("country!=DE", "陈大文 Dora"),
    ("-country:DE", "陈大文 Dora"),
    ("country:DE spent>1000", "Anna"),
    ("spent>1000", "Anna"),
    ("spent>=1500EUR", "Anna"),
    ("spent>1000CNY", "陈大文"),
    ("spent>1000元", "陈大文"),
    ("spent:0", "陈大文 Dora"),
    ("orders:0", "Dora"),
    ("orders>=1", "Anna Ben 陈大文"),
    ("last_order<30d", "Anna 陈大文"),
    ("last_order>30d", "Ben"),
    ("last_order<2026-09-01", "Ben"),
    ("last_order:2026-09-21", "Anna"),
    ("not last_order<30d", "Ben Dora"),
    ("rating<=2", "Anna"),
    ("rating>2", "Ben"),
    ("-rating<=2", "Ben 陈大文 Dora"),
    ("tag:vip", "Anna"),
    ("标签:VIP 消费>1000", "Anna"),
    ("-tag:test tag!=press", "陈大文 Dora"),
    ("city:münchen or city:Berlin", "Anna Ben"),
    ("(city:berlin or tag:test) created>1y", "Ben"),
    ("not (country:DE or country:CN)", "Dora"),
    ('company:"blau & söhne"', "陈大文"),
    ("name=anna", "Anna"),
    ("name:a", "Anna Dora"),
    ("language:zh", "陈大文"),
    ("-language:zh", "Anna Ben Dora"),
    ("channel:telegram", "Ben"),
    ("email:@blau.example", "Anna"),
    ("phone:138-0013", "陈大文"),
    ("field.size:xl", "Anna"),
    ("-field.size:xl", "Ben 陈大文 Dora"),
    ("tickets>1", "Anna"),
    ("open_tickets>0", "Anna"),
    ("complaints:1", "Anna"),
    ("last_message<1w", "Anna"),
    ("note:tea", "Ben"),
    ("event:cart", "Anna"),
    ("行为：加购", "Anna"),
    ("event:like,search", ""),
    ("events>1 last_event<30d", "Anna"),
    ("events:0", "Ben 陈大文 Dora"),
    ("-last_event<30d", "Ben 陈大文 Dora"),
    ("id:1", "Anna"),
    ("id>999999999999", ""),
    ("id:1.5", ""),
    ("country:DE spent>1000 last_order<30d rating<=2 tag:vip", "Anna"),
]


async def test_a_segment_holds_who_it_says(store: Store) -> None:
    await store.write(fill)
    for query, names in ANSWERS:
        segment = segments.parse(query)
        ids = await store.read(segments.select_ids, segment, NOW, currency="EUR")
        who = [(await store.read(contacts.get, number)).name for number in ids]
        assert who == names.split(), query
        assert await store.read(segments.count, segment, NOW, currency="EUR") == len(ids), query


@pytest.mark.parametrize(
    "query",
    [
        "city:łódź", "city=ŁÓDŹ", "name:анна", 'name="Анна Évry"', "tag:ÄRZTE", "company:évry", "field.size:éx",
        "field.size:5", "source:œuvre",
    ],
)  # fmt: skip
async def test_capital_letters_of_every_script_are_the_same_as_small_ones(store: Store, query: str) -> None:
    def fill(tx: Connection) -> None:
        size = 5 if query.endswith("5") else "ÉX"
        add(
            tx, "Анна Évry", city="Łódź", company="Évry SA", tags=["Ärzte"], fields={"size": size}, source="Œuvre"
        )  # fmt: skip

    await store.write(fill)
    assert await store.read(segments.count, segments.parse(query), NOW) == 1


async def test_a_segment_is_read_page_by_page(store: Store) -> None:
    await store.write(fill)
    segment = segments.parse("country:DE,CN")
    first = await store.read(segments.select_ids, segment, NOW, limit=2)
    rest = await store.read(segments.select_ids, segment, NOW, after=first[-1], limit=2)
    assert (first, rest) == ([1, 2], [3])


async def test_who_was_erased_is_in_no_segment(store: Store) -> None:
    await store.write(fill)
    gone = {"uid": "u", "contact_id": 2, "actor": "cli", "state": "done", "asked_at": NOW, "counts": {}}
    await store.write(lambda tx: tx.execute(schema.erasure.insert().values(**gone)) and None)
    assert await store.read(segments.select_ids, segments.parse("id>0"), NOW) == [1, 3, 4]


@pytest.mark.parametrize(
    ("query", "reason", "at"),
    [
        ("", "empty", 0),
        ("   ", "empty", 0),
        ("cuntry:DE", "field", 0),
        ("country:DE colour:red", "field", 11),
        ("country", "operator", 7),
        ("country>DE", "operator", 7),
        ("country:", "value", 8),
        ("spent>much", "number", 6),
        ("spent>1XYZ", "number", 6),
        ("rating<=NaN", "number", 8),
        ("id:1e999", "number", 3),
        ("last_order<soon", "date", 11),
        ("last_order<2026-02-31", "date", 11),
        ("(country:DE", "bracket", 0),
        ("country:DE)", "bracket", 10),
        ('city:"Berlin', "quote", 5),
        ("country:DE or", "end", 13),
        ("not", "end", 3),
        ("orders>1,2", "several", 6),
        ("spent>1,000", "several", 5),
        ('field."shoe size:42', "quote", 6),
        ('field."":42', "value", 6),
        ("spent>1万万", "number", 6),
        ("spent>999999999999亿", "number", 6),
        ("rating:*", "number", 7),
        ("field:x", "field", 0),
        ("name.x:y", "field", 0),
        ("(" * 40 + "id:1" + ")" * 40, "deep", 21),
        ("x" * 1001, "long", 1000),
        ("id:1 " * 60, "long", 250),
    ],
)
def test_what_is_wrong_is_said_with_its_place(query: str, reason: str, at: int) -> None:
    with pytest.raises(QueryError) as caught:
        segments.parse(query)
    assert (caught.value.reason, caught.value.at) == (reason, at)


def test_a_parsed_segment_is_a_value() -> None:
    found = segments.parse("spent>1.5EUR -tag:a")
    assert isinstance(found, segments.Group)
    assert found.inner[0] == segments.Term("spent", ">", ((Decimal("1.5"), "EUR"),))


def test_the_yen_sign_is_the_desks_currency_where_it_can_be() -> None:
    for said, currency, meant in [
        ("¥5", "JPY", "JPY"),
        ("￥5", "CNY", "CNY"),
        ("¥5", "EUR", "CNY"),
        ("$5", "CAD", "CAD"),
    ]:
        found = segments.parse(f"spent>{said}", currency=currency)
        assert found == segments.Term("spent", ">", ((Decimal(5), meant),))


# --- properties ---------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [*segments.FIELDS, *(f"{name}:" for name in segments.FIELDS), "spent>", "last_order<", "rating<=", "field.a:",
     "-", "not ", "or ", "(", ")", " ", " ", ",", '"', "“", "30d", "2026-01-31", "1000", "1e5", "DE", "vip", "消费",
     ":", "<", "!=", "';--", "\x00", "%", "_", "\\", "\ud800", "*", "field.\"a b\":", "万", "€",
     "99999999999999999999", "0001-01-01", "999999y"]
)  # fmt: skip
QUERIES = st.text(max_size=30) | st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Any:
    engine = sqlite_engine(Store(sqlite_url(tmp_path_factory.mktemp("segments"))).url)
    with engine.connect() as tx:
        with tx.begin():
            fill(tx)
        yield tx
    engine.dispose()


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES)
def test_a_segment_parses_or_says_where_not(snapshot: Connection, query: str) -> None:
    wrong = None
    try:
        segment = segments.parse(query)
        ids = segments.select_ids(snapshot, segment, NOW, currency="EUR")
        assert segments.count(snapshot, segment, NOW, currency="EUR") == len(ids)
    except QueryError as error:
        wrong = error.at
    assert wrong is None or 0 <= wrong <= len(query)


CANARY = st.text(alphabet="abcdefghijklmnopqrstuvwxyz';\"-", min_size=6, max_size=12).filter(
    lambda t: '"' not in t
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=CANARY,
    name=st.sampled_from(
        [*(n for n, kind in segments.FIELDS.items() if kind in ("text", "word", "tag")), "field.k"]
    ),
)
def test_what_was_typed_never_reaches_the_statement(snapshot: Connection, said: str, name: str) -> None:
    said = f"zq{said}"
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    event.listen(snapshot.engine, "before_cursor_execute", note)
    try:
        segments.count(snapshot, segments.parse(f'{name}:"{said}" field."{said}":*'), NOW)
    finally:
        event.remove(snapshot.engine, "before_cursor_execute", note)
    assert statements
    assert not any(said in statement or "zq" in statement for statement in statements)
