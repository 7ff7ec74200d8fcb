"""Everything there is about tickets, for a script or a check: with the platforms' own ids."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from crm_store import inbox, outbox, schema, upkeep

DELIVERY = {
    "pending": "pending",
    "sending": "pending",
    "sent": "sent",
    "unknown": "unknown",
    "dead": "dead",
    "withdrawn": None,
}


def everything(tx: Connection) -> dict[str, Any]:
    """Tickets with their messages; messages of a conversation before its ticket belong to the first one."""
    contacts = {row.id: row.name for row in tx.execute(select(schema.contact.c.id, schema.contact.c.name))}
    identities: dict[int, list[dict[str, str]]] = {}
    table = schema.identity
    for row in tx.execute(select(table.c.contact_id, table.c.space, table.c.user_id).order_by(table.c.id)):
        identities.setdefault(row.contact_id, []).append({"channel": row.space, "user_id": row.user_id})
    people = dict(tx.execute(select(schema.staff.c.id, schema.staff.c.name)).all())
    tickets = tx.execute(select(schema.ticket).order_by(schema.ticket.c.number)).all()
    by_ticket = _messages(tx, tickets)
    return {
        "tickets": [
            {
                "number": t.number,
                "status": t.status,
                "kind": t.kind,
                "priority": t.priority,
                "subject": t.subject,
                "assignee": people.get(t.assignee_id),
                "rating": t.rating,
                "customer": {
                    "id": t.contact_id,
                    "name": contacts.get(t.contact_id, ""),
                    "identities": identities.get(t.contact_id, []),
                },
                "messages": by_ticket.get(t.id, []),
            }
            for t in tickets
        ],
        "inbox": inbox.counts(tx),
        "outbox": outbox.counts(tx),
        "integrity": upkeep.integrity(tx),
    }


def _messages(tx: Connection, tickets: Any) -> dict[int, list[dict[str, Any]]]:
    of_conversation: dict[int, list[Any]] = {}
    for t in tickets:
        of_conversation.setdefault(t.conversation_id, []).append(t)
    states: dict[int, str] = {}
    rows = tx.execute(
        select(schema.outbox.c.message_id, schema.outbox.c.state)
        .where(schema.outbox.c.message_id.is_not(None), schema.outbox.c.op == "send")
        .order_by(schema.outbox.c.id)
    )
    for row in rows:
        states[row.message_id] = row.state
    found: dict[int, list[dict[str, Any]]] = {}
    m = schema.message
    for row in tx.execute(select(m).order_by(m.c.conversation_id, m.c.seq)):
        owners = of_conversation.get(row.conversation_id)
        ticket_id = row.ticket_id or (owners[0].id if owners else None)
        if ticket_id is None:
            continue
        found.setdefault(ticket_id, []).append(
            {
                "id": row.id,
                "kind": row.kind,
                "channel": row.channel,
                "event_id": row.event_id,
                "external_id": row.external_id,
                "author": row.author,
                "text": row.text,
                "at": row.created_at.isoformat(),
                "delivery": DELIVERY[states[row.id]] if row.id in states else None,
            }
        )
    return found
