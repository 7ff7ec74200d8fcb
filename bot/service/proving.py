"""An address that a customer says is theirs, proved by a code that is mailed there and typed in the chat.

Whether the address is a customer's shows nowhere: every answer is the same for one we know and one we do not.
Proved, it is an identity of theirs, by the rules of contacts.prove, and what they had asked is answered.
"""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from bot import posting
from bot.i18n import say
from bot.office import Turn
from bot.service.allowance import say_to
from bot.service.case import Case
from channels.rich import Reply
from crm_store import audit, contacts, conversations, sales, tickets
from crm_store.shared_addresses import is_shared

KIND = "email_code"
CODE_FOR = timedelta(minutes=10)
CODES_PER_HOUR = 3  # to one address, and by one writer
CODES_PER_DAY = 8  # to one address: forty guesses at a million
TRIES = 5  # of one code
LENGTH = 160  # characters of a message that only says an address
_ADDRESS = re.compile(
    r"(?<![\w.+@-])[a-z0-9][a-z0-9._%+-]{0,63}@(?:[a-z0-9-]{1,63}\.)+[a-z]{2,24}(?![\w@])",
    re.IGNORECASE | re.ASCII,
)
_SAYING = re.compile(
    r"(?:hi|hello|hey|ok|yes|sure|please|you can use|use|it's|its|it is|this is|here is|here's|i am|i'm|my|the|"
    r"e-?mail|mail|address|is|also|known as|registered|account|customer|under|with|by|"
    r"你好|您好|好的|我的|我是|我用的是|用的是|用|是|邮箱|电子邮箱|电子邮件|邮件|地址|注册|账号|为|在此|这是|[\W_])*",
    re.IGNORECASE,
)


def by_address(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Mail a code to the address that a message says and nothing else, where that is possible: in private, in a
    chat, with a channel of mail. False when it is none."""
    from bot.service import orders

    turn, channel = case.turn, orders.mail_channel(case.turn)
    by_mail = turn.office.can(case.inbound.address.channel).subject_threads
    if by_mail or channel is None or not case.inbound.private or case.inbound.attachments:
        return False
    asked = expected.get("order_code") or expected.get(KIND)
    if case.intent in ("wants_person", "complaint"):
        asked = None
    email = said(case.inbound.text, alone=asked is None)
    if not email:
        return False
    if is_shared(email) or email in _our_own(turn):  # several people read it: it proves nothing of one
        say_to(case, Reply.of(say("customer.email_shared", case.lang)))
        return True
    order = asked.get("order", "") if asked else ""
    _send(case, channel, email, order)
    say_to(case, Reply.of(say("customer.email_code_sent", case.lang, email=email)))
    return True


def said(text: str, *, alone: bool = True) -> str:
    """The one address a short message says, in lower case; `alone`: with no more than words of saying it."""
    found = _ADDRESS.findall(text) if len(text) <= LENGTH else []
    if len(found) != 1 or (alone and not _SAYING.fullmatch(text.replace(found[0], " "))):
        return ""
    return str(found[0]).lower()


def by_code(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Take a message as the code that was mailed, when one was and it looks like one."""
    waiting, turn = expected.get(KIND), case.turn
    if waiting is None:
        return False
    given = "".join(case.inbound.text.split())
    if not (given.isascii() and given.isdecimal() and len(given) == 6):
        return False
    if not case.inbound.private:
        return False
    if not hmac.compare_digest(_digest(case, waiting["email"], given), waiting["digest"]):
        _wrong(case, waiting)
        return True
    conversations.answered(turn.tx, case.conversation.id, KIND)
    email = waiting["email"]
    mine = contacts.prove(turn.tx, turn.now, case.contact_id, space="email", user_id=email, how="code")
    audit.record(
        turn.tx, turn.now, "system", "prove_email", f"contact:{mine}", via=case.inbound.address.channel
    )
    reply = Reply.of(say("customer.verified", case.lang))
    say_to(case, Reply((*reply.blocks, *_asked_before(case, waiting["order"], mine, email))))
    return True


def _asked_before(case: Case, number: str, mine: int, email: str) -> tuple[Any, ...]:
    """The order that was asked about, when it is theirs by now, or of whoever holds the address they proved."""
    from bot.service import orders

    if not number:
        return ()
    order = sales.order_by_number(case.turn.tx, number)
    held = contacts.find_identity(case.turn.tx, "email", email)
    owners = {mine, held.contact_id if held is not None else mine}
    if order is None or order.contact_id not in owners:
        return Reply.of(say("customer.order_not_theirs", case.lang, number=number)).blocks
    return orders.status(case.turn, order, case.lang).blocks


def _wrong(case: Case, waiting: dict[str, Any]) -> None:
    turn, tries = case.turn, waiting["tries"] + 1
    if tries >= TRIES:
        conversations.answered(turn.tx, case.conversation.id, KIND)
    else:
        until = datetime.fromisoformat(waiting["until"])  # a wrong code does not prolong the right one's life
        conversations.expect(turn.tx, case.conversation.id, KIND, waiting | {"tries": tries}, until)
    say_to(case, Reply.of(say("customer.code_wrong", case.lang)))


def _send(case: Case, channel: str, email: str, order: str) -> None:
    """Expect a code, and mail it unless too many were: then there is no right one, and nobody sees it."""
    turn = case.turn
    account = f"{turn.office.space(case.inbound.address.channel)}:{case.inbound.author.user_id}"
    within = _is_within(turn, turn.office.sign("code_to", email), turn.office.sign("code_by", account))
    code = f"{secrets.randbelow(1_000_000):06d}"
    until = turn.now + CODE_FOR
    payload = {
        "order": order,
        "email": email,
        "digest": _digest(case, email, code if within else secrets.token_hex(8)),
        "tries": 0,
        "until": until.isoformat(),
    }
    conversations.answered(turn.tx, case.conversation.id, "order_code")
    conversations.expect(turn.tx, case.conversation.id, KIND, payload, until)
    if not within:
        return
    desk_name = turn.office.config.desk.name
    posting.unthreaded(
        *(turn, channel, email),
        say("customer.order_code_subject", case.lang, desk=desk_name),
        Reply.of(say("customer.email_code_mail", case.lang, code=code, desk=desk_name)),
    )


def _our_own(turn: Turn) -> set[str]:
    given = (settings.model_dump() for settings in turn.office.config.channels.values())
    return {str(one).lower() for s in given for one in (s.get("address", ""), *(s.get("aliases") or ()))}


def _is_within(turn: Turn, to: str, by: str) -> bool:
    """Count a code to an address and by a writer, whose names are hashes; whether there were too many: within
    this hour of the clock and the one before, so that no sixty minutes hold more."""
    hour, before = ((turn.now - timedelta(hours=ago)).strftime("%Y-%m-%d:code:%H") for ago in (0, 1))
    day = f"{turn.now.date().isoformat()}:code:{to}"
    used = [sum(tickets.numbers_now(turn.tx, f"{hour}:{who}", f"{before}:{who}")) for who in (to, by)]
    if max(used) >= CODES_PER_HOUR or tickets.numbers_now(turn.tx, day)[0] >= CODES_PER_DAY:
        return False
    for name in (f"{hour}:{to}", f"{hour}:{by}", day):
        tickets.next_number(turn.tx, name)
    return True


def _digest(case: Case, email: str, code: str) -> str:
    """Of this chat and address only."""
    return case.turn.office.sign(KIND, f"{case.conversation.id}\0{email}\0{code}")
