"""/quality: how good the customers' data is, as a whole, by field and by where it came from."""

from __future__ import annotations

from bot.commands import Ask, command
from bot.roles import MANAGERS
from bot.service import wording
from bot.service.card import shorten
from channels.rich import Fields, Heading, Reply, Table, Text
from crm_store import quality as data
from crm_store.quality import Quality

SOURCES = 12


@command("quality", roles=MANAGERS, reads=True)
def quality(ask: Ask) -> Reply:
    whole, *sources = data.measure(ask.turn.tx, ask.turn.now)
    wanted = ask.args.casefold().strip()
    if wanted:
        chosen = [one for one in sources if wanted in one.source.casefold()]
        if not chosen:
            return Reply.of(ask.say("quality.no_source", source=shorten(ask.args, 60)))
        whole = Quality()
        for one in chosen:
            whole.add(one)
        sources = chosen
    if not whole.records:
        return Reply.of(ask.say("quality.nothing"))
    pairs = (
        (ask.say("quality.index"), shown(whole)),
        (ask.say("quality.records"), f"{whole.records:,}"),
        (ask.say("quality.anomalous"), f"{whole.anomalous:,}"),
    )
    blocks: list[Heading | Fields | Table | Text] = [Heading(ask.say("quality.title")), Fields(pairs)]
    header = (ask.say("quality.field"), *(ask.say(f"quality.{kind}") for kind in data.KINDS))
    rows = tuple(
        (
            ask.say(f"quality.field_{name or 'record'}"),
            *(f"{count:,}" if (count := parts.get(kind, 0)) else "·" for kind in data.KINDS),
        )
        for name in (*data.FIELDS, "")
        if (parts := whole.parts.get(name))
    )
    if rows:
        blocks.append(Table(header, rows))
    if len(sources) > 1:
        names = ("source", "short_index", "records", "anomalous")
        by_source = tuple(
            (
                shorten(_source(ask, one.source), 40),
                shown(one),
                f"{one.records:,}",
                f"{one.anomalous:,}",
            )
            for one in sources[:SOURCES]
        )
        blocks.append(Table(tuple(ask.say(f"quality.{name}") for name in names), by_source))
    blocks.append(Text(ask.say("quality.hint"), small=True))
    return Reply.of(*blocks)


def _source(ask: Ask, source: str) -> str:
    """Where customers came from, in words: a file, or a channel."""
    kind, _, name = source.partition(":")
    if kind == "import" and name:
        return ask.say("quality.file", name=name)
    return wording.space(source, ask.lang) if source else ask.say("quality.unknown")


def shown(one: Quality) -> str:
    """The index in figures: 12.5, or ∞ where nothing is anomalous."""
    return "∞" if one.index is None else f"{one.index:.1f}"
