"""Deals: what may be sold to whom, in which stage it is, and what the pipeline is worth.

Money is in minor units of the deal's currency; a sum is always of one currency. The stages and how likely each
leads to a sale are the caller's (the configuration); `won` and `lost` are ours. Every change is in the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from crm_store import audit, schema
from crm_store.rows import insert_id
from crm_store.scope import Scope, of_deal
from crm_store.tickets import next_number

deal, product, history = schema.deal, schema.deal_product, schema.deal_stage
WON, LOST = "won", "lost"
CLOSED = (WON, LOST)


@dataclass(frozen=True, slots=True)
class Product:
    """What is in a deal; `amount_minor` is of all `quantity` of them."""

    name: str
    quantity: int
    amount_minor: int
    sku: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A line of the pipeline. `weighted_minor` is the sum times how likely the stage leads to a sale."""

    stage: str
    currency: str
    count: int
    amount_minor: int
    weighted_minor: int


def add(
    tx: Connection,
    now: datetime,
    actor: str,
    *,
    contact_id: int,
    title: str,
    stage: str,
    amount_minor: int,
    currency: str,
    owner_id: int | None = None,
    expected_on: date | None = None,
    lost_reason: str = "",
    key: str | None = None,
    source: str = "",
    products: Sequence[Product] = (),
    via: str = "",
) -> Any:
    """A new deal with the next number; its row."""
    deal_id = insert_id(
        tx,
        deal.insert().values(
            number=next_number(tx, "deal"),
            contact_id=contact_id,
            owner_id=owner_id,
            title=title,
            stage=stage,
            amount_minor=amount_minor,
            currency=currency,
            expected_on=expected_on,
            lost_reason=lost_reason,
            key=key,
            source=source,
            created_at=now,
            updated_at=now,
            stage_at=now,
            closed_at=now if stage in CLOSED else None,
        ),
    )
    _enter(tx, now, actor, deal_id, stage, amount_minor)
    for one in products:
        _put(tx, deal_id, one)
    row = get(tx, deal_id)
    audit.record(tx, now, actor, "deal_new", f"deal:{row.number}", via=via, contact=contact_id, stage=stage)
    return row


def change(tx: Connection, now: datetime, actor: str, row: Any, *, via: str = "", **values: Any) -> Any:
    """Change columns of a deal and return its row as it is now. Into a stage it is closed or opened by that."""
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return row
    if "stage" in changed:
        stage = changed["stage"]
        changed |= {"stage_at": now, "closed_at": now if stage in CLOSED else None}
        if stage != LOST and row.lost_reason:
            changed["lost_reason"] = ""
        _enter(tx, now, actor, row.id, stage, changed.get("amount_minor", row.amount_minor))
    tx.execute(update(deal).where(deal.c.id == row.id).values(**changed, updated_at=now))
    said = {name: _plain(value) for name, value in changed.items() if name in values and name in _TOLD}
    audit.record(
        tx,
        now,
        actor,
        "deal_change",
        f"deal:{row.number}",
        via=via,
        fields=sorted(set(values) & set(changed)),
        **said,
    )
    return get(tx, row.id)


_TOLD = ("stage", "amount_minor", "currency", "expected_on", "owner_id")  # names no person and says no words


def add_product(tx: Connection, now: datetime, actor: str, row: Any, one: Product, *, via: str = "") -> Any:
    """Put a product into a deal. An amount that was nothing else than its products' goes with them."""
    before = sum(line.amount_minor for line in products(tx, row.id))
    _put(tx, row.id, one)
    audit.record(tx, now, actor, "deal_product", f"deal:{row.number}", via=via, quantity=one.quantity)
    if row.amount_minor in (0, before):
        return change(tx, now, actor, row, via=via, amount_minor=before + one.amount_minor)
    tx.execute(update(deal).where(deal.c.id == row.id).values(updated_at=now))
    return get(tx, row.id)


def set_products(tx: Connection, row: Any, wanted: Sequence[Product]) -> bool:
    """Have exactly these products in a deal; whether that changed anything."""
    there = [Product(p.name, p.quantity, p.amount_minor, p.sku) for p in products(tx, row.id)]
    if there == list(wanted):
        return False
    tx.execute(product.delete().where(product.c.deal_id == row.id))
    for one in wanted:
        _put(tx, row.id, one)
    return True


def get(tx: Connection, deal_id: int) -> Any:
    return tx.execute(_with_names().where(deal.c.id == deal_id)).first()


def by_number(tx: Connection, number: int) -> Any:
    return tx.execute(_with_names().where(deal.c.number == number)).first()


def by_key(tx: Connection, key: str) -> Any:
    return tx.execute(_with_names().where(deal.c.key == key)).first()


def products(tx: Connection, deal_id: int) -> list[Any]:
    return list(tx.execute(select(product).where(product.c.deal_id == deal_id).order_by(product.c.id)).all())


def stages_of(tx: Connection, deal_id: int) -> list[Any]:
    """Every stage it was in, oldest first."""
    return list(tx.execute(select(history).where(history.c.deal_id == deal_id).order_by(history.c.id)).all())


def listing(
    tx: Connection,
    *,
    stages: Sequence[str] = (),
    closed: bool | None = None,
    owner_id: int | None = None,
    contact_id: int | None = None,
    scope: Scope | None = None,
    after: int | None = None,
    since: datetime | None = None,
    limit: int = 30,
) -> list[Any]:
    """Deals with their customers' and owners' names: those expected soonest first, or by id `after` one."""
    query = _with_names().limit(limit)
    if stages:
        query = query.where(deal.c.stage.in_(list(stages)))
    if closed is not None:
        query = query.where(deal.c.stage.in_(CLOSED) if closed else deal.c.stage.not_in(CLOSED))
    if owner_id is not None:
        query = query.where(deal.c.owner_id == owner_id)
    if contact_id is not None:
        query = query.where(deal.c.contact_id == contact_id)
    if scope is not None:
        query = query.where(of_deal(scope))
    if since is not None:
        query = query.where(deal.c.updated_at >= since)
    if after is not None:
        query = query.where(deal.c.id > after).order_by(deal.c.id)
    elif closed:
        query = query.order_by(deal.c.closed_at.desc(), deal.c.id.desc())
    else:
        query = query.order_by(deal.c.expected_on.is_(None), deal.c.expected_on, deal.c.id)
    return list(tx.execute(query).all())


def pipeline(
    tx: Connection,
    odds: Mapping[str, int],
    *,
    owner_id: int | None = None,
    scope: Scope | None = None,
    closed_since: datetime | None = None,
) -> list[Stage]:
    """Open deals by stage and currency, in the order of `odds` (per cent), then what was won and lost since.

    A stage that is not configured any more comes behind those that are, and weighs nothing.
    """
    query = (
        select(deal.c.stage, deal.c.currency, func.count(), func.sum(deal.c.amount_minor))
        .where(
            or_(
                deal.c.stage.not_in(CLOSED),
                deal.c.closed_at >= closed_since if closed_since is not None else deal.c.closed_at.is_(None),
            )
        )
        .group_by(deal.c.stage, deal.c.currency)
    )
    if owner_id is not None:
        query = query.where(deal.c.owner_id == owner_id)
    if scope is not None:
        query = query.where(of_deal(scope))
    chances = {**odds, WON: 100, LOST: 0}
    order = {stage: place for place, stage in enumerate(odds)} | {WON: 1000, LOST: 1001}
    rows = [
        Stage(stage, currency, int(count), int(amount), int(amount) * chances.get(stage, 0) // 100)
        for stage, currency, count, amount in tx.execute(query).all()
    ]
    return sorted(rows, key=lambda r: (order.get(r.stage, 999), r.stage, r.currency))


def _with_names() -> Any:
    return (
        select(deal, schema.contact.c.name.label("contact_name"), schema.staff.c.name.label("owner"))
        .join(schema.contact, schema.contact.c.id == deal.c.contact_id)
        .join(schema.staff, schema.staff.c.id == deal.c.owner_id, isouter=True)
    )


def _enter(tx: Connection, now: datetime, actor: str, deal_id: int, stage: str, amount_minor: int) -> None:
    tx.execute(
        history.insert().values(deal_id=deal_id, stage=stage, amount_minor=amount_minor, actor=actor, at=now)
    )


def _put(tx: Connection, deal_id: int, one: Product) -> None:
    tx.execute(
        product.insert().values(
            deal_id=deal_id,
            sku=one.sku,
            name=one.name,
            quantity=one.quantity,
            amount_minor=one.amount_minor,
        )
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
