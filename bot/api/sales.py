"""Deals: what a shop or an ERP knows of sales that are on their way."""

from __future__ import annotations

from typing import Any, Literal

from bot.api import shapes
from bot.api.customers import current, whose
from bot.api.deal_schemas import Deal, DealChange, NewDeal
from bot.api.paging import Paging, page
from bot.api.problems import Problem, not_found
from bot.api.routes import Answer, Ask, Routes
from bot.api.schemas import Id, Moment, Name, Page
from crm_store import deals, people, scope

routes = Routes()


class DealsQuery(Paging):
    customer: Id | None = None
    status: Literal["open", "closed"] | None = None
    updated_since: Moment | None = None


@routes.add("GET", "/deals", "deals:read", Page[Deal], query=DealsQuery)
def list_deals(ask: Ask) -> Any:
    """Deals, oldest first"""
    given = ask.query
    rows = deals.listing(
        ask.tx,
        closed=None if given.status is None else given.status == "closed",
        contact_id=current(ask, given.customer),
        since=given.updated_since,
        scope=ask.scope,
        after=given.after,
        limit=given.limit + 1,
    )
    ask.saw |= {row.contact_id for row in rows[: given.limit]}
    shown = dict(zip([row.id for row in rows], shapes.deals(ask.tx, rows), strict=True))
    return page(rows, given, lambda row: shown[row.id])


@routes.add("GET", "/deals/{deal}", "deals:read", Deal, single=True)
def get_deal(ask: Ask) -> Any:
    """One deal by its number"""
    return _shown(ask, _deal(ask))


@routes.add("POST", "/deals", "deals:write", Deal, body=NewDeal, status=201, single=True, also=(404,))
def add_deal(ask: Ask) -> Any:
    """A new deal, of the token's staff member unless an owner is named"""
    body: NewDeal = ask.body
    row = deals.add(
        ask.tx,
        ask.turn.now,
        ask.member.actor,
        contact_id=whose(ask, body.customer),
        title=body.title,
        stage=_stage(ask, body.stage) if body.stage is not None else next(iter(_stages(ask))),
        amount_minor=body.amount.amount_minor,
        currency=body.amount.currency,
        owner_id=_owner(ask, body.owner) if body.owner is not None else ask.member.id,
        expected_on=body.expected_on,
        lost_reason=body.lost_reason if body.stage == deals.LOST else "",
        source=f"api:{ask.token}",
        products=[deals.Product(p.name, p.quantity, p.amount_minor, p.sku) for p in body.products],
        via="api",
    )
    return Answer(_shown(ask, row), 201, f"/deals/{row.number}")


@routes.add(
    "PATCH",
    "/deals/{deal}",
    "deals:write",
    Deal,
    body=DealChange,
    single=True,
    conditional=True,
    also=(409,),
)
def change_deal(ask: Ask) -> Any:
    """Change what is given of a deal; `products` as a whole"""
    row = _deal(ask)
    ask.must_match(_shown(ask, row))
    body: DealChange = ask.body
    given = body.model_fields_set
    values: dict[str, Any] = {
        name: getattr(body, name) for name in ("title", "expected_on", "lost_reason") if name in given
    }
    if "stage" in given:
        values["stage"] = _stage(ask, body.stage)
    if "amount" in given:
        values |= {"amount_minor": body.amount.amount_minor, "currency": body.amount.currency}
    if "owner" in given:
        values["owner_id"] = _owner(ask, body.owner) if body.owner is not None else None
    if values.get("stage", row.stage) != deals.LOST:
        values.pop("lost_reason", None)
    if "products" in given:
        wanted = [deals.Product(p.name, p.quantity, p.amount_minor, p.sku) for p in body.products]
        deals.set_products(ask.tx, row, wanted)
    row = deals.change(ask.tx, ask.turn.now, ask.member.actor, row, via="api", **values)
    return _shown(ask, row)


def _stages(ask: Ask) -> Any:
    return ask.turn.office.config.deals.stages


def _stage(ask: Ask, name: str) -> str:
    known = (*_stages(ask), *deals.CLOSED)
    if name not in known:
        raise Problem(409, f"stage: there is no {name!r}, only {', '.join(known)}", field="stage")
    return name


def _owner(ask: Ask, name: Name) -> int:
    person = people.by_name(ask.tx, name)
    if person is None or person.disabled_at is not None:
        raise Problem(409, f"owner: there is nobody called {name!r} among the active staff", field="owner")
    return int(person.id)


def _deal(ask: Ask) -> Any:
    row = deals.by_number(ask.tx, ask.path["deal"])
    if row is None or not scope.has_deal(ask.tx, ask.scope, row.id):
        raise not_found("deal", ask.path["deal"])
    return row


def _shown(ask: Ask, row: Any) -> Deal:
    ask.saw.add(row.contact_id)
    ask.object = f"deal:{row.number}"
    return shapes.deals(ask.tx, [row])[0]
