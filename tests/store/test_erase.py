"""Erasing takes a person out of every table and out of the file, and leaves everybody else and every count."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zlib
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Connection, Date, DateTime, Integer, LargeBinary, select
from sqlalchemy.types import JSON

from crm_store import backup, contacts, conversations, erase, files, importer, schema, stats
from crm_store.backup import _set_sequences
from crm_store.db import Store
from crm_store.hours import BusinessHours
from crm_store.importing.values import Defaults
from crm_store.privacy import held, listed, tombstones, treat, words
from crm_store.schema import metadata
from crm_store.schema.base import UtcDateTime
from crm_store.search import indexing

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
LISTS = {"tags", "recipients", "warnings", "phrasings", "scopes", "products"}
LINKS = ("contact", "conversation", "message", "ticket", "order", "deal")


def mark(person: int) -> str:
    """What every word of a person begins with, and nobody else's."""
    return f"Zq{hashlib.sha256(str(person).encode()).hexdigest()[:16]}"


def canary(person: int, table: str, column: str) -> str:
    return mark(person) + hashlib.sha256(f"{person} {table} {column}".encode()).hexdigest()[:8]


def furnish(tx: Connection, person: int) -> None:
    """A row about a person in every table, their word in every column that takes one."""
    chosen: dict[str, dict[str, Any]] = {
        "contact": {"owner_id": None, "merged_into_id": None},
        "merge": {"keep_id": person, "drop_id": person},
        "import_change": {"run_id": 1},
        "suggestion": {"low_id": person, "high_id": person},
        "identity": {"contact_id": person, "space": "email"},
        "conversation": {"contact_id": person, "channel": "support", "room_id": f"v:{person:032x}"},
        "message": {"author_kind": "customer", "author_id": person, "kind": "in", "channel": "support"},
        "audit": {"object": f"contact:{person}", "actor": "staff:1", "action": "profile", "outcome": "ok"},
        "inbox": {
            "channel": "support",
            "state": "done",
            "event_id": canary(person, "message", "dedupe"),
            "body": json.dumps({"text": canary(person, "inbox", "body")}).encode(),
        },
        "outbox": {
            "op": "send",
            "purpose": "answer",
            "state": "sent",
            "body": _reply(canary(person, "outbox", "body")),
        },
        "journal": {"room": f"v:{person:032x}", "channel": "web"},
        "ticket": {"status": "closed", "kind": "enquiry", "priority": "normal", "number": person, "rating": 4},
        "api_request": {"key": f"{person}", "digest": "d", "body": canary(person, "message", "text")},
        "webhook_event": {
            "error": canary(person, "message", "text"),
            "lane": f"customer:{person}",
            "state": "sent",
            "key": str(person),
            "url": "https://shop.example",
        },
        "counter": {"name": f"2026-05-04:auto:support:{canary(person, 'identity', 'userid')}"},
        "cursor": {"channel": f"audit:{canary(person, 'identity', 'userid')}"},
        "event_count": {"kind": canary(person, "message", "text")},
        "confirmation": {"args": canary(person, "contact", "name")},
        "blob": {"sha256": f"{person:064x}", "content": canary(person, "blob", "content").encode()},
        "attachment": {"sha256": f"{person:064x}"},
        "erasure": {"uid": f"{person}", "state": "withdrawn", "actor": "cli"},
        "consent": {"state": "granted", "purpose": "marketing_email"},
        "deal_stage": {"actor": "staff:1", "stage": "won"},
        "deal": {"stage": "won", "owner_id": None},
        "customer_order": {"status": "paid", "currency": "EUR"},
    }  # fmt: skip
    for table in metadata.sorted_tables:
        entry = held.HELD.get(table.name)
        if isinstance(entry, held.Nobody):
            continue
        row = {c.name: _value(person, table.name, c) for c in table.columns} | chosen.get(table.name, {})
        if table.name == "message":
            row |= {"author_id": person, "album": ""}
        tx.execute(table.insert().values(**row))
    if tx.dialect.name == "postgresql":
        _set_sequences(tx)


def _reply(text: str) -> str:
    return json.dumps([{"_": "Text", "text": text}])


def _value(person: int, table: str, column: Any) -> Any:
    if column.primary_key and isinstance(column.type, Integer) and not column.foreign_keys:
        return person
    if column.foreign_keys:
        target = next(iter(column.foreign_keys)).column
        if target.table.name == "staff":
            return 1
        if target.table.name == "api_token":
            return 1
        if target.table.name == "ticket" and column.name == "linked_to_id":
            return None
        return person if isinstance(column.type, Integer) else canary(person, table, column.name)
    match column.type:
        case Boolean():
            return False
        case Integer():
            return person
        case UtcDateTime() | DateTime():
            return NOW
        case Date():
            return NOW.date()
        case LargeBinary() | schema.SealedBytes():
            return canary(person, table, column.name).encode()
        case JSON() | schema.SealedJson():
            said = canary(person, table, column.name)
            return [said] if column.name in LISTS else {said: said}
        case _:
            if column.name in ("kind", "language", "country", "channel", "currency", "stage", "type"):
                return "x"
            return canary(person, table, column.name)


def colleagues(tx: Connection) -> None:
    tx.execute(
        schema.import_run.insert().values(
            id=1, kind="customers", file="a.csv", digest="d", counts={}, started_at=NOW
        )
    )
    tx.execute(schema.staff.insert().values(id=1, name="Mei", role="manager", created_at=NOW))
    tx.execute(
        schema.api_token.insert().values(id=1, name="shop", digest="d", scopes=[], staff_id=1, created_at=NOW)
    )


def cells(tx: Connection) -> list[tuple[str, str]]:
    """Everything the tables say, and what the index was told."""
    found = []
    for table in metadata.sorted_tables:
        found += [(table.name, repr(tuple(row))) for row in tx.execute(select(table))]
    return found


async def erased(store: Store, contact_id: int, outside: erase.Outside = erase.Outside()) -> erase.Erased:
    number = await store.write(erase.ask, NOW, contact_id, "cli")
    return await erase.carry_out(store, number, lambda: NOW, outside)


async def desk(store: Store, people: int = 2) -> None:
    await store.write(colleagues)
    for person in range(1, people + 1):
        await store.write(furnish, person)
    await indexing.catch_up(store)


def traces(content: bytes, word: str) -> list[str]:
    """Under which spellings a word is in bytes."""
    spellings: dict[str, bytes] = {}
    for name, text in (("", word), ("lower ", word.lower()), ("upper ", word.upper())):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            raw = text.encode(encoding)
            spellings[f"{name}{encoding}"] = raw
            for shift in range(3):
                encoded = b64encode(b"\0" * shift + raw)[4 if shift else 0 :]
                spellings[f"{name}{encoding} base64 {shift}"] = encoded[: len(encoded) // 4 * 4 - 4]
    return [name for name, raw in spellings.items() if raw in content]


def inflated(content: bytes) -> bytes:
    """What zlib streams in a file hold."""
    found = []
    for mark in (b"\x78\x9c", b"\x78\xda", b"\x78\x01"):
        at = content.find(mark)
        while at >= 0:
            with suppress(zlib.error):
                found.append(zlib.decompressobj().decompress(content[at : at + 1_000_000]))
            at = content.find(mark, at + 1)
    return b"".join(found)


def test_every_table_says_what_it_holds_on_people() -> None:
    assert set(held.HELD) == set(metadata.tables)


def test_every_column_of_what_stays_is_kept_or_blanked_on_purpose() -> None:
    for table, entry in held.tables():
        if isinstance(entry.erased, held.Blank):
            said = {*entry.erased.values, *entry.erased.keep}
            assert said == {c.name for c in table.columns}, table.name
            assert not set(entry.erased.values) & set(entry.erased.keep), table.name


def test_what_is_treated_by_a_function_has_one() -> None:
    named = {e.erased.how for _, e in held.tables() if isinstance(e.erased, held.Special)}
    assert named - {"files"} <= {one.__name__ for one in treat.SPECIAL}
    assert callable(treat.files)


def test_a_table_that_leads_to_a_customer_holds_something_on_them() -> None:
    theirs = {"contact"}
    grew = True
    while grew:
        grew = False
        for table in metadata.sorted_tables:
            leads = {key.column.table.name for key in table.foreign_keys} & theirs
            if table.name not in theirs and (leads or "contact_id" in table.c):
                theirs.add(table.name)
                grew = True
    nobody = {name for name in theirs if isinstance(held.HELD[name], held.Nobody)}
    assert nobody == set()


async def test_nothing_of_the_erased_is_left_in_any_table_and_everything_of_others(store: Store) -> None:
    await desk(store)
    before = await store.read(cells)
    done = await erased(store, 1)
    assert done.clean
    after = await store.read(cells)
    assert [cell for cell in after if mark(1).lower() in cell[1].lower()] == []
    others = sorted(cell for cell in before if mark(2).lower() in cell[1].lower())
    assert sorted(cell for cell in after if mark(2).lower() in cell[1].lower()) == others
    assert done.counts["message"] == done.counts["ticket"] == done.counts["identity"] == 1


async def test_nothing_of_the_erased_is_left_in_the_file(store: Store) -> None:
    if store.path is None:
        pytest.skip("PostgreSQL has no file of ours")
    await desk(store, 12)
    await erased(store, 5)
    found = {}
    for file in store.path.parent.iterdir():
        content = file.read_bytes()
        content += inflated(content)
        if spelled := traces(content, mark(5)):
            found[file.name] = spelled
        if file == store.path:
            for other in (4, 6, 12):
                assert traces(content, mark(other))
    assert found == {}


async def test_statistics_are_the_same_before_and_after(store: Store) -> None:
    await desk(store, 3)
    period = (NOW - timedelta(days=1), NOW + timedelta(days=1), BusinessHours.parse("Mon-Sun 00:00-24:00"))
    before = await store.read(stats.numbers, *period)
    assert before.ratings.count == 3
    await erased(store, 2)
    assert await store.read(stats.numbers, *period) == before


async def test_a_file_that_another_customer_sent_too_stays(store: Store) -> None:
    await desk(store)

    def same(tx: Connection) -> None:
        tx.execute(schema.attachment.update().where(schema.attachment.c.id == 2).values(sha256=f"{1:064x}"))

    await store.write(same)
    await erased(store, 1)
    assert await store.read(files.content, f"{1:064x}") == canary(1, "blob", "content").encode()
    await erased(store, 2)
    assert await store.read(files.content, f"{1:064x}") is None


async def test_what_is_erased_is_not_found_and_the_index_still_answers(store: Store) -> None:
    from crm_store.search import find_contacts

    await desk(store)
    await erased(store, 1)
    await indexing.catch_up(store)
    assert await store.read(find_contacts, canary(1, "contact", "name")) == []
    assert [h.contact_id for h in await store.read(find_contacts, canary(2, "contact", "name"))] == [2]


async def test_erasing_twice_is_erasing_once(store: Store) -> None:
    await desk(store)
    await erased(store, 1)
    with pytest.raises(erase.Unknown):
        await store.write(erase.ask, NOW, 1, "cli")


async def test_the_list_outside_finds_whom_it_names_and_no_other_secret_reads_it(
    store: Store, tmp_path: Path
) -> None:
    await desk(store)
    path = tmp_path / "erased.jsonl"
    await erased(store, 1, erase.Outside(path, b"one secret"))
    key, entries = listed.read(path, b"one secret")
    assert key == await store.read(tombstones.key)
    wanted = tombstones.identity(key, "email", canary(1, "identity", "user_id"))
    assert wanted in entries[0].identities
    assert mark(1).lower() not in path.read_text("utf-8").lower()
    with pytest.raises(listed.Unreadable):
        listed.read(path, b"another secret")
    await erased(store, 2, erase.Outside(path, b"one secret"))
    assert len(listed.uids(path)) == 2


async def test_a_restored_backup_is_erased_again(store: Store, tmp_path: Path) -> None:
    await desk(store, 3)
    file, fresh = tmp_path / "backup.db", f"sqlite:///{tmp_path}/fresh/wellheard.db"
    url = store.url.render_as_string(hide_password=False)
    outside = erase.Outside(tmp_path / "erased.jsonl", b"one secret")
    await asyncio.to_thread(backup.backup, url, file)
    await erased(store, 1, outside)
    await erased(store, 3, outside)
    await asyncio.to_thread(backup.restore, fresh, file)
    async with Store(fresh) as again:
        assert [c for c in await again.read(cells) if mark(1).lower() in c[1].lower()]
        assert await erase.replay(again, outside, lambda: NOW) == 2
        said = await again.read(cells)
        for person in (1, 3):
            assert [c for c in said if mark(person).lower() in c[1].lower()] == []
        assert [c for c in said if mark(2).lower() in c[1].lower()]
        seen = await again.read(conversations.seen, "support", canary(1, "message", "dedupe"))
        assert seen  # a mailbox that is read from where the backup was brings nothing back
        assert await erase.replay(again, outside, lambda: NOW) == 0
        assert len(listed.uids(tmp_path / "erased.jsonl")) == 2


async def test_who_wrote_again_after_being_erased_is_somebody_new(store: Store, tmp_path: Path) -> None:
    await desk(store)
    outside = erase.Outside(tmp_path / "erased.jsonl", b"one secret")
    address = canary(1, "identity", "user_id")
    await erased(store, 1, outside)
    back = await store.write(contacts.meet, NOW, space="email", user_id=address, name="back")
    assert back.created
    assert await erase.replay(store, outside, lambda: NOW) == 0  # this store knows of that erasure
    kept = await store.read(contacts.find_identity, "email", address)
    assert kept is not None
    assert kept.contact_id == back.contact_id


async def test_a_file_does_not_bring_them_back_unless_they_came_by_themselves(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("name,email\nLi Wei,li@customer.example\nAnn,ann@customer.example\n", "utf-8")
    await importer.run(store, "customers", file, Defaults(), NOW)
    await erased(store, 1)
    file.write_text("name,email\nLi Wei,LI@customer.example\nAnn Lee,ann@customer.example\n", "utf-8")
    report = await importer.run(store, "customers", file, Defaults(), NOW)
    assert (report.new, report.updated) == (0, 1)
    assert [(r.line, r.reason_key, r.values) for r in report.rejected] == [(2, "erased", {})]
    await store.write(contacts.meet, NOW, space="email", user_id="li@customer.example")
    file.write_text("name,email\nLi Wei,li@customer.example\n", "utf-8")
    report = await importer.run(store, "customers", file, Defaults(), NOW)
    assert (report.updated, report.rejected) == (1, [])


async def test_a_list_of_another_store_is_refused(store: Store, tmp_path: Path) -> None:
    await desk(store)
    path = tmp_path / "erased.jsonl"
    entry = listed.Entry("1", NOW, (), (), ())
    listed.add(path, b"one secret", bytes(32), entry)
    await store.write(tombstones.key)
    with pytest.raises(listed.Unreadable):
        await erase.replay(store, erase.Outside(path, b"one secret"), lambda: NOW)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("Li Wei", "who is li  wei?", True),
        ("Ann", "an announcement", False),
        ("张三", "查询张三的订单", True),
        ("77", "it costs 77", False),
        ("+4915112345678", "call +4915112345678 now", True),
        ("a@b.example", "a@b.example.org", True),
    ],
)
def test_a_name_is_found_whole(name: str, text: str, found: bool) -> None:
    assert words.Words([name]).in_(text) is found


def test_a_piece_of_what_was_written_is_found() -> None:
    said = words.Words([], ["My espresso machine leaks from below.", "我的咖啡机漏水了怎么办"])
    assert said.in_("#12 “… machine leaks from …”")
    assert said.in_("摘要：咖啡机漏水了")
    assert not said.in_("the tea kettle whistles")
