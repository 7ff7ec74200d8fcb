"""A customer's card: who they are, what they are worth, what is open, what was said, what is next; and what can be
done from here. What somebody may not do, or may not see, is not on it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot import i18n
from bot.access import Member, scope_of
from bot.i18n import say
from bot.office import Turn
from bot.service import card, suggesting
from channels.rich import Block, Button, Buttons, Fields, Heading, Reply, Table, Text
from crm_store import consent, contacts, conversations, deals, merges, notes, people, sales, tickets
from crm_store import profile as profiles

ORDERS = 5
OPEN = 5  # tickets and deals that are listed one by one
TALKS = 3
EVENTS = 3
NOTES = 3
FIELDS = 12  # custom fields that are shown
LONG_ID = 24  # characters: a random id says nothing to anybody
GREAT = 0.7  # recency: bought within about three months
FAINT = 0.2  # … more than a year ago


class Portrait:
    """A card being drawn, for one who reads it."""

    def __init__(self, turn: Turn, member: Member, row: Any) -> None:
        self._turn, self._tx = turn, turn.tx
        self._member, self._row = member, row
        self._lang = turn.language_of(member)
        scope = scope_of(turn, member)
        self._open = tickets.listing(self._tx, contact_id=row.id, scope=scope)
        self._deals = (
            deals.listing(self._tx, contact_id=row.id, closed=False, scope=scope) if self._may("deal") else []
        )

    def draw(self) -> Reply:
        name = card.called(self._turn, self._row.id) or self._say("card.unnamed")
        blocks: list[Block] = [Heading(self._say("profile.title", name=name, id=self._row.id))]
        if about := self._about():
            blocks.append(Text(about, small=True))
        blocks.append(Fields(tuple((self._say(f"profile.{key}"), value) for key, value in self._pairs())))
        if orders := sales.orders_of(self._tx, self._row.id, limit=ORDERS):
            columns = tuple(self._say(f"profile.{name}") for name in ("order", "date", "status", "amount"))
            blocks.append(Table(columns, tuple(order_line(o, self._lang) for o in orders)))
        if talks := self._talks():
            blocks += [Text(self._say("profile.talks"), small=True), Text("\n".join(talks))]
        if self._may("notes") and (noted := notes.of_contact(self._tx, self._row.id, limit=NOTES)):
            blocks.append(Text(self._say("profile.notes"), small=True))
            said = (f"{n.author}, {self._ago(n.created_at)}: {card.shorten(n.text, 200)}" for n in noted)
            blocks.append(Text("\n".join(said), quote=True))
        blocks += suggesting.blocks(self._turn, self._member, self._row.id)
        blocks.append(Buttons(self._buttons()))
        return Reply(tuple(blocks))

    def _say(self, key: str, **values: object) -> str:
        return say(key, self._lang, **values)

    def _may(self, what: str) -> bool:
        return self._turn.office.access.may(self._member, what)

    def _ago(self, at: datetime | None) -> str:
        return moment(self._turn, at, self._lang)

    def _about(self) -> str:
        """One line: company, place, language, and what time it is there."""
        row = self._row
        parts = [row.company, ", ".join(p for p in (row.city, row.country) if p), row.language or ""]
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
        pairs.append(("also", ", ".join(f"C{former}" for former in merges.inside(tx, row.id))))
        pairs.append(("owner", owner.name if owner is not None else ""))
        pairs.append(("tags", " ".join(f"#{tag}" for tag in row.tags)))
        pairs.append(("consent", self._consent()))
        pairs.append(("fields", self._fields()))
        return [(key, value) for key, value in pairs if value]

    def _identities(self) -> str:
        parts = []
        for i in contacts.identities(self._tx, self._row.id):
            name = i.user_id
            if i.handle:
                handle = i.handle.lstrip("@")
                name = handle if len(name) > LONG_ID else f"@{handle} ({name})"
            state = self._say("profile.unverified")
            if i.verified_at:
                state = self._say("profile.verified")
                if i.verified_how and f"profile.how_{i.verified_how}" in i18n.catalogue("en"):
                    state = self._say(f"profile.how_{i.verified_how}")
            if i.gone_at:
                state += ", " + self._say("profile.unreachable")
            parts.append(f"{'✓' if i.verified_at else '○'} {i.space} {name} ({state})")
        return "\n".join(parts)

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
                )
            )
        return "\n".join(lines)

    def _orders(self) -> str:
        sold = sales.summary(self._tx, self._row.id)
        if not sold.count:
            return self._say("profile.no_orders")
        value = ", ".join(sales.money(v.amount_minor, v.currency) for v in sold.values) or "0"
        return self._say("profile.orders_value", count=sold.count, value=value)

    def _next(self) -> str:
        due = profiles.next_due(self._tx, self._row.id)
        if due is None or (due.kind == "deal" and not self._may("deal")):
            return ""
        if due.kind == "ticket" and isinstance(due.at, datetime):
            return "❗ " + self._say("profile.next_ticket", number=due.number, ago=self._ago(due.at))
        at = card.local(self._turn, due.at) if isinstance(due.at, datetime) else due.at.isoformat()
        return self._say(f"profile.next_{due.kind}", number=due.number, at=at)

    def _tickets(self) -> str:
        lines = [
            f"#{t.number} {card.shorten(t.subject, 60)} ({self._say(f'status.{t.status}')}"
            + (f", {t.assignee})" if t.assignee else ")")
            for t in self._open[:OPEN]
        ]
        if len(self._open) > OPEN:
            lines.append("…")
        return "\n".join(lines) or self._say("profile.none")

    def _open_deals(self) -> str:
        from bot.commands.deals import line

        return "\n".join(line(row, self._lang) for row in self._deals[:OPEN])

    def _events(self) -> str:
        lines = []
        for one in profiles.events(self._tx, self._row.id, limit=EVENTS):
            key = f"happened.{one.kind}"
            what = self._say(key) if key in i18n.catalogue("en") else one.kind.replace("_", " ")
            parts = [self._ago(one.at), what, card.shorten(one.subject, 60)]
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
            parts.append(f"{sign} {one.purpose.replace('_', ' ')} ({one.at.date().isoformat()})")
        return "\n".join(parts)

    def _fields(self) -> str:
        shown = list(self._row.fields.items())[:FIELDS]
        return "\n".join(f"{name}: {card.shorten(str(value), 120)}" for name, value in shown)

    def _talks(self) -> list[str]:
        lines = []
        for talk in profiles.talks(self._tx, self._row.id, limit=TALKS):
            outcome = outcome_word(talk.outcome, self._lang)
            parts = [self._ago(talk.at), talk.channel, card.shorten(talk.subject, 60)]
            parts.append(f"#{talk.ticket} {outcome}" if talk.ticket else outcome)
            parts.append(f"{talk.rating} ★" if talk.rating else "")
            lines.append(" · ".join(p for p in parts if p))
        return lines

    def _buttons(self) -> tuple[Button, ...]:
        contact_id = self._row.id
        found: list[Button] = []
        newest = self._open[0] if self._open else None
        if newest is not None and self._may("ticket"):
            label = self._say("profile.open", number=newest.number)
            found.append(Button(label, action=f"command:ticket {newest.number}"))
        if self._may("reply") and (newest is not None or conversations.latest_of(self._tx, contact_id)):
            action = (
                f"ticket:{newest.number}:reply" if newest is not None else f"profile:{contact_id}:message"
            )
            found.append(Button(self._say("profile.message"), action=action, style="primary"))
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


def order_line(order: Any, lang: str) -> tuple[str, str, str, str]:
    return (
        order.number,
        order.ordered_at.date().isoformat(),
        status_word(order.status, lang),
        sales.money(order.amount_minor, order.currency),
    )


def outcome_word(outcome: str, lang: str) -> str:
    """How a conversation ended, in words."""
    key = f"profile.outcome_{outcome}"
    return say(key, lang) if key in i18n.catalogue("en") else say(f"status.{outcome}", lang)


def status_word(status: str, lang: str) -> str:
    """An order's status in words; one we have no word for stays as it was imported."""
    key = f"order.{status}"
    return say(key, lang) if key in i18n.catalogue("en") else status


def moment(turn: Turn, at: datetime | None, lang: str) -> str:
    """How long ago, in words."""
    if at is None:
        return say("profile.never", lang)
    minutes = max(0, int((turn.now - at).total_seconds() // 60))
    if minutes < 60:
        return say("age.minutes", lang, n=minutes)
    if minutes < 60 * 48:
        return say("age.hours", lang, n=minutes // 60)
    return say("age.days", lang, n=minutes // 1440)
