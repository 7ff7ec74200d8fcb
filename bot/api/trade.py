"""Orders and articles: what a shop and a knowledge base keep true here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from bot.api import shapes
from bot.api.customers import came, current, named, whose
from bot.api.paging import Paging, page
from bot.api.problems import Problem, not_found
from bot.api.routes import Answer, Ask, Routes
from bot.api.schemas import Article, Id, Language, Moment, Order, Page, PutArticle, PutOrder, Word
from crm_store import api, articles
from crm_store.privacy import tombstones

routes = Routes()
Status = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class OrdersQuery(Paging):
    customer: Id | None = None
    number: Word | None = None
    status: Status | None = None
    updated_since: Moment | None = None


class ArticlesQuery(Paging):
    language: Language | None = None
    updated_since: Moment | None = None


@routes.add("GET", "/orders", "orders:read", Page[Order], query=OrdersQuery)
def list_orders(ask: Ask) -> Any:
    """Orders in the order in which they came here"""
    given = ask.query
    rows = api.orders(
        ask.tx,
        after=given.after,
        limit=given.limit + 1,
        contact_id=current(ask, given.customer),
        number=given.number or "",
        status=given.status or "",
        since=given.updated_since,
        scope=ask.scope,
    )
    ask.saw |= {row.contact_id for row in rows[: given.limit]}
    shown = dict(zip([row.id for row in rows], shapes.orders(ask.tx, rows), strict=True))
    return page(rows, given, lambda row: shown[row.id])


@routes.add("GET", "/orders/{order}", "orders:read", Order, single=True)
def get_order(ask: Ask) -> Any:
    """One order by its number"""
    row = api.by_number(ask.tx, ask.path["order"])
    if row is None or not ask.sees_contact(row.contact_id):
        raise not_found("order", ask.path["order"])
    return _shown(ask, row)


@routes.add(
    "PUT",
    "/orders/{order}",
    "orders:write",
    Order,
    body=PutOrder,
    single=True,
    conditional=True,
    also=(201, 409),
)
def put_order(ask: Ask) -> Any:
    """The order of that number with all its lines; the same again changes nothing"""
    number, body = ask.path["order"], ask.body
    if tombstones.holds(ask.tx, "order", number):
        raise Problem(409, f"order {number} was of a customer who was erased")
    contact_id = whose(ask, body.customer)
    known = api.by_number(ask.tx, number)
    if known is not None and known.contact_id != contact_id:
        said = f"customer: order {number} is of {named(ask, known.contact_id)}"
        raise Problem(409, said, field="customer")
    if known is not None:
        ask.must_match(_shown(ask, known))
    elif ask.if_match:
        raise Problem(412, f"there is no order {number} yet")
    values = {
        "ordered_at": body.ordered_at,
        "status": body.status,
        "amount_minor": body.amount.amount_minor,
        "currency": body.amount.currency,
        "tracking": body.tracking,
    }
    lines = [api.Line(one.sku, one.name, one.quantity, one.amount_minor) for one in body.lines]
    row, change = api.put_order(ask.tx, ask.turn.now, number, contact_id, values, lines)
    if change == "new":
        came(ask, body.customer, "customer_order", row.id)
    return Answer(_shown(ask, row), 201 if change == "new" else 200)


def _shown(ask: Ask, row: Any) -> Order:
    ask.saw.add(row.contact_id)
    ask.object = f"order:{row.number}"
    return shapes.orders(ask.tx, [row])[0]


@routes.add("GET", "/articles", "articles:read", Page[Article], query=ArticlesQuery)
def list_articles(ask: Ask) -> Any:
    """Articles of the knowledge base"""
    given = ask.query
    rows = api.articles(
        ask.tx,
        after=given.after,
        limit=given.limit + 1,
        language=given.language or "",
        since=given.updated_since,
    )
    return page(rows, given, shapes.article)


@routes.add("GET", "/articles/{key}/{language}", "articles:read", Article, single=True)
def get_article(ask: Ask) -> Any:
    """One article in one language"""
    return _article(ask)


@routes.add(
    "PUT",
    "/articles/{key}/{language}",
    "articles:write",
    Article,
    body=PutArticle,
    single=True,
    conditional=True,
)
def put_article(ask: Ask) -> Any:
    """Write an article; the bot knows it within a minute"""
    key, language, body = ask.path["key"], ask.path["language"], ask.body
    if ask.if_match:
        if articles.get(ask.tx, key, language) is None:
            raise Problem(412, f"there is no article {key} in {language} yet")
        ask.must_match(_article(ask))
    articles.upsert(
        ask.tx,
        ask.turn.now,
        key=key,
        language=language,
        title=body.title,
        body=body.body,
        phrasings=body.phrasings,
    )
    return _article(ask)


def _article(ask: Ask) -> Article:
    row = articles.get(ask.tx, ask.path["key"], ask.path["language"])
    if row is None:
        raise not_found("article", f"{ask.path['key']} in {ask.path['language']}")
    ask.object = f"article:{row.key}"
    return shapes.article(row)
