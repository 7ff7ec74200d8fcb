"""Orders: told to whoever ordered, proved; to nobody else."""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bot import i18n, posting
from bot.i18n import say
from bot.office import Turn
from channels.rich import Reply, Text
from crm_store import contacts, conversations, sales, tickets

if TYPE_CHECKING:
    from bot.service.desk import Case

CODE_FOR = timedelta(minutes=15)
CODES_PER_DAY = 3  # to one order: nobody may fill a customer's inbox with codes
TRIES = 5


def answer(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Answer a question about an order, or begin to prove whose it is. False when it is not about one."""
    from bot.service import desk

    turn, number = case.turn, case.decision.order_number if case.decision else None
    if case.intent != "order_status" and not (number and "order_number" in expected):
        return False
    if not number:
        conversations.expect(turn.tx, case.conversation.id, "order_number", {}, turn.now + CODE_FOR)
        desk.say_to(case, Reply.of(say("customer.which_order", case.lang)))
        return True
    conversations.answered(turn.tx, case.conversation.id, "order_number")
    order = sales.order_by_number(turn.tx, number)
    if order is not None and order.contact_id == case.contact_id and _is_proved(case):
        desk.say_to(case, status(turn, order, case.lang))
        return True
    if not turn.office.can(case.inbound.address.channel).subject_threads and _mail_channel(turn):
        _send_code(case, order)
        desk.say_to(case, Reply.of(say("customer.order_code_sent", case.lang)))
        return True
    desk.say_to(case, Reply.of(say("customer.order_private", case.lang, number=number)))
    desk.to_person(case)
    return True


def by_code(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Take a message as the code that proves whose an order is, when one was sent and it looks like one."""
    from bot.service import desk

    waiting = expected.get("order_code")
    given = "".join(case.inbound.text.split())
    if waiting is None or not (given.isdigit() and len(given) == 6):
        return False
    turn = case.turn
    order = sales.order_by_number(turn.tx, waiting["order"])
    if order is None or not hmac.compare_digest(
        case.turn.office.sign("order_code", given), waiting["digest"]
    ):
        tries = waiting["tries"] + 1
        if tries >= TRIES:
            conversations.answered(turn.tx, case.conversation.id, "order_code")
        else:
            conversations.expect(
                turn.tx, case.conversation.id, "order_code", waiting | {"tries": tries}, turn.now + CODE_FOR
            )
        desk.say_to(case, Reply.of(say("customer.code_wrong", case.lang)))
        return True
    conversations.answered(turn.tx, case.conversation.id, "order_code")
    contacts.prove(turn.tx, turn.now, case.contact_id, space="email", user_id=waiting["email"], how="code")
    desk.say_to(case, Reply.of(say("customer.verified", case.lang), *status(turn, order, case.lang).blocks))
    return True


def status(turn: Turn, order: Any, lang: str) -> Reply:
    """An order in words."""
    key = f"order.{order.status}"
    state = say(key, lang) if key in i18n.catalogue("en") else order.status
    lines = [
        say(
            "customer.order_status",
            lang,
            number=order.number,
            date=order.ordered_at.date().isoformat(),
            status=state,
        )
    ]
    if order.tracking:
        lines.append(say("customer.order_tracking", lang, tracking=order.tracking))
    names = ", ".join(f"{line.quantity} × {line.name}" for line in sales.lines(turn.tx, order.id))
    total = say("customer.order_total", lang, amount=sales.money(order.amount_minor, order.currency))
    return Reply.of("\n".join(lines), names, Text(total, small=True))


def _is_proved(case: Case) -> bool:
    """By mail the sender must be authenticated; elsewhere the platform knows who writes, and the contact
    holds the order only by proof (own phone, code) or because it was imported with this very identity."""
    if case.turn.office.can(case.inbound.address.channel).subject_threads:
        return case.inbound.author.verified_email is not None
    return True


def _mail_channel(turn: Turn) -> str | None:
    channels = turn.office.config.channels
    return next((n for n, s in channels.items() if turn.office.can(n).subject_threads), None)


def _send_code(case: Case, order: Any) -> None:
    """Mail a code to the address of the order. Whether there is such an order is not told to anybody."""
    turn, channel = case.turn, _mail_channel(case.turn)
    email = _email_of(turn, order) if order is not None else None
    if email is None or channel is None:
        return
    today = turn.now.date().isoformat()
    if tickets.next_number(turn.tx, f"code:{order.number}:{today}") > CODES_PER_DAY:
        return
    code = f"{secrets.randbelow(1_000_000):06d}"
    payload = {
        "order": order.number,
        "email": email,
        "digest": turn.office.sign("order_code", code),
        "tries": 0,
    }
    conversations.expect(turn.tx, case.conversation.id, "order_code", payload, turn.now + CODE_FOR)
    desk_name = turn.office.config.desk.name
    posting.unthreaded(
        turn,
        channel,
        email,
        say("customer.order_code_subject", case.lang, desk=desk_name),
        Reply.of(say("customer.order_code_mail", case.lang, code=code, desk=desk_name)),
    )


def _email_of(turn: Turn, order: Any) -> str | None:
    known = contacts.identities(turn.tx, order.contact_id)
    return next((i.user_id for i in known if i.space == "email" and i.gone_at is None), None)
