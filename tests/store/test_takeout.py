"""A takeout has everything that is held on a person, and nothing of anybody else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from crm_store import audit, takeout
from crm_store.db import Store
from crm_store.erase import Unknown
from crm_store.privacy import held
from tests.store.test_erase import NOW, canary, desk, mark

FOUND_BY_WORDS = {"audit", "api_request", "webhook_event", "counter", "cursor", "event_count", "confirmation"}


async def test_every_table_with_a_persons_data_is_in_it(store: Store) -> None:
    await desk(store)
    told, _ = await store.read(takeout.document, 1, NOW)
    assert set(told["held"]) == {table.name for table, _ in held.tables()}
    empty = {name for name, rows in told["held"].items() if not rows}
    assert empty <= FOUND_BY_WORDS
    assert told["held"]["audit"]


async def test_nothing_of_anybody_else_is_in_it(store: Store, tmp_path: Path) -> None:
    await desk(store)
    with takeout.into(tmp_path / "out") as sink:
        await takeout.write(store, 1, sink, NOW, actor="cli")
    everything = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert mark(1).encode() in everything
    assert mark(2).encode() not in everything


async def test_files_are_in_it_as_files(store: Store, tmp_path: Path) -> None:
    await desk(store)
    with takeout.into(tmp_path / "out.zip") as sink:
        count = await takeout.write(store, 1, sink, NOW, actor="cli")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert len(archive.namelist()) == count == 3  # the document, a file and a raw message
        told = json.loads(archive.read("takeout.json"))
        assert archive.read(told["held"]["blob"][0]["file"]) == canary(1, "blob", "content").encode()
        assert canary(1, "inbox", "body").encode() in archive.read(told["held"]["inbox"][0]["file"])
    assert (tmp_path / "out.zip").stat().st_mode & 0o077 == 0
    newest, *_ = await store.read(audit.entries, object="contact:1")
    assert newest.action == "takeout"


async def test_nobody_is_a_sentence(store: Store) -> None:
    with pytest.raises(Unknown):
        await store.read(takeout.document, 77, NOW)
