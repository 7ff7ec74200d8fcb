"""/mail audit: whether all that lies in the mailboxes is here too; what is missing is fetched."""

from __future__ import annotations

from bot import mail_audit
from bot.commands import Ask, command
from bot.i18n import UserError
from bot.roles import MANAGERS
from channels.rich import Reply

DAYS, MOST_DAYS = 3, 365


@command("mail", roles=MANAGERS)
def mail(ask: Ask) -> Reply:
    verb, _, rest = ask.args.strip().partition(" ")
    days = rest.strip() or str(DAYS)
    if verb.lower() != "audit" or not (
        days.isascii() and days.isdecimal() and 1 <= int(days[:6]) <= MOST_DAYS
    ):
        raise UserError("staff.usage", usage=ask.say("usage.mail"))
    if ask.inbound is None:  # on the command line there is nobody to answer later
        raise UserError("mail.audit_here")
    address = ask.inbound.address
    mail_audit.ask(
        ask.turn,
        mail_audit.Request(
            days=int(days),
            channel=address.channel,
            room_id=address.room_id,
            thread_id=address.thread_id,
            private_to="" if ask.inbound.private else ask.inbound.author.user_id,
            lang=ask.lang,
        ),
    )
    return Reply.of(ask.say("mail.audit_begun", days=int(days)))
