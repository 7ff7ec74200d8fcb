"""Merging customers: what a merge would do in words, and what staff see of one that was done."""

from __future__ import annotations

from typing import Any

from bot import access, posting
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from bot.service import card, wording
from channels.rich import Block, Fields, Heading, Reply, Text, labelled
from crm_store import contacts, merges, people, shared_addresses, tickets
from crm_store.merges import Plan, Refused

SHOWN = 8  # values that are named one by one


def named(turn: Turn, contact_id: int, lang: str) -> str:
    """Li Wei (C17)"""
    name = wording.short(card.called(turn, contact_id), 80) or say("card.unnamed", lang)
    return f"{name} (C{contact_id})"


def described(turn: Turn, contact_id: int, lang: str) -> str:
    """Li Wei (C17) · li@example.com"""
    detail = wording.detail(turn, contact_id, lang)
    return " · ".join(part for part in (named(turn, contact_id, lang), detail) if part)


def refused(turn: Turn, error: Refused, lang: str) -> UserError:
    """Why it cannot be, for whoever asked."""
    match error.reason:
        case "merged":
            now = merges.current(turn.tx, error.other)
            return UserError("merge.is_merged", who=f"C{error.other}", now=named(turn, now, lang))
        case "inside":
            return UserError("merge.inside", other=error.other)
        case "unknown" if error.other:
            return UserError("profile.nobody", text=str(error.other))
        case reason:
            return UserError(f"merge.{reason}")


def preview(turn: Turn, lang: str, plan: Plan) -> Reply:
    """What goes where, and which values win."""
    keep, drop = plan.keep.id, plan.drop.id
    pairs = [
        (say("merge.keep", lang), named(turn, keep, lang)),
        (say("merge.drop", lang), named(turn, drop, lang)),
        (say("merge.goes", lang), _goes(plan, lang) or say("profile.none", lang)),
    ]
    accounts = [wording.account(i, lang) for i in contacts.identities(turn.tx, drop)]
    if accounts:
        shown = wording.some([wording.short(one, 80) for one in accounts], SHOWN, lang)
        pairs.append((say("merge.accounts", lang), "\n".join(shown)))
    given = [labelled(column(name, lang)) + _value(turn, name, value, lang) for name, value in plan.given]
    if plan.tags:
        tags = wording.some([wording.short(tag, 40) for tag in plan.tags], SHOWN, lang)
        given.append(labelled(say("profile.tags", lang)) + ", ".join(tags))
    own = [
        labelled(wording.short(key, 40)) + wording.short(str(plan.drop.fields[key]), 80)
        for key in plan.fields
    ]
    given += wording.some(own, SHOWN, lang)
    if given:
        pairs.append((say("merge.given", lang), "\n".join(given)))
    if plan.outvoted:
        lines = []
        for name, *both in plan.outvoted:
            mine, theirs = (_value(turn, name, one, lang) for one in both)
            lines.append(say("merge.wins", lang, field=column(name, lang), mine=mine, theirs=theirs))
        pairs.append((say("merge.outvoted", lang), "\n".join(lines)))
    blocks: list[Block] = [Heading(say("merge.title", lang)), Fields(tuple(pairs))]
    shared = [
        i.user_id
        for who in (keep, drop)
        for i in contacts.identities(turn.tx, who)
        if i.space == "email" and shared_addresses.is_shared(i.user_id)
    ]
    if shared:
        blocks.append(Text(say("merge.shared", lang, address=", ".join(wording.some(shared, SHOWN, lang)))))
    blocks.append(Text(say("merge.frozen", lang), small=True))
    return Reply(tuple(blocks))


def merge(turn: Turn, member: Member, keep: int, drop: int) -> int:
    """Merge two customers, tell the threads of the tickets that went over, and return the merge's number.
    Raise Refused."""
    before = card.called(turn, drop)
    went = tickets.listing(turn.tx, contact_id=drop)
    number = merges.merge(turn.tx, turn.now, keep, drop, actor=member.actor)
    lang = turn.office.staff_language
    text = say(
        "merge.in_thread",
        lang,
        name=member.name,
        drop=before or say("card.unnamed", lang),
        keep=named(turn, keep, lang),
        number=number,
    )
    _tell(turn, went, text)
    return number


def undo(turn: Turn, member: Member, number: int) -> tuple[int, int]:
    """Make two of them again; return who stayed and who came back. Raise Refused."""
    row = merges.undoable(turn.tx, number)
    back = merges.undo(turn.tx, turn.now, number, actor=member.actor)
    lang = turn.office.staff_language
    text = say("merge.undone_in_thread", lang, name=member.name, drop=named(turn, back, lang), number=number)
    _tell(turn, tickets.listing(turn.tx, contact_id=back), text)
    return int(row.keep_id), back


def row_of(turn: Turn, one: Any, lang: str) -> tuple[str, str, str, str]:
    """A merge as a row of a list."""
    kind, _, number = one.actor.partition(":")
    who = people.get(turn.tx, int(number)) if kind == "staff" and number.isdigit() else None
    return (
        str(one.id),
        f"{named(turn, one.drop_id, lang)} → {named(turn, one.keep_id, lang)}",
        card.local(turn, one.at),
        who.name if who is not None else say("merge.by_itself", lang),
    )


def column(name: str, lang: str) -> str:
    return say(f"merge.column_{name}", lang)


def _tell(turn: Turn, rows: list[Any], text: str) -> None:
    for row in rows:
        ticket = tickets.get(turn.tx, row.id)
        posting.card(turn, ticket, card.build(turn, ticket))
        posting.to_threads(turn, ticket, access.shown_to_all(turn, Reply.of(Text(text, small=True))))


def _goes(plan: Plan, lang: str) -> str:
    counts = {**plan.counts, "message": plan.messages}
    return "\n".join(labelled(say(f"merge.rows_{name}", lang)) + f"{n:,}" for name, n in counts.items() if n)


def _value(turn: Turn, name: str, value: Any, lang: str) -> str:
    if name == "owner_id" and isinstance(value, int):
        row = people.get(turn.tx, value)
        return row.name if row is not None else str(value)
    if name == "language":
        return wording.language(str(value), lang)
    return wording.short(str(value), 80)
