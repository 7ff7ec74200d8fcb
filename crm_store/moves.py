"""Rooms that got a new id (Telegram: a group became a supergroup; Slack: a channel was shared): everything there
follows, and what the configuration still calls by its old id is found."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from crm_store import schema
from crm_store.rows import insert

meta, thread, outbox = schema.meta, schema.thread, schema.outbox
PREFIX = "moved:"


def move(tx: Connection, channel: str, old: str, new: str) -> None:
    """Everything in a room goes to its new id, and the move is remembered. The same again changes nothing."""
    name = _name(channel, old)
    tx.execute(
        insert(tx, meta)
        .values(name=name, value=new)
        .on_conflict_do_update(index_elements=["name"], set_={"value": new})
    )
    tx.execute(delete(meta).where(meta.c.name == _name(channel, new)))  # it moved back: no circle
    conversation = schema.conversation
    tx.execute(
        update(conversation)
        .where(conversation.c.channel == channel, conversation.c.room_id == old)
        .values(room_id=new)
    )
    _move_threads(tx, channel, old, new)
    _move_outbox(tx, channel, old, new)


def known(tx: Connection) -> dict[tuple[str, str], str]:
    """(channel, old id) → new id, of all rooms that ever moved."""
    rows = tx.execute(select(meta).where(meta.c.name.startswith(PREFIX, autoescape=True)))
    found = {}
    for row in rows:
        channel, _, old = row.name.removeprefix(PREFIX).partition(":")
        found[channel, old] = row.value
    return found


def _name(channel: str, room_id: str) -> str:
    return f"{PREFIX}{channel}:{room_id}"


def _move_threads(tx: Connection, channel: str, old: str, new: str) -> None:
    """A ticket has one place in a room. Where it got a second one meanwhile, the one whose card stands stays."""
    there = {
        row.ticket_id: row
        for row in tx.execute(select(thread).where(thread.c.channel == channel, thread.c.room_id == new))
    }
    for row in tx.execute(select(thread).where(thread.c.channel == channel, thread.c.room_id == old)).all():
        second = there.get(row.ticket_id)
        if second is not None:
            gone = row if second.thread_id or not row.thread_id else second
            tx.execute(delete(thread).where(thread.c.id == gone.id))
            if gone is row:
                continue
        tx.execute(update(thread).where(thread.c.id == row.id).values(room_id=new))


def _move_outbox(tx: Connection, channel: str, old: str, new: str) -> None:
    """What waits goes there too, in the lane of what will be written: else it could be overtaken."""
    waiting = (
        select(outbox.c.id, outbox.c.lane)
        .where(outbox.c.channel == channel, outbox.c.room_id == old)
        .where(outbox.c.state.in_(["pending", "sending"]))
    )
    for row in tx.execute(waiting).all():
        lane = ":".join(new if part == old else part for part in row.lane.split(":"))
        tx.execute(update(outbox).where(outbox.c.id == row.id).values(room_id=new, lane=lane))
