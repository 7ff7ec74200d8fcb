"""/deal and /pipeline: what may be sold to whom, how far it is, and what that adds up to."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

from bot import access, i18n
from bot.commands import Ask, command
from bot.commands._whom import whom
from bot.commands.stats import begin
from bot.i18n import UserError, say
from bot.office import Turn
from bot.roles import SELLERS
from bot.service import card, wording
from channels.rich import Block, Button, Buttons, Fields, Heading, Reply, Table, Text
from crm_store import audit, deals, people, sales, scope
from crm_store.importing.values import Defaults, Wrong, money
from crm_store.money import symbols

_NUMBER = re.compile(r"[Dd#]?(\d{1,9})")
_PRODUCT = re.compile(r"(?:(\d{1,6})\s*[x×*]\s*)?(\S.*)", re.DOTALL)
_DAYS = re.compile(r"(\d{1,4})\s*(?:d|天|days?)")
LONGEST = 200  # characters of a title, a product's name or a reason
LARGEST = 10**15  # minor units; exact in every JSON reader


@command("deal", roles=SELLERS)
def deal(ask: Ask) -> Reply:
    verb, _, rest = ask.args.partition(" ")
    if not verb or verb.lower() == "list":
        return _listing(ask, rest.strip().lower() or "open")
    if verb.lower() == "new":
        return _new(ask, rest.strip())
    number = _NUMBER.fullmatch(verb)
    if number is None:
        raise UserError("staff.usage", usage=ask.say("usage.deal"))
    row = deals.by_number(ask.turn.tx, int(number[1]))
    if row is None or not scope.has_deal(ask.turn.tx, access.scope_of(ask.turn, ask.member), row.id):
        raise UserError("deal.none_of_number", number=number[1])
    return _on(ask, row, rest.strip())


@command("pipeline", roles=SELLERS, reads=True)
def pipeline(ask: Ask) -> Reply:
    which = ask.args.strip()
    owner = None
    if which.lower() == "mine":
        owner = people.get(ask.turn.tx, ask.member.id)
    elif which:
        owner = _person(ask, which)
    settings = ask.turn.office.config.deals
    desk = ask.turn.office.config.desk
    rows = deals.pipeline(
        ask.turn.tx,
        settings.stages,
        owner_id=owner.id if owner else None,
        scope=access.scope_of(ask.turn, ask.member),
        closed_since=begin("month", ask.turn.now, desk.timezone),
    )
    if not rows:
        return Reply.of(ask.say("deal.none"))
    columns = ("stage", "count", "sum", "weighted")
    table = Table(
        tuple(ask.say(f"deal.header_{name}") for name in columns),
        tuple(
            (
                _with_odds(ask.turn, r.stage, ask.lang),
                str(r.count),
                sales.money(r.amount_minor, r.currency),
                sales.money(r.weighted_minor, r.currency),
            )
            for r in rows
        ),
    )
    opened = [r for r in rows if r.stage not in deals.CLOSED]
    totals = []
    for currency in dict.fromkeys(r.currency for r in opened):
        mine = [r for r in opened if r.currency == currency]
        totals.append(
            ask.say(
                "deal.total",
                count=sum(r.count for r in mine),
                sum=sales.money(sum(r.amount_minor for r in mine), currency),
                weighted=sales.money(sum(r.weighted_minor for r in mine), currency),
            )
        )
    title = ask.say("deal.pipeline_of", name=owner.name) if owner else ask.say("deal.pipeline")
    return Reply.of(Heading(title), table, "\n".join(totals), Text(ask.say("deal.pipeline_hint"), small=True))


def shown(turn: Turn, row: Any, lang: str) -> Reply:
    """A deal's card with what can be done about it."""
    stages = list(turn.office.config.deals.stages)
    odds = turn.office.config.deals.stages.get(row.stage, 0)
    pairs = [
        (
            say("card.customer", lang),
            _customer(turn, row.contact_id, lang),
        ),
        (say("deal.header_stage", lang), _with_odds(turn, row.stage, lang)),
        (say("profile.amount", lang), sales.money(row.amount_minor, row.currency)),
    ]
    if row.stage not in deals.CLOSED:
        pairs.append(
            (say("deal.header_weighted", lang), sales.money(row.amount_minor * odds // 100, row.currency))
        )
    pairs.append((say("deal.owner", lang), row.owner or say("card.nobody", lang)))
    if row.expected_on:
        pairs.append((say("deal.expected", lang), row.expected_on.isoformat()))
    if row.lost_reason:
        pairs.append((say("deal.reason", lang), row.lost_reason))
    pairs.append((say("deal.since", lang), wording.day(turn, row.stage_at)))
    blocks: list[Block] = [Heading(f"D{row.number} {row.title}"), Fields(tuple(pairs))]
    if products := deals.products(turn.tx, row.id):
        header = tuple(say(f"deal.header_{name}", lang) for name in ("product", "quantity", "sum"))
        lines = tuple((p.name, str(p.quantity), sales.money(p.amount_minor, row.currency)) for p in products)
        blocks.append(Table(header, lines))
    blocks.append(Buttons(_buttons(row, stages, lang)))
    return Reply(tuple(blocks))


def _customer(turn: Turn, contact_id: int, lang: str) -> str:
    from bot.service import merging

    return merging.named(turn, contact_id, lang)


def _buttons(row: Any, stages: list[str], lang: str) -> tuple[Button, ...]:
    at = stages.index(row.stage) if row.stage in stages else -1
    if row.stage in deals.CLOSED:
        found = [Button(say("deal.reopen", lang), action=f"command:deal {row.number} stage 1")]
    else:
        found = [
            Button(wording.stage(stage, lang), action=f"command:deal {row.number} stage {place}")
            for place, stage in enumerate(stages[at + 1 : at + 3], at + 2)
        ]
        found += [
            Button(say("deal.stage_won", lang), action=f"command:deal {row.number} won", style="primary"),
            Button(say("deal.stage_lost", lang), action=f"deal:{row.number}:lose"),
        ]
    return (*found, Button(say("card.profile", lang), action=f"profile:{row.contact_id}"))


def _with_odds(turn: Turn, stage: str, lang: str) -> str:
    odds = turn.office.config.deals.stages.get(stage)
    word = wording.stage(stage, lang)
    return say("deal.with_odds", lang, stage=word, odds=odds) if odds is not None else word


def _listing(ask: Ask, which: str) -> Reply:
    if which not in ("open", "mine", "won", "lost", "all"):
        raise UserError("staff.usage", usage=ask.say("usage.deal"))
    rows = deals.listing(
        ask.turn.tx,
        stages=(which,) if which in deals.CLOSED else (),
        closed={"open": False, "mine": False, "all": None}.get(which, True),
        owner_id=ask.member.id if which == "mine" else None,
        scope=access.scope_of(ask.turn, ask.member),
    )
    if not rows:
        return Reply.of(ask.say("deal.none"))
    columns = ("number", "customer", "title", "stage", "sum", "owner", "expected")
    table = Table(
        tuple(ask.say(f"deal.header_{name}") for name in columns),
        tuple(
            (
                f"D{r.number}",
                card.shorten(r.contact_name or f"C{r.contact_id}", 24),
                card.shorten(r.title, 30),
                wording.stage(r.stage, ask.lang),
                sales.money(r.amount_minor, r.currency),
                r.owner or "–",
                r.expected_on.isoformat() if r.expected_on else "–",
            )
            for r in rows
        ),
    )
    return Reply.of(Heading(ask.say(f"deal.title_{which}")), table)


def _new(ask: Ask, args: str) -> Reply:
    contact_id, rest = whom(ask, args)
    amount, currency, title = _amount_first(ask, rest)
    if not title or len(title) > LONGEST:
        raise UserError("staff.usage", usage=ask.say("usage.deal"))
    turn = ask.turn
    row = deals.add(
        turn.tx,
        turn.now,
        ask.member.actor,
        contact_id=contact_id,
        title=title,
        stage=next(iter(turn.office.config.deals.stages)),
        amount_minor=amount,
        currency=currency,
        owner_id=ask.member.id,
        source="staff",
        via=turn.via,
    )
    return shown(turn, row, ask.lang)


def _on(ask: Ask, row: Any, words: str) -> Reply:
    turn, actor = ask.turn, ask.member.actor
    verb, _, rest = words.partition(" ")
    rest = rest.strip()
    changed: dict[str, Any]
    match verb.lower():
        case "":
            audit.record(turn.tx, turn.now, actor, "found", f"deal:{row.number}", via=turn.via)
            return shown(turn, row, ask.lang)
        case "stage" if rest:
            changed = {"stage": _stage(ask, rest)}
        case "won":
            changed = {"stage": deals.WON}
        case "lost" if rest:
            changed = {"stage": deals.LOST, "lost_reason": rest[:LONGEST]}
        case "amount" if rest:
            amount, currency, more = _amount_first(ask, rest)
            if more:
                raise UserError("deal.not_an_amount", text=rest[:40])
            if currency != row.currency and deals.products(turn.tx, row.id):
                raise UserError("deal.other_currency", currency=row.currency)
            changed = {"amount_minor": amount, "currency": currency}
        case "product" if rest:
            one = _product(ask, row, rest)
            return shown(turn, deals.add_product(turn.tx, turn.now, actor, row, one, via=turn.via), ask.lang)
        case "owner" if rest:
            changed = {"owner_id": _person(ask, rest).id}
        case "expected" if rest:
            changed = {"expected_on": _day(ask, rest)}
        case "title" if rest and len(rest) <= LONGEST:
            changed = {"title": rest}
        case _:
            raise UserError("staff.usage", usage=ask.say("usage.deal"))
    return shown(turn, deals.change(turn.tx, turn.now, actor, row, via=turn.via, **changed), ask.lang)


def _stage(ask: Ask, text: str) -> str:
    """A stage by its name, in either language, or by its place."""
    stages = list(ask.turn.office.config.deals.stages)
    if text.isascii() and text.isdigit() and 1 <= int(text[:3]) <= len(stages):
        return stages[int(text[:3]) - 1]
    known = {stage.casefold(): stage for stage in stages}
    for lang in i18n.languages():
        known |= {wording.stage(stage, lang).casefold(): stage for stage in stages}
    if text.casefold() not in known:
        raise UserError(
            "deal.no_such_stage", text=text[:40], stages=", ".join(wording.stage(s, ask.lang) for s in stages)
        )
    return known[text.casefold()]


def _amount_first(ask: Ask, text: str) -> tuple[int, str, str]:
    """(minor units, currency, the rest) of "1,200 EUR Sofa"; 0 of the desk's currency without an amount."""
    defaults = Defaults(currency=ask.turn.office.config.desk.currency.upper())
    words = text.split(" ")
    for count in (2, 1):
        some = [w for w in words[:count] if w]
        if len(some) < count or (
            count == 2 and not symbols(some[1].upper()) and not symbols(some[0].upper())
        ):
            continue
        try:
            amount, currency = money(" ".join(some), "", defaults)
        except Wrong:
            continue
        if not 0 <= amount <= LARGEST:
            raise UserError("deal.not_an_amount", text=" ".join(some)[:40])
        return amount, currency, " ".join(" ".join(words[count:]).split())
    return 0, defaults.currency, " ".join(text.split())


def _product(ask: Ask, row: Any, text: str) -> deals.Product:
    """ "2x Oak table 300 EUR": so many of that for so much, together."""
    found = _PRODUCT.fullmatch(text)
    words = found[2].split() if found else []
    for count in (2, 1):
        if len(words) <= count:
            continue
        amount, currency, more = _amount_first(ask, " ".join(words[-count:]))
        said = " ".join(words[-count:])
        if more or not re.search(r"\d", said):
            continue
        if currency != row.currency and any(symbols(w.upper().strip("0123456789.,'’")) for w in said.split()):
            raise UserError("deal.other_currency", currency=row.currency)
        quantity = int(found[1]) if found and found[1] else 1
        name = " ".join(words[:-count])
        if quantity and len(name) <= LONGEST:
            return deals.Product(name, quantity, amount)
    raise UserError("staff.usage", usage=ask.say("usage.deal"))


def _person(ask: Ask, name: str) -> Any:
    row = people.by_name(ask.turn.tx, name.removeprefix("@"))
    if row is None or row.disabled_at is not None:
        raise UserError("tickets.no_such_person", who=name[:40])
    return row


def _day(ask: Ask, text: str) -> date:
    if days := _DAYS.fullmatch(text.lower()):
        return (ask.turn.now + timedelta(days=int(days[1]))).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError("deal.not_a_day", text=text[:40]) from None
