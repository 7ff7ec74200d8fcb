"""Routing: whose side something that arrived is on, and who decides about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bot import commands, posting, relay
from bot.access import Member, member, recognise
from bot.answers.decide import Decision
from bot.i18n import say
from bot.office import Turn
from bot.service import actions, bounce, card, desk, forwards, menus, opening, placing, unfurl
from channels import rich
from channels.conversation import Inbound, Kind, Op
from channels.rich import Form, Reply, Text
from crm_store import audit, contacts, conversations, inbox, outbox, people, tickets

CLOCKS_APART = timedelta(seconds=5)  # ours and a platform's


class NotYet(Exception):
    """It cannot be decided now, and soon it can."""


def take(turn: Turn, inbound: Inbound, decision: Decision | None) -> None:
    """Decide about one thing that arrived, in the transaction that finishes its inbox row."""
    turn = replace(turn, via=turn.via or inbound.address.channel)
    if inbound.kind is Kind.UNKNOWN:
        inbox.count_unknown(turn.tx, inbound.address.channel, inbound.action or inbound.text or "unknown")
        return
    if inbound.kind is Kind.MOVED:
        placing.moved(turn, inbound.address.channel, inbound.address.room_id, inbound.text)
        return
    channel, room = inbound.address.channel, inbound.address.room_id
    who = recognise(turn.tx, turn.office.space(channel), inbound.author)
    if who is not None and _answers_form(turn, inbound, who):
        return
    if turn.office.is_staff_room(channel, room) or (
        not inbound.private and placing.learn(turn, channel, room)
    ):
        _staff_room(turn, inbound, who)
    elif commands.is_one(inbound) and who is not None:
        commands.run(turn, inbound, who)
    elif who is not None and turn.office.can(channel).commands and inbound.private:
        _staff_private(turn, inbound, who)
    elif inbound.kind in (Kind.EDIT, Kind.DELETE) and _by_staff(turn, inbound):
        _change(turn, inbound)
    elif who is None or not opening.elsewhere(turn, inbound, who):
        _customer(turn, inbound, decision)


def _by_staff(turn: Turn, inbound: Inbound) -> bool:
    """Whether something that changed elsewhere than in a staff room is what an agent wrote: by command, in
    private."""
    return conversations.by_staff_event(turn.tx, inbound.address.channel, inbound.target_id) is not None


def _staff_room(turn: Turn, inbound: Inbound, member: Member | None) -> None:
    address = inbound.address
    ticket = tickets.in_thread(turn.tx, address.channel, address.room_id, address.thread_id)
    if ticket is None and address.thread_id and _under_a_new_card(turn, inbound):
        raise NotYet
    match inbound.kind:
        case Kind.MESSAGE | Kind.COMMAND if commands.is_one(inbound):
            if member is None:
                _stranger(turn, inbound)
            else:
                commands.run(turn, inbound, member, ticket)
        case Kind.MESSAGE if ticket is not None:
            relay.thread_message(turn, inbound, ticket, member)
            if member is not None:
                unfurl.mentioned(turn, inbound, ticket, member)
        case Kind.MESSAGE if member is not None:
            unfurl.mentioned(turn, inbound, ticket, member)
        case Kind.REACTION if member is not None:
            opening.reacted(turn, inbound, member)
        case Kind.EDIT | Kind.DELETE:
            _change(turn, inbound)
        case Kind.ACTION if member is not None:
            actions.by_staff(turn, inbound, member, ticket)
        case Kind.ACTION:
            _stranger(turn, inbound)
        case _:
            return  # talk among colleagues, joins


def _change(turn: Turn, inbound: Inbound) -> None:
    """Something was edited or deleted that an agent may have written."""
    if inbound.kind is Kind.DELETE:
        relay.deleted(turn, inbound)
        return
    if (spelled := commands.parse(inbound.text)) and spelled[0] not in ("reply", "note"):
        actor = f"{turn.office.space(inbound.address.channel)}:{inbound.author.user_id}"
        audit.record(turn.tx, turn.now, actor, "command", "", "refused")  # an edit commands nothing
    relay.edited(turn, inbound, _writer(turn, inbound))


def _under_a_new_card(turn: Turn, inbound: Inbound) -> bool:
    """Whether this may be the thread of a card that was posted when we last died: which, we learn soon."""
    address, before = inbound.address, inbound.sent_at + CLOCKS_APART
    return outbox.card_may_stand(turn.tx, address.channel, address.room_id, before)


def _staff_private(turn: Turn, inbound: Inbound, member: Member) -> None:
    """A staff member in a room of their own with the bot: they are no customer there."""
    match inbound.kind:
        case Kind.ACTION:
            actions.by_staff(turn, inbound, member, None)
        case Kind.MESSAGE | Kind.START | Kind.COMMAND:
            if not _redeem(turn, inbound):
                posting.answer(
                    turn,
                    inbound.address,
                    Reply.of(say("staff.hello", turn.language_of(member), name=member.name)),
                )
        case _:
            return


def _customer(turn: Turn, inbound: Inbound, decision: Decision | None) -> None:
    match inbound.kind:
        case Kind.MESSAGE | Kind.COMMAND | Kind.START:
            if _redeem(turn, inbound):
                return
            if commands.is_one(inbound):  # refused without a hint that there is such a thing
                actor = f"{turn.office.space(inbound.address.channel)}:{inbound.author.user_id}"
                audit.record(turn.tx, turn.now, actor, "command", "", "refused")
            if inbound.kind is Kind.COMMAND and not inbound.private:
                return  # a slash command in a room of others: no ticket in public, and no hint
            if inbound.author.is_bot or not _is_to_us(turn, inbound):
                return
            if inbound.kind is Kind.START:
                actions.started(turn, inbound)
            else:
                take_in = forwards.take if "forwarded_by" in inbound.values else desk.message
                take_in(turn, inbound, decision)
        case Kind.ACTION:
            actions.by_customer(turn, inbound)
        case Kind.EDIT | Kind.DELETE | Kind.REACTION:
            _changed(turn, inbound)
        case Kind.BOUNCE:
            bounce.take(turn, inbound)
        case Kind.AUTOMATIC:
            _automatic(turn, inbound)
        case Kind.GONE | Kind.BACK:
            _reachable(turn, inbound)
        case _:
            return


def _is_to_us(turn: Turn, inbound: Inbound) -> bool:
    """In a room with others we take what is said to us, in a room of customers everything, and wherever a
    thread is a conversation already, what is said in it."""
    address = inbound.address
    if inbound.private or inbound.addressed:
        return True
    listed = turn.office.settings(address.channel).customer_channels
    if any(turn.office.room_now(address.channel, room) == address.room_id for room in listed):
        return True
    where = (address.channel, address.room_id, address.thread_id)
    return bool(address.thread_id) and conversations.at_address(turn.tx, *where) is not None


def _answers_form(turn: Turn, inbound: Inbound, member: Member) -> bool:
    """Where no form can be opened its questions are posted, and the reply to that message is the answer."""
    channel = inbound.address.channel
    if inbound.kind is not Kind.MESSAGE or not inbound.in_reply_to_id or turn.office.can(channel).forms:
        return False
    asked = outbox.recent(turn.tx, channel, inbound.in_reply_to_id, op=Op.FORM)
    form = next((b for b in rich.load(asked.body).blocks if isinstance(b, Form)), None) if asked else None
    if form is None or not form.inputs:
        return False
    answer = replace(inbound, action=form.action, values={form.inputs[0].name: inbound.text})
    actions.by_staff(turn, answer, member, None)
    return True


def _writer(turn: Turn, inbound: Inbound) -> Member | None:
    """Who changed a message. An edit commands nothing, but its writer may change what they wrote."""
    space = turn.office.space(inbound.address.channel)
    row = people.by_identity(turn.tx, space, inbound.author.user_id)
    return member(row) if row is not None and not inbound.author.is_bot else None


def _redeem(turn: Turn, inbound: Inbound) -> bool:
    """Take a one-time code: the platform identity that sent it, in private, is that staff member's."""
    if not inbound.private or not people.looks_like_code(inbound.text):
        return False
    if inbound.author.is_bot or not inbound.author.may_command:
        return False
    space = turn.office.space(inbound.address.channel)
    row = people.redeem(turn.tx, turn.now, inbound.text, space, inbound.author.user_id, inbound.author.name)
    if row is None:
        return False
    audit.record(turn.tx, turn.now, f"staff:{row.id}", "enrol", f"{space}:{inbound.author.user_id}")
    lang = turn.language_of(member(row, inbound.author.language))
    text = say("staff.welcome", lang, name=row.name, role=turn.office.access.called(row.role, lang))
    posting.answer(turn, inbound.address, Reply.of(text))
    menus.sync(turn)
    return True


def _stranger(turn: Turn, inbound: Inbound) -> None:
    space = turn.office.space(inbound.address.channel)
    audit.record(turn.tx, turn.now, f"{space}:{inbound.author.user_id}", "command", "", "refused")
    if not inbound.author.is_bot:
        posting.answer(
            turn,
            inbound.address,
            Reply.of(say("thread.not_staff", turn.office.staff_language)),
            private_to=inbound.author.user_id,
        )


def _changed(turn: Turn, inbound: Inbound) -> None:
    """A customer edited, deleted or reacted: versions are kept and staff see what changed."""
    lang, channel = turn.office.staff_language, inbound.address.channel
    name = inbound.author.name or inbound.author.user_id
    if inbound.kind is Kind.REACTION:
        message = conversations.by_external(turn.tx, channel, inbound.target_id)
        text = say("thread.reaction", lang, name=name, reaction=inbound.action.lstrip("+"))
        ticket_id = message.ticket_id if message is not None else None
        if ticket_id is None and (sent := outbox.recent(turn.tx, channel, inbound.target_id, op=Op.SEND)):
            ticket_id = sent.ticket_id
        if ticket_id is None or inbound.action.startswith("-"):
            return
        posting.to_threads(turn, tickets.get(turn.tx, ticket_id), Reply.of(Text(text, small=True)))
        return
    message = conversations.by_event(turn.tx, channel, inbound.target_id)
    if message is None or message.kind != "in":
        return
    ticket = tickets.get(turn.tx, message.ticket_id) if message.ticket_id else None
    if inbound.kind is Kind.EDIT:
        if inbound.text == message.text:
            return
        conversations.edit(turn.tx, turn.now, message.id, inbound.text)
        before = Text(card.shorten(message.text, 200), quote=True)
        head = Text(say("thread.edited", lang, name=name), small=True)
        reply = Reply.of(head, *([before] if before.text else []), inbound.text)
    else:
        conversations.set_values(turn.tx, message.id, deleted_at=turn.now)
        reply = Reply.of(
            Text(say("thread.deleted", lang, name=name, text=card.shorten(message.text, 200)), small=True)
        )
    if ticket is not None:
        posting.to_threads(turn, ticket, reply)


def _automatic(turn: Turn, inbound: Inbound) -> None:
    """An automatic mail is kept where it belongs and answered by nobody."""
    desk.keep_automatic(turn, inbound)


def _reachable(turn: Turn, inbound: Inbound) -> None:
    """A customer blocked or unblocked us: whoever works on their ticket is told."""
    space, lang = turn.office.space(inbound.address.channel), turn.office.staff_language
    channel = inbound.address.channel
    if not inbound.private:
        _room_reachable(turn, inbound)
        return
    if inbound.kind is Kind.GONE:
        contacts.gone(turn.tx, turn.now, space, inbound.author.user_id, inbound.text or "blocked")
        text = say("thread.gone", lang, channel=channel, reason=inbound.text or "blocked")
    else:
        contacts.back(turn.tx, space, inbound.author.user_id)
        text = say("thread.back", lang, channel=channel)
    conversation = conversations.at_address(turn.tx, channel, inbound.address.room_id, "")
    ticket = tickets.unclosed(turn.tx, conversation.id) if conversation is not None else None
    if ticket is not None:
        posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))


def _room_reachable(turn: Turn, inbound: Inbound) -> None:
    """We were removed from a room of several people, or are back: that says nothing of whoever did it."""
    channel, room_id = inbound.address.channel, inbound.address.room_id
    key = "thread.room_gone" if inbound.kind is Kind.GONE else "thread.room_back"
    text = say(key, turn.office.staff_language, channel=channel)
    for ticket in tickets.unclosed_in_room(turn.tx, channel, room_id):
        posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))
