"""Believable customers and orders of an invented shop, the same for the same seed and day.

    people = customers(200, seed=1)
    sold = orders(1500, seed=1, today=date(2026, 3, 1), customers=people)

Nobody in here is real: addresses end in example.com, .org or .net, phone numbers lie in ranges kept for
fiction (US 555-01xx, UK 7700 900xxx, Australia 0491 57x xxx) or, where no such range exists, begin as no
real number does.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from pypinyin import lazy_pinyin

_GIVEN = (
    "Olivia Amelia Grace Freya Hannah Chloe Maya Zoe Ruth Nora Alice Ivy Clara Leah Tessa Oliver George "
    "Arthur Noah Theo Felix Hugo Samuel Adam Owen Isaac Victor Martin Dylan Peter "
)
_FAMILY = (
    "Ashworth Bellamy Calder Drummond Ellery Fairley Garrick Hollis Ingram Jardine Kerrigan Larkin "
    "Merrow Nesbitt Oakden Pemberton Quigley Rowntree Selby Thornbury Underhill Vickers Whitlock "
    "Yardley Abbott Blythe Corwin Dunmore Eastwick Foxley "
)
_ZH_FAMILY = "王李张刘陈杨黄赵周吴徐孙马朱胡林郭何高罗郑梁谢宋唐许邓冯韩曹"
_ZH_GIVEN = (
    "伟 芳 娜 敏 静 丽 强 磊 洋 艳 勇 杰 娟 涛 明 超 霞 平 晓燕 "
    "子轩 梓涵 雨桐 浩然 欣怡 思远 嘉怡 志强 建国 秀英 美玲 文博 佳琪 俊杰 雅婷 宇航 诗涵 海燕 振宇 若曦 "
    "天佑 "
)
# country, currency, share among its language, cities, phone prefix and digits that follow
_PLACES: dict[str, list[tuple[str, str, float, list[str], str, int]]] = {
    "en": [
        (
            "GB",
            "GBP",
            0.45,
            ["London", "Manchester", "Leeds", "Bristol", "Edinburgh", "Cardiff"],
            "+447700900",
            3,
        ),
        (
            "US",
            "USD",
            0.35,
            ["New York", "Seattle", "Chicago", "Austin", "Portland", "Boston"],
            "+1{area}55501",
            2,
        ),
        ("AU", "AUD", 0.12, ["Sydney", "Melbourne", "Brisbane", "Perth"], "+61491570", 3),
        ("IE", "EUR", 0.08, ["Dublin", "Cork", "Galway"], "+353209", 6),
    ],
    "zh": [
        (
            "CN",
            "CNY",
            0.80,
            ["上海", "北京", "广州", "深圳", "杭州", "成都", "苏州", "武汉", "南京"],
            "+861000",
            7,
        ),
        ("HK", "HKD", 0.10, ["香港"], "+85200", 6),
        ("TW", "TWD", 0.06, ["台北", "高雄", "台中"], "+8869000", 5),
        ("SG", "SGD", 0.04, ["新加坡"], "+6500", 6),
    ],
}
_AREAS = {"New York": 212, "Seattle": 206, "Chicago": 312, "Austin": 512, "Portland": 503, "Boston": 617}
_COMPANIES = {
    "en": ["Larch Studio", "Quayside Coffee", "Fern & Field Hotels", "Bright Desk Co", "Mill Lane School"],
    "zh": ["云杉设计工作室", "渡口咖啡", "山间民宿", "明桌办公", "青禾书店"],
}
# sku, English, Chinese, price in British pounds, how often bought, month of its season (0: none)
CATALOGUE: tuple[tuple[str, str, str, float, float, int], ...] = (
    ("LMP-HARBOUR", "Harbour table lamp", "港湾台灯", 79.0, 9, 11),
    ("LMP-MAST", "Mast floor lamp", "桅杆落地灯", 149.0, 5, 11),
    ("LMP-COVE", "Cove wall lamp", "海湾壁灯", 59.0, 5, 11),
    ("TBL-QUAY", "Quay oak table", "码头橡木桌", 640.0, 2, 9),
    ("TBL-SKIFF", "Skiff side table", "小艇边几", 129.0, 4, 0),
    ("CHR-PINE", "Pine dining chair", "松木餐椅", 119.0, 6, 9),
    ("CHR-DRIFT", "Drift armchair", "漂流扶手椅", 420.0, 2, 10),
    ("SOF-ISLE", "Isle sofa, three seats", "岛屿三人沙发", 1290.0, 1, 1),
    ("SHF-PIER", "Pier shelf", "栈桥书架", 210.0, 3, 1),
    ("RUG-TIDE", "Tide wool rug", "潮汐羊毛地毯", 260.0, 3, 10),
    ("CSH-FERN", "Fern cushion cover", "蕨叶靠垫套", 24.0, 12, 4),
    ("BLK-FOG", "Fog wool blanket", "雾色羊毛毯", 89.0, 7, 12),
    ("LIN-DUNE", "Dune linen bedding", "沙丘亚麻床品", 139.0, 6, 4),
    ("CUP-TERN", "Tern stoneware cups, set of four", "燕鸥陶杯四只装", 38.0, 11, 12),
    ("VAS-REED", "Reed vase", "芦苇花瓶", 45.0, 8, 5),
    ("BRD-ALDER", "Alder chopping board", "桤木砧板", 32.0, 9, 12),
    ("CND-SALT", "Sea salt candle", "海盐香薰蜡烛", 19.0, 14, 12),
    ("MIR-MOON", "Moon mirror", "月亮镜", 110.0, 4, 0),
)
_RATES = {"GBP": 1.0, "USD": 1.27, "AUD": 1.95, "EUR": 1.17, "CNY": 9.1, "HKD": 9.9, "TWD": 41.0, "SGD": 1.7}
_MONTH_WEIGHT = (
    0.9,
    0.75,
    0.85,
    0.9,
    1.0,
    0.85,
    0.8,
    0.8,
    1.0,
    1.05,
    1.6,
    1.75,
)  # gifts and sales, November on
_DAYS = 548  # eighteen months
FIRST_NUMBER = 1001


def customers(n: int = 200, seed: int = 1) -> list[dict[str, str]]:
    """Return n customers: name, email, phone, language, country, city, company, tags (by ;)."""
    dice = random.Random(f"customers {seed}")
    taken: set[str] = set()
    phones: set[str] = set()
    found: list[dict[str, str]] = []
    while len(found) < n:
        language = "zh" if dice.random() < 0.45 else "en"
        country, _, _, cities, _, _ = place = _pick(dice, _PLACES[language])
        city = dice.choice(cities)
        if language == "zh":
            family, given = dice.choice(_ZH_FAMILY), dice.choice(_ZH_GIVEN.split())
            name = family + given
            local = ".".join(("".join(lazy_pinyin(given)), "".join(lazy_pinyin(family))))
        else:
            given, family = dice.choice(_GIVEN.split()), dice.choice(_FAMILY.split())
            name = f"{given} {family}"
            local = dice.choice((f"{given}.{family}", f"{given[0]}{family}", f"{given}{family[0]}")).lower()
        company = dice.choice(_COMPANIES[language]) if dice.random() < 0.12 else ""
        email = _unique(f"{local}@{dice.choice(('example.com', 'example.org', 'example.net'))}", taken)
        phone = _phone(dice, place, city, phones) if dice.random() < 0.85 else ""
        tags = [
            tag
            for tag, share in (("newsletter", 0.4), ("club", 0.25), ("vip", 0.04))
            if dice.random() < share
        ]
        if company:
            tags.append("business")
        found.append(
            {
                "name": name,
                "email": email,
                "phone": phone,
                "language": language,
                "country": country,
                "city": city,
                "company": company,
                "tags": ";".join(tags),
            }
        )
    return found


def orders(
    n: int = 1_500,
    seed: int = 1,
    *,
    today: date,
    customers: Sequence[dict[str, str]] | None = None,
) -> list[dict[str, str]]:
    """Return n orders as import rows, the oldest first, none later than today.

    Columns: number, email, ordered_on, items ("2x Harbour table lamp; 1x …"), amount (with two decimals),
    currency, status (processing, shipped, delivered, returned, cancelled), carrier, tracking, shipped_on,
    delivered_on.
    """
    dice = random.Random(f"orders {seed}")
    people = list(customers) if customers is not None else globals()["customers"](seed=seed)
    if not people:
        return []
    # Few buy often, many once (a Pareto law, capped: nobody buys every day).
    weights = [min(dice.paretovariate(1.3), 9.0) * (2.5 if "vip" in one["tags"] else 1.0) for one in people]
    days = [today - timedelta(days=back) for back in range(_DAYS)]
    # The shop grows by two thirds over the time, buys peak before the holidays and on Sundays.
    likely = [
        _MONTH_WEIGHT[day.month - 1] * (1.3 if day.weekday() == 6 else 1.0) * (1 - 0.4 * back / _DAYS)
        for back, day in enumerate(days)
    ]
    found = []
    for at, day in enumerate(sorted(dice.choices(days, likely, k=n))):
        person = dice.choices(people, weights)[0]
        currency = next(place[1] for place in _PLACES[person["language"]] if place[0] == person["country"])
        lines, pounds = _basket(dice, day, person)
        found.append(
            {
                "number": f"A-{FIRST_NUMBER + at}",
                "email": person["email"],
                "ordered_on": day.isoformat(),
                "items": "; ".join(lines),
                "amount": f"{_rounded(pounds * _RATES[currency], currency):.2f}",
                "currency": currency,
                **_journey(dice, day, today, person["country"]),
            }
        )
    return found


def events(
    count: int = 600, seed: int = 1, *, today: date, customers: Sequence[dict[str, str]]
) -> list[dict[str, str]]:
    """What some of them did in the shop's pages within the last ninety days."""
    dice = random.Random(seed * 7 + 3)
    someone = [person for person in customers if person["email"]]
    found: list[dict[str, str]] = []
    while someone and len(found) < count:
        person = dice.choice(someone)
        at = datetime.combine(today - timedelta(days=dice.randint(1, 90)), time(dice.randint(7, 22)))
        _, english, chinese, _, _, _ = dice.choice(CATALOGUE)
        product = chinese if person["language"] == "zh" else english
        steps = dice.choices(("visit", "view", "like", "cart"), (30, 45, 12, 13), k=dice.randint(1, 4))
        for kind in sorted(steps[: count - len(found)], key="visit view like cart".index):
            at += timedelta(seconds=dice.randint(20, 400))
            about = "" if kind == "visit" else product
            said = {"event": kind, "time": f"{at.isoformat()}Z", "product": about}
            found.append({"email": person["email"], **said, "page": "/" if kind == "visit" else ""})
    return found


def write(folder: Path, today: date, people: int = 200, sold: int = 1_500, seed: int = 1) -> None:
    """Write customers.csv and orders.csv into a folder."""
    rows = customers(people, seed)
    for name, table in (("customers", rows), ("orders", orders(sold, seed, today=today, customers=rows))):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(table[0]) if table else [])
            writer.writeheader()
            writer.writerows(table)


def _pick(dice: random.Random, places: list[tuple[str, str, float, list[str], str, int]]) -> Any:
    return dice.choices(places, [place[2] for place in places])[0]


def _unique(email: str, taken: set[str]) -> str:
    local, domain = email.split("@")
    number = 1
    while email in taken:
        number += 1
        email = f"{local}{number}@{domain}"
    taken.add(email)
    return email


def _phone(dice: random.Random, place: Any, city: str, taken: set[str]) -> str:
    """A number of a fictional range; "" when that range is used up."""
    prefix, digits = place[4].format(area=_AREAS.get(city, 212)), place[5]
    for _ in range(50):
        phone = f"{prefix}{dice.randrange(10**digits):0{digits}d}"
        if phone not in taken:
            taken.add(phone)
            return str(phone)
    return ""


def _basket(dice: random.Random, day: date, person: dict[str, str]) -> tuple[list[str], float]:
    """One to four different things; companies take several of each; the season doubles and trebles."""
    weights = [
        often * (2.5 if season and (day.month - season) % 12 in (0, 1, 11) else 1.0)
        for _, _, _, _, often, season in CATALOGUE
    ]
    chosen: dict[str, tuple[str, float]] = {}
    for _ in range(dice.choices((1, 2, 3, 4), (58, 26, 11, 5))[0]):
        sku, english, chinese, price, _, _ = dice.choices(CATALOGUE, weights)[0]
        chosen[sku] = (chinese if person["language"] == "zh" else english, price)
    lines, pounds = [], 0.0
    for name, price in chosen.values():
        count = dice.choice((2, 4, 6)) if person["company"] and dice.random() < 0.6 else 1
        if count == 1 and price < 60 and dice.random() < 0.3:
            count = dice.choice((2, 2, 3, 4))
        lines.append(f"{count}x {name}")
        pounds += count * price
    return lines, pounds


def _journey(dice: random.Random, day: date, today: date, country: str) -> dict[str, str]:
    """How far the order has come by today."""
    abroad = country not in ("GB", "CN")
    packed = day + timedelta(days=dice.choices((0, 1, 2, 4), (35, 40, 20, 5))[0])
    there = packed + timedelta(days=dice.randint(4, 10) if abroad else dice.randint(1, 4))
    fate = dice.random()
    carrier = {"CN": "SF", "GB": "Parcelway"}.get(country, "WorldPost")
    tracking = f"{carrier[:2].upper()}{dice.randrange(10**10):010d}"
    if fate < 0.03:
        return _state("cancelled")
    if packed > today or (packed == today and fate < 0.5):
        return _state("processing")
    if there > today:
        return _state("shipped", carrier, tracking, packed)
    returned = fate > 0.94 and there + timedelta(days=8) <= today
    return _state("returned" if returned else "delivered", carrier, tracking, packed, there)


def _state(
    status: str, carrier: str = "", tracking: str = "", packed: date | None = None, there: date | None = None
) -> dict[str, str]:
    return {
        "status": status,
        "carrier": carrier,
        "tracking": tracking,
        "shipped_on": packed.isoformat() if packed else "",
        "delivered_on": there.isoformat() if there else "",
    }


def _rounded(amount: float, currency: str) -> float:
    """Prices as shops write them: whole where a unit is small, .90 or whole elsewhere."""
    return float(round(amount)) if currency in ("CNY", "HKD", "TWD") else round(amount * 10) / 10


def main() -> None:
    """Write both files: `python -m bot.sample.generate FOLDER --today 2026-03-01`."""
    parser = argparse.ArgumentParser(prog="python -m bot.sample.generate")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--today", type=date.fromisoformat, required=True)
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--orders", type=int, default=1_500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    write(given.folder, given.today, given.customers, given.orders, given.seed)


if __name__ == "__main__":
    main()
