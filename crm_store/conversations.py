"""Conversations and their messages."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, or_, select, update

from crm_store import schema
from crm_store.privacy import tombstones
from crm_store.rows import insert
from crm_store.search import indexing
from crm_store.statement import Statement, update_by_id

conversation = schema.conversation
message = schema.message
participant = schema.participant
expectation = schema.expectation
thread_ref = schema.thread_ref

_insert = Statement(conversation.insert().returning(*conversation.c))
_get = Statement(select(conversation).where(conversation.c.id == bindparam("row")))
_lock = Statement(select(conversation).where(conversation.c.id == bindparam("row")).with_for_update())
_by_key = Statement(select(conversation).where(conversation.c.key == bindparam("key")))
_at_address = Statement(
    select(conversation)
    .where(
        conversation.c.channel == bindparam("channel"),
        conversation.c.room_id == bindparam("room"),
        conversation.c.thread_id == bindparam("thread"),
    )
    .order_by(conversation.c.id.desc())
    .limit(1)
)
_conversation_of_ref = Statement(
    select(thread_ref.c.conversation_id).where(
        thread_ref.c.channel == bindparam("channel"), thread_ref.c.ref == bindparam("ref")
    )
)
_remember_ref = Statement(lambda insert: insert(thread_ref).on_conflict_do_nothing())
_refs = Statement(
    select(message.c.external_id)
    .where(message.c.conversation_id == bindparam("conversation"), message.c.external_id != "")
    .order_by(message.c.seq.desc())
    .limit(bindparam("most", type_=Integer))
)
_last_in = Statement(
    select(message.c.external_id)
    .where(
        message.c.conversation_id == bindparam("conversation"),
        message.c.kind == "in",
        message.c.external_id != "",
    )
    .order_by(message.c.seq.desc())
    .limit(1)
)
_next_seq = {
    kind: Statement(
        update(conversation)
        .where(conversation.c.id == bindparam("row"))
        .values(next_seq=conversation.c.next_seq + 1, **{c: bindparam("now") for c in columns})
        .returning(conversation.c.next_seq)
    )
    for kind, columns in {"in": ["last_in_at"], "out": ["last_out_at"], "note": []}.items()
}
_insert_message = Statement(
    lambda insert: (
        insert(message).on_conflict_do_nothing(index_elements=["channel", "dedupe"]).returning(message.c.id)
    )
)
_answered_by_staff = Statement(
    select(message.c.id)
    .join(conversation, conversation.c.id == message.c.conversation_id)
    .where(conversation.c.contact_id == bindparam("contact"), message.c.kind == "out")
    .where(message.c.author_kind == "staff", message.c.external_id != "")
    .limit(1)
)
_seen = Statement(
    select(
        select(message.c.id)
        .where(message.c.channel == bindparam("channel"), message.c.dedupe == bindparam("dedupe"))
        .scalar_subquery()
        .label("found"),
        tombstones.ANY.label("erased"),
    )
)
_get_message = Statement(select(message).where(message.c.id == bindparam("row")))
_history = Statement(
    select(message)
    .where(message.c.conversation_id == bindparam("conversation"))
    .order_by(message.c.seq.desc())
    .limit(bindparam("most", type_=Integer))
)
_participants = Statement(
    select(participant)
    .where(participant.c.conversation_id == bindparam("conversation"))
    .order_by(participant.c.id)
)
_answered = Statement(
    expectation.delete().where(
        expectation.c.conversation_id == bindparam("conversation"),
        or_(*(expectation.c.kind == bindparam(name) for name in ("kind", "second", "third"))),
    )
)
_expected = Statement(
    select(expectation).where(
        expectation.c.conversation_id == bindparam("conversation"),
        expectation.c.expires_at > bindparam("now"),
    )
)


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
    identity_id: int | None = None,
    spoken: bool = False,
) -> Any:
    """Begin a conversation and return its row; `identity_id` is the account that opened it. `spoken`: it counts
    its first message already, which follows as `add(…, first=True)`."""
    return _insert.one(
        tx,
        key=secrets.token_hex(8),
        channel=channel,
        room_id=room_id,
        thread_id=thread_id,
        contact_id=contact_id,
        identity_id=identity_id,
        language=language,
        subject=subject,
        created_at=now,
        next_seq=2 if spoken else 1,
        last_in_at=now if spoken else None,
    )


def get(tx: Connection, conversation_id: int) -> Any:
    return _get.first(tx, row=conversation_id)


def at_address(tx: Connection, channel: str, room_id: str, thread_id: str) -> Any:
    """The newest conversation at an address, or None."""
    return _at_address.first(tx, channel=channel, room=room_id, thread=thread_id)


def by_key(tx: Connection, key: str) -> Any:
    return _by_key.first(tx, key=key)


def by_ref(tx: Connection, channel: str, refs: Sequence[str]) -> Any:
    """The conversation that saw one of these platform ids; the first id in the given order decides."""
    for ref in dict.fromkeys(refs):
        found = _conversation_of_ref.scalar(tx, channel=channel, ref=ref)
        if found is not None:
            return get(tx, found)
    return None


def remember_refs(tx: Connection, channel: str, conversation_id: int, refs: Sequence[str]) -> None:
    """All platform ids ever seen in a conversation belong to it; whoever came first keeps them."""
    rows = [
        {"channel": channel, "ref": r, "conversation_id": conversation_id} for r in dict.fromkeys(refs) if r
    ]
    _remember_ref.many(tx, rows)


def holds(tx: Connection, conversation_id: int, external_id: str) -> bool:
    """Whether a message of this conversation has that id where the customer reads it."""
    query = select(message.c.id).where(
        message.c.conversation_id == conversation_id, message.c.external_id == external_id
    )
    return tx.execute(query.limit(1)).first() is not None


def answered_by_staff(tx: Connection, contact_id: int) -> bool:
    """Whether a person has ever written to a contact."""
    return _answered_by_staff.first(tx, contact=contact_id) is not None


def latest_of(tx: Connection, contact_id: int) -> Any:
    """The last message that a contact wrote where they can still be answered, or None."""
    query = (
        select(message)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(conversation.c.contact_id == contact_id, conversation.c.room_id != "", message.c.kind == "in")
        .order_by(message.c.created_at.desc(), message.c.id.desc())
        .limit(1)
    )
    return tx.execute(query).first()


def refs(tx: Connection, conversation_id: int, *, limit: int = 20) -> list[str]:
    """Message ids as the customer's side knows them, oldest first: for References."""
    return [row.external_id for row in _refs.all(tx, conversation=conversation_id, most=limit)][::-1]


def last_in(tx: Connection, conversation_id: int) -> str:
    """The platform id of the customer's latest message, "" when there is none."""
    return str(_last_in.scalar(tx, conversation=conversation_id) or "")


def lock(tx: Connection, conversation_id: int) -> Any:
    """The row, held until the transaction ends: whatever is written under it is in one order."""
    return _lock.first(tx, row=conversation_id)


def add(
    tx: Connection, now: datetime, conversation_id: int, new: NewMessage, *, first: bool = False
) -> int | None:
    """Append a message and return its id; None when an event of that key is there already. `first`: the
    conversation was opened for it and counts it."""
    at = {} if new.kind == "note" else {"now": now}
    seq = 2 if first else _next_seq[new.kind].scalar(tx, row=conversation_id, **at)
    message_id = _insert_message.scalar(
        tx,
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
    return None if message_id is None else int(message_id)


def seen(tx: Connection, channel: str, dedupe: str) -> bool:
    """Whether a message is here, or was until its writer was erased."""
    found, erased = _seen.one(tx, channel=channel, dedupe=dedupe)
    return found is not None or (bool(erased) and tombstones.event_was_erased(tx, channel, dedupe))


def received(tx: Connection, channel: str, room_id: str, since: datetime, *, limit: int = 20) -> list[Any]:
    """What lately came from an address, in whichever conversation, newest first."""
    query = (
        select(message.c.id, message.c.text)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(conversation.c.channel == channel, conversation.c.room_id == room_id)
        .where(message.c.kind == "in", message.c.created_at >= since)
        .order_by(message.c.id.desc())
        .limit(limit)
    )
    return list(tx.execute(query).all())


def get_message(tx: Connection, message_id: int) -> Any:
    return _get_message.first(tx, row=message_id)


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
    indexing.message_changed(tx, message_id, old.subject, old.text, text)
    set_values(tx, message_id, text=text, edited_at=now, **values)


def set_values(tx: Connection, message_id: int, **values: Any) -> None:
    update_by_id(message, tuple(values)).run(tx, row=message_id, **{f"to_{k}": v for k, v in values.items()})


def history(tx: Connection, conversation_id: int, *, limit: int = 20) -> list[Any]:
    """The latest messages, oldest first."""
    return _history.all(tx, conversation=conversation_id, most=limit)[::-1]


def mute_bot(tx: Connection, conversation_id: int, muted: bool) -> None:
    set_conversation(tx, conversation_id, bot_muted=muted)


def set_conversation(tx: Connection, conversation_id: int, **values: Any) -> None:
    changes = {f"to_{k}": v for k, v in values.items()}
    update_by_id(conversation, tuple(values)).run(tx, row=conversation_id, **changes)


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
    return _participants.all(tx, conversation=conversation_id)


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
    return {row.kind: row.payload for row in _expected.all(tx, conversation=conversation_id, now=now)}


def answered(tx: Connection, conversation_id: int, kind: str, second: str = "", third: str = "") -> None:
    """Expect no answers of these kinds any more."""
    _answered.run(tx, conversation=conversation_id, kind=kind, second=second, third=third)
