"""Orders: told to whoever ordered, proved; to nobody else."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bot import i18n, posting
from bot.i18n import say
from bot.office import Turn
from bot.service.allowance import say_to
from bot.service.case import Case
from bot.service.handover import to_person
from channels.rich import Reply, Text
from crm_store import contacts, conversations, sales, tickets

CODE_FOR = timedelta(minutes=15)
CODES_PER_DAY = 3  # to one address, and by one writer: nobody may fill customers' inboxes with codes
TRIES = 5  # of one code
TRIES_PER_DAY = 10  # by one writer, of all codes


def answer(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Answer a question about an order, or begin to prove whose it is. False when it is not about one, or
    when a person must see to it."""
    turn, number = case.turn, case.decision.order_number if case.decision else None
    if not asked(case, expected):
        return False
    if not number:
        conversations.expect(turn.tx, case.conversation.id, "order_number", {}, turn.now + CODE_FOR)
        say_to(case, Reply.of(say("customer.which_order", case.lang)))
        return True
    conversations.answered(turn.tx, case.conversation.id, "order_number")
    order = sales.order_by_number(turn.tx, number)
    alone = not conversations.participants(turn.tx, case.conversation.id)
    by_mail = turn.office.can(case.inbound.address.channel).subject_threads
    if order is not None and order.contact_id == case.contact_id and alone and _is_proved(case):
        say_to(case, status(turn, order, case.lang))
    elif by_mail or not case.inbound.private or mail_channel(turn) is None:  # others read along, or no way
        say_to(case, Reply.of(say("customer.order_private", case.lang, number=number)))
        to_person(case)
    else:
        _send_code(case, order, number)
        say_to(case, Reply.of(say("customer.order_code_sent", case.lang)))
    return True


def asked(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Whether a message is about an order."""
    number = case.decision.order_number if case.decision else None
    about = case.intent == "order_status" or (number is not None and "order_number" in expected)
    return about and case.intent not in ("wants_person", "complaint")


def by_code(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Take a message as the code that proves whose an order is, when one was asked for and it looks like one.

    An order we do not know has no right code, and answers like any other: nobody learns which numbers exist.
    """
    waiting = expected.get("order_code")
    if waiting is None:
        return False
    given = "".join(case.inbound.text.split())
    if not (given.isdecimal() and len(given) == 6) or not case.inbound.private:
        return False
    turn = case.turn
    order = sales.order_by_number(turn.tx, waiting["order"])
    right = hmac.compare_digest(turn.office.sign("order_code", given), waiting["digest"])
    if order is None or not waiting["email"] or not right:
        _wrong_code(case, waiting)
        return True
    conversations.answered(turn.tx, case.conversation.id, "order_code")
    contacts.prove(turn.tx, turn.now, case.contact_id, space="email", user_id=waiting["email"], how="code")
    say_to(case, Reply.of(say("customer.verified", case.lang), *status(turn, order, case.lang).blocks))
    return True


def _wrong_code(case: Case, waiting: dict[str, Any]) -> None:
    turn, tries = case.turn, waiting["tries"] + 1
    today = turn.now.date().isoformat()
    all_tries = tickets.next_number(turn.tx, f"{today}:code:wrong:{_who(case)}")
    if tries >= TRIES or all_tries >= TRIES_PER_DAY:
        conversations.answered(turn.tx, case.conversation.id, "order_code")
    else:
        until = datetime.fromisoformat(waiting["until"])  # a wrong code does not prolong the right one's life
        payload = waiting | {"tries": tries}
        conversations.expect(turn.tx, case.conversation.id, "order_code", payload, until)
    say_to(case, Reply.of(say("customer.code_wrong", case.lang)))


def status(turn: Turn, order: Any, lang: str) -> Reply:
    """An order in words."""
    key = f"order.{order.status}"
    state = say(key, lang) if key in i18n.catalogue("en") else order.status
    lines = [
        say(
            "customer.order_status",
            lang,
            number=order.number,
            date=order.ordered_at.astimezone(ZoneInfo(turn.office.config.desk.timezone)).date().isoformat(),
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


def mail_channel(turn: Turn) -> str | None:
    """By which codes are mailed; None without a channel of mail."""
    channels = turn.office.config.channels
    return next((n for n, s in channels.items() if turn.office.can(n).subject_threads), None)


def _who(case: Case) -> str:
    return f"{case.inbound.address.channel}:{case.inbound.author.user_id}"


def _send_code(case: Case, order: Any, number: str) -> None:
    """Mail a code to the address of the order, if there is such an order, it has one, and nobody was sent too
    many: neither its owner nor by this writer. The writer sees no difference."""
    turn, channel = case.turn, mail_channel(case.turn)
    email = (_email_of(turn, order) if order is not None else None) or ""
    today = turn.now.date().isoformat()
    counters = [f"{today}:code:from:{_who(case)}", f"{today}:code:to:{email}"]
    within = all([tickets.next_number(turn.tx, name) <= CODES_PER_DAY for name in counters])
    code = f"{secrets.randbelow(1_000_000):06d}"
    send = bool(email) and channel is not None and within
    payload = {
        "order": number,
        "email": email if send else "",
        "digest": turn.office.sign("order_code", code if send else secrets.token_hex(8)),
        "tries": 0,
        "until": (turn.now + CODE_FOR).isoformat(),
    }
    conversations.answered(turn.tx, case.conversation.id, "email_code")
    conversations.expect(turn.tx, case.conversation.id, "order_code", payload, turn.now + CODE_FOR)
    if not send or channel is None:
        return
    owner = contacts.get(turn.tx, order.contact_id)
    lang = turn.office.customer_language(owner.language, case.lang)
    desk_name = turn.office.config.desk.name
    posting.unthreaded(
        turn,
        channel,
        email,
        say("customer.order_code_subject", lang, desk=desk_name),
        Reply.of(say("customer.order_code_mail", lang, code=code, desk=desk_name)),
    )


def _email_of(turn: Turn, order: Any) -> str | None:
    known = contacts.identities(turn.tx, order.contact_id)
    return next((i.user_id for i in known if i.space == "email" and i.gone_at is None), None)
