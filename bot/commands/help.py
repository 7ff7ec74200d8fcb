"""/help and /whoami: what somebody can do here, and as whom."""

from __future__ import annotations

from bot.commands import Ask, command, everything
from channels.rich import Heading, Reply, Table, Text


@command("help", reads=True)
def help_(ask: Ask) -> Reply:
    rows = tuple(
        (ask.say(f"usage.{name}"), ask.say(f"command.{name}"))
        for name, found in everything().items()
        if ask.turn.office.access.allows(ask.member.role, name, found.roles)
    )
    return Reply.of(
        Heading(ask.say("help.title")), Table(("", ""), rows), Text(ask.say("help.in_threads"), small=True)
    )


@command("whoami", reads=True)
def whoami(ask: Ask) -> Reply:
    return Reply.of(ask.say("whoami.text", name=ask.member.name, role=ask.say(f"role.{ask.member.role}")))
