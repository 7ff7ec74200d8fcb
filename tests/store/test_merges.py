"""Two contacts become one and two again, and everything is as it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from crm_store import (
    audit,
    contacts,
    conversations,
    importer,
    merges,
    sales,
    schema,
    segments,
    since_merge,
    tickets,
)
from crm_store.conversations import NewMessage
from crm_store.db import Store
from crm_store.exporter import export
from crm_store.importing.values import Defaults
from crm_store.merges import Refused
from crm_store.search import find_contacts, indexing
from tests.stores import open_postgres, open_sqlite

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=3)
OUR_OWN = {"audit", "merge", "merge_row", "suggestion", "confirmation"}


def everything(tx: Connection) -> dict[str, list[Any]]:
    """All rows of all tables; of contacts not when they were last touched: other systems follow by that."""
    found = {}
    for table in schema.metadata.sorted_tables:
        if table.name in OUR_OWN:
            continue
        columns = [c for c in table.columns if (table.name, c.name) != ("contact", "updated_at")]
        rows = tx.execute(select(*columns).order_by(*table.primary_key.columns)).all()
        found[table.name] = [tuple(row) for row in rows]
    return found


def person(tx: Connection, name: str, *accounts: tuple[str, str], at: datetime = NOW, **values: Any) -> int:
    number = contacts.create(tx, at, name=name)
    if values:
        tx.execute(schema.contact.update().where(schema.contact.c.id == number).values(**values))
    for space, user_id in accounts:
        contacts.add_identity(tx, at, number, space=space, user_id=user_id, name=name)
    return number


def talk(tx: Connection, number: int, room: str, *texts: str, at: datetime = NOW, ticket: bool = True) -> Any:
    """A conversation opened by the account of that name, with a ticket."""
    account = contacts.find_identity(tx, "telegram", room)
    talked = conversations.open_at(
        tx, at, channel="telegram", room_id=room, thread_id="", contact_id=number, language="en",
        identity_id=account.id if account else None,
    )  # fmt: skip
    for text in texts:
        say(tx, talked.id, text, at)
    if ticket:
        tickets.open_new(
            tx, at, conversation_id=talked.id, contact_id=number, subject=texts[0] if texts else "", 
            kind="enquiry", channel="telegram",
        )  # fmt: skip
    return talked


def say(
    tx: Connection, conversation_id: int, text: str, at: datetime = NOW, author: int | None = None
) -> None:
    message = NewMessage("in", "telegram", text, "customer", "Li", at, author_id=author)
    conversations.add(tx, at, conversation_id, message)


def buy(tx: Connection, number: int, name: str, at: datetime = NOW) -> None:
    tx.execute(
        schema.order.insert().values(
            number=name, contact_id=number, ordered_at=at, status="paid", amount_minor=1000, currency="EUR",
            updated_at=at,
        )
    )  # fmt: skip


def of(tx: Connection, table: Any, number: int) -> list[int]:
    return list(tx.execute(select(table.c.id).where(table.c.contact_id == number)).scalars())


def two(tx: Connection) -> tuple[int, int]:
    """Li Wei of the shop, and somebody who writes on Telegram."""
    keep = person(
        tx, "Li Wei", ("email", "li@example.com"), ("ref", "K-17"), city="London", tags=["vip", "new"],
        fields={"size": "L"},
    )  # fmt: skip
    drop = person(
        tx, "liwei88", ("telegram", "7001"), at=NOW - timedelta(days=90), language="zh", city="Leeds",
        tags=["new", "loud"], fields={"size": "XL", "shoe": 42}, company="Wei & Co",
    )  # fmt: skip
    buy(tx, keep, "A-1")
    buy(tx, drop, "A-2")
    talk(tx, drop, "7001", "hello", "where is it?")
    return keep, drop


async def test_what_was_two_is_one(store: Store) -> None:
    keep, drop = await store.write(two)
    plan = await store.read(merges.plan, keep, drop)
    assert (plan.counts["identity"], plan.counts["conversation"], plan.counts["ticket"]) == (1, 1, 1)
    assert (plan.counts["customer_order"], plan.messages) == (1, 2)
    assert dict(plan.given) == {"language": "zh", "company": "Wei & Co"}
    assert plan.outvoted == (("name", "Li Wei", "liwei88"), ("city", "London", "Leeds"))
    assert (plan.tags, plan.fields) == (("loud",), ("shoe",))
    await store.write(merges.merge, NOW, keep, drop, actor="staff:1")

    def check(tx: Connection) -> None:
        row = contacts.get(tx, keep)
        assert (row.name, row.language, row.city, row.company) == ("Li Wei", "zh", "London", "Wei & Co")
        assert row.tags == ["vip", "new", "loud"]
        assert row.fields == {"size": "L", "shoe": 42}
        assert row.created_at == NOW - timedelta(days=90), "known since the earlier of the two"
        for table in (schema.identity, schema.conversation, schema.ticket, schema.order):
            assert of(tx, table, drop) == []
        assert sales.summary(tx, keep).count == 2
        assert merges.current(tx, drop) == keep
        assert merges.inside(tx, keep) == [drop]
        assert [h.contact_id for h in find_contacts(tx, str(drop))] == [keep], "by its old number"

    await store.read(check)


async def test_a_merged_contact_is_in_no_list(store: Store) -> None:
    keep, drop = await store.write(two)
    await indexing.catch_up(store)
    everybody = segments.parse("city:Leeds or city:London")
    assert await store.read(segments.count, everybody, NOW) == 2
    await store.write(merges.merge, NOW, keep, drop, actor="staff:1")

    def check(tx: Connection) -> None:
        assert segments.count(tx, everybody, NOW) == 1
        assert segments.select_ids(tx, everybody, NOW) == [keep]
        assert [h.contact_id for h in find_contacts(tx, "liwei88")] == [keep], "by the name of the account"
        assert len(list(export(tx, "customers"))) == 2, "a head and one"

    await store.read(check)
    await indexing.catch_up(store)
    await store.read(check)
    (merge,) = await store.read(merges.of, keep)
    await store.write(merges.undo, NOW, merge.id, actor="staff:1")
    await indexing.catch_up(store)
    assert [h.contact_id for h in await store.read(find_contacts, "liwei88")] == [drop]
    assert await store.read(segments.count, everybody, NOW) == 2


async def test_a_merge_undone_was_never(store: Store) -> None:
    keep, drop = await store.write(two)
    before = await store.read(everything)
    number = await store.write(merges.merge, NOW, keep, drop, actor="staff:1")
    assert await store.read(everything) != before
    assert await store.write(merges.undo, LATER, number, actor="staff:1") == drop
    assert await store.read(everything) == before
    with pytest.raises(Refused) as refused:
        await store.write(merges.undo, LATER, number, actor="staff:1")
    assert refused.value.reason == "undone"


async def test_what_came_since_stays_with_the_one_by_whose_account_it_came(store: Store) -> None:
    keep, drop = await store.write(two)
    number = await store.write(merges.merge, NOW, keep, drop, actor="staff:1")

    def since(tx: Connection) -> tuple[int, int, int, int]:
        old = conversations.at_address(tx, "telegram", "7001", "")
        say(tx, old.id, "still nothing", LATER, author=keep)
        again = tickets.open_new(
            tx, LATER, conversation_id=old.id, contact_id=keep, subject="again", kind="enquiry",
            channel="telegram",
        )  # fmt: skip
        contacts.add_identity(tx, LATER, keep, space="telegram", user_id="8001")
        theirs = talk(tx, keep, "8001", "it is me, from the shop", at=LATER)
        new = conversations.open_at(
            tx, LATER, channel="second", room_id="7001", thread_id="", contact_id=keep, language="en",
            identity_id=contacts.find_identity(tx, "telegram", "7001").id,  # type: ignore[union-attr]
        )  # fmt: skip
        buy(tx, keep, "A-3", LATER)
        contacts.set_values(tx, LATER, keep, company="Wei Ltd", tags=["vip", "new", "loud", "kept"])
        return again.id, theirs.id, new.id, old.id

    again, theirs, new, old = await store.write(since)
    await store.write(merges.undo, LATER, number, actor="staff:1")

    def check(tx: Connection) -> None:
        assert {old, new} == set(of(tx, schema.conversation, drop))
        assert again in of(tx, schema.ticket, drop), "a ticket is whose conversation it is in"
        assert of(tx, schema.conversation, keep) == [theirs]
        assert [o.number for o in sales.orders_of(tx, keep)] == ["A-3", "A-1"], "an order names no account"
        assert [o.number for o in sales.orders_of(tx, drop)] == ["A-2"]
        said = dict(tx.execute(select(schema.message.c.text, schema.message.c.author_id)).all())
        assert said["still nothing"] == drop, "their words are their own"
        row = contacts.get(tx, keep)
        assert row.company == "Wei Ltd", "what was changed since stays"
        assert row.language is None
        assert row.tags == ["vip", "new", "kept"]
        assert contacts.get(tx, drop).company == "Wei & Co"

    await store.read(check)


async def test_an_order_that_named_the_other_ones_address_goes_to_them(store: Store, tmp_path: Path) -> None:
    def three(tx: Connection) -> tuple[int, int, int]:
        first, second = (person(tx, name, ("email", f"{name}@x.example")) for name in ("ann", "bob"))
        return first, second, person(tx, "cid", ("email", "cid@x.example"))

    ann, bob, cid = await store.write(three)
    inner = await store.write(merges.merge, NOW, ann, bob, actor="staff:1")
    outer = await store.write(merges.merge, NOW, cid, ann, actor="staff:1")
    file = tmp_path / "orders.csv"
    rows = [
        f"{name[0].upper()}-9,2026-09-01,{name}@x.example,paid,5.00,EUR" for name in ("ann", "bob", "cid")
    ]
    file.write_text("number,date,email,status,amount,currency\n" + "\n".join(rows))
    report = await importer.run(store, "orders", file, Defaults(), LATER)
    assert report.new == 3

    def told(tx: Connection) -> None:  # another system names the customer by the number it knows
        buy(tx, cid, "B-10", LATER)
        (number,) = tx.execute(select(schema.order.c.id).where(schema.order.c.number == "B-10")).scalars()
        since_merge.came_to(tx, "customer_order", number, bob)

    await store.write(told)

    def orders(tx: Connection) -> list[set[str]]:
        return [{o.number for o in sales.orders_of(tx, one)} for one in (ann, bob, cid)]

    assert await store.read(orders) == [set(), set(), {"A-9", "B-9", "C-9", "B-10"}]
    await store.write(merges.undo, LATER, outer, actor="staff:1")
    assert await store.read(orders) == [{"A-9", "B-9", "B-10"}, set(), {"C-9"}]
    await store.write(merges.undo, LATER, inner, actor="staff:1")
    assert await store.read(orders) == [{"A-9"}, {"B-9", "B-10"}, {"C-9"}]
    again = await importer.run(store, "orders", file, Defaults(), LATER)
    assert (again.new, again.updated, len(again.rejected)) == (0, 0, 0)  # and the shop's file still fits


async def test_merges_nest_and_come_apart_from_the_outside(store: Store) -> None:
    a, b = await store.write(two)
    c = await store.write(lambda tx: person(tx, "Wei Li", ("phone", "+447700900123"), tags=["loud"]))
    states = [await store.read(everything)]
    first = await store.write(merges.merge, NOW, a, b, actor="staff:1")
    states.append(await store.read(everything))
    second = await store.write(merges.merge, NOW, c, a, actor="staff:1")
    assert await store.read(merges.group, b) == [c, a, b]
    assert await store.read(merges.current, b) == c
    with pytest.raises(Refused) as refused:
        await store.write(merges.undo, NOW, first, actor="staff:1")
    assert (refused.value.reason, refused.value.other) == ("inside", second)
    await store.write(merges.undo, NOW, second, actor="staff:1")
    assert await store.read(everything) == states[1]
    await store.write(merges.undo, NOW, first, actor="staff:1")
    assert await store.read(everything) == states[0]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1)])
async def test_several_in_one_come_back_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    async with open_sqlite(tmp_path) as store:

        def people(tx: Connection) -> list[int]:
            a = person(tx, "", ("web", "v:1"), tags=[], fields={})
            more = [
                person(tx, f"N{i}", ("telegram", str(i)), tags=["x", f"t{i}"], fields={"k": i, f"f{i}": 1},
                       at=NOW - timedelta(days=10 * i))
                for i in range(3)
            ]  # fmt: skip
            return [a, *more]

        a, *others = await store.write(people)
        before = await store.read(everything)
        numbers = [await store.write(merges.merge, NOW, a, one, actor="staff:1") for one in others]
        assert (await store.read(contacts.get, a)).name == "N0"
        await store.write(merges.undo, NOW, numbers[order[0]], actor="staff:1")
        left = min(i for i in range(3) if i != order[0])
        row = await store.read(contacts.get, a)
        assert (row.name, row.fields["k"]) == (f"N{left}", left), "what the next has to give is given now"
        assert "x" in row.tags
        for i in order[1:]:
            await store.write(merges.undo, NOW, numbers[i], actor="staff:1")
        assert await store.read(everything) == before


async def test_what_cannot_be_merged_is_refused_with_its_reason(store: Store) -> None:
    keep, drop = await store.write(two)

    async def reason(*who: int) -> str:
        with pytest.raises(Refused) as refused:
            await store.write(merges.merge, NOW, *who, actor="staff:1")
        return refused.value.reason

    assert await reason(keep, keep) == "same"
    assert await reason(keep, 999) == "unknown"
    await store.write(merges.merge, NOW, keep, drop, actor="staff:1")
    assert await reason(keep, drop) == "merged"
    assert await reason(drop, keep) == "merged"


async def test_of_two_who_merge_at_once_one_is_told(store: Store) -> None:
    keep, drop = await store.write(two)
    pairs = [(keep, drop), (drop, keep)]
    done = await asyncio.gather(
        *(store.write(merges.merge, NOW, *pair, actor=f"staff:{i}") for i, pair in enumerate(pairs)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, int) for one in done) == 1, done
    assert [one.reason for one in done if isinstance(one, Refused)] == ["merged"]


async def test_what_is_written_to_a_merged_contact_by_somebody_slow_follows(store: Store) -> None:
    keep, drop = await store.write(two)
    before = await store.read(everything)
    number = await store.write(merges.merge, NOW, keep, drop, actor="staff:1")
    await store.write(buy, drop, "A-9", NOW)
    assert await store.write(merges.settle, NOW) == 1
    assert [o.number for o in await store.read(sales.orders_of, keep)] == ["A-9", "A-2", "A-1"]
    assert await store.write(merges.settle, NOW) == 0
    await store.write(merges.undo, NOW, number, actor="staff:1")
    after = await store.read(everything)
    assert len(after["customer_order"]) == len(before["customer_order"]) + 1
    assert "A-9" in [o.number for o in await store.read(sales.orders_of, drop)]


async def test_erasing_leaves_nothing_to_undo(store: Store) -> None:
    keep, drop = await store.write(two)
    number = await store.write(merges.merge, NOW, keep, drop, actor="staff:1")
    await store.write(merges.forget, keep)
    row = await store.read(merges.get, number)
    assert row.gave == {"columns": {}, "tags": [], "fields": [], "since": "", "marks": []}
    assert await store.read(lambda tx: tx.execute(select(schema.merge_row)).all()) == []


async def test_both_have_it_in_their_audit(store: Store) -> None:
    keep, drop = await store.write(two)
    number = await store.write(merges.merge, NOW, keep, drop, actor="staff:1")
    await store.write(merges.undo, NOW, number, actor="staff:2")
    for one in (keep, drop):
        found = await store.read(lambda tx, one=one: audit.entries(tx, object=f"contact:{one}"))
        assert [(e.actor, e.action) for e in found] == [("staff:2", "unmerge"), ("staff:1", "merge")]


def test_every_table_that_names_a_contact_goes_over_or_is_known_to_stay() -> None:
    naming = {
        table
        for table in schema.metadata.tables.values()
        if any(key.column.table is schema.contact for key in table.foreign_keys)
    }
    assert naming == set(merges.OWNED) | set(merges.LEFT)


# --- merge, then unmerge, is identity -----------------------------------------------------------------------

SOME = st.sampled_from(["", "Li Wei", "张三", "ann", "Ann O'Neil"])
TAGS = st.lists(st.sampled_from(["vip", "new", "老客户", "loud"]), max_size=4)
FIELDS = st.dictionaries(
    st.sampled_from(["size", "尺码", "n"]), st.one_of(st.none(), st.integers(-9, 9), SOME), max_size=3
)
COLUMNS = st.fixed_dictionaries(
    {"name": SOME, "city": SOME, "company": SOME, "tags": TAGS, "fields": FIELDS},
    optional={
        "language": st.sampled_from([None, "en", "zh"]),
        "timezone": st.sampled_from([None, "UTC"]),
        "country": st.sampled_from(["", "DE"]),
        "owner_id": st.sampled_from([None, 1, 2]),
        "created_at": st.integers(-900, 900).map(lambda days: NOW + timedelta(days=days)),
    },
)
ACT = st.tuples(
    st.sampled_from(
        ["identity", "talk", "say", "order", "event", "note", "deal", "consent", "merge", "mark"]
    ),
    st.integers(0, 3),
    st.integers(0, 3),
)


def live(tx: Connection, people: list[int], acts: list[tuple[str, int, int]], when: str = "") -> None:
    """A history: whatever may happen to some contacts, in any order. One that comes after another says `when`."""
    for n, (what, one, other) in enumerate(acts):
        who = merges.current(tx, people[one])
        key = f"{n}-{who}-{len(acts)}{when}"
        talks = tx.execute(select(schema.conversation.c.id)).scalars().all()
        match what:
            case "identity":
                contacts.add_identity(tx, NOW, who, space="telegram", user_id=key)
            case "talk":
                accounts = [i for i in contacts.identities(tx, who) if i.space == "telegram"]
                talk(
                    tx,
                    who,
                    accounts[other % len(accounts)].user_id if accounts else key,
                    "hello",
                    ticket=n % 2 == 0,
                )
            case "say" if talks:
                say(tx, talks[one % len(talks)], "more")
            case "order":
                buy(tx, who, key)
            case "event":
                tx.execute(
                    schema.customer_event.insert().values(
                        contact_id=who, kind="visit", at=NOW, fields={}, created_at=NOW
                    )
                )
            case "note":
                tx.execute(
                    schema.contact_note.insert().values(
                        contact_id=who, author="Mei", text="?", created_at=NOW
                    )
                )
            case "deal":
                tx.execute(
                    schema.deal.insert().values(
                        number=_count(tx, schema.deal),
                        contact_id=who, title="?", stage="new", amount_minor=1, currency="EUR",
                        created_at=NOW, updated_at=NOW, stage_at=NOW,
                    )
                )  # fmt: skip
            case "consent":
                tx.execute(
                    schema.consent.insert().values(
                        contact_id=who, purpose="marketing", state="granted", source="?", actor="cli", at=NOW,
                        created_at=NOW,
                    )
                )  # fmt: skip
            case "mark":
                mark = schema.contact_mark
                tx.execute(mark.delete().where(mark.c.contact_id == who, mark.c.field == "city"))
                tx.execute(mark.insert().values(contact_id=who, field="city", value="?", how="inferred"))
            case "merge" if who != merges.current(tx, people[other]):
                merges.merge(tx, NOW, who, merges.current(tx, people[other]), actor="staff:1")


def _count(tx: Connection, table: Any) -> int:
    return len(tx.execute(select(table.c.id)).all())


HISTORIES = given(
    columns=st.lists(COLUMNS, min_size=4, max_size=4),
    acts=st.lists(ACT, max_size=14),
    pair=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)


def _there_and_back(
    tx: Connection, columns: list[dict[str, Any]], acts: list[tuple[str, int, int]], pair: tuple[int, int]
) -> None:
    people = []
    for n, values in enumerate(columns):
        people.append(person(tx, "", ("web", f"v:{n}")))
        tx.execute(schema.contact.update().where(schema.contact.c.id == people[-1]).values(**values))
    live(tx, people, acts)
    keep, drop = (merges.current(tx, people[i]) for i in pair)
    if keep == drop:
        return
    before = everything(tx)
    number = merges.merge(tx, LATER, keep, drop, actor="staff:1")
    assert all(not of(tx, table, drop) for table in merges.OWNED)
    merges.undo(tx, LATER, number, actor="staff:1")
    assert everything(tx) == before


def _apart_again(
    tx: Connection,
    columns: list[dict[str, Any]],
    acts: list[tuple[str, int, int]],
    steps: list[tuple[int, int]],
) -> None:
    """Merges and their ends in any order that is allowed; when none is left, nothing is different."""
    people = []
    for n, values in enumerate(columns):
        people.append(person(tx, "", ("web", f"v:{n}")))
        tx.execute(schema.contact.update().where(schema.contact.c.id == people[-1]).values(**values))
    live(tx, people, [act for act in acts if act[0] != "merge"])
    before, done = everything(tx), []
    for one, other in steps:
        keep, drop = (merges.current(tx, people[i]) for i in (one, other))
        if keep != drop:
            done.append(merges.merge(tx, LATER, keep, drop, actor="staff:1"))
        elif done:
            number = done[(one + other) % len(done)]
            with contextlib.suppress(Refused):
                merges.undo(tx, LATER, number, actor="staff:1")
                done.remove(number)
    while done:
        number = next(n for n in done if not _is_inside(tx, n))
        merges.undo(tx, LATER, number, actor="staff:1")
        done.remove(number)
    assert everything(tx) == before


def _meanwhile(
    tx: Connection,
    columns: list[dict[str, Any]],
    acts: list[tuple[str, int, int]],
    since: list[tuple[str, int, int]],
) -> None:
    """Whatever happens between a merge and its end: what was somebody's is theirs again, and what is new is of the
    two, a conversation of whoever's account opened it, a ticket of whose conversation it is in."""
    people = []
    for n, values in enumerate(columns):
        people.append(person(tx, "", ("web", f"v:{n}"), ("telegram", f"t{n}")))
        tx.execute(schema.contact.update().where(schema.contact.c.id == people[-1]).values(**values))
    live(tx, people, acts)
    keep, drop = (merges.current(tx, one) for one in people[:2])
    if keep == drop:
        return
    owners = _owners(tx)
    number = merges.merge(tx, LATER, keep, drop, actor="staff:1")
    live(tx, people, [act for act in since if act[0] != "merge"], " since")
    merges.undo(tx, LATER, number, actor="staff:1")
    after = _owners(tx)
    assert {row: after[row] for row in owners} == owners
    accounts = {row_id: who for (kind, row_id), who in after.items() if kind == "identity"}
    talks = {row_id: who for (kind, row_id), who in after.items() if kind == "conversation"}
    table = schema.conversation
    for row in tx.execute(select(table.c.id, table.c.contact_id, table.c.identity_id)):
        if ("conversation", row.id) not in owners and row.identity_id is not None:
            assert row.contact_id == accounts[row.identity_id]
    for ticket in tx.execute(select(schema.ticket)):
        if ("ticket", ticket.id) not in owners:
            assert ticket.contact_id == talks[ticket.conversation_id]


def _owners(tx: Connection) -> dict[tuple[str, int], int]:
    return {
        (table.name, row.id): row.contact_id
        for table in merges.OWNED
        for row in tx.execute(select(table.c.id, table.c.contact_id))
    }


def _is_inside(tx: Connection, number: int) -> bool:
    try:
        merges.undoable(tx, number)
    except Refused as error:
        return error.reason == "inside"
    return False


class _Undone(Exception):
    """The example is over; nothing of it stays."""


def _example(run: Callable[..., None]) -> Callable[..., None]:
    def work(tx: Connection, *given: Any) -> None:
        run(tx, *given)
        raise _Undone

    return work


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_merge_then_unmerge_is_identity_for_any_two_with_any_history(tmp_path: Path, engine: str) -> None:
    loop = asyncio.new_event_loop()
    opening = open_sqlite(tmp_path) if engine == "sqlite" else open_postgres()
    store = loop.run_until_complete(opening.__aenter__())

    @HISTORIES
    @settings(
        max_examples=30 if engine == "sqlite" else 10,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(columns: Any, acts: Any, pair: Any) -> None:
        with pytest.raises(_Undone):
            loop.run_until_complete(store.write(_example(_there_and_back), columns, acts, pair))

    @given(
        columns=st.lists(COLUMNS, min_size=4, max_size=4),
        acts=st.lists(ACT, max_size=8),
        steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8),
    )
    @settings(
        max_examples=20 if engine == "sqlite" else 8, deadline=None, suppress_health_check=list(HealthCheck)
    )
    def check_many(columns: Any, acts: Any, steps: Any) -> None:
        with pytest.raises(_Undone):
            loop.run_until_complete(store.write(_example(_apart_again), columns, acts, steps))

    @given(
        columns=st.lists(COLUMNS, min_size=4, max_size=4),
        acts=st.lists(ACT, max_size=8),
        since=st.lists(ACT, max_size=8),
    )
    @settings(
        max_examples=20 if engine == "sqlite" else 8, deadline=None, suppress_health_check=list(HealthCheck)
    )
    def check_meanwhile(columns: Any, acts: Any, since: Any) -> None:
        with pytest.raises(_Undone):
            loop.run_until_complete(store.write(_example(_meanwhile), columns, acts, since))

    try:
        check()
        check_many()
        check_meanwhile()
    finally:
        loop.run_until_complete(opening.__aexit__(None, None, None))
        loop.close()
