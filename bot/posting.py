"""Posting: the only place where outbox rows are made. What goes to customers is made by `public` alone,
from messages of kind "out"; a note has no way there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot import access
from bot.access import Member
from bot.i18n import say
from bot.office import StaffRoom, Turn
from channels import rich
from channels.conversation import Address, Op
from channels.rich import Block, Button, Buttons, File, Reply, Text
from crm_store import conversations, files, outbox, people, tickets
from crm_store.conversations import NewMessage

LINK_FOR = timedelta(days=30)  # of a file that is too large to show

FOLD_TO = 2400  # characters of a long text that staff see at once; the whole follows as a file
FOLD_ROOM = 200  # what stands beside the text in a post


def public(
    turn: Turn,
    conversation: Any,
    reply: Reply,
    *,
    purpose: str,
    member: Member | None = None,
    ticket_id: int | None = None,
    hold_s: float = 0.0,
    dedupe: str | None = None,
    staff_channel: str = "",
    staff_event_id: str = "",
) -> int | None:
    """Write a public message and the row that carries it to the customer. Return the message's id, or None
    when this event of an agent was taken before, or nobody is left to receive it: the customer was erased. The
    recipients are frozen here."""
    if not conversation.room_id:
        return None
    # automatic words go to whoever wrote, never to everybody they named: that would be a mail bomb
    cc = conversations.participants(turn.tx, conversation.id) if member is not None else []
    message_id = conversations.add(
        turn.tx,
        turn.now,
        conversation.id,
        NewMessage(
            kind="out",
            channel=conversation.channel,
            event_id=staff_event_id,
            dedupe=dedupe,
            text=rich.to_text(reply, numbered_buttons=False),
            author_kind="staff" if member else "bot",
            author_id=member.id if member else None,
            author=member.name if member else "",
            sent_at=turn.now,
            recipients=[conversation.room_id, *(p.user_id for p in cc)],
            staff_channel=staff_channel,
            staff_event_id=staff_event_id,
            ticket_id=ticket_id,
        ),
    )
    if message_id is None:
        return None
    threads = turn.office.can(conversation.channel).subject_threads
    refs = conversations.refs(turn.tx, conversation.id) if threads else []
    outbox.put(
        turn.tx,
        outbox.Order(
            channel=conversation.channel,
            room_id=conversation.room_id,
            thread_id=conversation.thread_id,
            lane=f"to:{conversation.channel}:{conversation.room_id}:{conversation.thread_id}",
            op=Op.SEND,
            purpose=purpose,
            body=rich.dump(reply),
            due_at=turn.now + timedelta(seconds=hold_s),
            options={
                "subject": conversation.subject,
                "in_reply_to_id": conversations.last_in(turn.tx, conversation.id) if threads else "",
                "references": refs,
                "thread_key": conversation.key,
                "cc": [[p.user_id, p.name] for p in cc],
                "automatic": member is None,
            },
            conversation_id=conversation.id,
            message_id=message_id,
            ticket_id=ticket_id,
        ),
        turn.now,
    )
    return message_id


def typing(turn: Turn, conversation: Any) -> None:
    """Let the customer see, where that is possible, that somebody is writing: while a reply is held."""
    if not turn.office.can(conversation.channel).typing:
        return
    outbox.put(
        turn.tx,
        outbox.Order(
            channel=conversation.channel,
            room_id=conversation.room_id,
            thread_id=conversation.thread_id,
            lane=f"typing:{conversation.channel}:{conversation.room_id}",
            op=Op.TYPING,
            purpose="typing",
            body=rich.dump(Reply()),
            due_at=turn.now,
        ),
        turn.now,
    )


def unthreaded(turn: Turn, channel: str, room_id: str, subject: str, reply: Reply) -> None:
    """Send something automatic that belongs to no conversation (a code). It carries no customer's words."""
    outbox.put(
        turn.tx,
        outbox.Order(
            channel=channel,
            room_id=room_id,
            thread_id="",
            lane=f"to:{channel}:{room_id}:",
            op=Op.SEND,
            purpose="code",
            body=rich.dump(reply),
            due_at=turn.now,
            options={"subject": subject, "automatic": True},
        ),
        turn.now,
    )


def change_public(turn: Turn, message: Any, op: Op, reply: Reply) -> bool:
    """Edit or delete a public message where the customer reads it, once it is there: while it is on its way
    the change waits behind it. False where the platform cannot, or nothing went out."""
    caps = turn.office.can(message.channel)
    if not (caps.edit if op is Op.EDIT else caps.delete):
        return False
    states = {row.state for row in outbox.of_message(turn.tx, message.id)}
    if not message.external_id and not states & {"pending", "sending"}:
        return False
    _change(turn, message, op, reply, message_id=message.id)
    return True


def change_part(turn: Turn, message: Any, target_id: str) -> None:
    """Delete a further part of a public message that became several."""
    _change(turn, message, Op.DELETE, Reply(), target_id=target_id)


def _change(
    turn: Turn, message: Any, op: Op, reply: Reply, *, message_id: int | None = None, target_id: str = ""
) -> None:
    conversation = conversations.get(turn.tx, message.conversation_id)
    outbox.put(
        turn.tx,
        outbox.Order(
            channel=conversation.channel,
            room_id=conversation.room_id,
            thread_id=conversation.thread_id,
            lane=f"to:{conversation.channel}:{conversation.room_id}:{conversation.thread_id}",
            op=op,
            purpose="change",
            body=rich.dump(reply),
            due_at=turn.now,
            options={"target_id": target_id},  # "": the message's own, looked up when it is there
            conversation_id=conversation.id,
            message_id=message_id,
            ticket_id=message.ticket_id,
        ),
        turn.now,
    )


def to_threads(
    turn: Turn,
    ticket: Any,
    reply: Reply,
    *,
    but_not: tuple[str, str] | None = None,
    threads: Sequence[Any] | None = None,
) -> None:
    """Post into the ticket's thread on every staff side, except the one it came from. `threads`: where they are
    known already."""
    for thread in tickets.threads(turn.tx, ticket.id) if threads is None else threads:
        if (thread.channel, thread.room_id) != but_not:
            _to_staff_room(turn, ticket, thread, reply, Op.SEND, "post", {})


def to_thread(turn: Turn, ticket: Any, channel: str, room_id: str, reply: Reply) -> None:
    """Post into the ticket's thread in one staff room only."""
    thread = tickets.thread_of(turn.tx, ticket.id, channel, room_id)
    if thread is not None:
        _to_staff_room(turn, ticket, thread, reply, Op.SEND, "post", {})


def first_card(turn: Turn, ticket: Any, reply: Reply) -> list[Any]:
    """Open the threads of a ticket that is new, one on every staff side, and return them."""
    from bot.service import placing, sla

    sla.set_alarm(turn, ticket)
    return [_open_thread(turn, ticket, room, reply) for room in placing.new_rooms(turn, ticket)]


def _open_thread(turn: Turn, ticket: Any, room: StaffRoom, reply: Reply) -> Any:
    thread = tickets.add_thread(turn.tx, ticket.id, room.channel, room.room_id)
    options = {"opens_thread": True, "subject": called(turn, ticket)}
    _to_staff_room(turn, ticket, thread, reply, Op.SEND, "card", options)
    return thread


def card(turn: Turn, ticket: Any, reply: Reply) -> None:
    """Bring the ticket's cards up to date; open its thread where a staff side has none."""
    from bot.service import placing, sla

    sla.set_alarm(turn, ticket)
    for room in placing.rooms_for(turn, ticket):
        thread = tickets.thread_of(turn.tx, ticket.id, room.channel, room.room_id)
        if thread is None:
            _open_thread(turn, ticket, room, reply)
        elif turn.office.can(room.channel).edit:
            options = {"subject": called(turn, ticket), "closed": ticket.status == "closed"}
            _change_card(turn, ticket, thread, reply, options)


def _change_card(turn: Turn, ticket: Any, thread: Any, reply: Reply, options: dict[str, Any]) -> None:
    """A change of the card that still waits takes the newer one in: rooms allow about a post a second."""
    reply = access.shown_to_all(turn, reply)
    waiting = outbox.waiting(turn.tx, _lane(ticket, thread), op=Op.EDIT, purpose="card")
    if waiting is None or not outbox.amend(turn.tx, waiting, rich.dump(reply), options):
        _to_staff_room(turn, ticket, thread, reply, Op.EDIT, "card", options)


def _lane(ticket: Any, place: Any) -> str:
    return f"ticket:{ticket.id}:{place.channel}:{place.room_id}"


def called(turn: Turn, ticket: Any) -> str:
    """What a ticket's thread is called where threads have names: what a list of them should tell."""
    sign = "✓ " if ticket.status == "closed" else "❗ " if ticket.priority in ("high", "urgent") else ""
    owner = people.get(turn.tx, ticket.assignee_id) if ticket.assignee_id else None
    return f"{sign}#{ticket.number} {ticket.subject[:80]}" + (f" · {owner.name}" if owner else "")


def mark(turn: Turn, message: Any, state: str, *, room_id: str = "", thread_id: str = "") -> None:
    """Show a delivery state on the agent's own message, where the staff side can."""
    if not message.staff_event_id or not turn.office.can(message.staff_channel).marks:
        return
    if not room_id:
        place = next(
            (
                t
                for t in tickets.threads(turn.tx, message.ticket_id or 0)
                if t.channel == message.staff_channel
            ),
            None,
        )
        if place is None:
            return
        room_id, thread_id = place.room_id, place.thread_id
    outbox.put(
        turn.tx,
        outbox.Order(
            channel=message.staff_channel,
            room_id=room_id,
            thread_id=thread_id,
            lane=f"mark:{message.staff_channel}:{message.staff_event_id}",
            op=Op.MARK,
            purpose="mark",
            body=rich.dump(Reply()),
            due_at=turn.now,
            options={"target_id": message.staff_event_id, "mark": state},
            ticket_id=message.ticket_id,
        ),
        turn.now,
    )


def answer(
    turn: Turn,
    address: Address,
    reply: Reply,
    *,
    private_to: str = "",
    trigger: str = "",
    op: Op = Op.SEND,
    target_id: str = "",
) -> None:
    """Answer a staff member where they asked; `private_to` keeps it from others in the room."""
    outbox.put(
        turn.tx,
        outbox.Order(
            channel=address.channel,
            room_id=address.room_id,
            thread_id=address.thread_id,
            lane=f"answer:{address.channel}:{address.room_id}:{address.thread_id}:{private_to}",
            op=op,
            purpose="command",
            body=rich.dump(reply),
            due_at=turn.now,
            options={
                "private_to": private_to,
                "trigger": trigger,
                "target_id": target_id,
                "automatic": True,
            },
        ),
        turn.now,
    )


def attached(turn: Turn, message_id: int) -> list[File]:
    """A message's files as blocks: by content where we have it, else by the platform's reference."""
    return [_block(row) for row in files.of_message(turn.tx, message_id)]


def _block(row: Any) -> File:
    return File(
        filename=row.filename,
        content_type=row.content_type,
        blob=row.sha256 or "",
        ref="" if row.sha256 else row.ref,
        source=row.channel,
        kind=row.kind,
        attachment_id=row.id,
    )


def shown(turn: Turn, message_id: int) -> list[Block]:
    """A customer's files for staff to see. Of those that are kept here too many are named, and so are too large
    ones where a link can lead to them; what only the platform has is fetched when it is posted, and if that is
    refused it is said why: to name it as kept would be untrue."""
    desk, url = turn.office.config.desk, turn.office.config.http.public_url.rstrip("/")
    blocks: list[Block] = []
    for row in files.of_message(turn.tx, message_id):
        file, size = _block(row), row.size or 0
        few = sum(isinstance(b, File) for b in blocks) < desk.show_files
        small = size <= desk.show_file_mb * 1_000_000 or not url
        if not file.blob or (few and small):
            blocks.append(file)
        else:
            blocks += _named(turn, file, size, url)
    return blocks


def _named(turn: Turn, file: File, size: int, url: str) -> list[Block]:
    lang = turn.office.staff_language
    said = Text(say("thread.file_kept", lang, filename=file.filename, mb=f"{size / 1e6:.1f}"), small=True)
    if not url:
        return [said]
    until = int((turn.now + LINK_FOR).timestamp())
    token = f"{file.attachment_id}-{until}"
    link = f"{url}/f/{token}.{turn.office.sign('file', token)}"
    return [said, Buttons((Button(say("thread.file_get", lang), url=link),))]


def _folded(reply: Reply, limit: int) -> Reply:
    """A long text as its beginning and the whole as a file: staff read one post, never five."""
    if not limit or all(not isinstance(b, Text) or len(b.text) <= limit - FOLD_ROOM for b in reply.blocks):
        return reply
    blocks: list[Block] = []
    for block in reply.blocks:
        if not isinstance(block, Text) or len(block.text) <= limit - FOLD_ROOM:
            blocks.append(block)
            continue
        blocks.append(replace(block, text=block.text[:FOLD_TO].rstrip() + " …"))
        blocks.append(File("message.txt", "text/plain; charset=utf-8", content=block.text.encode()))
    return Reply(tuple(blocks))


def _to_staff_room(
    turn: Turn, ticket: Any, thread: Any, reply: Reply, op: Op, purpose: str, options: dict[str, Any]
) -> None:
    reply = access.shown_to_all(turn, reply)
    if purpose == "post":
        reply = _folded(reply, turn.office.can(thread.channel).text_limit)
    outbox.put(
        turn.tx,
        outbox.Order(
            channel=thread.channel,
            room_id=thread.room_id,
            thread_id=thread.thread_id,
            lane=_lane(ticket, thread),
            op=op,
            purpose=purpose,
            body=rich.dump(reply),
            due_at=turn.now,
            options=options,
            conversation_id=ticket.conversation_id,
            ticket_id=ticket.id,
        ),
        turn.now,
    )
