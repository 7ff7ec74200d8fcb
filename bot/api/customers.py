"""Customers, and what they did elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from bot.api import shapes
from bot.api.paging import Paging, page
from bot.api.problems import Problem, not_found
from bot.api.routes import Answer, Ask, Routes
from bot.api.schemas import (
    ById,
    Customer,
    CustomerChange,
    Email,
    Event,
    EventKind,
    Id,
    Key,
    Moment,
    NewCustomer,
    NewEvents,
    Noted,
    Page,
    Phone,
)
from crm_store import api, contacts, merges, since_merge
from crm_store.erase import was_erased
from crm_store.privacy import tombstones

routes = Routes()


class CustomersQuery(Paging):
    email: Email | None = None
    phone: Phone | None = None
    ref: Key | None = None
    tag: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00]+$")] | None = None
    updated_since: Moment | None = None


@routes.add("GET", "/customers", "customers:read", Page[Customer], query=CustomersQuery)
def list_customers(ask: Ask) -> Any:
    """Customers, oldest first; by e-mail, phone or ref it is the one who has it"""
    given = ask.query
    holding = [
        (space, value.lower() if space == "email" else value)
        for space, value in (("email", given.email), ("phone", given.phone), ("ref", given.ref))
        if value is not None
    ]
    if len(holding) > 1:
        owners = {api.owner(ask.tx, *one) for one in holding}
        if len(owners) > 1:
            return Page[Customer](items=[], next_cursor=None)
    rows = api.customers(
        ask.tx,
        after=given.after,
        limit=given.limit + 1,
        holding=holding[0] if holding else None,
        tag=given.tag or "",
        since=given.updated_since,
        scope=ask.scope,
    )
    ask.saw |= {row.id for row in rows[: given.limit]}
    shown = {one.id: one for one in shapes.customers(ask.tx, rows)}
    return page(rows, given, lambda row: shown[row.id])


@routes.add("GET", "/customers/{id}", "customers:read", Customer, single=True)
def get_customer(ask: Ask) -> Any:
    """One customer; by the id of one who was merged, the customer they are now"""
    return _one(ask, contacts.get(ask.tx, merges.current(ask.tx, ask.path["id"])))


@routes.add("POST", "/customers", "customers:write", Customer, body=NewCustomer, status=201, single=True)
def add_customer(ask: Ask) -> Any:
    """A new customer"""
    body: NewCustomer = ask.body
    now = ask.turn.now
    keys = [("email", email.lower()) for email in body.emails] + [("phone", phone) for phone in body.phones]
    keys = list(dict.fromkeys(keys + ([("ref", body.ref)] if body.ref is not None else [])))
    _not_erased(ask, keys, "")
    contact_id = contacts.create(ask.tx, now, name=body.name, source=_source(ask))
    for space, user_id in keys:
        if (
            contacts.add_identity(ask.tx, now, contact_id, space=space, user_id=user_id, name=body.name)
            is None
        ):
            taken = api.owner(ask.tx, space, user_id)
            raise Problem(409, f"{space}: {user_id} is of {named(ask, taken)} already", field=space)
    if ask.scope is not None:  # whose rows are all they see: what they bring is theirs
        contacts.set_values(ask.tx, now, contact_id, owner_id=ask.member.id)
    if changes := _changes(body):
        contacts.set_values(ask.tx, now, contact_id, **changes)
    return Answer(_one(ask, contacts.get(ask.tx, contact_id)), 201, f"/customers/{contact_id}")


@routes.add(
    "PATCH",
    "/customers/{id}",
    "customers:write",
    Customer,
    body=CustomerChange,
    single=True,
    conditional=True,
)
def change_customer(ask: Ask) -> Any:
    """Change what is given of a customer"""
    row = api.lock_contact(ask.tx, merges.current(ask.tx, ask.path["id"]))
    ask.must_match(_one(ask, row))
    changes = {name: value for name, value in _changes(ask.body).items() if getattr(row, name) != value}
    if changes:
        contacts.set_values(ask.tx, ask.turn.now, row.id, **changes)
    return _one(ask, contacts.get(ask.tx, row.id))


def named(ask: Ask, contact_id: int | None) -> str:
    """A customer in words: their number is for whoever sees them."""
    seen = contact_id is not None and ask.sees_contact(contact_id)
    return f"customer {contact_id}" if seen else "another customer"


def _one(ask: Ask, row: Any) -> Customer:
    if row is None or was_erased(ask.tx, row.id) or not ask.sees_contact(row.id):
        raise not_found("customer", ask.path.get("id"))
    ask.saw.add(row.id)
    return shapes.customers(ask.tx, [row])[0]


def _changes(body: CustomerChange) -> dict[str, Any]:
    return body.model_dump(include=body.model_fields_set & set(CustomerChange.model_fields))


def _source(ask: Ask) -> str:
    return f"api:{ask.token}"


def current(ask: Ask, contact_id: int | None) -> int | None:
    """The customer whom a query names, as they are now."""
    return merges.current(ask.tx, contact_id) if contact_id is not None else None


def _not_erased(ask: Ask, keys: Sequence[tuple[str, str]], field: str) -> None:
    """Another system does not bring back who was erased; who came back by themselves is known. Raise Problem."""
    for space, user_id in sorted(tombstones.identities_erased(ask.tx, keys)):
        if contacts.find_identity(ask.tx, space, user_id) is None:
            raise Problem(409, f"{space}: this customer was erased", field=f"{field}{space}")


def whose(ask: Ask, given: Any, field: str = "customer") -> int:
    """The customer whom a body names, made when nobody is known by that. Raise Problem."""
    if isinstance(given, ById):
        now = merges.current(ask.tx, given.id)
        if contacts.get(ask.tx, now) is None or was_erased(ask.tx, now) or not ask.sees_contact(now):
            raise not_found("customer", given.id, field=f"{field}.id")
        ask.saw.add(now)
        return now
    space = next(name for name in ("email", "phone", "ref") if hasattr(given, name))
    user_id = str(getattr(given, space))
    user_id = user_id.lower() if space == "email" else user_id
    _not_erased(ask, [(space, user_id)], f"{field}.")
    found = contacts.meet(
        ask.tx, ask.turn.now, space=space, user_id=user_id, name=given.name, source=_source(ask)
    )
    if found.created and ask.scope is not None:
        contacts.set_values(ask.tx, ask.turn.now, found.contact_id, owner_id=ask.member.id)
    elif not ask.sees_contact(found.contact_id):
        raise not_found("customer", user_id, field=field)
    ask.saw.add(found.contact_id)
    return found.contact_id


def came(ask: Ask, given: Any, kind: str, row_id: int) -> None:
    """Note by whom a body named the customer of a new row: a merge that is taken back gives it to them."""
    if not since_merge.any_moved(ask.tx):
        return
    if isinstance(given, ById):
        since_merge.came_to(ask.tx, kind, row_id, given.id)
        return
    space = next(name for name in ("email", "phone", "ref") if hasattr(given, name))
    user_id = str(getattr(given, space))
    since_merge.came_by(ask.tx, kind, {row_id: (space, user_id.lower() if space == "email" else user_id)})


# --- events -------------------------------------------------------------------------------------------------


class EventsQuery(Paging):
    customer: Id | None = None
    kind: EventKind | None = None
    updated_since: Moment | None = None


@routes.add("GET", "/events", "events:read", Page[Event], query=EventsQuery)
def list_events(ask: Ask) -> Any:
    """What customers did, in the order in which it was told"""
    given = ask.query
    rows = api.events(
        ask.tx,
        after=given.after,
        limit=given.limit + 1,
        contact_id=current(ask, given.customer),
        kind=given.kind or "",
        since=given.updated_since,
        scope=ask.scope,
    )
    ask.saw |= {row.contact_id for row in rows[: given.limit]}
    return page(rows, given, shapes.event)


@routes.add("POST", "/events", "events:write", Noted, body=NewEvents, also=(404,))
def note_events(ask: Ask) -> Any:
    """Tell what customers did, up to 500 at once; all are kept or none"""
    noted = 0
    for number, one in enumerate(ask.body.events):
        noted += api.record_event(
            ask.tx,
            ask.turn.now,
            contact_id=whose(ask, one.customer, f"events.{number}.customer"),
            kind=one.kind,
            at=one.at,
            subject=one.subject,
            key=one.key,
            fields=one.fields,
            source=_source(ask),
        )
    return Noted(noted=noted, repeated=len(ask.body.events) - noted)
