"""Whose rows somebody sees, what a customer is worth, deals and the audit: the same on both engines."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection

from crm_store import (
    api,
    audit,
    contacts,
    conversations,
    deals,
    notes,
    people,
    profile,
    schema,
    scope,
    stats,
    tickets,
)
from crm_store.conversations import NewMessage
from crm_store.db import Store
from crm_store.hours import ALWAYS
from crm_store.profile import Due
from crm_store.rows import insert_id
from crm_store.scope import Scope
from crm_store.search import text

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
ODDS = {"lead": 10, "offer": 50}


def _filled(tx: Connection) -> dict[str, int]:
    """Ann's customer A and deal of D; Bob's ticket of B; C is nobody's. Ann and Cyd are a team."""
    ids = {}
    for name, team in (("ann", "x"), ("bob", ""), ("cyd", "x")):
        ids[name] = people.add(tx, NOW, name, "sales") or 0
        people.set_team(tx, ids[name], team)
    for name in "ABCD":
        ids[name] = contacts.create(tx, NOW, name=name)
    contacts.set_values(tx, NOW, ids["A"], owner_id=ids["ann"])
    for name in "ABC":
        talk = insert_id(
            tx,
            schema.conversation.insert().values(
                key=name, channel="web", room_id=name, contact_id=ids[name], language="en", created_at=NOW
            ),
        )
        row = tickets.open_new(
            tx, NOW, conversation_id=talk, contact_id=ids[name], kind="enquiry", subject=name, channel="web"
        )
        ids[f"ticket {name}"] = row.id
        conversations.add(
            tx,
            NOW,
            talk,
            NewMessage(
                kind="in",
                channel="web",
                event_id=name,
                text=f"the sofa of {name}",
                author_kind="customer",
                author=name,
                sent_at=NOW,
                ticket_id=row.id,
            ),
        )
    tickets.set_values(tx, ids["ticket B"], assignee_id=ids["bob"])
    row = deals.add(
        tx,
        NOW,
        "staff:1",
        contact_id=ids["D"],
        title="Sofa",
        stage="lead",
        amount_minor=1001,
        currency="EUR",
        owner_id=ids["ann"],
        expected_on=date(2026, 4, 1),
    )
    ids["deal"] = row.id
    return ids


async def test_each_sees_what_is_theirs(store: Store) -> None:
    ids = await store.write(_filled)

    def seen(tx: Connection, name: str) -> tuple[object, ...]:
        whose = Scope(frozenset(people.team_of(tx, ids[name])))
        listed = [row.subject for row in tickets.listing(tx, scope=whose)]
        return (
            "".join(n for n in "ABCD" if scope.has_contact(tx, whose, ids[n])),
            "".join(sorted(listed)),
            "".join(sorted(m.who for m in text.search(tx, text.parse("sofa"), NOW, scope=whose))),
            sum(stats.numbers(tx, NOW, NOW + timedelta(days=1), ALWAYS, whose).opened.values()),
            len(deals.listing(tx, scope=whose)),
            "".join(c.name for c in api.customers(tx, after=0, limit=9, scope=whose)),
            len(api.tickets(tx, after=0, limit=9, scope=whose)),
            len(api.conversations(tx, after=0, limit=9, scope=whose)),
        )

    assert await store.read(seen, "ann") == ("AD", "A", "A", 1, 1, "AD", 1, 1)
    assert await store.read(seen, "cyd") == ("AD", "A", "A", 1, 1, "AD", 1, 1)
    assert await store.read(seen, "bob") == ("B", "B", "B", 1, 0, "B", 1, 1)
    everything = await store.read(lambda tx: stats.numbers(tx, NOW, NOW + timedelta(days=1), ALWAYS).opened)
    assert everything == {"enquiry": 3}


async def test_worth_is_recency_times_number_times_price(store: Store) -> None:
    def work(tx: Connection) -> list[tuple[str, int, int, int]]:
        contact_id = contacts.create(tx, NOW)
        for number, days, status, amount, currency in (
            ("1", 180, "paid", 1000, "EUR"),
            ("2", 400, "paid", 3000, "EUR"),
            ("3", 1, "cancelled", 9000, "EUR"),
            ("4", 0, "paid", 500, "CNY"),
        ):
            tx.execute(
                schema.order.insert().values(
                    number=number,
                    contact_id=contact_id,
                    ordered_at=NOW - timedelta(days=days),
                    status=status,
                    amount_minor=amount,
                    currency=currency,
                    updated_at=NOW,
                )
            )
        return [
            (w.currency, w.value_minor, w.number, w.price_minor) for w in profile.worth(tx, contact_id, NOW)
        ]

    assert await store.write(work) == [("EUR", 2000, 2, 2000), ("CNY", 500, 1, 500)]


async def test_a_card_counts_what_is_next_and_how_it_ended(store: Store) -> None:
    ids = await store.write(_filled)

    def look(tx: Connection) -> None:
        assert profile.next_due(tx, ids["A"]) == Due("ticket", 1, NOW)
        assert profile.next_due(tx, ids["D"]) == Due("deal", 1, date(2026, 4, 1))
        talk = profile.talks(tx, ids["B"])[0]
        assert (talk.channel, talk.outcome, talk.ticket) == ("web", "new", 2)
        assert talk.at.tzinfo is not None
        tickets.set_values(tx, ids["ticket A"], snoozed_until=NOW + timedelta(days=1))
        assert profile.next_due(tx, ids["A"]) == Due("snooze", 1, NOW + timedelta(days=1))
        notes.add(tx, NOW, ids["A"], "likes oak", staff_id=ids["ann"], author="ann")
        assert [(n.text, n.ticket) for n in notes.of_contact(tx, ids["A"])] == [("likes oak", None)]

    await store.write(look)


async def test_the_pipeline_is_the_sum_of_its_deals(store: Store) -> None:
    ids = await store.write(_filled)

    def work(tx: Connection) -> list[tuple[str, int, int, int]]:
        row = deals.get(tx, ids["deal"])
        row = deals.change(tx, NOW, "staff:1", row, stage="offer")
        assert deals.change(tx, NOW, "staff:1", row, stage="offer") is row
        row = deals.add_product(tx, NOW, "staff:1", row, deals.Product("Cushion", 2, 99))
        assert row.amount_minor == 1001
        deals.add(
            tx, NOW, "x", contact_id=ids["A"], title="Gone", stage="old", amount_minor=7, currency="EUR"
        )
        won = deals.add(
            tx, NOW, "x", contact_id=ids["A"], title="W", stage="won", amount_minor=8, currency="EUR"
        )
        assert won.closed_at is not None
        found = deals.pipeline(tx, ODDS, closed_since=NOW - timedelta(days=1))
        return [(s.stage, s.count, s.amount_minor, s.weighted_minor) for s in found]

    assert await store.write(work) == [("offer", 1, 1001, 500), ("old", 1, 7, 0), ("won", 1, 8, 8)]


async def test_an_audit_of_a_customer_has_everything_about_them(store: Store) -> None:
    ids = await store.write(_filled)

    def work(tx: Connection) -> list[str]:
        for action, object, detail in (
            ("profile", f"contact:{ids['A']}", {"via": "slack"}),
            ("close", "ticket:1", {}),
            ("close", "ticket:2", {}),
            ("api:list_customers", "", {"contacts": [ids["A"], ids["B"]]}),
            ("api:list_customers", "", {"contacts": [ids["B"]]}),
        ):
            audit.record(tx, NOW, "staff:1", action, object, **detail)
        assert audit.count_objects(tx, "staff:1", "close", NOW - timedelta(hours=1)) == 2
        assert audit.count_objects(tx, "staff:1", "close", NOW, but={"ticket:1"}) == 0
        assert len(audit.of_actors(tx, ["staff:1"], limit=3)) == 3
        found = audit.of_contact(tx, [ids["A"]])
        older = audit.of_contact(tx, [ids["A"]], before=found[0].id)
        assert [row.id for row in older] == [row.id for row in found[1:]]
        return [row.action for row in found]

    assert await store.write(work) == ["api:list_customers", "close", "profile"]


async def test_a_colleague_is_found_by_a_name_of_any_script_in_any_case(store: Store) -> None:
    for name in ("Łukasz", "Анна"):
        assert await store.write(people.add, NOW, name, "agent")
    for said, name in (("łukasz", "Łukasz"), ("ŁUKASZ", "Łukasz"), ("Анна", "Анна"), ("анна", "Анна")):
        row = await store.read(people.by_name, said)
        assert row is not None, said
        assert row.name == name
