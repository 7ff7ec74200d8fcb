"""The sample shop is whole, believable, the same every time, and nobody real is in it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

from bot.sample import articles
from bot.sample.generate import customers, orders, write

TODAY = date(2026, 3, 1)


def test_every_topic_is_there_in_both_languages_with_phrasings() -> None:
    by_key: dict[str, set[str]] = {}
    for article in articles():
        by_key.setdefault(article.key, set()).add(article.language)
        assert len(article.phrasings) >= 4
        assert len(article.body) > 40
    assert len(by_key) >= 15
    assert all(languages == {"en", "zh"} for languages in by_key.values())


def test_no_phrasing_belongs_to_two_articles() -> None:
    said = Counter((one.language, text.lower()) for one in articles() for text in (one.title, *one.phrasings))
    assert [text for text, times in said.items() if times > 1] == []


def test_the_same_seed_and_day_give_the_same_shop() -> None:
    assert customers(50, 7) == customers(50, 7)
    assert customers(50, 7) != customers(50, 8)
    assert orders(100, 7, today=TODAY) == orders(100, 7, today=TODAY)


def test_customers_are_distinct_and_fictional() -> None:
    rows = customers(400)
    assert len({row["email"] for row in rows}) == 400
    assert all(re.search(r"@example\.(com|org|net)$", row["email"]) for row in rows)
    phones = [row["phone"] for row in rows if row["phone"]]
    assert len(set(phones)) == len(phones)
    fictional = re.compile(r"\+(1\d{3}55501|447700900|61491570|353209|861000|85200|8869000|6500)\d+$")
    assert [phone for phone in phones if not fictional.match(phone)] == []
    assert {row["language"] for row in rows} == {"en", "zh"}


def test_orders_are_of_customers_and_tell_a_possible_story() -> None:
    people = customers(200)
    rows = orders(1_500, today=TODAY, customers=people)
    assert [row["number"] for row in rows][:2] == ["A-1001", "A-1002"]
    assert len({row["number"] for row in rows}) == 1_500
    known = {person["email"] for person in people}
    for row in rows:
        assert row["email"] in known
        ordered = date.fromisoformat(row["ordered_on"])
        assert TODAY - timedelta(days=548) <= ordered <= TODAY
        assert float(row["amount"]) > 0
        shipped, delivered = row["shipped_on"], row["delivered_on"]
        assert (
            bool(shipped) == bool(row["tracking"]) == (row["status"] in ("shipped", "delivered", "returned"))
        )
        assert bool(delivered) == (row["status"] in ("delivered", "returned"))
        assert not shipped or row["ordered_on"] <= shipped <= TODAY.isoformat()
        assert not delivered or shipped < delivered <= TODAY.isoformat()
    assert {row["status"] for row in rows} == {"processing", "shipped", "delivered", "returned", "cancelled"}


def test_few_customers_buy_much_and_the_year_has_a_season() -> None:
    rows = orders(1_500, today=TODAY, customers=customers(200))
    bought = sorted(Counter(row["email"] for row in rows).values(), reverse=True)
    assert sum(bought[:40]) > 0.4 * sum(bought)
    assert bought[0] < 0.1 * sum(bought)
    months = Counter(row["ordered_on"][:7] for row in rows)
    assert months["2025-12"] > 1.3 * months["2025-07"]


def test_no_customers_no_orders() -> None:
    assert orders(10, today=TODAY, customers=[]) == []


def test_the_files_are_written_as_csv(tmp_path: Path) -> None:
    write(tmp_path, TODAY, people=5, sold=9)
    with (tmp_path / "orders.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 9
    with (tmp_path / "customers.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5
