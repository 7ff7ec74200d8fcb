"""What customers did, and deals, come from files: twice is once, cut off goes on, undone is as before."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from crm_store import deals, erase, exporter, importer, merges, schema
from crm_store.db import Store
from crm_store.importing import runs
from crm_store.importing.columns import Kind
from crm_store.importing.undo import undo
from tests.store.test_import_runs import DEFAULTS, LATER, MUCH_LATER, NOW, Cut, everything, table_rows, why

STAGES = importer.Stages(("lead", "offer"), {"报价": "offer"})
PEOPLE = "ref,name,email,phone\nK1,Anna,anna@example.com,\nK2,Bo,,+49301111111\n"
EVENTS = """客户手机,客户邮箱,事件,时间,页面,商品,金额,来路
,ANNA@example.com,浏览,2026年3月1日 14:30,https://shop.example/lamp,台灯,"¥1,234.50",广告
+49 30 1111111,,加入购物车,2026-03-01T12:00:00Z,,Lamp,,
,new@example.com,AddToCart,1767225600,,,,
,,visit,2026-03-01,/,,,
,anna@example.com,¿,2026-03-01,,,,
,anna@example.com,visit,03/04/2026,,,,
,anna@example.com,浏览,2026-03-01 14:30,https://shop.example/lamp,台灯,,
,anna@example.com,浏览,2036-03-01 14:30,,,,
"""
DEALS = """id,email,customer,title,stage,amount,currency,expected,owner
K1,anna@example.com,Anna,Garden,报价,"12,000.50",CNY,2026-04-30,
K2,new@example.com,New,Lamp,won,99,EUR,,
K3,,,Nobody's,lead,5,EUR,,
K4,anna@example.com,,Heaven,heaven,5,EUR,,
K2,new@example.com,New,Another,won,99,EUR,,
"""


async def bring(store: Store, kind: Kind, directory: Path, text: str, now: datetime = NOW, **kw: Any) -> Any:
    path = directory / f"{kind}.txt"
    path.write_text(text)
    return await importer.run(store, kind, path, DEFAULTS, now, stages=STAGES, **kw)


def told(report: Any) -> tuple[int, int, int, list[tuple[int, str]]]:
    wrong = [(one.line, one.reason_key) for one in report.rejected]
    return report.new, report.updated, report.unchanged, wrong


async def before(store: Store) -> dict[str, list[str]]:
    """Everything but the log, and the counter that gives a deal its number, which is given once."""
    rows = await store.read(everything)
    return {name: found for name, found in rows.items() if name not in ("audit", "counter")}


async def test_events_come_from_a_file_and_twice_is_once(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, PEOPLE)
    was = await before(store)
    wrong = [(5, "no_customer"), (6, "event"), (7, "date_ambiguous"), (9, "future")]
    dry = await bring(store, "events", tmp_path, EVENTS, LATER, dry_run=True)
    assert (told(dry), await before(store)) == ((3, 0, 1, wrong), was)
    report = await bring(store, "events", tmp_path, EVENTS, LATER)
    assert told(report) == (3, 0, 1, wrong)
    assert [(one.line, one.of_line, one.by) for one in report.duplicates] == [(8, 2, "event")]
    first, second, third = await store.read(table_rows, schema.customer_event)
    assert (first.contact_id, first.kind, first.subject, first.source) == (
        1,
        "view",
        "台灯",
        "import:events.txt",
    )
    assert first.fields == {
        "page": "https://shop.example/lamp", "amount": "1234.50", "currency": "CNY", "来路": "广告"
    }  # fmt: skip
    assert (second.contact_id, second.kind, second.at) == (2, "cart", datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert (third.contact_id > 2, third.kind, third.at.year) == (True, "cart", 2026)
    after = await before(store)
    again = await bring(store, "events", tmp_path, EVENTS, MUCH_LATER)
    assert (again.new, again.unchanged, await before(store)) == (0, 4, after)
    # the same told by our own export: by id, and by our number of who has nothing else
    rows = json.loads(await store.read(lambda tx: "".join(exporter.export(tx, "events", "json"))))
    assert [(row["wellheard_id"], row["at"]) for row in rows][1] == ("C2", "2026-03-01T12:00:00Z")
    for row in rows:
        row.update(email="", phone="", customer_ref="")
    assert told(await bring(store, "events", tmp_path, json.dumps(rows))) == (0, 0, 3, [])
    rows[0]["key"] = "other"
    other = await bring(store, "events", tmp_path, json.dumps(rows[:1]))
    assert told(other) == (1, 0, 0, [])
    await undo(store, other.run_id, MUCH_LATER)
    assert (await undo(store, report.run_id, MUCH_LATER)).removed == 4
    assert await before(store) == was


async def test_an_undone_event_is_in_no_merge_and_an_erased_one_stays_away(
    store: Store, tmp_path: Path
) -> None:
    await bring(store, "customers", tmp_path, PEOPLE)
    report = await bring(
        store, "events", tmp_path, "id,email,event,time\ne1,anna@example.com,like,2026-03-01\n"
    )
    merged = await store.write(merges.merge, LATER, 2, 1, actor="staff:1")
    await undo(store, report.run_id, LATER)
    await bring(store, "events", tmp_path, "id,phone,event,time\ne2,+49301111111,like,2026-03-01\n")
    await store.write(merges.undo, LATER, merged, actor="staff:1")
    [one] = await store.read(table_rows, schema.customer_event)
    assert (one.contact_id, one.key) == (2, "e2")
    unnamed = "email,event,time\nanna@example.com,like,2026-03-05\n"
    assert (await bring(store, "events", tmp_path, unnamed)).new == 1
    merged = await store.write(merges.merge, LATER, 2, 1, actor="staff:1")
    by_phone = unnamed.replace("email", "phone").replace("anna@example.com", "+49301111111")
    assert (await bring(store, "events", tmp_path, by_phone)).unchanged == 1
    await store.write(merges.undo, LATER, merged, actor="staff:1")
    assert (await bring(store, "events", tmp_path, unnamed + " ", LATER)).unchanged == 1
    number = await store.write(erase.ask, LATER, 2, "cli")
    await erase.carry_out(store, number, lambda: LATER)
    rows = [{"id": "e2", "wellheard_id": "C1", "event": "like", "time": "2026-03-01"}]
    rows.append({"id": "e3", "wellheard_id": "C2", "event": "like", "time": "2026-03-01"})
    report = await bring(store, "events", tmp_path, "\n".join(map(json.dumps, rows)))
    assert told(report) == (0, 0, 0, [(1, "erased"), (2, "no_customer")])


async def test_deals_come_from_a_file_and_are_taken_back(store: Store, tmp_path: Path) -> None:
    await bring(store, "customers", tmp_path, PEOPLE)
    was = await before(store)
    wrong = [(4, "no_customer"), (5, "stage"), (6, "deal_repeated")]
    first = await bring(store, "deals", tmp_path, DEALS)
    assert told(first) == (2, 0, 0, wrong)
    assert told(await bring(store, "deals", tmp_path, DEALS)) == (0, 0, 2, wrong)
    made = await before(store)
    text = DEALS.replace("报价", "won").replace("Lamp", "Desk lamp").replace("2026-04-30", "2026-05-30")
    second = await bring(store, "deals", tmp_path, text, LATER)
    assert told(second)[:2] == (0, 2)
    deal = await store.read(deals.by_key, "K1")
    assert (deal.stage, deal.closed_at, deal.expected_on.isoformat()) == ("won", LATER, "2026-05-30")

    def meanwhile(tx: Connection) -> None:
        deals.change(tx, MUCH_LATER, "staff:1", deals.by_key(tx, "K2"), title="Two lamps")

    await store.write(meanwhile)
    done = await undo(store, second.run_id, MUCH_LATER)
    assert (done.restored, why(done)) == (1, [("Two lamps", "changed", "title")])
    restored = await before(store)
    assert restored["deal"][0] == made["deal"][0]
    assert restored["deal_stage"] == made["deal_stage"]
    done = await undo(store, first.run_id, MUCH_LATER)
    assert (done.removed, why(done)) == (1, [("Two lamps", "changed", ""), ("New", "used", "")])
    assert len(was["contact"]) + 1 == len((await before(store))["contact"])


@pytest.mark.parametrize("kind", ["events", "deals"])
async def test_a_file_that_was_cut_off_goes_on(
    store: Store, tmp_path: Path, monkeypatch: Any, kind: Kind
) -> None:
    monkeypatch.setattr(importer, "BATCH", 20)
    monkeypatch.setattr(importer.deals, "BATCH", 20)
    head = "key,email,title,event,time,amount\n"
    rows = [f"k{n},c{n % 9}@example.com,T{n},visit,2026-03-01,{n}\n" for n in range(60)]
    text = head + "".join([*rows, rows[3]])

    def stop(done: int) -> None:
        if done == 40:
            raise Cut

    with pytest.raises(Cut):
        await bring(store, kind, tmp_path, text, progress=stop)
    report = await bring(store, kind, tmp_path, text, LATER)
    assert (report.resumed, report.new, report.unchanged) == (40, 60, 1)
    assert [(one.line, one.of_line) for one in report.duplicates] == [(62, 5)]
    [run] = await store.read(runs.listing)
    table = schema.customer_event if kind == "events" else schema.deal
    assert len(await store.read(lambda tx: tx.execute(select(table)).all())) == 60
    assert (await undo(store, run.id, LATER)).removed == 60 + 9


async def test_what_the_brother_did_on_the_familys_phone_is_his(store: Store, tmp_path: Path) -> None:
    text = (
        "event,time,email,phone,name\n"
        "view,2026-03-05,ann@f.example,+12175550199,Ann Lee\n"
        "cart,2026-03-05,bob@f.example,+12175550199,Bob Kay\n"
    )
    assert told(await bring(store, "events", tmp_path, text)) == (2, 0, 0, [(3, "identity_taken")])
    event = schema.customer_event
    query = select(event.c.contact_id, event.c.kind).order_by(event.c.id)
    assert await store.read(lambda tx: [tuple(row) for row in tx.execute(query)]) == [
        (1, "view"),
        (2, "cart"),
    ]
    assert told(await bring(store, "events", tmp_path, text, LATER)) == (0, 0, 2, [])
