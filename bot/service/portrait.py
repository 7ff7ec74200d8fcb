"""A customer's card: who they are, what they are worth, what is open, what was said, what is next; and what can be
done from here. What somebody may not do, or may not see, is not on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot.access import Member, scope_of
from bot.i18n import say
from bot.office import Turn
from bot.service import beginning, card, suggesting, wording
from channels.rich import Block, Button, Buttons, Fields, Heading, Reply, Table, Text, labelled, to_text
from crm_store import consent, contacts, conversations, deals, merges, notes, people, sales, tickets
from crm_store import profile as profiles

ROOM = 3600  # characters with the buttons' labels: one message everywhere, and no file on Slack
ORDERS = 5
OPEN = 5  # tickets and deals that are listed one by one
TALKS = 3
EVENTS = 3
NOTES = 3
FIELDS = 12  # custom fields that are shown
ACCOUNTS = 8
CURRENCIES = 4
TAGS = 20
FORMER = 8  # contacts that were merged into this one
CONSENTS = 8
LONG_NAME, LONG_TAG = 80, 40  # characters; a card is read at a glance and is one message
LONG_ID = 24  # characters: a random id says nothing to anybody
GREAT = 0.7  # recency: bought within about three months
FAINT = 0.2  # … more than a year ago


class Portrait:
    """A card being drawn, for one who reads it."""

    def __init__(self, turn: Turn, member: Member, row: Any) -> None:
        self._turn, self._tx = turn, turn.tx
        self._member, self._row = member, row
        self._lang = turn.language_of(member)
        self._share = 1.0  # of what is shown of each thing
        scope = scope_of(turn, member)
        self._open = tickets.listing(self._tx, contact_id=row.id, scope=scope)
        self._deals = (
            deals.listing(self._tx, contact_id=row.id, closed=False, scope=scope) if self._may("deal") else []
        )

    def draw(self) -> Reply:
        """The whole card; where somebody has too much of everything, less of each, until it is one message."""
        for self._share in (1.0, 0.6, 0.35, 0.2):
            found = self._drawn()
            if len(to_text(found)) <= ROOM:
                break
        return found

    def _drawn(self) -> Reply:
        name = card.called(self._turn, self._row.id) or self._say("card.unnamed")
        title = self._say("profile.title", name=self._short(name, LONG_NAME), id=self._row.id)
        blocks: list[Block] = [Heading(title)]
        if about := self._about():
            blocks.append(Text(about, small=True))
        blocks.append(Fields(tuple((self._say(f"profile.{key}"), value) for key, value in self._pairs())))
        if orders := sales.orders_of(self._tx, self._row.id, limit=ORDERS):
            columns = tuple(self._say(f"profile.{name}") for name in ("order", "date", "status", "amount"))
            blocks.append(
                Table(columns, tuple(order_line(self._turn, o, self._lang, self._short) for o in orders))
            )
        if talks := self._talks():
            blocks += [Text(self._say("profile.talks"), small=True), Text("\n".join(talks))]
        if self._may("notes") and (noted := notes.of_contact(self._tx, self._row.id, limit=NOTES)):
            blocks.append(Text(self._say("profile.notes"), small=True))
            said = (
                self._say(
                    "profile.noted",
                    who=n.author,
                    ago=self._ago(n.created_at),
                    text=self._short(n.text, 200),
                )
                for n in noted
            )
            blocks.append(Text("\n".join(said), quote=True))
        blocks += suggesting.blocks(self._turn, self._member, self._row.id, self._short)
        blocks.append(Buttons(self._buttons()))
        return Reply(tuple(blocks))

    def _say(self, key: str, **values: object) -> str:
        return say(key, self._lang, **values)

    def _may(self, what: str) -> bool:
        return self._turn.office.access.may(self._member, what)

    def _ago(self, at: datetime | None) -> str:
        return wording.ago(self._turn, at, self._lang)

    def _some(self, parts: list[str], most: int) -> list[str]:
        return wording.some(parts, max(2, round(most * self._share)), self._lang)

    def _short(self, text: str, limit: int) -> str:
        return wording.short(text, max(12, round(limit * self._share)))

    def _about(self) -> str:
        """One line: company, place, language, and what time it is there."""
        row = self._row
        place = ", ".join(self._short(p, 60) for p in (row.city, row.country) if p)
        spoken = wording.language(row.language, self._lang) if row.language else ""
        parts = [self._short(row.company, LONG_NAME), place, spoken]
        if row.timezone:
            try:
                there = self._turn.now.astimezone(ZoneInfo(row.timezone))
            except (KeyError, ValueError, OSError):
                parts.append(row.timezone)
            else:
                parts.append(self._say("profile.their_time", time=there.strftime("%H:%M"), zone=row.timezone))
        return " · ".join(p for p in parts if p)

    def _pairs(self) -> list[tuple[str, str]]:
        tx, row = self._tx, self._row
        contacted = profiles.contacted(tx, row.id)
        owner = people.get(tx, row.owner_id) if row.owner_id else None
        pairs = [
            ("identities", self._identities()),
            ("worth", self._worth()),
            ("orders", self._orders()),
            ("next", self._next()),
            ("open_tickets", self._tickets()),
        ]
        if self._deals:
            pairs.append(("deals", self._open_deals()))
        pairs.append(("events", self._events()))
        pairs += [("last_contact", self._ago(contacted.last_at)), ("rating", self._rating(contacted))]
        former = [f"C{number}" for number in merges.inside(tx, row.id)]
        pairs.append(("also", ", ".join(self._some(former, FORMER))))
        pairs.append(("owner", owner.name if owner is not None else ""))
        tags = [f"#{self._short(tag, LONG_TAG)}" for tag in row.tags]
        pairs.append(("tags", " ".join(self._some(tags, TAGS))))
        pairs.append(("consent", self._consent()))
        pairs.append(("fields", self._fields()))
        return [(key, value) for key, value in pairs if value]

    def _identities(self) -> str:
        parts = []
        known = contacts.identities(self._tx, self._row.id)
        for i in sorted(known, key=lambda i: (i.verified_at is None, i.gone_at is not None)):
            name = self._short(i.user_id, LONG_NAME)
            if i.handle:
                handle = self._short(i.handle.lstrip("@"), LONG_NAME)
                name = handle if len(i.user_id) > LONG_ID else f"@{handle} ({name})"
            state = self._say("profile.unverified")
            if i.verified_at:
                plain = self._say("profile.verified")
                state = wording.known_or(f"profile.how_{i.verified_how}", self._lang, plain)
            if i.gone_at:
                state = self._say("profile.unreachable_too", state=state)
            account = f"{wording.space(i.space, self._lang)} {name}"
            sign = "✓" if i.verified_at else "○"
            parts.append(self._say("profile.identity", sign=sign, account=account, state=state))
        return "\n".join(self._some(parts, ACCOUNTS))

    def _worth(self) -> str:
        lines = []
        for one in profiles.worth(self._tx, self._row.id, self._turn.now):
            stars = "★★★" if one.recency >= GREAT else "★★☆" if one.recency >= FAINT else "★☆☆"
            lines.append(
                self._say(
                    "profile.worth_value",
                    value=sales.money(one.value_minor, one.currency),
                    stars=stars,
                    recency=f"{one.recency:.2f}",
                    number=one.number,
                    price=sales.money(one.price_minor, one.currency),
                    ago=self._ago(one.last_at),
                )
            )
        return "\n".join(self._some(lines, CURRENCIES))

    def _orders(self) -> str:
        sold = sales.summary(self._tx, self._row.id)
        if not sold.count:
            return self._say("profile.no_orders")
        paid = [sales.money(v.amount_minor, v.currency) for v in sold.values]
        value = ", ".join(self._some(paid, CURRENCIES)) or "0"
        keys = ("profile.orders_value_one", "profile.orders_value")
        return wording.counted(*keys, self._lang, sold.count, value=value)

    def _next(self) -> str:
        due = profiles.next_due(self._tx, self._row.id)
        if due is None or (due.kind == "deal" and not self._may("deal")):
            return ""
        if due.kind == "ticket" and isinstance(due.at, datetime):
            waited = wording.moment(self._turn, due.at, self._lang)
            return "❗ " + self._say("profile.next_ticket", number=due.number, ago=waited)
        at = card.local(self._turn, due.at) if isinstance(due.at, datetime) else due.at.isoformat()
        return self._say(f"profile.next_{due.kind}", number=due.number, at=at)

    def _tickets(self) -> str:
        lines = [
            self._say(
                "profile.open_ticket",
                number=t.number,
                subject=self._short(t.subject, 60),
                state=self._say(f"status.{t.status}") + (f", {t.assignee}" if t.assignee else ""),
            )
            for t in self._open
        ]
        return "\n".join(self._some(lines, OPEN)) or self._say("profile.none")

    def _open_deals(self) -> str:
        return "\n".join(self._some([wording.deal(row, self._lang) for row in self._deals], OPEN))

    def _events(self) -> str:
        lines = []
        for one in profiles.events(self._tx, self._row.id, limit=EVENTS):
            what = wording.known_or(f"happened.{one.kind}", self._lang, one.kind.replace("_", " "))
            parts = [self._ago(one.at), self._short(what, 40), self._short(one.subject, 60)]
            lines.append(" · ".join(p for p in parts if p))
        return "\n".join(lines)

    def _rating(self, contacted: profiles.Contacted) -> str:
        if contacted.rating is None:
            return ""
        return "★ " + self._say(
            "profile.rating_value", mean=f"{contacted.rating:.1f}", count=contacted.ratings
        )

    def _consent(self) -> str:
        parts = []
        for one in consent.current(self._tx, self._row.id).values():
            sign = "✓" if one.state == consent.GRANTED else "✗"
            purpose = f"{sign} {wording.purpose(one.purpose, self._lang)}"
            parts.append(
                self._say("profile.consented", purpose=purpose, date=wording.day(self._turn, one.at))
            )
        return "\n".join(self._some(parts, CONSENTS))

    def _fields(self) -> str:
        lines = [
            labelled(self._short(name, LONG_TAG)) + self._short(str(value), 100)
            for name, value in self._row.fields.items()
        ]
        return "\n".join(self._some(lines, FIELDS))

    def _talks(self) -> list[str]:
        lines = []
        for talk in profiles.talks(self._tx, self._row.id, limit=TALKS):
            outcome = outcome_word(talk.outcome, self._lang)
            parts = [
                self._ago(talk.at),
                wording.space(talk.channel, self._lang),
                self._short(talk.subject, 60),
            ]
            parts.append(f"#{talk.ticket} {outcome}" if talk.ticket else outcome)
            parts.append(f"{talk.rating} ★" if talk.rating else "")
            lines.append(" · ".join(p for p in parts if p))
        return lines

    def _can_be_written_to(self) -> bool:
        written = conversations.latest_of(self._tx, self._row.id) is not None
        return written or beginning.by(self._turn, self._row.id) is not None

    def _buttons(self) -> tuple[Button, ...]:
        contact_id = self._row.id
        found: list[Button] = []
        newest = self._open[0] if self._open else None
        if newest is not None and self._may("ticket"):
            label = self._say("profile.open", number=newest.number)
            found.append(Button(label, action=f"command:ticket {newest.number}"))
        if self._may("reply") and (newest is not None or self._can_be_written_to()):
            action = (
                f"ticket:{newest.number}:reply" if newest is not None else f"profile:{contact_id}:message"
            )
            found.append(Button(self._say("profile.message"), action=action, style="primary"))
        if self._may("orders") and sales.summary(self._tx, contact_id).count > ORDERS:
            found.append(Button(self._say("orders.all"), action=f"command:orders C{contact_id}"))
        if self._may("history"):
            found.append(Button(self._say("profile.history"), action=f"command:history C{contact_id}"))
        opens = any(self._turn.office.can(side).forms for side in self._turn.office.sides)
        if opens and self._may("set"):
            found.append(Button(self._say("profile.edit"), action=f"profile:{contact_id}:edit"))
        if self._may("note"):
            found.append(Button(self._say("card.note"), action=f"profile:{contact_id}:note"))
        if self._may("merge"):
            found.append(Button(self._say("profile.merge"), action=f"profile:{contact_id}:merge"))
        if self._may("audit"):
            found.append(Button(self._say("profile.audit"), action=f"command:audit customer C{contact_id}"))
        if self._may("erase"):
            erase = f"command:erase C{contact_id}"
            found.append(Button(self._say("profile.erase"), action=erase, style="danger"))
        return tuple(found)


def order_line(
    turn: Turn, order: Any, lang: str, short: Callable[[str, int], str] = wording.short
) -> tuple[str, str, str, str]:
    return (
        short(order.number, 40),
        wording.day(turn, order.ordered_at),
        short(status_word(order.status, lang), 30),
        sales.money(order.amount_minor, order.currency),
    )


def outcome_word(outcome: str, lang: str) -> str:
    """How a conversation ended, in words."""
    return wording.known_or(
        f"profile.outcome_{outcome}", lang, wording.known_or(f"status.{outcome}", lang, outcome)
    )


def status_word(status: str, lang: str) -> str:
    """An order's status in words; one we have no word for stays as it was imported."""
    return wording.known_or(f"order.{status}", lang, status)
