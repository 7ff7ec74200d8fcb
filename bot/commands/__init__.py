"""Staff commands: one file an ability; being there is being registered.

A command is a function with a record: its name, who may use it and whether it writes. The record feeds
/help, the platforms' command lists, the Slack manifest and docs/commands.md. What the person may do is
checked here, in one place, and every use is audited.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError

from bot import access, i18n, lookups, posting, registry
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from bot.registry import Command as Command
from bot.registry import everything as everything
from bot.roles import EVERYONE
from channels.conversation import Inbound, Kind
from channels.rich import Reply
from crm_store import audit
from crm_store.db import Conflict, savepoint

log = structlog.get_logger()
_SPELLING = re.compile(r"^\s*[/!！／]([A-Za-z][\w-]*)(?:\s+(.*))?$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The person has confirmed (bot/confirm.py); `seen` is what the preview was given."""

    seen: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """A command as it was asked: by whom, with which words, in which ticket's thread."""

    turn: Turn
    member: Member
    args: str
    lang: str
    ticket: Any = None  # the ticket whose thread it was asked in
    inbound: Inbound | None = None
    read_of: list[str] = field(default_factory=list)  # whose card was shown: "contact:5", for the audit log
    found_of: list[str] = field(default_factory=list)  # what else was shown: "contact:5", "ticket:12"
    command: str = ""  # its name
    confirmed: Confirmed | None = None  # set when this is the second time: see bot/confirm.py
    codes: list[str] = field(default_factory=list)  # by which it can be confirmed, when that was asked for
    audits: list[tuple[str, str, str]] = field(default_factory=list)  # more for the audit log

    def say(self, key: str, **values: object) -> str:
        return say(key, self.lang, **values)


Run = Callable[[Ask], Reply]


def command(
    name: str, *, roles: frozenset[str] = EVERYONE, reads: bool = False, confirms: bool = False
) -> Callable[[Run], Run]:
    """Register a command. Its description and usage are words: `command.NAME` and `usage.NAME`. `reads` ones run in
    a snapshot and never hold the writer; `confirms` ones ask for a second confirmation before they do anything."""
    if reads and confirms:
        raise ValueError(f"/{name}: what is to be confirmed is written down")

    def register(run: Run) -> Run:
        registry.add(Command(name, roles, run, reads, confirms))
        return run

    return register


def descriptions() -> dict[str, dict[str, str]]:
    """What the platforms' command lists show: language → name → description."""
    return {lang: {name: say(f"command.{name}", lang) for name in everything()} for lang in i18n.languages()}


def shortcuts(language: str) -> list[tuple[str, str, str]]:
    """What can be chosen on a message: (id, name, description)."""

    def said(key: str) -> str:
        return say(key, language)

    return [
        ("send_to_customer", said("shortcut.send_to_customer"), said("shortcut.send_to_customer_does")),
        ("open_ticket", said("shortcut.open_ticket"), said("shortcut.open_ticket_does")),
    ]


def parse(text: str) -> tuple[str, str] | None:
    """("customer", "Li Wei") for "/customer Li Wei" or "!customer Li Wei"; None for anything else."""
    match = _SPELLING.match(text)
    return (match.group(1).lower(), (match.group(2) or "").strip()) if match else None


def is_one(inbound: Inbound) -> bool:
    """Whether a message is a command, of those there are or mistyped."""
    return inbound.kind in (Kind.MESSAGE, Kind.COMMAND) and parse(inbound.text) is not None


def is_read(text: str) -> bool:
    """Whether a command only reads, so that it needs no turn on the writer."""
    parsed = parse(text)
    found = everything().get(parsed[0]) if parsed else None
    return found is not None and found.reads


@dataclass(frozen=True, slots=True)
class Performed:
    """What a command answered, and what the audit log is to say about it: (action, object, outcome)."""

    reply: Reply
    audits: tuple[tuple[str, str, str], ...] = ()
    code: str = ""  # nothing is done yet: by this it can be confirmed


def run(turn: Turn, inbound: Inbound, member: Member, ticket: Any = None, text: str = "") -> None:
    """Run a command that arrived and answer where it was asked."""
    finish(turn, inbound, member, perform(turn, member, text or inbound.text, ticket, inbound=inbound))


def finish(turn: Turn, inbound: Inbound, member: Member, done: Performed) -> None:
    """Audit a command and send its answer: openly where only staff read along, else to the asker alone."""
    audited(turn, member, done)
    address = inbound.address
    among_staff = (
        turn.office.is_staff_room(address.channel, address.room_id)
        and bool(address.thread_id)
        and inbound.kind is Kind.MESSAGE
    )
    alone = inbound.private or among_staff
    posting.answer(turn, address, done.reply, private_to="" if alone else inbound.author.user_id)


def audited(turn: Turn, member: Member, done: Performed) -> None:
    for action, object, outcome in done.audits:
        audit.record(turn.tx, turn.now, member.actor, action, object, outcome, via=turn.via)
        if action == lookups.REFUSED:
            lookups.alarm(turn, member)


def perform(
    turn: Turn,
    member: Member,
    text: str,
    ticket: Any = None,
    *,
    inbound: Inbound | None = None,
    confirmed: Confirmed | None = None,
) -> Performed:
    """Run the text of a command as a person; refusals and mistakes are answers too."""
    parsed = parse(text) or parse(f"/{text.strip()}")
    lang = turn.language_of(member)
    if parsed is None:
        reply = Reply.of(say("staff.unknown_command_bare", lang, name=text.strip(" \t/!！／")[:40]))
        return Performed(reply, (("command", "", "unknown"),))
    name, args = parsed
    found = everything().get(name)
    if found is None:
        allowed = [
            n for n, one in everything().items() if turn.office.access.allows(member.role, n, one.roles)
        ]
        return Performed(Reply.of(_unknown(name, lang, allowed)), (("command", name[:40], "unknown"),))
    if not turn.office.access.allows(member.role, name, found.roles):
        role = turn.office.access.called(member.role, lang)
        refusal = Reply.of(say("staff.refused", lang, role=role, name=name))
        return Performed(refusal, (("command", name, "refused"),))
    ask = Ask(turn, member, args, lang, ticket, inbound, command=name, confirmed=confirmed)
    try:
        with savepoint(turn.tx):
            reply = found.run(ask)
            if found.reads:
                lookups.check_listed(turn, member, ask.found_of)
    except UserError as error:
        more = ((lookups.REFUSED, "", "refused"),) if isinstance(error, lookups.TooMany) else ()
        answer = access.shown(turn, member, Reply.of(say(error.key, lang, **error.values)))
        return Performed(answer, (("command", name, "failed"), *more))
    except (DBAPIError, Conflict):  # the store's business: it repeats the transaction
        raise
    except Exception:
        log.exception("command_failed", command=name, staff=member.id)
        return Performed(Reply.of(say("staff.failed", lang)), (("command", name, "error"),))
    shown = tuple(
        (action, object, "ok")
        for action, objects in (("profile", ask.read_of), ("found", ask.found_of))
        for object in dict.fromkeys(objects)
    )
    outcome = "asked" if ask.codes else "ok"
    code = ask.codes[-1] if ask.codes else ""
    reply = access.shown(turn, member, reply)
    return Performed(reply, (("command", name, outcome), *ask.audits, *shown), code)


def _unknown(name: str, lang: str, allowed: Collection[str]) -> str:
    from rapidfuzz import process  # 60 ms of import, for a typing mistake only

    best = process.extractOne(name, [n for n in everything() if n in allowed], score_cutoff=60)
    if best is None:
        return say("staff.unknown_command_bare", lang, name=name)
    return say("staff.unknown_command", lang, name=name, nearest=best[0])
