"""/shelf: what could not be processed or delivered, for whoever can see to it."""

from __future__ import annotations

from urllib.parse import urlsplit

from bot.commands import Ask, command
from bot.roles import MANAGERS
from bot.service.card import shorten
from channels.rich import Heading, Reply, Table, Text
from crm_store import inbox, outbox, webhooks


@command("shelf", roles=MANAGERS, reads=True)
def shelf(ask: Ask) -> Reply:
    rows = [
        (
            f"in:{r.id}",
            ask.say("shelf.row_in"),
            r.channel,
            shorten(r.error.splitlines()[-1] if r.error else "", 80),
        )
        for r in inbox.shelved(ask.turn.tx, limit=20)
    ]
    rows += [
        (f"out:{r.id}", ask.say("shelf.row_out"), r.channel, shorten(r.error, 80))
        for r in outbox.dead(ask.turn.tx, limit=20)
    ]
    rows += [  # a URL may hold a secret: its host is enough here
        (
            f"hook:{r.id}",
            ask.say("shelf.row_hook"),
            urlsplit(r.url).hostname or r.url,
            shorten(f"{r.type}: {r.error}", 80),
        )
        for r in webhooks.dead(ask.turn.tx, limit=20)
    ]
    if not rows:
        return Reply.of(ask.say("shelf.empty"))
    return Reply.of(
        Heading(ask.say("shelf.title")),
        Table(("ID", "", "", ""), tuple(rows)),
        Text(ask.say("shelf.hint"), small=True),
    )
