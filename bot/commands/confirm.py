"""/confirm: the second confirmation in words, where there are no buttons."""

from __future__ import annotations

from bot import confirm as confirmation
from bot.commands import Ask, command
from bot.i18n import UserError
from channels.rich import Reply


@command("confirm")
def confirm(ask: Ask) -> Reply:
    code = ask.args.strip()
    if not code:
        raise UserError("staff.usage", usage=ask.say("usage.confirm"))
    done = confirmation.redeem(ask.turn, ask.member, code, ask.ticket, inbound=ask.inbound)
    ask.audits.extend(done.audits)
    if done.code:  # the world has moved on, and it is asked for again
        ask.codes.append(done.code)
    return done.reply
