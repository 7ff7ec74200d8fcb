"""A confirmation is used once, by the one who was asked, also when two processes try at the same moment."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from crm_store import confirmations, people, schema
from crm_store.db import Store

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


def staff(tx: Connection) -> None:
    for name in ("Mei", "Tom"):
        people.add(tx, NOW, name, "manager")


async def test_of_two_who_press_at_once_one_counts(store: Store) -> None:
    await store.write(staff)
    code = await store.write(confirmations.put, NOW, 1, "erase", "17", "3")
    taken = await asyncio.gather(*(store.write(confirmations.take, NOW, 1, code) for _ in range(4)))
    assert sorted(one.outcome for one in taken) == ["ok", "used", "used", "used"]
    (done,) = (one for one in taken if one.outcome == "ok")
    assert (done.command, done.args, done.seen) == ("erase", "17", "3")


async def test_each_is_for_one_person_for_a_while(store: Store) -> None:
    await store.write(staff)
    code = await store.write(confirmations.put, NOW, 1, "erase", "17")
    late = NOW + confirmations.LIFE
    assert (await store.write(confirmations.take, NOW, 2, code)).outcome == "somebody_else"
    assert (await store.write(confirmations.take, late, 1, code)).outcome == "late"
    assert (await store.write(confirmations.take, NOW, 1, "AAAAAAAAAA")).outcome == "unknown"
    assert (await store.write(confirmations.take, NOW, 1, f" {code.lower()} ")).outcome == "ok"
    await store.write(confirmations.put, NOW + timedelta(days=2), 1, "erase", "18")
    count = select(func.count()).select_from(schema.confirmation)
    assert await store.read(lambda tx: tx.execute(count).scalar_one()) == 1
