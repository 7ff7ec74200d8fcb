"""What an import and its undoing must leave alone: whatever others said, made or were promised meanwhile."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select

from crm_store import consent, deals, importer, schema
from crm_store.db import Store
from crm_store.importer import Defaults, Report
from crm_store.importing.columns import Kind
from crm_store.importing.undo import undo

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PEOPLE = "email,name\na@b.cc,Anna\nb@b.cc,Bo\n"


async def bring(store: Store, kind: Kind, directory: Path, text: str, now: datetime = NOW) -> Report:
    path = directory / f"{kind}.csv"
    path.write_text(text)
    return await importer.run(store, kind, path, Defaults(currency="EUR"), now)


async def test_a_consent_that_a_file_gave_goes_with_the_import(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, PEOPLE)
    await store.write(
        lambda tx: consent.add(tx, NOW, 2, "marketing_email", "granted", source="web", actor="customer")
    )
    text = "email,name,consent\na@b.cc,Anna,yes\nb@b.cc,Bo,no\nc@b.cc,Cleo,yes\n"
    run = await bring(store, "customers", tmp_path, text, NOW + HOUR)
    assert (run.new, run.updated, run.unchanged) == (1, 2, 0)
    again = await bring(store, "customers", tmp_path, text, NOW + HOUR)
    assert (again.new, again.updated, again.unchanged) == (0, 0, 3)

    def may(tx: Connection) -> list[bool]:
        return [consent.granted(tx, number, "marketing_email") for number in (1, 2, 3)]

    assert await store.read(may) == [True, False, True]
    assert (await undo(store, run.run_id, NOW + 2 * HOUR)).removed == 1
    assert await store.read(may) == [False, True, False]
    assert len(await store.read(consent.ledger, 2)) == 1


async def test_an_event_under_the_number_of_one_that_is_forgotten_stays(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, PEOPLE)
    event = schema.customer_event
    run = await bring(
        store, "events", tmp_path, "kind,at,email\nview,2026-01-01,a@b.cc\nlike,2026-01-02,b@b.cc\n"
    )

    def forgotten_and_another(tx: Connection) -> None:
        last = tx.execute(select(event).where(event.c.kind == "like")).one()
        tx.execute(delete(event).where(event.c.id == last.id))
        values = {**last._mapping, "kind": "later", "key": "api:1", "created_at": NOW + HOUR}
        tx.execute(event.insert().values(**values))

    await store.write(forgotten_and_another)
    assert (await undo(store, run.run_id, NOW + 2 * HOUR)).removed == 1
    assert await store.read(lambda tx: tx.execute(select(event.c.kind)).scalars().all()) == ["later"]


async def test_the_d1_of_another_system_is_not_our_deal_1(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, PEOPLE)
    ours = {"contact_id": 1, "title": "Sofa", "stage": "new", "amount_minor": 100, "currency": "EUR"}
    await store.write(lambda tx: deals.add(tx, NOW, "cli", **ours))
    head = "key,title,amount,currency,email\n"
    report = await bring(store, "deals", tmp_path, head + "D1,Lamp,7,EUR,b@b.cc\nD1,Bed,7,EUR,n@b.cc\n")
    assert [bad.reason_key for bad in report.rejected] == ["deal_owner", "deal_owner"]
    assert [d.title for d in await store.read(deals.listing)] == ["Sofa"]
    report = await bring(store, "deals", tmp_path, "owner," + head + "Nobody,D1,Sofa bed,7,EUR,a@b.cc\n")
    assert (report.updated, [bad.reason_key for bad in report.rejected]) == (1, ["no_such_owner"])
    assert [d.title for d in await store.read(deals.listing)] == ["Sofa bed"]


LISTS = (
    "email,name,company,phone,tags,colour,consent\na@b.cc,Anna B.,Old,+12125550101,x,red,yes\n",
    "email,name,company,phone,tags,colour,size\na@b.cc,Anna C.,New,+12125550102,y,blue,9\n",
    "email,name,tags\na@b.cc,Anna D.,z\n",
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_imports_of_one_customer_are_undone_in_any_order(
    store: Store, tmp_path: Path, order: tuple[int, ...]
) -> None:
    await bring(store, "customers", tmp_path, PEOPLE)
    states = [await store.read(people)]
    numbers = []
    for place, text in enumerate(LISTS, start=1):
        numbers.append((await bring(store, "customers", tmp_path, text, NOW + place * HOUR)).run_id)
        states.append(await store.read(people))
    for done, place in enumerate(order, start=1):
        await undo(store, numbers[place], NOW + 9 * HOUR)
        if order[:done] == tuple(range(2, 2 - done, -1)):
            assert await store.read(people) == states[3 - done]
    assert await store.read(people) == states[0]


async def test_a_tag_put_on_by_hand_stays_and_those_of_the_file_go(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, "email,tags\na@b.cc,old\n")
    run = await bring(store, "customers", tmp_path, "email,tags\na@b.cc,file\n", NOW + HOUR)
    by_hand = schema.contact.update().values(tags=["old", "file", "hand"], updated_at=NOW + 2 * HOUR)
    await store.write(lambda tx: tx.execute(by_hand))
    assert (await undo(store, run.run_id, NOW + 3 * HOUR)).kept == []
    assert await store.read(lambda tx: tx.execute(select(schema.contact.c.tags)).scalar_one()) == [
        "old",
        "hand",
    ]


def people(tx: Connection) -> list[tuple[Any, ...]]:
    tables = (schema.contact, schema.identity, schema.contact_mark, schema.consent)
    return [tuple(row) for table in tables for row in tx.execute(select(table).order_by(*table.primary_key))]
