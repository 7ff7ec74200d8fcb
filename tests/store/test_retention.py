"""What is past its configured time is forgotten, and nothing else; a ledger of consent is only added to."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from crm_store import consent, exporter, files, importer, retention, schema
from crm_store.db import Store
from crm_store.importing import undo
from crm_store.importing.values import Defaults
from crm_store.privacy import held
from tests.store.test_erase import NOW, canary, desk, mark

LATER = NOW + timedelta(days=400)
YEAR = {kind: retention.period("1 year") for kind in retention.KINDS}


@pytest.mark.parametrize(
    ("text", "now", "before"),
    [
        ("24 months", datetime(2026, 3, 31, tzinfo=UTC), datetime(2024, 3, 31, tzinfo=UTC)),
        ("1 month", datetime(2026, 3, 31, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)),
        ("2 Years", datetime(2024, 2, 29, tzinfo=UTC), datetime(2022, 2, 28, tzinfo=UTC)),
        ("90 days", datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ("2 weeks", datetime(2026, 4, 15, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
    ],
)
def test_a_period_is_the_calendars(text: str, now: datetime, before: datetime) -> None:
    assert retention.period(text).before(now) == before


@pytest.mark.parametrize("text", ["", "0 days", "soon", "-1 day", "3", "9999 years", "1 day 2"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not like|is longer"):
        retention.period(text)


async def changed(store: Store, table: Any, **values: Any) -> None:
    await store.write(lambda tx: tx.execute(update(table).values(**values)).rowcount)


async def aged(store: Store) -> None:
    """Two customers with closed tickets of long ago; the first one's is open."""
    await desk(store)
    await changed(store, schema.ticket, closed_at=NOW, rating_asked_at=NOW, rated_at=NOW)

    def one_open(tx: Connection) -> None:
        tx.execute(update(schema.ticket).where(schema.ticket.c.id == 1).values(status="open", closed_at=None))

    await store.write(one_open)


def all_of(table: Any) -> Callable[[Connection], list[Any]]:
    return lambda tx: list(tx.execute(select(table).order_by(*table.primary_key.columns)).all())


async def test_a_preview_counts_and_changes_nothing(store: Store) -> None:
    await aged(store)
    due = {one.kind: one for one in await store.read(retention.preview, YEAR, LATER)}
    assert {kind: one.count for kind, one in due.items()} == {
        "messages": 1,
        "files": 1,
        "raw": 2,
        "audit": 2,
        "events": 2,
        "api_requests": 2,
    }
    assert due["messages"].oldest == NOW
    assert {one.count for one in await store.read(retention.preview, YEAR, NOW)} == {0}


async def test_messages_of_closed_tickets_lose_their_words_and_open_ones_keep_theirs(store: Store) -> None:
    await aged(store)
    assert await retention.apply(store, {"messages": YEAR["messages"]}, LATER) == {"messages": 2}
    first, second = await store.read(all_of(schema.message))
    assert (first.text, second.text) == (canary(1, "message", "text"), "")
    assert second.dedupe == canary(2, "message", "dedupe")  # a mailbox read anew brings nothing back
    assert await store.read(files.content, f"{2:064x}") is None
    assert await store.read(files.content, f"{1:064x}") is not None
    assert [t.subject for t in await store.read(all_of(schema.ticket))] == [
        canary(1, "ticket", "subject"),
        "",
    ]
    assert [len(await store.read(all_of(t))) for t in (schema.contact, schema.identity)] == [2, 2]
    assert await retention.apply(store, {"messages": YEAR["messages"]}, LATER) == {}


async def test_what_is_forgotten_is_not_left_in_the_file(store: Store) -> None:
    if store.path is None:
        pytest.skip("PostgreSQL has no file of ours")
    await aged(store)
    await retention.apply(store, YEAR, LATER)
    content = b"".join(file.read_bytes() for file in store.path.parent.iterdir())
    for table, column in (
        ("message", "full_text"),
        ("blob", "content"),
        ("inbox", "body"),
        ("audit", "detail"),
    ):
        assert canary(2, table, column).lower().encode() not in content.lower()
    assert mark(2).encode() in content  # who wrote is a customer as before


async def test_every_kind_forgets_only_what_is_past_its_time(store: Store) -> None:
    await aged(store)
    kinds: dict[str, Any] = {"audit": schema.audit, "events": schema.customer_event}
    for kind, table in kinds.items():
        assert await retention.apply(store, {kind: YEAR[kind]}, NOW + timedelta(days=300)) == {}
        assert await retention.apply(store, {kind: YEAR[kind]}, LATER) == {kind: 2}
        assert await store.read(all_of(table)) == []


async def test_a_file_that_is_past_its_time_is_named_still(store: Store) -> None:
    await aged(store)
    await changed(store, schema.ticket, status="closed", closed_at=NOW)
    assert await retention.apply(store, {"files": YEAR["files"]}, LATER) == {"files": 2}
    kept = await store.read(all_of(schema.attachment))
    assert [(a.filename, a.sha256) for a in kept] == [
        (canary(1, "attachment", "filename"), None),
        (canary(2, "attachment", "filename"), None),
    ]
    assert await store.read(all_of(schema.blob)) == []


async def test_the_files_of_an_open_ticket_stay_in_the_message_and_in_the_web_chat(store: Store) -> None:
    await aged(store)

    def logged(tx: Connection) -> None:
        for number, sha in enumerate((f"{1:064x}", f"{2:064x}", "f" * 64), start=90):
            row = {"id": number, "channel": "web", "room": f"file:{sha}", "number": 1, "key": sha}
            tx.execute(schema.journal.insert().values(**row, body="bytes", at=NOW))

    await store.write(logged)
    (due,) = await store.read(retention.preview, {"files": YEAR["files"]}, LATER)
    assert (due.count, due.oldest) == (1, NOW)
    assert await retention.apply(store, {"files": YEAR["files"]}, LATER) == {"files": 3}
    assert [a.sha256 for a in await store.read(all_of(schema.attachment))] == [f"{1:064x}", None]
    assert [b.sha256 for b in await store.read(all_of(schema.blob))] == [f"{1:064x}"]
    rooms = [row.room for row in await store.read(all_of(schema.journal)) if row.room.startswith("file:")]
    assert rooms == [f"file:{1:064x}"]
    await changed(store, schema.ticket, status="closed", closed_at=LATER)
    assert await retention.apply(store, {"files": YEAR["files"]}, LATER) == {"files": 2}
    assert await store.read(all_of(schema.blob)) == []


async def test_the_newest_word_counts_and_every_word_stays(store: Store) -> None:
    await desk(store)

    def say(tx: Connection, state: str, day: int, source: str) -> bool:
        at = NOW + timedelta(days=day)
        return consent.add(tx, LATER, 1, "newsletter", state, source=source, actor="staff:1", at=at)

    assert not await store.read(consent.granted, 1, "newsletter")
    assert await store.write(say, consent.GRANTED, 1, "form on the website")
    assert await store.read(consent.granted, 1, "newsletter")
    assert not await store.write(say, consent.GRANTED, 1, "form on the website")
    assert await store.write(say, consent.WITHDRAWN, 3, "wrote STOP")
    assert await store.write(say, consent.GRANTED, 2, "an older list, found later")
    assert not await store.read(consent.granted, 1, "newsletter")
    rows = [r.state for r in await store.read(consent.ledger, 1) if r.purpose == "newsletter"]
    assert rows == ["granted", "granted", "withdrawn"]


async def test_what_is_no_purpose_is_refused(store: Store) -> None:
    await desk(store)
    with pytest.raises(ValueError, match="News Letter"):
        await store.write(
            lambda tx: consent.add(tx, NOW, 1, "News Letter", consent.GRANTED, source="x", actor="cli")
        )


def test_all_of_consent_is_kept_when_somebody_is_erased_but_for_words() -> None:
    entry = held.HELD["consent"]
    assert isinstance(entry, held.Held)
    assert isinstance(entry.erased, held.Blank)
    assert {"purpose", "state", "at"} <= set(entry.erased.keep)


async def test_consent_comes_and_goes_in_files_and_a_list_overrules_nobody(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text(
        "name,email,consent\nLi,li@customer.example,marketing_email|-sms\nAnn,ann@customer.example,yes\n"
        "Bo,bo@customer.example,no\nCy,cy@customer.example,?!\n",
        "utf-8",
    )
    await importer.run(store, "customers", file, Defaults(), NOW)
    held_now = await store.read(consent.current_of, [1, 2, 3, 4])
    assert held_now == {
        1: {"marketing_email": "granted", "sms": "withdrawn"},
        2: {"marketing_email": "granted"},
        3: {"marketing_email": "withdrawn"},
    }
    said = await store.write(
        lambda tx: consent.add(
            tx, NOW, 2, "marketing_email", consent.WITHDRAWN, source="STOP", actor="staff:1"
        )
    )
    assert said
    before = await store.read(all_of(schema.consent))
    await importer.run(store, "customers", file, Defaults(), LATER)
    assert await store.read(all_of(schema.consent)) == before
    shown = "".join(await store.read(lambda tx: list(exporter.export(tx, "customers", "json"))))
    assert [row["consent"] for row in json.loads(shown)] == [
        ["marketing_email", "-sms"],
        ["-marketing_email"],
        ["-marketing_email"],
        [],
    ]


async def test_undoing_an_import_takes_back_its_consents(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("name,email,consent\nLi,li@customer.example,yes\n", "utf-8")
    report = await importer.run(store, "customers", file, Defaults(), NOW)
    assert report.run_id is not None
    await undo.undo(store, report.run_id, LATER)
    assert await store.read(all_of(schema.consent)) == await store.read(all_of(schema.contact)) == []
