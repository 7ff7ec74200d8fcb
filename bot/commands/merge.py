"""/merge and /unmerge: two customers are one person, or were not."""

from __future__ import annotations

import re

from bot import access, confirm
from bot.commands import Ask, command
from bot.commands.customer import look_for
from bot.i18n import UserError
from bot.roles import MANAGERS
from bot.service import merging, suggesting
from channels.rich import Button, Buttons, Heading, Reply, Table, Text
from crm_store import contacts, merges
from crm_store.merges import Refused

_BETWEEN = re.compile(r"\s+(?:\+|->|→|←|<-|and|with|into|und|和|与|到)\s+|\s*[|;；,，]\s*", re.IGNORECASE)
_ID = re.compile(r"[#Cc]?(\d{1,9})")
_TWO_IDS = re.compile(rf"{_ID.pattern}\s+{_ID.pattern}")
_QUOTED = re.compile(r'^\s*["“](.+?)["”]\s+(.+)$|^\s*(\S+)\s+["“](.+?)["”]\s*$')
RECENT = 10


@command("merge", roles=MANAGERS, confirms=True)
def merge(ask: Ask) -> Reply:
    """The first is kept; who is meant is asked back where several fit. Alone it shows what is suggested."""
    if not ask.args:
        suggested = suggesting.listed(ask.turn, ask.member, ask.lang)
        return (
            Reply.of(ask.say("suggest.none"), ask.say("usage.merge"))
            if not suggested
            else Reply(tuple(suggested))
        )
    found = _both(ask)
    if isinstance(found, Reply):
        return found
    keep, drop = found
    try:
        if ask.confirmed is None:
            plan = merges.plan(ask.turn.tx, keep, drop)
            return confirm.ask(ask, merging.preview(ask.turn, ask.lang, plan), f"{keep} {drop}")
        number = merging.merge(ask.turn, ask.member, keep, drop)
    except Refused as error:
        raise merging.refused(ask.turn, error, ask.lang) from error
    done = ask.say("merge.done", keep=merging.named(ask.turn, keep, ask.lang), drop=f"C{drop}", number=number)
    undo = Button(ask.say("merge.undo"), action=f"command:unmerge {number}")
    return Reply.of(done, Buttons((undo,)))


@command("unmerge", roles=MANAGERS, confirms=True)
def unmerge(ask: Ask) -> Reply:
    if not ask.args:
        return _recent(ask)
    number = ask.args.lstrip("#").strip()
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise UserError("staff.usage", usage=ask.say("usage.unmerge"))
    turn, lang = ask.turn, ask.lang
    try:
        row = merges.undoable(turn.tx, int(number))
        access.seen_contact(turn, ask.member, row.keep_id)
        if ask.confirmed is None:
            text = ask.say(
                "merge.undo_preview",
                keep=merging.named(turn, row.keep_id, lang),
                drop=merging.named(turn, row.drop_id, lang),
            )
            rule = Text(ask.say("merge.undo_rule"), small=True)
            return confirm.ask(ask, Reply.of(text, rule), number)
        keep, back = merging.undo(turn, ask.member, int(number))
    except Refused as error:
        if error.reason == "unknown":
            raise UserError("merge.no_such", number=number) from error
        raise merging.refused(turn, error, lang) from error
    both = {"keep": merging.named(turn, keep, lang), "drop": merging.named(turn, back, lang)}
    return Reply.of(ask.say("merge.undone_done", **both))


def _recent(ask: Ask) -> Reply:
    rows = [
        merging.row_of(ask.turn, one, ask.lang)
        for one in merges.recent(ask.turn.tx, limit=RECENT)
        if access.sees_contact(ask.turn, ask.member, one.keep_id)
    ]
    if not rows:
        return Reply.of(ask.say("merge.none"))
    return Reply.of(
        Heading(ask.say("merge.recent")),
        Table(("", "", "", ""), tuple(rows)),
        Text(ask.say("usage.unmerge"), small=True),
    )


def _both(ask: Ask) -> tuple[int, int] | Reply:
    """Whom to keep and whom to merge into them; buttons when several fit. Raise UserError."""
    if two := _TWO_IDS.fullmatch(ask.args.strip()):
        ids = [merges.current(ask.turn.tx, int(one)) for one in two.groups()]
        if all(contacts.get(ask.turn.tx, one) is not None for one in ids):
            for one in ids:
                access.seen_contact(ask.turn, ask.member, one)
            return ids[0], ids[1]
    if quoted := _QUOTED.match(ask.args):
        first, second = [part for part in quoted.groups() if part is not None]
        return _chosen(ask, first, second)
    parts = [part for part in _BETWEEN.split(ask.args.strip()) if part]
    if len(parts) == 2:
        return _chosen(ask, parts[0], parts[1])
    words = ask.args.split()
    if len(words) == 2:
        return _chosen(ask, words[0], words[1])
    if ask.ticket is not None and words:
        return _chosen(ask, str(ask.ticket.contact_id), ask.args)
    fits = set()
    for at in range(1, min(len(words), 6)):
        left, right = (look_for(ask.turn, ask.member, " ".join(w)) for w in (words[:at], words[at:]))
        if len(left) == len(right) == 1:
            fits.add((left[0], right[0]))
    if len(fits) == 1:
        return fits.pop()
    raise UserError("staff.usage", usage=ask.say("usage.merge"))


def _chosen(ask: Ask, first: str, second: str) -> tuple[int, int] | Reply:
    both = [_meant(ask, text) for text in (first, second)]
    for found, text in zip(both, (first, second), strict=True):
        if not found:
            raise UserError("profile.nobody", text=text)
    keeps, drops = both
    if len(keeps) == 1:  # who is named already is not the other one
        drops = [one for one in drops if one != keeps[0]] or drops
    if len(drops) == 1:
        keeps = [one for one in keeps if one != drops[0]] or keeps
    if len(keeps) == len(drops) == 1:
        return keeps[0], drops[0]
    text, several = (first, keeps) if len(keeps) > 1 else (second, drops)
    if len(keeps) > 1 and len(drops) > 1:
        raise UserError("merge.both_unclear", first=first, second=second)
    pairs = [(one, drops[0]) if several is keeps else (keeps[0], one) for one in several]
    buttons = tuple(
        Button(merging.described(ask.turn, one, ask.lang), action=f"command:merge {keep} {drop}")
        for one, (keep, drop) in zip(several, pairs, strict=True)
    )
    ask.found_of.extend(f"contact:{one}" for one in several)
    return Reply.of(ask.say("profile.several", text=text), Buttons(buttons))


def _meant(ask: Ask, text: str) -> list[int]:
    """Whom a number, an address or a name means; a number is an id first."""
    if number := _ID.fullmatch(text.strip()):
        now = merges.current(ask.turn.tx, int(number[1]))
        if contacts.get(ask.turn.tx, now) is not None:
            return [access.seen_contact(ask.turn, ask.member, now)]
    return look_for(ask.turn, ask.member, text)
