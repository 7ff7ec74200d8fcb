"""Canned answers: a macro's text with the customer's name in it, sent like any other reply."""

from __future__ import annotations

from typing import Any

from bot import relay
from bot.access import Member
from bot.i18n import UserError
from bot.office import Turn
from bot.service import card, forms
from channels.conversation import Inbound
from crm_store import macros


def fill(turn: Turn, ticket: Any, member: Member, text: str) -> str:
    """Put in {customer}, {agent}, {number} and {desk}; any other brace stays as it is."""
    values = {
        "{customer}": card.called(turn, ticket.contact_id),
        "{agent}": member.name,
        "{number}": str(ticket.number),
        "{desk}": turn.office.config.desk.name,
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def send(turn: Turn, inbound: Inbound, member: Member, ticket: Any, macro_id: int) -> None:
    """Send a macro to the customer of a ticket. Raise UserError."""
    row = macros.get(turn.tx, macro_id)
    if row is None:
        raise UserError("macro.none")
    settings = turn.office.config.channels.get(inbound.address.channel)
    relay.reply(
        turn,
        ticket,
        member,
        fill(turn, ticket, member, row.text),
        inbound=forms.origin(inbound),
        hold_s=settings.hold_s if settings else 0.0,
    )
