"""Whose rows somebody sees: a set of staff, and the conditions that keep a query to what is theirs.

A customer is theirs whom they own, or of whom a ticket or a deal is assigned to them; a ticket or a deal that is
assigned to them or is of a customer they own; a message of such a ticket, or one without a ticket of such a
customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, or_, select, union

from crm_store import schema

contact, ticket, deal, message, conversation = (
    schema.contact,
    schema.ticket,
    schema.deal,
    schema.message,
    schema.conversation,
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Ids of staff whose rows are seen."""

    staff: frozenset[int]


def of_contact(scope: Scope, contact_id: Any) -> Any:
    """The condition on a column that holds a contact's id."""
    staff = sorted(scope.staff)
    return contact_id.in_(
        union(
            select(contact.c.id).where(contact.c.owner_id.in_(staff)),
            select(ticket.c.contact_id).where(ticket.c.assignee_id.in_(staff)),
            select(deal.c.contact_id).where(deal.c.owner_id.in_(staff)),
        ).scalar_subquery()
    )


def of_ticket(scope: Scope) -> Any:
    """The condition on the table of tickets."""
    return or_(ticket.c.assignee_id.in_(sorted(scope.staff)), ticket.c.contact_id.in_(_owned(scope)))


def of_deal(scope: Scope) -> Any:
    """The condition on the table of deals."""
    return or_(deal.c.owner_id.in_(sorted(scope.staff)), deal.c.contact_id.in_(_owned(scope)))


def of_message(scope: Scope, table: Any = message) -> Any:
    """The condition on the table of messages, whatever it is joined with."""
    talks = select(conversation.c.id).where(of_contact(scope, conversation.c.contact_id))
    return or_(
        table.c.ticket_id.in_(select(ticket.c.id).where(of_ticket(scope))),
        and_(table.c.ticket_id.is_(None), table.c.conversation_id.in_(talks)),
    )


def has_ticket(tx: Connection, scope: Scope | None, ticket_id: int) -> bool:
    return (
        scope is None
        or tx.execute(select(ticket.c.id).where(ticket.c.id == ticket_id, of_ticket(scope))).first()
        is not None
    )


def has_deal(tx: Connection, scope: Scope | None, deal_id: int) -> bool:
    return (
        scope is None
        or tx.execute(select(deal.c.id).where(deal.c.id == deal_id, of_deal(scope))).first() is not None
    )


def has_contact(tx: Connection, scope: Scope | None, contact_id: int) -> bool:
    return scope is None or bool(only(tx, scope, [contact_id]))


def only(tx: Connection, scope: Scope | None, contact_ids: list[int]) -> list[int]:
    """Of these contacts those that are theirs, in the order they came."""
    if scope is None or not contact_ids:
        return contact_ids
    query = select(contact.c.id).where(contact.c.id.in_(contact_ids), of_contact(scope, contact.c.id))
    seen = set(tx.execute(query).scalars())
    return [one for one in contact_ids if one in seen]


def _owned(scope: Scope) -> Any:
    return select(contact.c.id).where(contact.c.owner_id.in_(sorted(scope.staff)))
