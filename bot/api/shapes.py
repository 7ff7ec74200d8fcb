"""Rows as the API shows them; what a webhook says of an object is made here, too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from bot.api import schemas
from bot.api.deal_schemas import Deal
from crm_store import api, contacts, conversations, merges
from crm_store import deals as dealing
from crm_store.erase import was_erased


def customers(tx: Connection, rows: Sequence[Any]) -> list[schemas.Customer]:
    held = api.identities_of(tx, [row.id for row in rows])
    former = merges.inside_each(tx, [row.id for row in rows])
    return [
        schemas.Customer(
            id=row.id,
            name=row.name,
            company=row.company,
            country=row.country,
            city=row.city,
            language=row.language,
            timezone=row.timezone,
            tags=row.tags,
            fields=row.fields,
            source=row.source,
            merged_ids=former.get(row.id, []),
            identities=[
                schemas.Identity(
                    channel=i.space,
                    user_id=i.user_id,
                    name=i.name,
                    verified=i.verified_at is not None,
                    reachable=i.gone_at is None,
                )
                for i in held.get(row.id, [])
            ],
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def conversation(row: Any) -> schemas.Conversation:
    return schemas.Conversation(
        id=row.id,
        customer_id=row.contact_id,
        channel=row.channel,
        subject=row.subject,
        language=row.language,
        created_at=row.created_at,
        last_in_at=row.last_in_at,
        last_out_at=row.last_out_at,
    )


def messages(tx: Connection, rows: Sequence[Any]) -> list[schemas.Message]:
    ids = [row.id for row in rows]
    files, sent = api.files_of(tx, ids), api.deliveries_of(tx, ids)
    numbers = api.ticket_numbers(tx, {row.ticket_id for row in rows if row.ticket_id is not None})
    return [
        schemas.Message(
            id=row.id,
            conversation_id=row.conversation_id,
            ticket=numbers.get(row.ticket_id),
            kind=row.kind,
            channel=row.channel,
            author=row.author,
            author_kind=row.author_kind,
            text="" if row.deleted_at is not None else row.text,
            subject=row.subject,
            attachments=[
                schemas.Attachment(filename=f.filename, content_type=f.content_type, size=f.size)
                for f in files.get(row.id, [])
            ],
            delivery=sent.get(row.id) if row.kind == "out" else None,  # type: ignore[arg-type]
            sent_at=row.sent_at,
            edited_at=row.edited_at,
            deleted_at=row.deleted_at,
        )
        for row in rows
    ]


def ticket(row: Any) -> schemas.Ticket:
    return schemas.Ticket(
        number=row.number,
        status=row.status,
        kind=row.kind,
        priority=row.priority,
        subject=row.subject,
        channel=row.channel,
        customer_id=row.contact_id,
        conversation_id=row.conversation_id,
        assignee=row.assignee,
        linked_to=row.linked_to,
        opened_at=row.opened_at,
        first_response_at=row.first_response_at,
        closed_at=row.closed_at,
        snoozed_until=row.snoozed_until,
        reopened=row.reopened,
        rating=row.rating,
        rating_comment=row.rating_comment,
    )


def orders(tx: Connection, rows: Sequence[Any]) -> list[schemas.Order]:
    lines = api.lines_of(tx, [row.id for row in rows])
    return [
        schemas.Order(
            number=row.number,
            customer_id=row.contact_id,
            ordered_at=row.ordered_at,
            status=row.status,
            amount=schemas.MoneyOut(amount_minor=row.amount_minor, currency=row.currency),
            tracking=row.tracking,
            lines=[
                schemas.OrderLineOut(
                    sku=line.sku, name=line.name, quantity=line.quantity, amount_minor=line.amount_minor
                )
                for line in lines.get(row.id, [])
            ],
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def deals(tx: Connection, rows: Sequence[Any]) -> list[Deal]:
    return [
        Deal(
            number=row.number,
            customer_id=row.contact_id,
            title=row.title,
            stage=row.stage,
            amount=schemas.MoneyOut(amount_minor=row.amount_minor, currency=row.currency),
            owner=row.owner,
            expected_on=row.expected_on,
            lost_reason=row.lost_reason,
            products=[
                schemas.OrderLineOut(sku=p.sku, name=p.name, quantity=p.quantity, amount_minor=p.amount_minor)
                for p in dealing.products(tx, row.id)
            ],
            created_at=row.created_at,
            updated_at=row.updated_at,
            closed_at=row.closed_at,
        )
        for row in rows
    ]


def event(row: Any) -> schemas.Event:
    return schemas.Event(
        id=row.id,
        customer_id=row.contact_id,
        kind=row.kind,
        at=row.at,
        subject=row.subject,
        key=row.key,
        fields=row.fields,
        created_at=row.created_at,
    )


def article(row: Any) -> schemas.Article:
    return schemas.Article(
        key=row.key,
        language=row.language,
        title=row.title,
        body=row.body,
        phrasings=row.phrasings,
        helped=row.helped,
        not_helped=row.not_helped,
        updated_at=row.updated_at,
    )


def of_event(tx: Connection, kind: str, object_id: int) -> BaseModel | None:
    """What an event of that type is about, as it is now; None when it is gone."""
    found: Iterable[BaseModel]
    match kind.partition(".")[0]:
        case "message":
            row = conversations.get_message(tx, object_id)
            found = messages(tx, [row] if row is not None else [])
        case "ticket" | "rating":
            found = map(ticket, api.tickets(tx, after=0, limit=1, ticket_id=object_id))
        case "customer":
            row = contacts.get(tx, merges.current(tx, object_id))
            found = customers(tx, [row] if row is not None and not was_erased(tx, row.id) else [])
        case "order":
            row = api.order_by_id(tx, object_id)
            found = orders(tx, [row] if row is not None else [])
        case "deal":
            row = dealing.get(tx, object_id)
            found = deals(tx, [row] if row is not None else [])
        case _:
            return None
    return next(iter(found), None)
