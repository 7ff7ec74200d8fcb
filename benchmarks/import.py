"""How fast customers come in from a file, and go out again: `python benchmarks/import.py --rows 1000000`.

Writes a CSV file of that many customers, half English and half Chinese, one in twenty with something to clean
(a slip in the domain, full width, a date, a phone as people write it), one in two hundred a duplicate, one in
a thousand senseless; then measures rows/s of

parsed       reading and cleaning alone, in one process
first        the whole import into the store, reading beside writing
again        the same file once more: nothing changes
undone       `undo` of the first, after which the store is as before

and the peak memory. `--json` prints one document. `longest_s` is
the longest that another write (a customer's message, say) had to wait meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import Connection, text

from crm_store import importer, migrations, schema
from crm_store.db import Store
from crm_store.importing import files, rows, undo
from crm_store.importing.columns import field_of

NOW = datetime(2026, 10, 1, tzinfo=UTC)
DEFAULTS = importer.Defaults(language="en", region="CN", currency="CNY")
FIRST = ("Anna", "James", "Maria", "Peter", "Laura", "Tom", "Ivy", "Omar", "Nina", "Paul", "Zoe", "Karl")
LAST = ("Smith", "Müller", "Garcia", "Brown", "Novak", "Rossi", "Dubois", "Kim", "Jones", "Silva", "Berg")
SURNAMES = "王李张刘陈杨黄赵周吴徐孙马胡朱郭何林高罗"
GIVEN = "明华伟文国志建军平林海玉春红英永丽小德金荣秀梅云龙生新成东亚"
CITIES = ("Berlin", "London", "上海", "北京", "广州", "New York", "Madrid", "深圳")
SLIPS = ("gmial.com", "hotmial.com", "yaho.com", "gamil.com", "outlok.com")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--store", default="", help="a store's URL; a file that is thrown away without it")
    parser.add_argument("--only", choices=["parsed"], help="nothing but this")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="import-") as directory:
        path = Path(directory) / "customers.csv"
        written(path, given.rows)
        found: dict[str, Any] = {"rows": given.rows, "file_mb": round(path.stat().st_size / 1e6, 1)}
        found |= parsed(path, given.rows)
        if given.only is None:
            url = given.store or f"sqlite:///{directory}/import.db"
            migrations.upgrade(url)
            found |= asyncio.run(imported(url, path, given.rows))
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name:22} {value:,}" if isinstance(value, int | float) else f"{name:22} {value}")


def written(path: Path, count: int) -> None:
    dice = random.Random(5)
    with path.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["客户编号", "姓名", "邮箱", "手机", "公司", "城市", "标签", "since"])
        for number in range(count):
            out.writerow(row(number if dice.random() > 0.005 else dice.randrange(number + 1), dice))


def row(number: int, dice: random.Random) -> list[str]:
    if number % 2:
        first, last = FIRST[number % len(FIRST)], LAST[number % len(LAST)]
        name, host = f"{first} {last}", f"example{number % 89}.com"
        phone = f"+44{7 * 10**9 + number * 7919 % 10**9}"
    else:
        name = SURNAMES[number % 20] + GIVEN[number // 20 % 30] + GIVEN[number // 600 % 30]
        host = "qq.com"
        phone = f"138{number * 7919 % 10**8:08}"
    address = f"user{number}@{host}"
    dirt = dice.random()
    if dirt < 0.01:
        address = f"user{number}@{dice.choice(SLIPS)}"
    elif dirt < 0.02:
        name = name + "１２"
    elif dirt < 0.05:
        phone = f"{phone[:-8]} {phone[-8:-4]}-{phone[-4:]}"
    elif dirt < 0.051:
        return [str(number), name, "not an address", "nor a phone", "", "", "", ""]
    day = f"202{number % 6}-{number % 12 + 1:02}-{number % 28 + 1:02}"
    tags = "vip" if number % 50 == 0 else ""
    return [f"K{number}", name, address, phone, f"Firm {number % 997}", CITIES[number % 8], tags, day]


def parsed(path: Path, count: int) -> dict[str, Any]:
    began = time.perf_counter()
    for _ in rows.customers(files.read(path, lambda name: field_of("customers", name) is not None), DEFAULTS):
        pass
    took = time.perf_counter() - began
    return {"parsed_rows_s": round(count / took), "parsed_peak_mb": _peak()}


async def imported(url: str, path: Path, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with Store(url) as store:
        found["store"] = store.dialect
        before = await store.read(fingerprint)
        for name in ("first", "again"):
            waits: list[float] = []
            other = asyncio.create_task(_others(store, waits))
            began, cpu = time.perf_counter(), time.process_time()
            report = await importer.run(store, "customers", path, DEFAULTS, NOW)
            took = time.perf_counter() - began
            other.cancel()
            found[f"{name}_rows_s"] = round(count / took)
            found[f"{name}_cpu_us"] = round((time.process_time() - cpu) / count * 1e6, 1)
            found[f"{name}_longest_s"] = round(max(waits, default=0.0), 3)
            found[name] = f"{report.new} new, {report.updated} updated, {report.unchanged} unchanged"
            found[f"{name}_peak_mb"] = _peak()
            if name == "first":
                run_id = report.run_id
                after = await store.read(fingerprint)
        found["again_changed"] = await store.read(fingerprint) != after
        began = time.perf_counter()
        await undo.undo(store, run_id, NOW)
        found["undone_rows_s"] = round(count / (time.perf_counter() - began))
        found["undone_as_before"] = await store.read(fingerprint) == before
        found["peak_mb"] = _peak()
    return found


def fingerprint(tx: Connection) -> str:
    """Everything there is, but for what the import notes of itself and what the index is made of."""
    found = hashlib.sha256()
    for name, table in sorted(schema.metadata.tables.items()):
        if not name.startswith("import_"):
            keys = ", ".join(column.name for column in table.primary_key)
            query = text(f"SELECT * FROM {name} ORDER BY {keys}").execution_options(yield_per=1000)
            for row in tx.execute(query):
                found.update(repr(tuple(row)).encode())
    return found.hexdigest()


async def _others(store: Store, waits: list[float]) -> None:
    """What a customer's message would wait for its commit, ten times a second."""
    while True:
        began = time.perf_counter()
        await store.write_first(lambda tx: tx.execute(text("SELECT 1")).scalar())
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(0.1)


def _peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
