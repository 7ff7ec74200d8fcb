"""/audit: who read, changed, exported or erased what, when, and by which channel."""

from __future__ import annotations

import re
from typing import Any

from bot import access
from bot.commands import Ask, command
from bot.commands._whom import whom
from bot.commands.customer import look_for
from bot.i18n import UserError
from bot.roles import MANAGERS
from bot.service import card, merging, wording
from channels.rich import Button, Buttons, Heading, Reply, Table, Text, labelled
from crm_store import api_tokens, audit, deals, merges, people, scope, tickets

SHOWN = 20
FIELDS = 6  # that are named of one change
_BEFORE = re.compile(r"(.*?)\s+before\s+(\d{1,18})", re.DOTALL)
_NUMBER = re.compile(r"[#Dd]?(\d{1,9})")


@command("audit", roles=MANAGERS, reads=True)
def audit_(ask: Ask) -> Reply:
    what, _, rest = ask.args.partition(" ")
    paged = _BEFORE.fullmatch(rest.strip())
    named, before = (paged[1], int(paged[2])) if paged else (rest.strip(), None)
    page: dict[str, Any] = {"before": before, "limit": SHOWN + 1}
    tx = ask.turn.tx
    match what.lower():
        case "customer":
            contact_id = _contact(ask, named)
            ask.found_of.append(f"contact:{contact_id}")
            title, again = _called(ask, contact_id), f"customer C{contact_id}"
            rows = audit.of_contact(tx, merges.group(tx, contact_id), **page)
        case "staff" if named:
            person = _person(ask, named)
            title, again = person.name, f"staff #{person.id}"
            tokens = [f"token:{t.name}" for t in api_tokens.tokens(tx) if t.staff_id == person.id]
            rows = audit.of_actors(tx, [f"staff:{person.id}", *tokens], **page)
        case "ticket" | "deal" as kind:
            number = _number(ask, kind, named)
            title, again = ask.say(f"audit.of_{kind}", number=number), f"{kind} {number}"
            rows = audit.of_object(tx, f"{kind}:{number}", **page)
        case _:
            raise UserError("staff.usage", usage=ask.say("usage.audit"))
    if not rows:
        return Reply.of(ask.say("audit.nothing", what=title))
    names = {f"staff:{row.id}": row.name for row in people.everyone(tx)}
    columns = ("when", "who", "what", "object", "via")
    table = Table(
        tuple(ask.say(f"audit.header_{name}") for name in columns),
        tuple(_line(ask, row, names) for row in rows[:SHOWN]),
    )
    blocks: list[Any] = [Heading(ask.say("audit.title", what=title)), table]
    if len(rows) > SHOWN:
        older = f"audit {again} before {rows[SHOWN - 1].id}"
        blocks.append(Buttons((Button(ask.say("audit.older"), action=f"command:{older}"),)))
        blocks.append(Text(f"/{older}", small=True))
    return Reply(tuple(blocks))


def _line(ask: Ask, row: Any, names: dict[str, str]) -> tuple[str, ...]:
    """When, who, what, of what, by which channel."""
    key = f"audit.action_{row.action}"
    plain = row.action.removeprefix("api:").replace("_", " ")
    did = wording.known_or(key, ask.lang, wording.short(plain, 40))
    object = row.object
    if row.action == "command":
        did, object = f"/{row.object}" if row.object else ask.say("audit.action_command"), ""
    if fields := row.detail.get("fields"):
        named = [wording.short(wording.field(str(f), ask.lang), 40) for f in fields]
        did = labelled(did) + ", ".join(wording.some(named, FIELDS, ask.lang))
    if row.outcome != "ok":
        ended = wording.known_or(f"audit.outcome_{row.outcome}", ask.lang, row.outcome)
        did = ask.say("audit.ended", did=did, outcome=ended)
    via = str(row.detail.get("via") or ("api" if row.action.startswith("api:") else ""))
    return (
        card.local(ask.turn, row.at),
        names.get(row.actor) or wording.short(wording.actor(ask.turn, row.actor, ask.lang), 40),
        did,
        _object(ask, object, row.detail),
        wording.space(via, ask.lang) or "–",
    )


def _object(ask: Ask, object: str, detail: Any) -> str:
    kind, _, key = object.partition(":")
    if not _is_seen(ask, kind, key):
        return "–"
    if kind == "contact" and key.isdigit():
        name = card.called(ask.turn, int(key))
        return f"C{key} {wording.short(name, 24)}".strip()
    if kind in ("ticket", "deal"):
        return f"#{key}" if kind == "ticket" else f"D{key}"
    if not object and (several := detail.get("contacts")):
        keys = ("audit.several_one", "audit.several")
        return wording.counted(*keys, ask.lang, len(several))
    return wording.short(wording.known_or(f"export.{object}", ask.lang, key or object), 30)


def _is_seen(ask: Ask, kind: str, key: str) -> bool:
    """Whether what an entry names is of the asker's rows."""
    tx, whose = ask.turn.tx, access.scope_of(ask.turn, ask.member)
    if whose is None or kind not in ("contact", "ticket", "deal") or not key.isdigit():
        return True
    if kind == "contact":
        return scope.has_contact(tx, whose, merges.current(tx, int(key)))
    row = tickets.by_number(tx, int(key)) if kind == "ticket" else deals.by_number(tx, int(key))
    if row is None:
        return False
    return scope.has_ticket(tx, whose, row.id) if kind == "ticket" else scope.has_deal(tx, whose, row.id)


def _contact(ask: Ask, named: str) -> int:
    """By whatever somebody remembers: the audit of one who is named roughly would be of somebody else."""
    try:
        contact_id, rest = whom(ask, named, erased_too=True)
    except UserError as error:
        if error.key != "whom.needed" or not named:
            raise
        rest = named
    if not rest:
        return contact_id
    found = look_for(ask.turn, ask.member, named, limit=2)
    if len(found) == 1:
        return found[0]
    raise UserError("whom.several" if found else "profile.nobody", text=named[:60])


def _person(ask: Ask, named: str) -> Any:
    """Whoever works here or did."""
    if named.startswith("#") and named[1:].isdigit():
        row = people.get(ask.turn.tx, int(named[1:10]))
    else:
        row = people.by_name(ask.turn.tx, named.removeprefix("@"))
    if row is None:
        raise UserError("tickets.no_such_person", who=named[:40])
    return row


def _number(ask: Ask, kind: str, named: str) -> int:
    found = _NUMBER.fullmatch(named)
    if found is None and kind == "ticket" and ask.ticket is not None and not named:
        return int(ask.ticket.number)
    number = int(found[1]) if found else 0
    there = (
        tickets.by_number(ask.turn.tx, number) if kind == "ticket" else deals.by_number(ask.turn.tx, number)
    )
    if there is None or not _is_seen(ask, kind, str(number)):
        key = "staff.no_ticket" if kind == "ticket" else "deal.none_of_number"
        raise UserError(key, number=named[:20] or "?")
    return number


def _called(ask: Ask, contact_id: int) -> str:
    return merging.named(ask.turn, contact_id, ask.lang)
