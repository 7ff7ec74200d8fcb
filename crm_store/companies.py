"""Companies: who works there and what they bought. A company is what people say they are of: names that differ
only in width, case, script or legal form (Acme Ltd, ACME Limited, acme) are one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text

from crm_store import schema
from crm_store.contacts import LIVE
from crm_store.sales import VOID, Value
from crm_store.scope import Scope, of_contact
from crm_store.search import find_contacts
from crm_store.search.fold import fold, parts

contact, order, ticket, deal = schema.contact, schema.order, schema.ticket, schema.deal
CURRENCIES = 5  # by which people are ordered
LOOKED_AT = 100  # contacts that the search names for a company
_FORMS = frozenset(
    """
    ltd limited llc llp lp inc incorporated corp corporation co company plc pty pte gmbh ggmbh mbh ag kg kgaa ohg
    ug ek se sa sas sarl sasu srl srls spa bv nv vof oy oyj ab as asa aps kft zrt doo sp zoo sro ltda eireli bhd sdn
    kk the and und et
    """.split()  # noqa: SIM905
)
_DOTTED = re.compile(r"\b(?:[a-z]\.){2,}(?:[a-z]\b)?")  # s.r.l., e.k.
_HAN_FORM = re.compile(
    r"(?:股份|责任|控股)*有限(?:责任)?(?:公司)?$|(?:集团|总)?公司$|集团$|株式会社$|^株式会社|^\(株\)"
)


@dataclass(frozen=True, slots=True)
class Company:
    """What a company is to us. `people` are the first by what they paid: in the currency of most of its orders,
    then in the next, because no sum is of two. The numbers are of everyone there whom the asker may see."""

    names: tuple[str, ...]
    count: int = 0
    people: tuple[Any, ...] = ()  # contact rows
    orders: int = 0
    last_ordered_at: datetime | None = None
    values: tuple[Value, ...] = ()
    tickets: tuple[Any, ...] = ()  # open ones
    open_tickets: int = 0
    deals: tuple[Value, ...] = ()  # open ones, by currency
    open_deals: int = 0
    spent: dict[int, tuple[Value, ...]] = field(default_factory=dict)  # of each of `people`


def key(name: str) -> str:
    """What is the same of two spellings of one company; of a name that is nothing but a legal form, the name."""
    folded = _DOTTED.sub(lambda found: found[0].replace(".", ""), fold(name))
    bare = folded.strip()
    while (shorter := _HAN_FORM.sub("", bare).strip(" ,，")) and shorter != bare:
        bare = shorter
    words = parts(bare)
    kept = [word for word in words if word not in _FORMS] or words
    return " ".join(kept)


def named(tx: Connection, said: str, scope: Scope | None = None) -> list[tuple[str, ...]]:
    """The companies that fit what somebody typed, best first: the spellings of each. One that is called just so
    is alone."""
    wanted = key(said)
    ids = [
        hit.contact_id
        for text_ in dict.fromkeys((said, wanted))
        for hit in find_contacts(tx, text_, LOOKED_AT)
    ]
    query = select(contact.c.id, contact.c.company).where(
        contact.c.id.in_(ids), contact.c.company != "", LIVE
    )
    of: dict[int, str] = dict(tx.execute(query).all()) if ids else {}
    names = dict.fromkeys(of[number] for number in ids if number in of)
    found: dict[str, dict[str, None]] = {}
    for name in names:  # the first hundred of many may be nobody's whom the asker sees, and a later one is
        if scope is None or _there(tx, name, scope):
            found.setdefault(key(name), {})[name] = None
    if _there(tx, said, scope):  # spelt so, and perhaps not among those the search named
        found.setdefault(wanted, {})[said] = None
    if wanted in found:
        return [tuple(found[wanted])]
    words = set(wanted.split())
    return [
        tuple(names) for folded, names in found.items() if words & set(folded.split()) or wanted in folded
    ]


def look(tx: Connection, names: Sequence[str], scope: Scope | None = None, *, limit: int = 10) -> Company:
    """Everything about a company, by all the spellings of its name."""
    here = _of(names, scope)
    count = int(tx.execute(select(func.count()).select_from(contact).where(*here)).scalar_one())
    ids = select(contact.c.id).where(*here)
    paid = func.sum(order.c.amount_minor).filter(order.c.status.not_in(VOID))
    rows = tx.execute(
        select(
            order.c.currency,
            func.count().label("n"),
            func.max(order.c.ordered_at).label("last"),
            paid.label("paid"),
        )
        .where(order.c.contact_id.in_(ids))
        .group_by(order.c.currency)
    ).all()
    shown = tx.execute(_best_first(ids, rows).where(*here).limit(limit)).all()
    opened = ticket.c.contact_id.in_(ids), ticket.c.status != "closed"
    waiting = tx.execute(select(ticket).where(*opened).order_by(ticket.c.opened_at).limit(limit)).all()
    offered = tx.execute(
        select(deal.c.currency, func.count().label("n"), func.sum(deal.c.amount_minor).label("amount"))
        .where(deal.c.contact_id.in_(ids), deal.c.closed_at.is_(None))
        .group_by(deal.c.currency)
    ).all()
    return Company(
        names=tuple(names),
        count=count,
        people=tuple(shown),
        orders=sum(row.n for row in rows),
        last_ordered_at=max((row.last for row in rows), default=None),
        values=_values((row.currency, row.paid) for row in rows),
        tickets=tuple(waiting),
        open_tickets=int(tx.execute(select(func.count()).select_from(ticket).where(*opened)).scalar_one()),
        deals=_values((row.currency, row.amount) for row in offered),
        open_deals=sum(row.n for row in offered),
        spent=_spent(tx, [row.id for row in shown]),
    )


def _of(names: Sequence[str], scope: Scope | None) -> list[Any]:
    # the text lets SQLite use the index, which leaves out who has no company
    here = [contact.c.company.in_(list(names)), text("contact.company <> ''"), LIVE]
    return here if scope is None else [*here, of_contact(scope, contact.c.id)]


def _best_first(ids: Any, by_currency: Sequence[Any]) -> Any:
    """The people, by what they paid in each of the company's currencies."""
    used = [row.currency for row in sorted(by_currency, key=lambda row: (-row.n, row.currency))[:CURRENCIES]]
    paid = [
        func.sum(order.c.amount_minor)
        .filter(order.c.currency == currency, order.c.status.not_in(VOID))
        .label(f"paid_{n}")
        for n, currency in enumerate(used)
    ]
    best = (
        select(order.c.contact_id, *paid)
        .where(order.c.contact_id.in_(ids))
        .group_by(order.c.contact_id)
        .subquery()
    )
    places = [func.coalesce(best.c[one.name], 0).desc() for one in paid]
    joined = select(contact).join(best, best.c.contact_id == contact.c.id, isouter=True)
    return joined.order_by(*places, contact.c.id)


def _there(tx: Connection, name: str, scope: Scope | None) -> bool:
    return tx.execute(select(contact.c.id).where(*_of([name], scope)).limit(1)).first() is not None


def _spent(tx: Connection, ids: list[int]) -> dict[int, tuple[Value, ...]]:
    rows: dict[int, list[tuple[str, Any]]] = {}
    query = (
        select(order.c.contact_id, order.c.currency, func.sum(order.c.amount_minor))
        .where(order.c.contact_id.in_(ids), order.c.status.not_in(VOID))
        .group_by(order.c.contact_id, order.c.currency)
    )
    for number, currency, amount in tx.execute(query).all() if ids else ():
        rows.setdefault(number, []).append((currency, amount))
    return {number: _values(found) for number, found in rows.items()}


def _values(found: Any) -> tuple[Value, ...]:
    values = [Value(int(amount), currency) for currency, amount in found if amount]
    return tuple(sorted(values, key=lambda one: (-one.amount_minor, one.currency)))
