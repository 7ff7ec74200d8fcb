"""What came after a merge: noted by whom it came, so that it goes to them when the merge is undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, select, update

from crm_store import schema
from crm_store.rows import insert as insert_ignoring
from crm_store.search.query import slices

contact, merge_table, merge_row = schema.contact, schema.merge, schema.merge_row
conversation, ticket, consent, identity, message = (
    schema.conversation,
    schema.ticket,
    schema.consent,
    schema.identity,
    schema.message,
)


def any_moved(tx: Connection) -> bool:
    """Whether there is a merge that something could come back from."""
    return tx.execute(select(merge_row.c.row_id).limit(1)).first() is not None


def came_by(tx: Connection, kind: str, by: Mapping[int, tuple[str, str]]) -> None:
    """Rows of a table came to a contact by an address or a reference: (space, user_id) of each by its id. Where that
    was another's before a merge, they go there when it is undone."""
    spaces: dict[str, dict[str, list[int]]] = {}
    for number, (space, user_id) in by.items():
        spaces.setdefault(space, {}).setdefault(user_id, []).append(number)
    rows: list[dict[str, Any]] = []
    for space, named in spaces.items():
        for some in slices(list(named)):
            moved = (
                select(identity.c.user_id, merge_row.c.merge_id)
                .join(merge_row, and_(merge_row.c.kind == identity.name, merge_row.c.row_id == identity.c.id))
                .where(identity.c.space == space, identity.c.user_id.in_(some))
            )
            for user_id, merge_id in tx.execute(moved):
                rows += [{"merge_id": merge_id, "kind": kind, "row_id": one} for one in named[user_id]]
    if rows:
        tx.execute(insert_ignoring(tx, merge_row).on_conflict_do_nothing(), rows)


def came_to(tx: Connection, kind: str, row_id: int, contact_id: int) -> None:
    """The same for a row that names a contact who is part of another by now."""
    while (
        into := tx.execute(select(contact.c.merged_into_id).where(contact.c.id == contact_id)).scalar()
    ) is not None:
        done = select(merge_table.c.id).where(
            merge_table.c.drop_id == contact_id,
            merge_table.c.keep_id == into,
            merge_table.c.undone_at.is_(None),
        )
        if (merge_id := tx.execute(done).scalar()) is not None:
            row = {"merge_id": merge_id, "kind": kind, "row_id": row_id}
            tx.execute(insert_ignoring(tx, merge_row).values(**row).on_conflict_do_nothing())
        contact_id = into


def give_back(tx: Connection, row: Any) -> None:
    """A conversation goes to whoever's account opened it, with its tickets and what was consented to there."""
    marks = row.marks
    theirs = select(identity.c.id).where(identity.c.contact_id == row.drop_id)
    tx.execute(
        update(conversation)
        .where(
            conversation.c.contact_id == row.keep_id,
            conversation.c.id > marks.get("conversation", 0),
            conversation.c.identity_id.in_(theirs),
        )
        .values(contact_id=row.drop_id)
    )
    talks = select(conversation.c.id).where(conversation.c.contact_id == row.drop_id)
    tx.execute(
        update(ticket)
        .where(ticket.c.contact_id == row.keep_id, ticket.c.id > marks.get("ticket", 0))
        .where(ticket.c.conversation_id.in_(talks))
        .values(contact_id=row.drop_id)
    )
    tx.execute(  # as their own words, not as those of somebody else in their conversation
        update(message)
        .where(message.c.author_kind == "customer", message.c.author_id == row.keep_id)
        .where(message.c.conversation_id.in_(talks), message.c.id > marks.get("message", 0))
        .values(author_id=row.drop_id)
    )
    said = select(message.c.id).where(message.c.conversation_id.in_(talks))
    tx.execute(
        update(consent)
        .where(consent.c.contact_id == row.keep_id, consent.c.id > marks.get("consent", 0))
        .where(consent.c.message_id.in_(said))
        .values(contact_id=row.drop_id)
    )
