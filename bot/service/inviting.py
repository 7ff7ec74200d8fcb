"""A signed link that opens a chat as a customer we know: mailed to them, or on their page in a shop.

Whoever opens it first within a week is that customer, as far as they are nobody yet by the account they open it
from. Once opened it is used up: passed on, or opened again by somebody else, it says nothing. What stands in it
is a number and a time, signed; neither can be changed.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

from bot.office import Turn
from channels.conversation import Inbound
from crm_store import contacts, tickets

LINK_FOR = timedelta(days=7)
PURPOSE = "open_as"
_TEXT = re.compile(
    r"((\d{1,9})-(\d{1,11})-[0-9a-f]{8})-([0-9a-f]{16})"
)  # with what begins it: 64 letters, Bot API
_BEGIN = "me-"
_DIGITS, _LETTERS = "0123456789", "ghijklmnop"  # without digits: a mask would take some for a phone number


def links(turn: Turn, contact_id: int) -> list[tuple[str, str]]:
    """(channel, link) for each channel whose chat can be opened by one: one of them can be used, once."""
    until = int((turn.now + LINK_FOR).timestamp())
    text = f"{contact_id}-{until}-{secrets.token_hex(4)}"
    signed = f"{text}-{turn.office.sign(PURPOSE, text)}".translate(str.maketrans(_DIGITS, _LETTERS))
    found = ((name, turn.office.can(name).start_link) for name in turn.office.config.channels)
    return [(name, f"{start}{_BEGIN}{signed}") for name, start in found if start]


def is_one(payload: str) -> bool:
    """Whether a payload looks like one of these."""
    return payload.startswith(_BEGIN)


def opened(turn: Turn, inbound: Inbound, writer: int) -> tuple[int, bool]:
    """Take what a chat was opened with; return who the writer is now, and whether it is whom the link names."""
    text = inbound.text.removeprefix(_BEGIN).translate(str.maketrans(_LETTERS, _DIGITS))
    found = _TEXT.fullmatch(text) if is_one(inbound.text) else None
    if found is None or turn.office.signed(PURPOSE, f"{found[1]}.{found[4]}") is None:
        return writer, False
    wanted = contacts.still(turn.tx, int(found[2]))
    if wanted is None or not inbound.private or inbound.author.is_bot or not inbound.author.may_command:
        return writer, False
    if wanted == writer:
        return writer, True
    until = datetime.fromtimestamp(int(found[3]), UTC)
    if until <= turn.now:
        return writer, False
    used = f"{until.date().isoformat()}:link:{turn.office.sign('link', found[1])}"  # forgotten after its day
    if tickets.next_number(turn.tx, used) > 1:
        return writer, False
    channel = inbound.address.channel
    now = contacts.come_by_link(
        turn.tx,
        turn.now,
        writer,
        wanted,
        space=turn.office.space(channel),
        user_id=inbound.author.user_id,
        one_account=turn.office.can(channel).attests,  # a browser is no account: people have several
    )
    return now, now == wanted
