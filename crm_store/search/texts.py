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


def _add_texts(tx: Connection, kind: Kind, texts: dict[int, str]) -> None:
    if not texts:
        return
    highest = tx.execute(sql("SELECT max(id) FROM search_text")).scalar() or 0
    rows = [(highest + i, ref, said) for i, (ref, said) in enumerate(texts.items(), 1)]
    tx.execute(
        sql("INSERT INTO search_text (id, kind, ref, text) VALUES (:id, :kind, :ref, :text)"),
        [{"id": number, "kind": kind, "ref": ref, "text": said} for number, ref, said in rows],
    )
    tables.add(tx, "search_text", [(number, tokens.of_text(said)) for number, _, said in rows])


def forget(tx: Connection, kind: Kind, refs: Sequence[int]) -> None:
    for some in slices(list(refs)):
        rows = tx.execute(
            sql_once(f"SELECT id, text FROM search_text WHERE kind = :kind AND ref IN ({listed(some)})"),
            {"kind": kind},
        ).all()
        tables.remove(tx, "search_text", [(number, tokens.of_text(said)) for number, said in rows])
        tables.delete(tx, "search_text", [number for number, _ in rows])
