"""Files that nobody meant well with, or nobody looked at: what is in them is read or named, and nothing ends it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from crm_store import importer, schema
from crm_store.db import Store
from crm_store.importer import Defaults
from crm_store.importing import files
from crm_store.importing.columns import Kind

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LONG = "".join(chr(0x4E00 + 7 * n % 20_000) for n in range(9000))  # does not compress
BIG = 10**15


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"e-mail","Full\nname"\na@b.cc,Anna\n', [(3, "Anna", "")]),
        ("sep=;\nemail;Full name\na@b.cc;Anna\n", [(3, "Anna", "")]),
        (f"email,{'x' * 200_000},Full name\na@b.cc,,Anna\n", [(2, "Anna", "")]),
        (f'email,Full name\na@b.cc,"{"x,y" * 100_000}"\nc@d.ee,Cleo\n', [(2, "x,y" * 100_000, ""), (3, "Cleo", "")]),
        (
            '[1, "x, y", {"Full name": "Anna"}, null]',
            [(1, None, "json"), (2, None, "json"), (3, "Anna", ""), (4, None, "json")],
        ),
    ],
)  # fmt: skip
def test_what_stands_there_is_read_or_named(
    tmp_path: Path, text: str, found: list[tuple[int, str | None, str]]
) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert [(row.line, row.cells.get("Full name"), row.broken) for row in files.read(path)] == found


def test_a_first_line_without_end_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x" * (files.CELL + 1))
    with pytest.raises(ValueError, match="names no columns"):
        list(files.read(path))


RUDE: list[tuple[Kind, str, int, list[str]]] = [
    ("customers", f"ref,email\n{LONG},a@b.cc\n", 1, ["too_long"]),
    (
        "customers",
        f"email,name,company,city,country\nc@d.cc{f',{LONG}' * 4}\n",
        1,
        ["too_long"] * 4,
    ),
    ("customers", f"email\nc@{'d.' * 3000}cc\n", 0, ["email"]),
    ("orders", f"number,date,amount,currency,email\n{LONG},2026-01-01,5,EUR,a@b.cc\n", 0, ["too_long"]),
    (
        "orders",
        f"number,date,price,quantity,product,currency,email\nA,2026-01-01,{BIG // 100},2,tea,EUR,a@b.cc\n",
        0,
        ["amount"],
    ),
    (
        "orders",
        "number,date,amount,product,currency,email\n"
        + "".join(f"B,2026-01-01,{BIG // 100 - n},tea,EUR,a@b.cc\n" for n in range(3)),
        0,
        ["amount"],
    ),
    ("orders", "number,date,amount,currency,email\n" + ",2026-01-01,5,EUR,a@b.cc\n" * 3, 0, ["no_number"] * 3),
    ("articles", f"key,language,title,body\n{LONG},en,T,B\nk,en,{LONG},B\n", 0, ["too_long"] * 2),
    ("deals", f"key,title,amount,currency,email\n{LONG},T,5,EUR,a@b.cc\n", 0, ["too_long"]),
    ("deals", f"key,title,amount,currency,email\nK,T,-5,EUR,a@b.cc\nL,T,{BIG},EUR,a@b.cc\n", 0, ["amount"] * 2),
]  # fmt: skip


async def test_what_is_too_long_or_too_large_is_named_and_the_rest_comes_in(
    store: Store, tmp_path: Path
) -> None:
    """PostgreSQL cannot index it, and the sum of a report over it would be no number any more."""
    for number, (kind, text, new, reasons) in enumerate(RUDE):
        path = tmp_path / f"{number}.csv"
        path.write_text(text)
        report = await importer.run(store, kind, path, Defaults(), NOW)
        assert (report.new, [bad.reason_key for bad in report.rejected]) == (new, reasons), text[:80]
    for table in (schema.order, schema.deal):
        assert (
            await store.read(lambda tx, t=table: tx.execute(select(func.count()).select_from(t)).scalar())
            == 0
        )
