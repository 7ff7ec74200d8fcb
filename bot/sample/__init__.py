"""Sample customers, orders and articles of an invented shop, for the demo and the tests."""

from __future__ import annotations

import json
from pathlib import Path

from bot.answers.index import Article

ARTICLES_PATH = Path(__file__).parent / "articles.jsonl"


def articles() -> list[Article]:
    """Return the sample articles, numbered from 1 in the order of the file."""
    lines = ARTICLES_PATH.read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line]
    return [
        Article(at, row["key"], row["language"], row["title"], row["body"], tuple(row["phrasings"]))
        for at, row in enumerate(rows, 1)
    ]
