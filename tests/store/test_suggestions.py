"""Who may be the same: suggested on evidence, never from shared addresses, and never again once rejected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from crm_store import contacts, conversations, merges, schema, suggestions
from crm_store.conversations import NewMessage
from crm_store.db import Store
from crm_store.search import indexing
from crm_store.shared_addresses import is_shared, own_domain
from crm_store.suggestions import Pair

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


def person(tx: Connection, name: str, *accounts: tuple[str, str], handle: str = "", **values: Any) -> int:
    number = contacts.create(tx, NOW, name=name)
    if values:
        tx.execute(schema.contact.update().where(schema.contact.c.id == number).values(**values))
    for space, user_id in accounts:
        contacts.add_identity(tx, NOW, number, space=space, user_id=user_id, name=name, handle=handle)
    return number


def writes(tx: Connection, who: int, *texts: str, full: str = "") -> None:
    talk = conversations.open_at(
        tx, NOW, channel="telegram", room_id=f"r{who}", thread_id="", contact_id=who, language="en"
    )
    for text in texts:
        message = NewMessage("in", "telegram", text, "customer", "X", NOW, full_text=full)
        conversations.add(tx, NOW, talk.id, message)


async def found(store: Store) -> list[tuple[int, int, int, list[str]]]:
    """Look at all there is: (one, other, score, kinds of evidence) of what is open."""
    while looked := await store.read(suggestions.look):
        await store.write(suggestions.note, NOW, looked)
    rows = await store.read(suggestions.best)
    return [(r.low_id, r.high_id, r.score, sorted(kind for kind, _ in r.evidence)) for r in rows]


def known(tx: Connection) -> int:
    """Li Wei of the shop: number 1."""
    number = person(tx, "Li Wei", ("email", "li.wei@blau.example"), ("phone", "+447700900123"), city="London")
    tx.execute(
        schema.order.insert().values(
            number="A-1001", contact_id=number, ordered_at=NOW, status="paid", amount_minor=1, currency="EUR",
            updated_at=NOW,
        )
    )  # fmt: skip
    return number


@pytest.mark.parametrize(
    ("name", "text", "kinds"),
    [
        ("lw", "call me: +44 7700 900123", ["phone_typed"]),
        ("lw", "my number is 07700 900123, thanks", ["phone_typed"]),
        ("lw", "write to Li.Wei@Blau.Example please", ["email_typed"]),
        ("lw", "where is order A-1001?", ["order_named"]),
        ("lw", "order a-1001 and +447700900123", ["order_named", "phone_typed"]),
        ("Li Wei", "hello", ["name"]),
    ],
)
async def test_what_somebody_says_tells_who_they_may_be(
    store: Store, name: str, text: str, kinds: list[str]
) -> None:
    await store.write(known)
    who = await store.write(person, name, ("telegram", "7001"))
    await store.write(writes, who, text)
    ((one, other, score, evidence),) = await found(store)
    assert (one, other, evidence) == (1, who, kinds)
    assert 50 <= score <= 99


async def test_a_name_that_is_nearly_the_same_counts_with_something_else(store: Store) -> None:
    await store.write(person, "Katherine Johnson", ("email", "kj@gmail.com"), company="Blau", city="London")
    alone = await store.write(person, "Kathrine Johnson", ("telegram", "7001"))
    await store.write(writes, alone, "hello")
    assert await found(store) == []
    who = await store.write(person, "Katherine Jonson", ("telegram", "7002"), company="Blau", city="London")
    await store.write(writes, who, "hello")
    ((_, other, _, evidence),) = await found(store)
    assert (other, evidence) == (who, ["city", "company", "name_like"])


async def test_a_chinese_name_in_letters_is_one(store: Store) -> None:
    await store.write(person, "张三丰", ("email", "zsf@blau.example"), company="Blau")
    await indexing.catch_up(store)
    who = await store.write(person, "Zhang Sanfeng", ("telegram", "7001"), company="Blau")
    await store.write(writes, who, "hello")
    ((_, _, score, evidence),) = await found(store)
    assert evidence == ["company", "name_read"]
    assert score == 56


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Bo", "hello"),
        ("Somebody Else", "where is my parcel? 2026-10-01, 12:30, 19.90 EUR"),
        ("Li", "hello"),
        ("lw", "mail info@blau.example or noreply@blau.example"),
        ("lw", "order B-9"),
        ("lw", "call +15551234567"),
    ],
)
async def test_what_says_nothing_suggests_nothing(store: Store, name: str, text: str) -> None:
    await store.write(known)
    await store.write(person, "Shop", ("email", "info@blau.example"), ("email", "noreply@blau.example"))
    who = await store.write(person, name, ("telegram", "7001"))
    await store.write(writes, who, text)
    assert await found(store) == []


async def test_a_signature_counts_and_a_quotation_does_not(store: Store) -> None:
    await store.write(known)
    signed = await store.write(person, "a", ("email", "a@post.example"))
    await store.write(writes, signed, "hello", full="hello\n--\nLi\nTel. +44 7700 900123")
    quoting = await store.write(person, "b", ("email", "b@post.example"))
    quote = "hello\n\nOn Monday somebody wrote:\n> call me: +44 7700 900123"
    await store.write(writes, quoting, "hello", full=quote)
    chinese = await store.write(person, "c", ("email", "c@post.example"))
    quote = "你好\n\n发件人：某人\n电话 +44 7700 900123"
    await store.write(writes, chinese, "你好", full=quote)
    assert [(one, other) for one, other, _, _ in await found(store)] == [(1, signed)]


async def test_whoever_writes_from_a_shared_address_is_nobody_in_particular(store: Store) -> None:
    await store.write(known)
    who = await store.write(person, "Li Wei", ("email", "客服@blau.example"))
    await store.write(writes, who, "order A-1001, +447700900123")
    assert await found(store) == []


async def test_a_common_name_is_no_evidence_until_more_is_known(store: Store) -> None:
    for n in range(3):
        await store.write(person, "Wang Wei", ("email", f"w{n}@blau{n}.example"))
    who = await store.write(person, "Wang Wei", ("telegram", "7001"))
    await store.write(writes, who, "hello")
    assert await found(store) == []


async def test_the_number_of_a_family_is_suggested_to_few(store: Store) -> None:
    await store.write(known)
    for n in range(6):
        who = await store.write(person, f"u{n}", ("telegram", str(n)))
        await store.write(writes, who, "+447700900123")
    assert len(await found(store)) == suggestions.OF_ONE_AT_MOST


async def test_a_rejected_pair_is_never_suggested_again(store: Store) -> None:
    await store.write(known)
    who = await store.write(person, "lw", ("telegram", "7001"))
    await store.write(writes, who, "+447700900123")
    await found(store)
    (row,) = await store.read(suggestions.best)
    assert await store.write(suggestions.reject, NOW, row.id, "staff:1")
    assert not await store.write(suggestions.reject, NOW, row.id, "staff:1")
    await store.write(writes, who, "A-1001, li.wei@blau.example")
    assert await found(store) == []
    third = await store.write(person, "third", ("web", "v:3"))
    await store.write(merges.merge, NOW, third, who, actor="staff:1")
    pair = Pair(third, 1, 90, (("phone_typed", "+447700900123"),))
    assert await store.write(suggestions.suggest, NOW, pair) is None, "nor as part of somebody else"


async def test_better_evidence_raises_the_score_and_a_merge_decides(store: Store) -> None:
    await store.write(known)
    who = await store.write(person, "lw", ("telegram", "7001"))
    await store.write(writes, who, "A-1001")
    ((_, _, before, _),) = await found(store)
    await store.write(writes, who, "+447700900123, A-1001")
    ((_, _, after, _),) = await found(store)
    assert after > before
    (pair,) = await store.read(suggestions.of, who)
    assert pair[1] == 1
    number = await store.write(merges.merge, NOW, 1, who, actor="staff:1")
    assert await store.read(suggestions.of, 1) == []
    assert await store.read(suggestions.best) == []
    await store.write(merges.undo, NOW, number, actor="staff:1")
    assert await store.read(suggestions.of, 1) == [], "whoever makes two of them says that they are two"
    await store.write(writes, who, "my e-mail is li.wei@blau.example")
    assert await found(store) == []


async def test_there_are_never_too_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestions, "OPEN_AT_MOST", 2)
    people = [await store.write(person, f"p{n}", ("web", f"v:{n}")) for n in range(8)]
    for one, other in zip(people[::2], people[1::2], strict=True):
        await store.write(suggestions.suggest, NOW, Pair(one, other, 60, (("city", "X"),)))
    assert len(await store.read(suggestions.best)) == 2


async def test_what_two_proved_to_share_is_suggested_and_not_linked(store: Store) -> None:
    """A family phone: both are somebody already."""
    await store.write(known)

    def shares(tx: Connection) -> int:
        who = person(tx, "Wife", ("telegram", "7001"), ("email", "wife@post.example"))
        return contacts.prove(tx, NOW, who, space="phone", user_id="+447700900123", how="shared")

    who = await store.write(shares)
    assert who != 1
    (row,) = await store.read(suggestions.best)
    assert (row.score, row.evidence) == (95, [["proved", "phone +447700900123"]])


async def test_what_is_attested_links_whoever_is_nobody_yet_and_that_can_be_taken_back(store: Store) -> None:
    await store.write(known)

    def shares(tx: Connection) -> tuple[int, int]:
        who = person(tx, "Li", ("telegram", "7001"))
        writes(tx, who, "hello")
        return who, contacts.prove(tx, NOW, who, space="phone", user_id="+447700900123", how="shared")

    who, now = await store.write(shares)
    assert now == 1
    (merge,) = await store.read(merges.of, 1)
    assert (merge.actor, merge.how) == ("system", "phone shared")
    await store.write(merges.undo, NOW + timedelta(days=1), merge.id, actor="staff:1")
    identities = await store.read(contacts.identities, who)
    assert [(i.space, i.user_id) for i in identities] == [("telegram", "7001")]
    again = {"space": "phone", "user_id": "+447700900123", "how": "shared"}
    assert await store.write(contacts.prove, NOW, who, **again) == who, (
        "what staff took back is not done again"
    )


async def test_an_attested_address_of_a_role_links_nobody(store: Store) -> None:
    await store.write(person, "Shop", ("email", "info@blau.example"))
    who = await store.write(person, "Li", ("slack", "T1:U1"))
    again = {"space": "email", "user_id": "info@blau.example", "how": "attested"}
    assert await store.write(contacts.prove, NOW, who, **again) == who
    assert await store.read(suggestions.best) == []


async def test_only_one_process_takes_what_is_new(store: Store) -> None:
    await store.write(known)
    who = await store.write(person, "lw", ("telegram", "7001"))
    await store.write(writes, who, "+447700900123")
    looked = await store.read(suggestions.look)
    assert looked
    assert len(await store.write(suggestions.note, NOW, looked)) == 1
    assert await store.write(suggestions.note, NOW, looked) == []
    rows = await store.read(suggestions.untold)
    assert await store.write(suggestions.told, NOW, rows)
    assert not await store.write(suggestions.told, NOW, rows)
    assert await store.read(suggestions.untold) == []


@pytest.mark.parametrize(
    "address",
    ["info@x.example", "noreply@x.example", "no-reply@x.example", "Support@X.example", "客服@x.example",
     "kefu01@x.example", "sales.eu@x.example", "bounce+li=x.example@y.example", "do-not-reply@x.example",
     "售后服务@x.example", "hr@x.example", "office2@x.example"],
)  # fmt: skip
def test_addresses_of_roles_are_shared(address: str) -> None:
    assert is_shared(address)


@pytest.mark.parametrize(
    "address",
    ["li@x.example", "li.wei@x.example", "infolita@x.example", "13800138000@139.com", "mei@x.example",
     "salesforce.fan@x.example", "ann.support@x.example", "me.li@x.example", "lihr@x.example"],
)  # fmt: skip
def test_a_persons_address_is_not(address: str) -> None:
    assert not is_shared(address)


def test_a_public_provider_is_nobodys_own_domain() -> None:
    assert own_domain("li@blau.example") == "blau.example"
    assert {own_domain(f"li@{d}") for d in ("gmail.com", "qq.com", "163.com", "GMX.de", "outlook.com")} == {
        ""
    }
