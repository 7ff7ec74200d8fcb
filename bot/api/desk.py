"""Conversations, messages and tickets: read them, answer as a staff member, see to a ticket."""

from __future__ import annotations

import secrets
from typing import Any

from bot import relay
from bot.api import shapes
from bot.api.customers import current
from bot.api.paging import Paging, page
from bot.api.problems import Problem, not_found
from bot.api.routes import Answer, Ask, Routes
from bot.api.schemas import (
    Conversation,
    Id,
    Message,
    Moment,
    Name,
    NewMessage,
    NewNote,
    Page,
    Priority,
    Ticket,
    TicketChange,
    TicketKind,
    TicketStatus,
    Word,
)
from bot.service import verbs
from channels.conversation import Address, Author, Inbound
from crm_store import api, conversations, people, tickets

routes = Routes()
HERE = "api"  # where what is written through the API comes from: no channel, no thread


class ConversationsQuery(Paging):
    customer: Id | None = None
    channel: Word | None = None
    updated_since: Moment | None = None


class TicketsQuery(Paging):
    status: TicketStatus | None = None
    priority: Priority | None = None
    kind: TicketKind | None = None
    assignee: Name | None = None
    customer: Id | None = None
    updated_since: Moment | None = None


@routes.add("GET", "/conversations", "conversations:read", Page[Conversation], query=ConversationsQuery)
def list_conversations(ask: Ask) -> Any:
    """Conversations, oldest first"""
    given = ask.query
    rows = api.conversations(
        ask.tx,
        after=given.after,
        limit=given.limit + 1,
        contact_id=current(ask, given.customer),
        channel=given.channel or "",
        since=given.updated_since,
        scope=ask.scope,
    )
    ask.saw |= {row.contact_id for row in rows[: given.limit]}
    return page(rows, given, shapes.conversation)


@routes.add("GET", "/conversations/{id}", "conversations:read", Conversation, single=True)
def get_conversation(ask: Ask) -> Any:
    """One conversation"""
    return shapes.conversation(_conversation(ask))


@routes.add("GET", "/conversations/{id}/messages", "conversations:read", Page[Message], query=Paging)
def list_messages(ask: Ask) -> Any:
    """A conversation's messages and notes, oldest first"""
    row = _conversation(ask)
    rows = api.messages(
        ask.tx, after=ask.query.after, limit=ask.query.limit + 1, conversation_id=row.id, scope=ask.scope
    )
    shown = {one.id: one for one in shapes.messages(ask.tx, rows)}
    return page(rows, ask.query, lambda one: shown[one.id])


@routes.add(
    "POST",
    "/conversations/{id}/messages",
    "messages:write",
    Message,
    body=NewMessage,
    status=201,
    also=(409,),
)
def reply(ask: Ask) -> Any:
    """Answer the customer where they wrote, as the token's staff member; it opens a closed ticket again"""
    ticket = _ticket_of(ask)
    message_id = relay.reply(ask.turn, ticket, ask.member, ask.body.text, inbound=_written(ask), hold_s=0.0)
    if message_id is None:  # a key of its own for each: it was not taken before
        raise AssertionError("a new message is a repeat")
    return _message(ask, message_id)


@routes.add(
    "POST", "/conversations/{id}/notes", "messages:write", Message, body=NewNote, status=201, also=(409,)
)
def note(ask: Ask) -> Any:
    """Keep a note that staff read and the customer does not"""
    ticket = _ticket_of(ask)
    relay.note(ask.turn, ticket, ask.member, ask.body.text, inbound=_written(ask))
    return _message(ask, conversations.history(ask.tx, ticket.conversation_id, limit=1)[-1].id)


def _conversation(ask: Ask) -> Any:
    row = conversations.get(ask.tx, ask.path["id"])
    if row is None or not ask.sees_contact(row.contact_id):
        raise not_found("conversation", ask.path["id"])
    ask.saw.add(row.contact_id)
    return row


def _ticket_of(ask: Ask) -> Any:
    conversation = _conversation(ask)
    conversations.lock(ask.tx, conversation.id)
    ticket = tickets.unclosed(ask.tx, conversation.id) or tickets.latest(ask.tx, conversation.id)
    if ticket is None:
        raise Problem(409, "nobody has asked for a person in this conversation: it has no ticket")
    if not ask.sees_ticket(ticket):
        raise not_found("conversation", ask.path["id"])
    ask.object = f"ticket:{ticket.number}"
    return ticket


def _written(ask: Ask) -> Inbound:
    author = Author(str(ask.member.id), ask.member.name)
    return Inbound(
        address=Address(HERE, ""),
        event_id=secrets.token_hex(16),
        author=author,
        text=ask.body.text,
        sent_at=ask.turn.now,
        private=True,
    )


def _message(ask: Ask, message_id: int) -> Answer:
    return Answer(shapes.messages(ask.tx, [conversations.get_message(ask.tx, message_id)])[0], 201)


# --- tickets ------------------------------------------------------------------------------------------------


@routes.add("GET", "/tickets", "tickets:read", Page[Ticket], query=TicketsQuery)
def list_tickets(ask: Ask) -> Any:
    """Tickets, oldest first"""
    given = ask.query
    rows = api.tickets(
        ask.tx,
        after=given.after,
        limit=given.limit + 1,
        statuses=[given.status] if given.status else [],
        priority=given.priority or "",
        kind=given.kind or "",
        assignee=given.assignee or "",
        contact_id=current(ask, given.customer),
        since=given.updated_since,
        scope=ask.scope,
    )
    ask.saw |= {row.contact_id for row in rows[: given.limit]}
    return page(rows, given, shapes.ticket)


@routes.add("GET", "/tickets/{ticket}", "tickets:read", Ticket, single=True)
def get_ticket(ask: Ask) -> Any:
    """One ticket by its number"""
    return _shown(ask, _ticket(ask))


@routes.add(
    "PATCH",
    "/tickets/{ticket}",
    "tickets:write",
    Ticket,
    body=TicketChange,
    single=True,
    conditional=True,
    also=(409,),
)
def change_ticket(ask: Ask) -> Any:
    """Change a ticket's status, priority or assignee; the desk sees it as if the staff member had done it"""
    row = tickets.lock(ask.tx, _ticket(ask))
    ask.must_match(_shown(ask, row))
    body: TicketChange = ask.body
    given = body.model_fields_set
    turn, member = ask.turn, ask.member
    if "priority" in given and body.priority != row.priority:
        row = verbs.set_priority(turn, member, row, body.priority)
    if "assignee" in given:
        row = _assign(ask, row, body.assignee)
    if "status" in given and body.status != row.status:
        if body.status == "closed":
            row = verbs.close(turn, member, row)
        elif row.status == "closed":
            row = verbs.reopen(turn, member, row)
        if row.status not in ("closed", body.status):
            row = verbs.set_fields(turn, member, row, status=body.status)
    return _shown(ask, row)


def _assign(ask: Ask, row: Any, name: str | None) -> Any:
    if name is None:
        if row.assignee_id is None:
            return row
        return verbs.set_fields(ask.turn, ask.member, row, assignee_id=None)
    person = people.by_name(ask.tx, name)
    if person is None or person.disabled_at is not None:
        raise Problem(
            409, f"assignee: there is nobody called {name!r} among the active staff", field="assignee"
        )
    return verbs.assign(ask.turn, ask.member, row, person.id, person.name)


def _ticket(ask: Ask) -> Any:
    row = tickets.by_number(ask.tx, ask.path["ticket"])
    if row is None or not ask.sees_ticket(row):
        raise not_found("ticket", ask.path["ticket"])
    ask.saw.add(row.contact_id)
    ask.object = f"ticket:{row.number}"
    return row


def _shown(ask: Ask, row: Any) -> Ticket:
    return shapes.ticket(api.tickets(ask.tx, after=0, limit=1, ticket_id=row.id)[0])
