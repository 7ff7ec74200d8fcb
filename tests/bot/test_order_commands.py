"""/orders and /order: everything a customer bought, a page at a time, and what was in one order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crm_store import people
from tests.bot.test_customer_commands import ask
from tests.deciding import CHANNELS, Deciding, deciding

OWN = CHANNELS + '[access.roles.sales]\nrows = "own"\n'
PEOPLE = "name,email,phone\nLi Wei,li@acme.example,+447700900123\nAnn,ann@acme.example,\n"
ORDERS = "number,date,email,status,amount,currency,items,tracking\n" + "".join(
    f"A-{1000 + n},2026-01-{1 + n % 28:02},li@acme.example,shipped,{1000 + n},EUR,2x Oak table; Lamp,T{n}\n"
    for n in range(45)
)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path, more=OWN) as found:
        await found.bring(tmp_path, "customers", PEOPLE)
        await found.bring(tmp_path, "orders", ORDERS)
        await found.store.write(lambda tx: people.add(tx, found.now, "Sam", "sales", "en"))
        yield found


def numbers(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.startswith("A-")]


async def test_all_orders_are_read_page_by_page_each_once(desk: Deciding) -> None:
    assert "command:orders C1" in (await ask(desk, "/customer C1")).actions
    assert "command:orders C2" not in (await ask(desk, "/customer C2")).actions
    seen: list[str] = []
    text = "/orders C1"
    for rows in (20, 20, 5):
        page: Any = await ask(desk, text)
        assert "45 orders, 45,990.00 EUR" in page.text
        assert len(numbers(page.text)) == rows
        seen += numbers(page.text)
        text = next((f"/{a.removeprefix('command:')}" for a in page.actions), "")
    assert text == ""
    assert sorted(seen) == [f"A-{1000 + n}" for n in range(45)]
    assert "No orders of Ann" in (await ask(desk, "/orders C2")).text
    assert "No orders" in (await ask(desk, "/orders C1 from 999999")).text
    assert "45 个订单" in (await ask(desk, "/orders C1", "Mei")).text
    for wrong in ("/orders C1 what is this", "/orders", "/orders Nobody"):
        assert not numbers((await ask(desk, wrong)).text)


async def test_one_order_with_what_was_in_it(desk: Deciding) -> None:
    for typed in ("A-1003", "#a-1003", "Ａ-1003"):
        found = await ask(desk, f"/order {typed}")
        for words in ("Order A-1003", "Li Wei (C1)", "on its way", "1,003.00 EUR", "T3", "Oak table"):
            assert words in found.text, found.text
        assert found.actions == ["profile:1", "command:orders C1"]
        assert "Lamp       1         –" in found.text  # without a price of its own
        assert "Date: 2026-01-04\n" in found.text  # … and without a time of day
    assert "no order Z-9" in (await ask(desk, "/order Z-9")).text
    assert "/order NUMBER" in (await ask(desk, "/order")).text
    assert "没有订单" in (await ask(desk, "/order ' OR 1=1 --", "Mei")).text


async def test_nobody_sees_the_orders_of_somebody_elses_customer(desk: Deciding) -> None:
    assert "no order A-1003" in (await ask(desk, "/order A-1003", "Sam")).text
    assert not numbers((await ask(desk, "/orders C1", "Sam")).text)
    await desk.staff("/set C1 owner Sam")
    assert "Oak table" in (await ask(desk, "/order A-1003", "Sam")).text
    await desk.staff("/order A-1003", "Vera")
    assert ("found", "contact:1") in {(a[1], a[2]) for a in await desk.audits()}
