"""What holds for every test: logs go where this test's output goes, whatever an earlier one configured; and an
index that was built of some articles is not built of them again (0.7 s for the sample's)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from sqlalchemy import Connection

from bot import decisions
from bot.answers.index import Article, ArticleIndex

_built: dict[tuple[Article, ...], ArticleIndex] = {}


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def _load_index(tx: Connection) -> ArticleIndex:
    articles = tuple(decisions.all_articles(tx))
    return _built.get(articles) or _built.setdefault(articles, ArticleIndex.build(articles))


decisions.load_index = (
    _load_index  # by whom a service starts: an index is immutable, so any number may share one
)
