"""What was written, in the index: messages by themselves, orders and articles as texts of their own."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from crm_store import schema
from crm_store.search import tables, tokens
from crm_store.search.query import listed, slices, sql, sql_once
from crm_store.search.state import Kind


def index_orders(tx: Connection, ids: Sequence[int]) -> None:
    order, line = schema.order, schema.order_line
    texts = {
        number: [name, tracking]
        for number, name, tracking in tx.execute(
            select(order.c.id, order.c.number, order.c.tracking).where(order.c.id.in_(ids))
        )
    }
    for number, sku, name in tx.execute(
        select(line.c.order_id, line.c.sku, line.c.name).where(line.c.order_id.in_(ids)).order_by(line.c.id)
    ):
        texts[number] += [sku, name]
    _add_texts(tx, "order", {number: " · ".join(filter(None, said)) for number, said in texts.items()})


def index_articles(tx: Connection, ids: Sequence[int]) -> None:
    article = schema.article
    rows = tx.execute(select(article).where(article.c.id.in_(ids)))
    _add_texts(tx, "article", {r.id: "\n".join([r.title, r.body, *map(str, r.phrasings)]) for r in rows})


def index_messages(tx: Connection, ids: Sequence[int]) -> None:
    message = schema.message
    rows = tx.execute(select(message.c.id, message.c.subject, message.c.text).where(message.c.id.in_(ids)))
    tables.add(tx, "search_message", [(r.id, tokens.of_text(r.subject, r.text)) for r in rows])


def text_id(kind: Kind, ref: int) -> int:
    """Under which id an order or an article stands in the index."""
    return 2 * ref + (kind == "article")


def _add_texts(tx: Connection, kind: Kind, texts: dict[int, str]) -> None:
    if not texts:
        return
    rows = [(text_id(kind, ref), said) for ref, said in texts.items()]
    tx.execute(
        sql("INSERT INTO search_text (id, text) VALUES (:id, :text)"),
        [{"id": number, "text": said} for number, said in rows],
    )
    tables.add(tx, "search_text", [(number, tokens.of_text(said)) for number, said in rows])


def forget(tx: Connection, kind: Kind, refs: Sequence[int]) -> None:
    for some in slices([text_id(kind, ref) for ref in refs]):
        statement = f"SELECT id, text FROM search_text WHERE id IN ({listed(some)})"
        rows = [(number, tokens.of_text(said)) for number, said in tx.execute(sql_once(statement))]
        tables.remove(tx, "search_text", rows)
        tables.delete(tx, "search_text", [number for number, _ in rows])
