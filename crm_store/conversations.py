"""Conversations and their messages."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from crm_store import schema
from crm_store.rows import insert, insert_id

conversation = schema.conversation
message = schema.message


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be added. `dedupe` unique per channel, None where repeats cannot happen."""

    kind: str  # in out note
    channel: str
    text: str
    author_kind: str  # customer staff bot
    author: str
    sent_at: datetime
    author_id: int | None = None
    event_id: str = ""
    dedupe: str | None = None
    external_id: str = ""
    full_text: str = ""
    subject: str = ""
    recipients: Sequence[str] = ()
    warnings: Sequence[str] = ()
    album: str = ""
    staff_channel: str = ""
    staff_event_id: str = ""
    ticket_id: int | None = None
    files: Sequence[Mapping[str, Any]] = field(default=())


def open_at(
    tx: Connection,
    now: datetime,
    *,
    channel: str,
    room_id: str,
    thread_id: str,
    contact_id: int,
    language: str,
    subject: str = "",
) -> Any:
    """Begin a conversation and return its row."""
    row_id = insert_id(
        tx,
        conversation.insert().values(
            key=secrets.token_hex(8),
            channel=channel,
            room_id=room_id,
            thread_id=thread_id,
            contact_id=contact_id,
            language=language,
            subject=subject,
            created_at=now,
        ),
    )
    return get(tx, row_id)


def get(tx: Connection, conversation_id: int) -> Any:
    return tx.execute(select(conversation).where(conversation.c.id == conversation_id)).first()


def at_address(tx: Connection, channel: str, room_id: str, thread_id: str) -> Any:
    """The newest conversation at an address, or None."""
    return tx.execute(
        select(conversation)
        .where(
            conversation.c.channel == channel,
            conversation.c.room_id == room_id,
            conversation.c.thread_id == thread_id,
        )
        .order_by(conversation.c.id.desc())
        .limit(1)
    ).first()


def by_key(tx: Connection, key: str) -> Any:
    return tx.execute(select(conversation).where(conversation.c.key == key)).first()


def by_ref(tx: Connection, channel: str, refs: Sequence[str]) -> Any:
    """The conversation that saw one of these platform ids; the first id in the given order decides."""
    if not refs:
        return None
    table = schema.thread_ref
    found = dict(
        tx.execute(
            select(table.c.ref, table.c.conversation_id).where(
                table.c.channel == channel, table.c.ref.in_(list(refs))
            )
        ).all()
    )
    return next((get(tx, found[ref]) for ref in refs if ref in found), None)


def remember_refs(tx: Connection, channel: str, conversation_id: int, refs: Sequence[str]) -> None:
    """All platform ids ever seen in a conversation belong to it; whoever came first keeps them."""
    rows = [
        {"channel": channel, "ref": r, "conversation_id": conversation_id} for r in dict.fromkeys(refs) if r
    ]
    if rows:
        tx.execute(insert(tx, schema.thread_ref).on_conflict_do_nothing(), rows)


def refs(tx: Connection, conversation_id: int, *, limit: int = 20) -> list[str]:
    """Message ids as the customer's side knows them, oldest first: for References."""
    rows = tx.execute(
        select(message.c.external_id)
        .where(message.c.conversation_id == conversation_id, message.c.external_id != "")
        .order_by(message.c.seq.desc())
        .limit(limit)
    ).scalars()
    return list(rows)[::-1]


def lock(tx: Connection, conversation_id: int) -> Any:
    """The row, held until the transaction ends: whatever is written under it is in one order."""
    return tx.execute(
        select(conversation).where(conversation.c.id == conversation_id).with_for_update()
    ).one()


def add(tx: Connection, now: datetime, conversation_id: int, new: NewMessage) -> int | None:
    """Append a message and return its id; None when an event of that key is there already."""
    seq = tx.execute(
        update(conversation)
        .where(conversation.c.id == conversation_id)
        .values(
            next_seq=conversation.c.next_seq + 1,
            **({"last_in_at": now} if new.kind == "in" else {}),
            **({"last_out_at": now} if new.kind == "out" else {}),
        )
        .returning(conversation.c.next_seq)
    ).scalar_one()
    message_id = tx.execute(
        insert(tx, message)
        .values(
            conversation_id=conversation_id,
            ticket_id=new.ticket_id,
            seq=seq - 1,
            kind=new.kind,
            channel=new.channel,
            event_id=new.event_id,
            dedupe=new.dedupe,
            external_id=new.external_id,
            author_kind=new.author_kind,
            author_id=new.author_id,
            author=new.author,
            text=new.text,
            full_text=new.full_text,
            subject=new.subject,
            recipients=list(new.recipients),
            warnings=list(new.warnings),
            album=new.album,
            staff_channel=new.staff_channel,
            staff_event_id=new.staff_event_id,
            sent_at=new.sent_at,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["channel", "dedupe"])
        .returning(message.c.id)
    ).scalar()
    return None if message_id is None else int(message_id)


def seen(tx: Connection, channel: str, dedupe: str) -> bool:
    return (
        tx.execute(
            select(message.c.id).where(message.c.channel == channel, message.c.dedupe == dedupe)
        ).first()
        is not None
    )


def get_message(tx: Connection, message_id: int) -> Any:
    return tx.execute(select(message).where(message.c.id == message_id)).first()


def by_event(tx: Connection, channel: str, event_id: str) -> Any:
    """A customer's message by its platform id."""
    return tx.execute(
        select(message)
        .where(message.c.channel == channel, message.c.event_id == event_id)
        .order_by(message.c.id.desc())
        .limit(1)
    ).first()


def of_album(tx: Connection, conversation_id: int, album: str) -> Any:
    """The first message of an album."""
    return tx.execute(
        select(message)
        .where(message.c.conversation_id == conversation_id, message.c.album == album)
        .order_by(message.c.id)
        .limit(1)
    ).first()


def by_external(tx: Connection, channel: str, external_id: str) -> Any:
    """A message of ours by the id it has where the customer reads it."""
    return tx.execute(
        select(message)
        .where(message.c.channel == channel, message.c.external_id == external_id)
        .order_by(message.c.id.desc())
        .limit(1)
    ).first()


def by_staff_event(tx: Connection, channel: str, event_id: str) -> Any:
    """What an agent wrote, by the id it has on the staff side."""
    return tx.execute(
        select(message)
        .where(message.c.staff_channel == channel, message.c.staff_event_id == event_id)
        .order_by(message.c.id.desc())
        .limit(1)
    ).first()


def edit(tx: Connection, now: datetime, message_id: int, text: str, **values: Any) -> None:
    """Replace the text, keeping what it said before."""
    old = get_message(tx, message_id)
    tx.execute(schema.message_version.insert().values(message_id=message_id, text=old.text, at=now))
    set_values(tx, message_id, text=text, edited_at=now, **values)


def set_values(tx: Connection, message_id: int, **values: Any) -> None:
    tx.execute(update(message).where(message.c.id == message_id).values(**values))


def history(tx: Connection, conversation_id: int, *, limit: int = 20) -> list[Any]:
    """The latest messages, oldest first."""
    rows = tx.execute(
        select(message)
        .where(message.c.conversation_id == conversation_id)
        .order_by(message.c.seq.desc())
        .limit(limit)
    ).all()
    return list(rows)[::-1]


def mute_bot(tx: Connection, conversation_id: int, muted: bool) -> None:
    tx.execute(update(conversation).where(conversation.c.id == conversation_id).values(bot_muted=muted))


def set_conversation(tx: Connection, conversation_id: int, **values: Any) -> None:
    tx.execute(update(conversation).where(conversation.c.id == conversation_id).values(**values))


def move_room(tx: Connection, channel: str, old: str, new: str) -> None:
    """A room got a new id (Telegram: a group became a supergroup): everything there follows."""
    for table in (conversation, schema.thread):
        tx.execute(
            update(table).where(table.c.channel == channel, table.c.room_id == old).values(room_id=new)
        )
    tx.execute(
        update(schema.outbox)
        .where(schema.outbox.c.channel == channel, schema.outbox.c.room_id == old)
        .where(schema.outbox.c.state.in_(["pending", "sending"]))
        .values(room_id=new)
    )


def add_participants(
    tx: Connection, now: datetime, conversation_id: int, people: Sequence[tuple[str, str]]
) -> list[str]:
    """Note who else is in it, (user_id, name); return the ids that are new."""
    new = []
    for user_id, name in people:
        added = tx.execute(
            insert(tx, schema.participant)
            .values(conversation_id=conversation_id, user_id=user_id, name=name, created_at=now)
            .on_conflict_do_nothing()
            .returning(schema.participant.c.id)
        ).scalar()
        if added is not None:
            new.append(user_id)
    return new


def participants(tx: Connection, conversation_id: int) -> list[Any]:
    return list(
        tx.execute(
            select(schema.participant)
            .where(schema.participant.c.conversation_id == conversation_id)
            .order_by(schema.participant.c.id)
        ).all()
    )


def expect(
    tx: Connection, conversation_id: int, kind: str, payload: Mapping[str, Any], expires_at: datetime
) -> None:
    """Note a question whose answer we will understand; a newer one of the kind replaces it."""
    table = schema.expectation
    tx.execute(
        insert(tx, table)
        .values(conversation_id=conversation_id, kind=kind, payload=dict(payload), expires_at=expires_at)
        .on_conflict_do_update(
            index_elements=["conversation_id", "kind"],
            set_={"payload": dict(payload), "expires_at": expires_at},
        )
    )


def expected(tx: Connection, conversation_id: int, now: datetime) -> dict[str, dict[str, Any]]:
    """Open questions by kind."""
    table = schema.expectation
    return {
        row.kind: row.payload
        for row in tx.execute(
            select(table).where(table.c.conversation_id == conversation_id, table.c.expires_at > now)
        )
    }


def answered(tx: Connection, conversation_id: int, kind: str) -> None:
    table = schema.expectation
    tx.execute(table.delete().where(table.c.conversation_id == conversation_id, table.c.kind == kind))
