"""Encodings, workbooks, and what an import corrects, fills in and reports."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from crm_store import exporter, importer, schema
from crm_store.db import Store
from crm_store.importer import Defaults, Report
from crm_store.importing import excel, files, runs

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 5, 2, 12, tzinfo=UTC)
DEFAULTS = Defaults(language="en", currency="EUR", region="DE")
TRADITIONAL = (
    "姓名,電子郵件,城市\n陳大文,chan@example.com,臺北\n李小龍,lee@example.com,香港\n"
    "黃美麗,wong@example.com,高雄\n"
)


async def bring(store: Store, directory: Path, text: str | bytes, now: datetime = NOW, **kw: Any) -> Report:
    path = directory / "customers.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return await importer.run(store, "customers", path, DEFAULTS, now, **kw)


def people(tx: Connection) -> list[Any]:
    return list(tx.execute(select(schema.contact).order_by(schema.contact.c.id)))


def addresses(tx: Connection) -> list[str]:
    return list(tx.execute(select(schema.identity.c.user_id).order_by(schema.identity.c.id)).scalars())


def marks(tx: Connection) -> list[tuple[int, str, str, str]]:
    held = schema.contact_mark.c
    return [tuple(row) for row in tx.execute(select(held.contact_id, held.field, held.value, held.how))]


@pytest.mark.parametrize("encoding", ["big5", "gb18030", "utf-8", "utf-16"])
def test_traditional_characters_are_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(TRADITIONAL.encode(encoding))
    assert [row.cells["姓名"] for row in files.read(path)] == ["陳大文", "李小龍", "黃美麗"]


def test_simplified_characters_are_not_taken_for_big5(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("客户名称,邮箱\n张三丰,z@example.com\n王小明,w@example.com\n".encode("gb18030"))
    assert files.encoding_of(path) == "gb18030"


async def test_what_is_exported_as_a_workbook_comes_back(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    text = 'name,email,phone,note\n=cmd(),a@example.com,+49301111111,"-1+1"\n张三,b@example.com,,a < b & c\n'
    await bring(store, tmp_path, text)
    before = await store.read(people)
    path = tmp_path / "customers.xlsx"
    with path.open("wb") as out:
        await store.read(exporter.workbook, "customers", out)
    rows = [cells for _, cells in excel.rows(path)]
    assert [row["name"] for row in rows] == ["=cmd()", "张三"]
    report = await importer.run(store, "customers", path, DEFAULTS, LATER)
    assert (report.new, report.updated, report.unchanged, report.rejected) == (0, 0, 2, [])
    assert await store.read(people) == before


async def test_a_workbook_holds_no_formula(store: Store, tmp_path: Path) -> None:
    await bring(store, tmp_path, 'name,email\n"=HYPERLINK(""http://x"")",a@example.com\n@x,b@example.com\n')
    out = io.BytesIO()
    await store.read(exporter.workbook, "customers", out)
    sheet = zipfile.ZipFile(out).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert ">'=HYPERLINK(" in sheet
    assert ">'@x<" in sheet


async def test_no_cell_of_an_export_begins_a_formula(store: Store, tmp_path: Path) -> None:
    rude = ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "＝1"]
    out = io.StringIO()
    csv.writer(out).writerows(
        [["name", "email"], *([text, f"c{n}@example.com"] for n, text in enumerate(rude))]
    )
    await bring(store, tmp_path, out.getvalue())
    exported = await store.read(lambda tx: "".join(exporter.export(tx, "customers")))
    cells = [cell for row in csv.reader(io.StringIO(exported)) for cell in row]
    assert not [
        cell
        for cell in cells
        if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "＝") and not cell[1:].isdigit()
    ]


async def test_what_is_no_workbook_is_said_in_a_sentence(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    with pytest.raises(ValueError, match="no workbook"):
        await bring(store, tmp_path, b"PK\x03\x04 and then nothing of a zip")


async def test_what_was_corrected_and_inferred_is_reported_and_marked(store: Store, tmp_path: Path) -> None:
    text = (
        "name,email,phone\n"
        "Ａnna,anna@gmial.com,+8613800138000\n"
        ",bo.smith@example.fr,01 23 45 67 89\n"
        "Anna again,anna@gmail.com,\n"
    )
    report = await bring(store, tmp_path, text)
    assert [(one.line, one.field, one.was, one.value, one.how) for one in report.corrected] == [
        (2, "email", "anna@gmial.com", "anna@gmail.com", "domain"),
        (2, "name", "Ａnna", "Anna", "width"),
    ]
    assert [(one.line, one.of_line, one.by) for one in report.duplicates] == [(4, 2, "email")]
    assert (report.new, report.duplicate, report.corrections, report.inferred) == (2, 1, 2, 3)
    anna, bo = await store.read(people)
    assert (anna.name, anna.country, bo.name, bo.country) == ("Anna", "CN", "Bo Smith", "FR")
    assert "+33123456789" in await store.read(addresses)
    assert sorted(await store.read(marks)) == [
        (anna.id, "country", "CN", "inferred"),
        (anna.id, "email", "anna@gmail.com", "corrected"),
        (bo.id, "country", "FR", "inferred"),
        (bo.id, "name", "Bo Smith", "inferred"),
    ]


async def test_what_is_said_takes_the_place_of_what_was_inferred(store: Store, tmp_path: Path) -> None:
    await bring(store, tmp_path, "email,phone\nbo.smith@example.fr,+33123456789\n")
    await bring(store, tmp_path, "email,name,country\nbo.smith@example.fr,Bob Smith,Belgium\n", LATER)
    [bo] = await store.read(people)
    assert (bo.name, bo.country) == ("Bob Smith", "BE")
    await bring(store, tmp_path, "email,country\nbo.smith@example.fr,FR\n", LATER)
    assert (await store.read(people))[0].country == "FR"


async def test_an_address_that_somebody_has_is_no_slip(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text('{"name": "Anna", "email": "anna@gmial.com"}')

    def known(tx: Connection) -> None:
        number = tx.execute(
            schema.contact.insert().values(name="Anna", tags=[], fields={}, created_at=NOW, updated_at=NOW)
        ).inserted_primary_key[0]
        held = {"contact_id": number, "space": "email", "user_id": "anna@gmial.com", "created_at": NOW}
        tx.execute(schema.identity.insert().values(**held))

    await store.write(known)
    report = await importer.run(store, "customers", path, DEFAULTS, LATER)
    assert (report.new, report.unchanged, report.corrections) == (0, 1, 0)
    assert await store.read(addresses) == ["anna@gmial.com"]


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
async def test_what_was_inferred_is_still_inferred_after_an_export_came_back(
    store: Store, tmp_path: Path, form: exporter.Form
) -> None:
    await bring(store, tmp_path, "email,phone\nbo.smith@example.fr,+33123456789\n")
    before = await store.read(marks)
    assert {(field, value) for _, field, value, _ in before} == {("name", "Bo Smith"), ("country", "FR")}
    exported = await store.read(lambda tx: "".join(exporter.export(tx, "customers", form)))
    report = await bring(store, tmp_path, exported, LATER)
    assert (report.new, report.updated, report.unchanged) == (0, 0, 1)
    assert await store.read(marks) == before
    fresh = exported.replace("bo.smith", "ben.smith").replace("+33123456789", "+33123456788")
    await bring(store, tmp_path, fresh, LATER)
    assert {(field, value) for who, field, value, _ in await store.read(marks) if who == 2} == {
        *(("name", "Bo Smith"), ("country", "FR"))
    }


async def test_the_quality_of_the_file_is_told_by_field(store: Store, tmp_path: Path) -> None:
    rows = ["anna@gmial.com,12"] * 2 + ["nope,", "b@example.com,", "c@example.com,+49301111111"]
    report = await bring(store, tmp_path, "email,phone\n" + "".join(f"{row}\n" for row in rows))
    assert (report.records, report.anomalous, report.index) == (5, 3, 5 / 3)
    assert report.parts == {
        "email": {"corrected": 2, "rejected": 1},
        "phone": {"rejected": 2},
        "": {"duplicate": 1},
        "country": {"inferred": 1},
    }
    counts = (await store.read(runs.listing))[0].counts
    assert (counts["records"], counts["anomalous"], counts["email.corrected"]) == (5, 3, 2)
    good = await bring(store, tmp_path, "email\nd@example.com\n")
    assert (good.records, good.anomalous, good.index) == (1, 0, None)


async def test_a_record_is_counted_once_wherever_a_batch_ends(store: Store, tmp_path: Path) -> None:
    rows = "".join(f"u{n}@example.com,12\n" for n in range(1501))
    report = await bring(store, tmp_path, f"email,phone\nfirst@example.com,\n{rows}")
    assert (report.records, report.anomalous) == (1502, 1501)
