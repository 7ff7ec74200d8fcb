"""Deals: made, moved, won and lost in words and by button; the pipeline adds up; every change is audited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from bot import masking
from channels.conversation import Author
from crm_store import audit, contacts, deals, exporter, importer, notes, people
from crm_store.importing.values import Defaults
from crm_store.profile import Worth
from crm_store.scope import Scope
from tests.bot.test_roles import CUSTOMERS, _people, run
from tests.deciding import CHANNELS, NOW, Deciding, deciding


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path, more=CHANNELS) as door:
        await door.bring(tmp_path, "customers", CUSTOMERS)
        await door.store.write(_people)
        yield door


async def test_a_deal_is_made_moved_and_won(desk: Deciding) -> None:
    made = await run(desk, "/deal new li@example.com 1,200 EUR Garden set", "Sam")
    for words in (
        "D1 Garden set",
        "Li Wei (C1)",
        "1,200.00 EUR",
        "lead (10%)",
        "Weighted: 120.00 EUR",
        "Sam",
    ):
        assert words in made, made
    assert "offer (50%)" in await run(desk, "/deal 1 stage offer", "Sam")
    assert "negotiation (75%)" in await run(desk, "/deal D1 stage 4", "Sam")
    assert "2026-03-31" in await run(desk, "/deal 1 expected 2026-03-31", "Sam")
    assert "2026-03-12" in await run(desk, "/deal 1 expected 10d", "Sam")
    assert "Owner: Sue" in await run(desk, "/deal 1 owner sue", "Sam")
    assert "Stage: won" in await run(desk, "/deal 1 won", "Sam")
    row = await desk.store.read(deals.by_number, 1)
    assert row.closed_at is not None
    stages = [s.stage for s in await desk.store.read(deals.stages_of, row.id)]
    assert stages == ["lead", "offer", "negotiation", "won"]
    changes = [e for e in await desk.store.read(audit.entries) if e.object == "deal:1"]
    assert [(e.action, e.detail.get("fields")) for e in reversed(changes)] == [
        ("deal_new", None),
        ("deal_change", ["stage"]),
        ("deal_change", ["stage"]),
        ("deal_change", ["expected_on"]),
        ("deal_change", ["expected_on"]),
        ("deal_change", ["owner_id"]),
        ("deal_change", ["stage"]),
    ]
    assert all(e.detail["via"] == "web" for e in changes)


async def test_a_lost_deal_says_why_and_can_be_opened_again(desk: Deciding) -> None:
    await run(desk, "/deal new C1 500 Lamp", "Sam")
    assert "Usage" in await run(desk, "/deal 1 lost", "Sam")
    assert "Why it was lost: too dear" in await run(desk, "/deal 1 lost too dear", "Sam")
    assert "Lamp" in await run(desk, "/deal list lost", "Sam")
    opened = await run(desk, "/deal 1 stage lead", "Sam")
    assert "too dear" not in opened
    assert (await desk.store.read(deals.by_number, 1)).closed_at is None


async def test_products_make_the_amount_unless_it_was_said(desk: Deciding) -> None:
    await run(desk, "/deal new C1 Garden set", "Sam")
    await run(desk, "/deal 1 product 2x Oak table 300 EUR", "Sam")
    shown = await run(desk, "/deal 1 product Bench 99.50", "Sam")
    assert "399.50 EUR" in shown
    assert "Oak table" in shown
    await run(desk, "/deal 1 amount 380 EUR", "Sam")
    assert "Amount: 380.00 EUR" in await run(desk, "/deal 1 product Cushion 10", "Sam")


async def test_the_pipeline_adds_up_by_stage_and_currency(desk: Deciding) -> None:
    for text in ("C1 1000 EUR A", "C2 2000 EUR B", "C2 100 USD C", "C3 500 EUR D", "C3 70 EUR E"):
        await run(desk, f"/deal new {text}", "Sam")
    await run(desk, "/deal 2 stage offer", "Sam")
    await run(desk, "/deal 4 won", "Sam")
    await run(desk, "/deal 5 lost no", "Sam")
    found = [" ".join(line.split()) for line in (await run(desk, "/pipeline", "Sam")).splitlines()]
    assert "lead (10%) 1 1,000.00 EUR 100.00 EUR" in found
    assert "lead (10%) 1 100.00 USD 10.00 USD" in found
    assert "offer (50%) 1 2,000.00 EUR 1,000.00 EUR" in found
    assert "won 1 500.00 EUR 500.00 EUR" in found
    assert "lost 1 70.00 EUR 0.00 EUR" in found
    assert "2 open, 3,000.00 EUR, weighted 1,100.00 EUR" in found
    assert "No deals" in await run(desk, "/pipeline Tim", "Sam")
    assert "1,000.00" in await run(desk, "/pipeline mine", "Sam")
    assert "may not use /pipeline" in await run(desk, "/pipeline", "Tom")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/deal dance", "Usage: /deal"),
        ("/deal 9", "no deal D9"),
        ("/deal new Sofa", "Which customer"),
        ("/deal new C99 5 Sofa", "Nobody found"),
        ("/deal new C1", "Usage: /deal"),
        ("/deal 1 stage heaven", "There are: lead, qualified"),
        ("/deal 1 amount lots", "no amount"),
        ("/deal 1 amount -5", "no amount"),
        ("/deal 1 expected soon", "no day"),
        ("/deal 1 owner Zoe", "nobody called Zoe"),
        ("/deal 1 product", "Usage: /deal"),
        ("/deal 1 product 2x Table 300 USD", "in EUR"),
        ("/deal list his", "Usage: /deal"),
    ],
)
async def test_a_mistake_is_said_and_changes_nothing(desk: Deciding, text: str, words: str) -> None:
    await run(desk, "/deal new C1 100 EUR Lamp", "Sam")
    before = await desk.store.read(deals.by_number, 1)
    assert words in await run(desk, text, "Sam")
    assert await desk.store.read(deals.by_number, 1) == before


async def test_buttons_move_a_deal_and_ask_why_it_was_lost(desk: Deciding) -> None:
    sam = Author("sam", name="Sam")
    await desk.take(await desk.code("Sam"), room="sam", author=sam)
    await run(desk, "/deal new C1 100 EUR Lamp", "Sam")
    said = await desk.press("command:deal 1 stage 2", room="sam", author=sam)
    assert "qualified" in said[-1].text
    assert "deal:1:lose" in said[-1].actions
    assert all(len(action.encode()) <= 60 for action in said[-1].actions)
    asked = await desk.press("deal:1:lose", room="sam", author=sam)
    assert "Why it was lost" in asked[-1].text
    said = await desk.press("deal:1:lost", room="sam", author=sam, values={"reason": "no garden"})
    assert "no garden" in said[-1].text


async def test_a_customers_fields_tags_and_notes_are_kept_in_words(desk: Deciding) -> None:
    for text in (
        *("/set C1 company Example Ltd", "/set li@example.com country Germany", "/set C1 语言 German"),
        *("/set C1 owner Sue", "/set C1 timezone Europe/Berlin", "/set C1 birthday 1990-01-02"),
        *(
            "/tag C1 vip garden",
            "/tag +447700900123 -garden",
            '/note "Li Wei" likes oak',
            "/note C1 calls late",
        ),
    ):
        assert "Usage" not in await run(desk, text, "Tom"), text
    row = await desk.store.read(contacts.get, 1)
    assert (row.company, row.country, row.language, row.timezone) == (
        "Example Ltd",
        "DE",
        "de",
        "Europe/Berlin",
    )
    assert row.fields["birthday"] == "1990-01-02"
    assert list(row.tags) == ["vip"]
    assert [n.text for n in await desk.store.read(notes.of_contact, 1)] == ["calls late", "likes oak"]
    assert "likes oak" in await run(desk, "/notes C1", "Tom")
    for text in (
        "/set C1 country Atlantis",
        "/set C1 timezone Mars",
        "/set C1 owner Zoe",
        "/set C1",
        "/set x y",
    ):
        await run(desk, text, "Tom")
    assert await desk.store.read(contacts.get, 1) == row
    changed = [e for e in await desk.store.read(audit.entries) if e.action == "customer"]
    assert len(changed) == 8


async def test_the_card_is_whole(desk: Deciding, tmp_path: Path) -> None:
    orders = "number,date,email,status,total,currency\nA-1,2026-02-20,li@example.com,delivered,100,EUR\n"
    await desk.bring(tmp_path, "orders", orders + "A-2,2025-09-03,li@example.com,delivered,50,EUR\n")
    await run(desk, "/deal new C1 1200 EUR Garden set", "Sam")
    await run(desk, "/deal 1 expected 2026-03-31", "Sam")
    await run(desk, "/note C1 likes oak", "Tom")
    await run(desk, "/set C1 timezone Asia/Shanghai", "Tom")
    card = await run(desk, "/customer C1", "Sam")
    for words in (
        *("Li Wei · C1", "○ E-mail li@example.com (not verified)", "18:00 there (Asia/Shanghai)"),
        *(
            "★★★",
            "R 0.96 × N 2 × P 75.00 EUR; last order",
            "2 orders, 150.00 EUR",
            "D1 is expected on 2026-03-31",
        ),
        *("D1 Garden set · 1,200.00 EUR · lead · 2026-03-31", "likes oak", "A-1"),
    ):
        assert words in card, (words, card)
    assert "Garden set" not in await run(desk, "/customer C1", "Tom")  # who may not use /deal


def test_worth_halves_in_half_a_year() -> None:
    one = Worth("EUR", 2 ** -(180 / 180), 4, 1000, NOW - timedelta(days=180))
    assert one.value_minor == 2000


DEALS = """商机编号,客户邮箱,客户,商机名称,阶段,金额,币种,预计成交,负责人
K1,li@example.com,Li Wei,花园套装,已报价,"12,000.50",CNY,2026-04-30,Sam
K2,neu@example.com,Neu,Lamp,won,99 EUR,,,
K3,,,Nobody's,lead,5 EUR,,,
K4,li@example.com,,Heaven,heaven,5 EUR,,,
"""


async def test_deals_come_from_a_file_and_twice_is_once(desk: Deciding, tmp_path: Path) -> None:
    path = tmp_path / "deals.csv"
    path.write_text(DEALS)
    stages = desk.office.config.deals.stages

    async def bring(dry_run: bool = False) -> tuple[int, int, int, list[str]]:
        words = {"已报价": "offer"}
        report = await importer.run(
            *(desk.store, "deals", path, Defaults(currency="EUR"), desk.now),
            dry_run=dry_run,
            stages=importer.Stages(tuple(stages), words),
        )
        return report.new, report.updated, report.unchanged, [r.reason_key for r in report.rejected]

    wrong = ["no_customer", "stage"]
    assert await bring(dry_run=True) == (2, 0, 0, wrong)
    assert await desk.store.read(deals.listing) == []
    assert await bring() == (2, 0, 0, wrong)
    assert await bring() == (0, 0, 2, wrong)
    first = await desk.store.read(deals.by_key, "K1")
    assert (first.contact_id, first.stage, first.amount_minor, first.currency) == (1, "offer", 1200050, "CNY")
    assert (first.owner, first.expected_on.isoformat()) == ("Sam", "2026-04-30")
    path.write_text(DEALS.replace("已报价", "won"))
    assert await bring() == (0, 1, 1, wrong)
    await run(desk, "/deal new C2 10 EUR Chair", "Sam")
    path.write_text(await desk.store.read(lambda tx: "".join(exporter.export(tx, "deals"))))
    assert await bring() == (0, 0, 3, [])


async def test_an_export_as_somebody_is_what_they_may_see(desk: Deciding) -> None:
    def work(tx: Connection) -> str:
        whose = Scope(frozenset([people.by_name(tx, "Sam").id]))
        return "".join(exporter.export(tx, "customers", scope=whose, shown=masking.value))

    found = await desk.store.read(work)
    assert "l***@example.com" in found
    assert "+44 ••• 23" in found
    assert "Wang" not in found
