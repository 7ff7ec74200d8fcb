"""The numbers of a period, and of a customer, are those of the rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Connection

from crm_store import sales, schema, stats
from crm_store.db import Store
from crm_store.hours import ALWAYS, BusinessHours
from crm_store.rows import insert_id
from crm_store.sales import Value

SINCE, UNTIL = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)  # a week from Monday
OFFICE = BusinessHours.parse("Mon-Fri 09:00-18:00", "Asia/Shanghai")  # 01:00 to 10:00 UTC
HOUR = timedelta(hours=1)

_numbers = count(1)


def contact(tx: Connection) -> int:
    return insert_id(
        tx, schema.contact.insert().values(tags=[], fields={}, created_at=SINCE, updated_at=SINCE)
    )


def conversation(tx: Connection, channel: str = "web") -> int:
    n = next(_numbers)
    values = {"key": f"k{n}", "channel": channel, "room_id": f"r{n}", "language": "en", "created_at": SINCE}
    return insert_id(tx, schema.conversation.insert().values(contact_id=contact(tx), **values))


def say(
    tx: Connection, conversation_id: int, at: datetime, kind: str, author_kind: str, channel: str = "web"
) -> None:
    tx.execute(
        schema.message.insert().values(
            conversation_id=conversation_id,
            seq=next(_numbers),
            kind=kind,
            channel=channel,
            author_kind=author_kind,
            text="words",
            recipients=[],
            warnings=[],
            sent_at=datetime(1999, 1, 1, tzinfo=UTC),  # a mail's own date may be anything
            created_at=at,
        )
    )


def ticket(tx: Connection, conversation_id: int, opened_at: datetime, **values: Any) -> None:
    n = next(_numbers)
    row = {
        **{
            "number": n,
            "conversation_id": conversation_id,
            "contact_id": contact(tx),
            "opened_at": opened_at,
        },
        **{"kind": "enquiry", "status": "open", "subject": "", "channel": "web"},
        **values,
    }
    tx.execute(schema.ticket.insert().values(**row))


def a_week(tx: Connection) -> None:
    monday = SINCE + 2 * HOUR  # 10:00 in Shanghai
    by_bot, by_staff, unanswered = conversation(tx), conversation(tx, "mail"), conversation(tx, "mail")
    say(tx, by_bot, monday, "in", "customer")
    say(tx, by_bot, monday, "out", "bot")
    say(tx, by_bot, UNTIL, "in", "customer")  # next week's
    say(tx, by_staff, monday, "in", "customer", "mail")
    say(tx, by_staff, monday, "out", "bot", "mail")
    say(tx, by_staff, monday + HOUR, "out", "staff", "mail")
    say(tx, by_staff, monday, "note", "staff", "mail")
    say(tx, unanswered, monday, "in", "customer", "mail")
    ticket(
        tx,
        by_staff,
        monday,
        first_response_at=monday + HOUR,
        closed_at=monday + 25 * HOUR,  # 10 hours of work later
        status="closed",
        rating=4,
        rated_at=monday + 30 * HOUR,
    )
    friday = SINCE + timedelta(days=4, hours=9)  # 17:00 in Shanghai
    ticket(tx, unanswered, friday, kind="complaint", priority="urgent", rating=1, rated_at=friday)
    ticket(
        tx,
        conversation(tx),
        SINCE - timedelta(days=7),
        first_response_at=SINCE - timedelta(days=6),
        closed_at=SINCE - timedelta(days=5),
    )
    ticket(tx, conversation(tx), SINCE - timedelta(days=7))


async def test_a_week_in_numbers(store: Store) -> None:
    await store.write(a_week)
    week = await store.read(stats.numbers, SINCE, UNTIL, OFFICE)
    assert week.volumes == (stats.Volume("mail", 2, 2), stats.Volume("web", 1, 1))
    assert (week.opened, week.closed) == ({"complaint": 1, "enquiry": 1}, {"enquiry": 1})
    assert week.first_response == stats.Times(1, HOUR, HOUR)
    assert week.resolution == stats.Times(1, 10 * HOUR, 10 * HOUR)
    assert (week.conversations, week.answered_by_bot) == (3, 1)
    assert week.bot_share == 1 / 3
    assert week.ratings == stats.Ratings(2, 2.5, {1: 1, 2: 0, 3: 0, 4: 1, 5: 0})
    assert week.backlog == {"normal": 1, "urgent": 1}
    assert week.oldest_unclosed_at == SINCE - timedelta(days=7)


async def test_a_period_without_anything_is_zeros_not_an_error(store: Store) -> None:
    none = await store.read(stats.numbers, SINCE, UNTIL, ALWAYS)
    assert (none.volumes, none.opened, none.backlog, none.oldest_unclosed_at) == ((), {}, {}, None)
    assert none.first_response == stats.Times(0, None, None)
    assert (none.bot_share, none.ratings.mean) == (None, None)


def test_percentiles_are_of_what_happened() -> None:
    ten = stats.times(timedelta(minutes=n) for n in range(1, 11))
    assert (ten.median, ten.p90) == (timedelta(minutes=5.5), timedelta(minutes=9))


async def test_what_a_customer_is_worth(store: Store) -> None:
    def buy(tx: Connection) -> tuple[int, int]:
        anna, nobody = contact(tx), contact(tx)
        for n, (amount, currency, status) in enumerate(
            [
                (1000, "EUR", "shipped"),
                (500, "EUR", "new"),
                (9900, "CNY", "paid"),
                (70000, "EUR", "cancelled"),
            ]
        ):
            order_id = insert_id(
                tx,
                schema.order.insert().values(
                    number=f"A-{n}",
                    contact_id=anna,
                    ordered_at=SINCE + n * HOUR,
                    status=status,
                    amount_minor=amount,
                    currency=currency,
                    updated_at=SINCE,
                ),
            )
            tx.execute(
                schema.order_line.insert().values(
                    order_id=order_id, name="tea", quantity=n, amount_minor=amount
                )
            )
        return anna, nobody

    anna, nobody = await store.write(buy)
    known = await store.read(sales.summary, anna)
    assert known == sales.Sales(4, SINCE + 3 * HOUR, (Value(9900, "CNY"), Value(1500, "EUR")))
    assert await store.read(sales.summary, nobody) == sales.Sales(0, None, ())
    assert [row.number for row in await store.read(sales.orders_of, anna, limit=2)] == ["A-3", "A-2"]
    for written in ("A-1", "#a-1", " ａ－１ "):
        assert (await store.read(sales.order_by_number, written)).amount_minor == 500
    assert await store.read(sales.order_by_number, "A-9") is None
    row = await store.read(sales.order_by_number, "A-1")
    assert [line.name for line in await store.read(sales.lines, row.id)] == ["tea"]
