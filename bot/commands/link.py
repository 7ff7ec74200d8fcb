"""/link: a link by which a customer opens a chat as who they are here."""

from __future__ import annotations

from bot.commands import Ask, command
from bot.commands._whom import whom
from bot.i18n import UserError
from bot.roles import AGENTS
from bot.service import card, inviting
from channels.rich import Fields, Reply, Text
from crm_store import contacts


@command("link", roles=AGENTS)
def link(ask: Ask) -> Reply:
    contact_id, _ = whom(ask, ask.args)
    if contacts.still(ask.turn.tx, contact_id) is None:
        raise UserError("erase.already", id=contact_id)
    links = inviting.links(ask.turn, contact_id)
    if not links:
        raise UserError("link.none")
    ask.found_of.append(f"contact:{contact_id}")
    name = card.called(ask.turn, contact_id) or f"C{contact_id}"
    days = inviting.LINK_FOR.days
    return Reply.of(
        ask.say("link.made", name=name),
        Fields(tuple(links)),
        Text(ask.say("link.once", days=days), small=True),
    )
