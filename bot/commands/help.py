"""/help and /whoami: what somebody can do here, and as whom."""

from __future__ import annotations

from bot.commands import Ask, command, everything
from channels.rich import Heading, Reply, Text

TOGETHER = 10  # commands a paragraph: Slack folds long ones into a file, and nobody opens that


@command("help", reads=True)
def help_(ask: Ask) -> Reply:
    lines = [
        f"{ask.say(f'usage.{name}')} – {ask.say(f'command.{name}')}"
        for name, found in everything().items()
        if ask.turn.office.access.allows(ask.member.role, name, found.roles)
    ]
    parts = (Text("\n".join(lines[at : at + TOGETHER])) for at in range(0, len(lines), TOGETHER))
    return Reply.of(Heading(ask.say("help.title")), *parts, Text(ask.say("help.in_threads"), small=True))


@command("whoami", reads=True)
def whoami(ask: Ask) -> Reply:
    role = ask.turn.office.access.called(ask.member.role, ask.lang)
    return Reply.of(ask.say("whoami.text", name=ask.member.name, role=role))
