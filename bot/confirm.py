"""A second confirmation, bound to the person: what cannot be taken back easily is asked for twice.

A command that `confirms` is run twice. The first time `ask.confirmed` is None: it checks, says what would
happen, and returns `confirm.ask(...)` with the arguments that the second run is to have. The asker gets the
preview with two buttons, Confirm and Cancel (where there are no buttons: `/confirm CODE`; on the command line
`wellheard command TEXT --as NAME --yes`). The second time `ask.confirmed` is set and the command does it.

    @command("merge", roles=MANAGERS, confirms=True)
    def merge(ask: Ask) -> Reply:
        keep, drop = _meant(ask)                       # 1st: "Li Wei" and an address; 2nd: "17 23"
        if ask.confirmed is None:
            return confirm.ask(ask, _preview(keep, drop), f"{keep} {drop}")
        merges.merge(ask.turn.tx, keep, drop, ...)
        return Reply.of(...)

The arguments given to `confirm.ask` should be canonical (ids, not names: "Li Wei" may be two people in a
minute) and hold nothing personal where an id will do. `seen` may say what the preview counted; the second run
finds it in `ask.confirmed.seen` and, when the world has moved on, returns `confirm.ask(...)` again with a new
preview instead of doing it:

    count = segments.count(tx, query)
    if ask.confirmed is None or ask.confirmed.seen != str(count):
        return confirm.ask(ask, _preview(count), query, seen=str(count))

A confirmation is a row with a hashed code: valid five minutes, once, for the one who asked, on whichever
platform they are. Somebody else's press is refused and audited; so is everything about it ("asked",
"cancelled", "refused"). The role is checked again when it is confirmed. Commands that confirm cannot be
`reads`. A button elsewhere that begins one is `Button(..., action="command:merge 17 23")`.
"""

from __future__ import annotations

from typing import Any

from bot import commands
from bot.access import Member
from bot.commands import Ask, Confirmed, Performed
from bot.i18n import say
from bot.office import Turn
from channels.conversation import Inbound
from channels.rich import Button, Buttons, Reply, Text
from crm_store import confirmations


def ask(asked: Ask, preview: Reply, args: str, *, seen: str = "") -> Reply:
    """The preview with what confirms it, for the command that asks; it will be run again with `args`."""
    code = confirmations.put(asked.turn.tx, asked.turn.now, asked.member.id, asked.command, args, seen)
    asked.codes.append(code)
    minutes = int(confirmations.LIFE.total_seconds() // 60)
    blocks = preview.blocks
    inbound = asked.inbound
    if inbound is not None and asked.turn.office.can(inbound.address.channel).buttons:
        buttons = (
            Button(asked.say("confirm.yes"), action=f"confirm:{code}", style="danger"),
            Button(asked.say("confirm.no"), action=f"confirm:{code}:no"),
        )
        aside = Text(asked.say("confirm.for_you", minutes=minutes), small=True)
        return Reply((*blocks, Buttons(buttons), aside))
    return Reply((*blocks, Text(asked.say("confirm.by_code", code=code, minutes=minutes))))


def redeem(
    turn: Turn,
    member: Member,
    code: str,
    ticket: Any = None,
    *,
    inbound: Inbound | None = None,
    no: bool = False,
) -> Performed:
    """Do what was confirmed, or give it up. Needs a transaction that writes; the caller audits and answers."""
    lang = turn.language_of(member)
    taken = confirmations.take(turn.tx, turn.now, member.id, code)
    if taken.outcome != "ok":
        outcome = "refused" if taken.outcome == "somebody_else" else "failed"
        return Performed(
            Reply.of(say(f"confirm.{taken.outcome}", lang)), (("confirm", taken.command, outcome),)
        )
    if no:
        return Performed(Reply.of(say("confirm.cancelled", lang)), (("confirm", taken.command, "cancelled"),))
    text = f"/{taken.command} {taken.args}".strip()
    return commands.perform(turn, member, text, ticket, inbound=inbound, confirmed=Confirmed(taken.seen))


def pressed(turn: Turn, inbound: Inbound, member: Member, ticket: Any) -> None:
    """One of the two buttons was pressed."""
    _, _, rest = inbound.action.partition(":")
    code, _, no = rest.partition(":")
    done = redeem(turn, member, code, ticket, inbound=inbound, no=no == "no")
    commands.finish(turn, inbound, member, done)
