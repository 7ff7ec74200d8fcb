"""How well and how fast customers are found: `python -m benchmarks.search --customers 1000000 --json`.

Builds that many customers, half of them English and half Chinese, each with an e-mail address, most with a
phone, a tenth with an order or a handle; then asks 200 labelled queries of each kind:

exact        an e-mail address, a phone (international, national, its last eight digits), an order number, a handle
misspelt     an English name with one (70 %) or two letters wrong: left out, doubled, swapped, another
pinyin       zhangsanfeng, zhang san feng, sanfeng zhang or zhangsf for 张三丰
homophone    a Chinese name with one character replaced by another of the same sound
han2         two neighbouring characters out of a Chinese name
zh_misspelt  a Chinese name with one character replaced by any other: ambiguous by nature
and beside these: initials (zsf), traditional (張三豐), order (Smith John), prefix (joh smi)

A misspelt name is never somebody else's right one. The label is the name, and every customer of that name is
right. `recall_at_5` is the share of queries with a right one among the first five. Where the query does not
hold what would tell names apart, those that fit it equally are equally right: for pinyin and initials
names of the very reading typed, for homophones names that share sound and as many characters;
`strict_at_5` counts the label's own name only. For han2 thousands may fit: a query is right when a customer
whose whole name it is comes first, the first three hits (or as many as there are) contain the two characters,
and as many hits are returned as exist, up to eight; `strict_at_5` asks that of the first five, of which two
may otherwise be names that sound like the two characters.

`cpu_p95_ms` is the thread's own time: what a busy machine does not change much (on PostgreSQL without the
server's). Times are of find_contacts over a connection of the store's own kind, in one transaction; `service` is the
same through `Store.read`, as the service does it: another thread on SQLite, a transaction of its own on PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, text

from crm_store import migrations, schema, sealing
from crm_store.db import Store, describe, parse_url, seal_of, sqlite_engine
from crm_store.search import find_contacts, indexing, pinyin
from crm_store.search.fold import name_key
from crm_store.search.han_table import SIMPLIFIED, TRADITIONAL

QUERIES = 200
KINDS = (
    "exact",
    "misspelt",
    "pinyin",
    "homophone",
    "han2",
    "zh_misspelt",
    "initials",
    "traditional",
    "order",
    "prefix",
)
BATCH = 10_000
NOW = datetime(2026, 10, 1, tzinfo=UTC)
LETTERS = "etaoinshrdlcumwfgypbvkxjqz"
# Characters of given names, roughly by how often they are used.
GIVEN = (
    "明华伟文国志建军平林海玉春红英永丽小德金荣秀梅云龙生新成东亚晓俊杰强辉敏静芳燕娟兰霞波宇佳"
    "宏立涛浩鑫飞磊洋勇超刚鹏健斌凯峰晨瑞博彬阳亮琴婷雪慧莉玲萍娜洁颖倩琳欣怡悦思雨梦诗涵子轩"
    "梓浩然泽睿宸皓昊天翔一诺可馨若曦语嫣艺彤安琪雅舒婉清瑶瑾萱芷菲蕾薇茜莹璐珊琪宝贵福祥庆丰"
    "胜利民山川江河石松柏桂莲荷菊竹青岩岚峻岭汉宗正大光远达通顺和谦礼仁义信智学良才忠孝贤君卿"
)


# Rarer surnames are put together: a fifth of people bear one that few others do.
HEADS = """
Ash Black Brad Chester Dal Eller Fair Gil Hart Hol Kings Lang Marl Nor Oak Pem Rad Stan Thorn Under Ver West Whit
Wood York Zeller
"""
ENDS = """
ton ley ford wood field brook man well shaw by wick stead worth ham bury dale mere gate ridge son
"""


@dataclass(slots=True)
class People:
    """What was built: names by language, and what is exactly somebody's."""

    english: list[str] = field(default_factory=list)
    chinese: list[str] = field(default_factory=list)
    exact: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and who is right; `equal` says whether a name fits it as well as the label's own."""

    query: str
    label: str
    right: frozenset[int] = frozenset()
    equal: Callable[[str], bool] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument(
        "--store",
        default="",
        help="a store's URL; without it a file that is thrown away; `postgresql`: a server is started for it",
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sealed", action="store_true", help="with contact data under a key (privacy.key)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if given.store == "postgresql":
            from tests import postgres  # the server that the tests use: not durable, so only to be compared

            url = stack.enter_context(postgres.database(migrated=False))
        else:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="search-"))
            url = given.store or f"sqlite:///{directory}/search.db"
        migrations.upgrade(url)
        found = asyncio.run(
            measured(
                url,
                given.customers,
                random.Random(given.seed),
                sealing.new_key() if given.sealed else "",
            )
        )
    if given.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for name, value in found.items():
        line = "  ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else value
        print(f"{name:14}", line)


async def measured(url: str, customers: int, dice: random.Random, key: str) -> dict[str, Any]:
    async with Store(url, key=key) as store:
        if await store.read(lambda tx: tx.execute(select(schema.contact.c.id).limit(1)).first()):
            raise SystemExit(f"{describe(parse_url(url))} has customers already: give an empty store")
        began = time.perf_counter()
        people = await build(store, customers, dice)
        built = time.perf_counter()
        before = await store.read(size)
        await indexing.catch_up(store, progress=_say)
        indexed = time.perf_counter()
        after = await store.read(size)
        queries = asked(people, dice)
        found: dict[str, Any] = {}
        keys = await store.read(lambda tx: Keys(tx))
        for kind in KINDS:
            found[kind] = await judged(store, url, key, kind, queries[kind], keys)
        return found | {
            "index_mb": round((after - before) / 1e6, 1),
            "names_mb": round(await store.read(size_of_names) / 1e6, 1),
            "customers": customers,
            "distinct_names": len(set(people.english)) + len(set(people.chinese)),
            "build_s": round(built - began, 1),
            "index_s": round(indexed - built, 1),
            "store": store.dialect,
            "sealed": bool(key),
        }


def _say(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} indexed", end="", file=sys.stderr, flush=True)


# --- the customers ------------------------------------------------------------------------------------


def english(dice: random.Random) -> Iterator[str]:
    """Names by faker's tables of five countries and their frequencies, one in five with a rarer surname."""
    from faker.providers.person import de_DE, en_GB, en_US, es_ES, fr_FR  # only this program needs faker

    def pool(table: Any) -> tuple[list[str], list[float]]:
        rows = dict(table) if isinstance(table, dict) else dict.fromkeys(table, 1.0)
        return list(rows), [float(weight) for weight in rows.values()]

    tables = [
        (pool(m.Provider.first_names), pool(m.Provider.last_names))
        for m in (en_US, en_GB, de_DE, fr_FR, es_ES)
    ]
    heads, ends = HEADS.split(), ENDS.split()
    while True:
        (firsts, first_by), (lasts, last_by) = tables[dice.choices(range(5), (70, 15, 5, 5, 5))[0]]
        for first, last in zip(
            dice.choices(firsts, first_by, k=500), dice.choices(lasts, last_by, k=500), strict=True
        ):
            if dice.random() < 0.2:
                last = dice.choice(heads) + dice.choice(ends) + dice.choice(["", "", "", "s", "e"])
            middle = f" {dice.choices(firsts, first_by)[0]}" if dice.random() < 0.08 else ""
            yield f"{first}{middle} {last}"


def chinese(dice: random.Random) -> Iterator[str]:
    """Surnames by their frequency; given names of one (15 %) or two characters, a third of them common ones."""
    from faker.providers.person import zh_CN

    table = zh_CN.Provider.last_names
    surnames, weights = list(table), list(table.values())
    common = [name for name in zh_CN.Provider.first_names if len(name) == 2]
    characters = list(dict.fromkeys(GIVEN))
    by = [1 / (rank + 12) for rank in range(len(characters))]
    while True:
        for surname in dice.choices(surnames, weights, k=500):
            if dice.random() < 0.33:
                yield surname + dice.choice(common)
                continue
            yield surname + "".join(dice.choices(characters, by, k=1 if dice.random() < 0.22 else 2))


async def build(store: Store, customers: int, dice: random.Random) -> People:
    people = People()
    west, east = english(dice), chinese(dice)
    for start in range(1, customers + 1, BATCH):
        ids = range(start, min(start + BATCH, customers + 1))
        names = [next(west) if number % 2 else next(east) for number in ids]
        people.english += names[(1 - start % 2) :: 2]
        people.chinese += names[start % 2 :: 2]
        await store.write(_insert, ids, names, people, dice)
    if store.dialect == "postgresql":
        await store.write(lambda tx: tx.execute(text("ANALYZE")))
    return people


def _insert(tx: Connection, ids: range, names: list[str], people: People, dice: random.Random) -> None:
    contacts, identities, orders = [], [], []

    def known(number: int, space: str, user_id: str, handle: str = "") -> None:
        identities.append(
            {"contact_id": number, "space": space, "user_id": user_id, "handle": handle,
             "name": "", "created_at": NOW}
        )  # fmt: skip

    for number, name in zip(ids, names, strict=True):
        contacts.append(
            {"id": number, "name": name, "tags": [], "fields": {}, "created_at": NOW, "updated_at": NOW}
        )
        address = f"c{number}.{dice.randrange(10**6)}@example{number % 97}.com"
        known(number, "email", address)
        keep = dice.random() < 4000 / max(len(ids), 4000) / 20
        if dice.random() < 0.7:
            drawn = number * 2654435761  # a prime: no number comes twice
            phone = (
                f"+1{2 * 10**9 + drawn % (8 * 10**9)}"
                if number % 2
                else f"+861{3 * 10**9 + drawn % (7 * 10**9)}"
            )
            known(number, "phone", phone)
            if keep:
                people.exact += [
                    (phone, number),
                    (phone[3 if number % 2 == 0 else 2 :], number),
                    (phone[-8:], number),
                ]
        if dice.random() < 0.1:
            handle = f"User{number:x}"
            known(number, "telegram", str(10**9 + number), handle)
            if keep:
                people.exact += [("@" + handle, number)] * 4
        if dice.random() < 0.1:
            orders.append(
                {"number": f"A-{number}", "contact_id": number, "ordered_at": NOW, "status": "paid",
                 "amount_minor": dice.randrange(100, 10**6), "currency": "CNY", "updated_at": NOW}
            )  # fmt: skip
            if keep:
                people.exact += [(f"a-{number}", number)] * 4
        if keep:
            people.exact.append((address.upper() if dice.random() < 0.3 else address, number))
    tx.execute(schema.contact.insert(), contacts)
    tx.execute(schema.identity.insert(), identities)
    if orders:
        tx.execute(schema.order.insert(), orders)


def size(tx: Connection) -> int:
    """Bytes that the index takes."""
    return _size_of(tx, "search%")


def size_of_names(tx: Connection) -> int:
    """What finding by name takes: without the ends of phones, orders and messages."""
    return sum(_size_of(tx, f"search_{part}%") for part in ("name", "word", "contact", "block", "fresh"))


def _size_of(tx: Connection, named: str) -> int:
    if tx.dialect.name == "postgresql":
        query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE :named"
    else:
        query = "SELECT sum(pgsize) FROM dbstat WHERE replace(name, 'sqlite_autoindex_', '') LIKE :named"
    return int(tx.execute(text(query), {"named": named}).scalar() or 0)


# --- the queries --------------------------------------------------------------------------------------


def asked(people: People, dice: random.Random) -> dict[str, list[Asked]]:
    taken = {name_key(name) for name in (*people.english, *people.chinese)}

    def some(make: Callable[[], Asked | None]) -> list[Asked]:
        found: list[Asked] = []
        while len(found) < QUERIES:
            one = make()
            if one is not None and (one.label == name_key(one.query) or name_key(one.query) not in taken):
                found.append(one)
        return found

    def latin() -> str:
        return dice.choice(people.english)

    def han(least: int = 2) -> str:
        while len(name := dice.choice(people.chinese)) < least:
            pass
        return name

    def misspelt() -> Asked:
        name = latin()
        query = name
        for _ in range(1 if dice.random() < 0.7 else 2):
            query = typo(query, dice)
        return Asked(query, name_key(name))

    def read() -> Asked:
        name = han()
        reading = pinyin.readings(name)[0]
        form = dice.random()
        if form < 0.5:
            query = "".join(reading)
        elif form < 0.7:
            query = " ".join(reading)
        elif form < 0.85:
            query = f"{''.join(reading[1:])} {reading[0]}".title()
        else:
            query = reading[0] + pinyin.initials(reading[1:])
        short = form >= 0.85

        def equal(key: str) -> bool:
            return any(
                "".join(r) == "".join(reading) or (short and r[0] + pinyin.initials(r[1:]) == query)
                for r in filter(None, pinyin.readings(key))
            )

        return Asked(query, name_key(name), equal=equal)

    def heard() -> Asked | None:
        name = han()
        at = dice.randrange(len(name))
        same = [
            c
            for c in alike.get(
                pinyin.readings(name)[0][at] if len(pinyin.readings(name)[0]) == len(name) else "", ""
            )
            if c != name[at]
        ]
        if not same:
            return None
        query = name[:at] + dice.choice(same) + name[at + 1 :]
        reading = pinyin.readings(name)[0]
        if reading not in pinyin.readings(query):
            return None

        def equal(key: str) -> bool:
            shared = sum(a == b for a, b in zip(key, query, strict=False))
            return reading in pinyin.readings(key) and shared >= len(query) - 1

        return Asked(query, name_key(name), equal=equal)

    def two() -> Asked:
        name = han()
        at = dice.randrange(len(name) - 1)
        return Asked(name[at : at + 2], name_key(name[at : at + 2]))

    def wrong() -> Asked:
        name = han()
        at = dice.randrange(len(name))
        return Asked(name[:at] + dice.choice(GIVEN) + name[at + 1 :], name_key(name))

    def first_letters() -> Asked:
        name = han(3)
        query = pinyin.initials(pinyin.readings(name)[0])
        return Asked(
            query,
            name_key(name),
            equal=lambda key: any(pinyin.initials(r).startswith(query) for r in pinyin.readings(key or "-")),
        )

    def older() -> Asked | None:
        name = han()
        query = "".join(older_of.get(c, c) for c in name)
        return Asked(query, name_key(name)) if query != name else None

    def turned() -> Asked:
        name = latin()
        first, _, last = name.rpartition(" ")
        return Asked(f"{last} {first}", name_key(name))

    def begun() -> Asked:
        name = latin()
        query = " ".join(word[: max(3, len(word) * 2 // 3)] for word in name_key(name).split())
        return Asked(
            query,
            name_key(name),
            equal=lambda key: all(any(w.startswith(q) for w in key.split()) for q in query.split()),
        )

    alike: dict[str, str] = {}
    for character in sorted({c for name in people.chinese[:50_000] for c in name}):
        alike.setdefault(pinyin.readings("一" + character)[0][-1], "")
        alike[pinyin.readings("一" + character)[0][-1]] += character
    older_of = dict(zip(SIMPLIFIED, TRADITIONAL, strict=True))
    dice.shuffle(people.exact)
    return {
        "exact": [
            Asked(query, "", frozenset([number])) for query, number in (people.exact * QUERIES)[:QUERIES]
        ],
        "misspelt": some(misspelt),
        "pinyin": some(read),
        "homophone": some(heard),
        "han2": [two() for _ in range(QUERIES)],
        "zh_misspelt": some(wrong),
        "initials": some(first_letters),
        "traditional": some(older),
        "order": [turned() for _ in range(QUERIES)],
        "prefix": [begun() for _ in range(QUERIES)],
    }


def typo(name: str, dice: random.Random) -> str:
    places = [i for i, c in enumerate(name) if c.isalpha()]
    at = dice.choice(places)
    match dice.randrange(4):
        case 0:
            return name[:at] + name[at + 1 :]
        case 1:
            return name[:at] + dice.choice([name[at], dice.choice(LETTERS)]) + name[at:]
        case 2 if at + 1 < len(name) and name[at + 1].isalpha() and name[at + 1] != name[at]:
            return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
        case _:
            return name[:at] + dice.choice([c for c in LETTERS if c != name[at].lower()]) + name[at + 1 :]


# --- the judgement ------------------------------------------------------------------------------------


class Keys:
    """Names of contacts, and which contain two characters: from the customers' own table, not the index."""

    def __init__(self, tx: Connection) -> None:
        self.of = {
            number: name_key(name)
            for number, name in tx.execute(select(schema.contact.c.id, schema.contact.c.name))
        }
        self.pairs: Counter[str] = Counter()
        for key in self.of.values():
            if not key.isascii():
                self.pairs.update({key[i : i + 2] for i in range(len(key) - 1)})
        self.whole = set(self.of.values())


async def judged(
    store: Store, url: str, key: str, kind: str, queries: list[Asked], keys: Keys
) -> dict[str, float]:
    times, cpu, hits = await _timed(store, url, key, queries)
    right = strict = 0
    for one, found in zip(queries, hits, strict=True):
        if kind == "han2":
            pair = one.label
            inside = [pair in keys.of[number] for number in found]
            least = min(3, keys.pairs[pair])
            named = pair not in keys.whole or keys.of[found[0]] == pair
            right += named and sum(inside[:3]) == least and len(found) >= min(8, keys.pairs[pair])
            strict += named and sum(inside[:5]) == min(5, keys.pairs[pair])
            continue
        top = found[:5]
        exactly = any(number in one.right or keys.of[number] == one.label for number in top)
        equal = one.equal
        strict += exactly
        right += exactly or (equal is not None and any(equal(keys.of[number]) for number in top))
    service = []
    for one in queries[:50]:
        began = time.perf_counter()
        await store.read(find_contacts, one.query)
        service.append((time.perf_counter() - began) * 1000)
    return {
        "p50_ms": percentile(times, 50),
        "p95_ms": percentile(times, 95),
        "cpu_p95_ms": percentile(cpu, 95),
        "recall_at_5": round(right / len(queries), 3),
        "strict_at_5": round(strict / len(queries), 3),
        "service_p50_ms": percentile(service, 50),
        "service_p95_ms": percentile(service, 95),
    }


Timed = tuple[list[float], list[float], list[list[int]]]


async def _timed(store: Store, url: str, key: str, queries: list[Asked]) -> Timed:
    """Milliseconds by the clock and of this thread's CPU for each query, and whom it found."""

    def run(tx: Connection) -> Timed:
        times, cpu, hits = [], [], []
        for one in queries:
            began, worked = time.perf_counter(), time.thread_time()
            found = find_contacts(tx, one.query)
            times.append((time.perf_counter() - began) * 1000)
            cpu.append((time.thread_time() - worked) * 1000)
            hits.append([hit.contact_id for hit in found])
        return times, cpu, hits

    if store.dialect == "postgresql":
        await store.read(run)
        return await store.read(run)
    engine = sqlite_engine(parse_url(url), read_only=True)
    sealing.give(engine, seal_of(key))
    try:
        with engine.connect() as tx:
            run(
                tx
            )  # what is read for the first time comes from the disk, and pinyin and rapidfuzz are loaded
            return run(tx)
    finally:
        engine.dispose()


def percentile(times: list[float], share: int) -> float:
    return round(sorted(times)[min(len(times) - 1, len(times) * share // 100)], 2)


if __name__ == "__main__":
    main()
