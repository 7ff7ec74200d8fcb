"""The data-quality index counts records with something the matter, by field and by source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from crm_store import contacts, conversations, erase, exporter, importer, quality
from crm_store.db import Store
from crm_store.importer import Defaults

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=900)


async def bring(store: Store, path: Path, text: str, now: datetime = NOW) -> None:
    path.write_text(text)
    await importer.run(store, "customers", path, Defaults(language="en", region="DE"), now)


async def test_an_empty_store_has_no_index(store: Store) -> None:
    [whole] = await store.read(quality.measure, NOW)
    assert (whole.records, whole.anomalous, whole.index) == (0, 0, None)


async def test_whoever_was_erased_is_no_anomaly_and_no_empty_line_of_an_export(
    store: Store, tmp_path: Path
) -> None:
    await bring(store, tmp_path / "two.csv", "name,email\nAnna,a@example.com\nBo,b@example.com\n")
    number = await store.write(erase.ask, NOW, 1, "cli")
    await erase.carry_out(store, number, lambda: NOW)
    [whole, *_] = await store.read(quality.measure, NOW)
    assert (whole.records, whole.anomalous) == (1, 0)
    lines = await store.read(lambda tx: "".join(exporter.export(tx, "customers")).splitlines())
    assert [line.split(",")[2] for line in lines] == ["name", "Bo"]


async def test_anomalies_are_counted_by_field_and_source(store: Store, tmp_path: Path) -> None:
    good = "name,email,phone,country,city,company,language\nAnna,a@example.com,+49301111111,DE,Rome,X,en\n"
    await bring(store, tmp_path / "good.csv", good)
    await bring(
        store,
        tmp_path / "bad.csv",
        "name,email,phone,company,country\n"
        "Bo,bo@example.com,,Y,DE\n"
        "Bo,bo2@example.com,,Y,DE\n"  # the same name at the same company
        "x@y,c@example.com,,,Atlantis\n"
        ",,+49302222222,,\n",  # its country is inferred; it has no name
    )
    await bring(store, tmp_path / "old.csv", "name,email\nOld,old@example.com\nWriter,w@example.com\n", OLD)

    def writes(tx: object) -> None:
        [writer] = [one for one in (6, 7) if contacts.get(tx, one).name == "Writer"]  # type: ignore[arg-type]
        conversations.open_at(
            tx,  # type: ignore[arg-type]
            NOW, channel="web", room_id="r", thread_id="", contact_id=writer, language="en",
        )  # fmt: skip

    await store.write(writes)
    whole, bad, old, fine = await store.read(quality.measure, NOW)
    assert [one.source for one in (bad, old, fine)] == ["import:bad.csv", "import:old.csv", "import:good.csv"]
    assert [(one.records, one.anomalous) for one in (whole, bad, old, fine)] == [
        (7, 5),
        (4, 4),
        (2, 1),
        (1, 0),
    ]
    assert whole.index == 7 / 5
    assert fine.index is None
    assert fine.parts == {}
    assert bad.parts[""] == {"duplicate": 2}
    assert old.parts[""] == {"stale": 1}
    assert bad.parts["name"] == {"missing": 1, "malformed": 1}
    assert bad.parts["country"] == {"malformed": 1, "inferred": 1}
    assert bad.parts["email"] == {"missing": 1}
