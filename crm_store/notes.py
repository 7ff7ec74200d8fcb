"""Notes about customers, beside those on tickets: staff read them, the customer never does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from crm_store import schema
from crm_store.rows import insert_id

note = schema.contact_note


@dataclass(frozen=True, slots=True)
class Note:
    """`ticket` is the number of the ticket it was written on; None for one on the customer."""

    text: str
    author: str
    created_at: datetime
    ticket: int | None


def add(
    tx: Connection, now: datetime, contact_id: int, text: str, *, staff_id: int | None, author: str
) -> int:
    return insert_id(
        tx,
        note.insert().values(
            contact_id=contact_id, staff_id=staff_id, author=author, text=text, created_at=now
        ),
    )


def of_contact(tx: Connection, contact_id: int, *, limit: int = 20) -> list[Note]:
    """Notes on a customer and on their tickets, newest first."""
    message, conversation, ticket = schema.message, schema.conversation, schema.ticket
    own = (
        select(note.c.text, note.c.author, note.c.created_at)
        .where(note.c.contact_id == contact_id)
        .order_by(note.c.id.desc())
        .limit(limit)
    )
    on_tickets = (
        select(message.c.text, message.c.author, message.c.created_at, ticket.c.number.label("ticket"))
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .outerjoin(ticket, ticket.c.id == message.c.ticket_id)
        .where(
            conversation.c.contact_id == contact_id,
            message.c.kind == "note",
            message.c.deleted_at.is_(None),
        )
        .order_by(message.c.id.desc())
        .limit(limit)
    )
    found = [(*row, None) for row in tx.execute(own)] + [tuple(row) for row in tx.execute(on_tickets)]
    found.sort(key=lambda row: row[2], reverse=True)
    return [Note(*row) for row in found[:limit]]
