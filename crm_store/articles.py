"""The knowledge base: articles by key and language, and whether they helped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, select, update

from crm_store import schema
from crm_store.rows import insert
from crm_store.search import indexing

article = schema.article
Change = Literal["new", "updated", "unchanged"]


def upsert(
    tx: Connection,
    now: datetime,
    *,
    key: str,
    language: str,
    title: str,
    body: str,
    phrasings: Sequence[str] = (),
) -> Change:
    """Write the article of that key and language; what people said of it (helped or not) stays."""
    values = {"title": title, "body": body, "phrasings": list(phrasings)}
    known = get(tx, key, language)
    if known is not None:
        if all(getattr(known, column) == value for column, value in values.items()):
            return "unchanged"
        tx.execute(update(article).where(article.c.id == known.id).values(**values, updated_at=now))
        indexing.changed(tx, "article", [known.id])
        return "updated"
    tx.execute(
        insert(tx, article)
        .values(key=key, language=language, **values, updated_at=now)
        .on_conflict_do_update(index_elements=["key", "language"], set_={**values, "updated_at": now})
    )
    return "new"


def listing(tx: Connection, language: str | None = None) -> list[Any]:
    """All articles, or those of a language, by key."""
    query = select(article).order_by(article.c.key, article.c.language)
    if language is not None:
        query = query.where(article.c.language == language)
    return list(tx.execute(query).all())


def get(tx: Connection, key: str, language: str) -> Any:
    """The article's row, or None."""
    return tx.execute(select(article).where(article.c.key == key, article.c.language == language)).first()


def by_id(tx: Connection, article_id: int) -> Any:
    return tx.execute(select(article).where(article.c.id == article_id)).first()


def remove(tx: Connection, key: str, language: str) -> bool:
    """Delete an article; False when there was none."""
    known = get(tx, key, language)
    if known is None:
        return False
    indexing.changed(tx, "article", [known.id])
    tx.execute(article.delete().where(article.c.id == known.id))
    return True


def count(tx: Connection, article_id: int, *, helped: bool) -> None:
    """Note one answer to "did this help?"."""
    column = article.c.helped if helped else article.c.not_helped
    tx.execute(update(article).where(article.c.id == article_id).values({column.name: column + 1}))
