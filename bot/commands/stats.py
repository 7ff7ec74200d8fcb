"""/stats: how much came in, how fast we answered, how we were rated."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot import access
from bot.commands import Ask, command
from bot.i18n import UserError
from channels.rich import Fields, Heading, Reply, Table
from crm_store import stats
from crm_store.hours import BusinessHours

PERIODS = ("today", "week", "month")


@command("stats", reads=True)
def numbers(ask: Ask) -> Reply:
    period = ask.args.lower() or "today"
    if period not in PERIODS:
        raise UserError("staff.usage", usage=ask.say("usage.stats"))
    desk = ask.turn.office.config.desk
    hours = BusinessHours.parse(desk.business_hours, ZoneInfo(desk.timezone))
    scope = access.scope_of(ask.turn, ask.member)
    since = begin(period, ask.turn.now, desk.timezone)
    found = stats.numbers(ask.turn.tx, since, ask.turn.now, hours, scope)
    none = ask.say("stats.none")
    pairs = (
        (ask.say("stats.opened"), _by_kind(ask, found.opened)),
        (ask.say("stats.closed"), _by_kind(ask, found.closed)),
        (ask.say("stats.backlog"), str(sum(found.backlog.values()))),
        (ask.say("stats.first_response"), _span(ask, found.first_response.median)),
        (ask.say("stats.resolution"), _span(ask, found.resolution.median)),
        (
            ask.say("stats.answered_by_bot"),
            f"{found.answered_by_bot} / {found.conversations}" if found.conversations else none,
        ),
        (
            ask.say("stats.ratings"),
            ask.say("stats.rating_value", mean=f"{found.ratings.mean:.1f}", count=found.ratings.count)
            if found.ratings.mean is not None
            else none,
        ),
    )
    table = Table(
        (ask.say("stats.channel"), ask.say("stats.in"), ask.say("stats.out")),
        tuple((v.channel, str(v.received), str(v.sent)) for v in found.volumes),
    )
    return Reply.of(
        Heading(ask.say(f"stats.title_{period}")), Fields(pairs), *([table] if table.rows else [])
    )


def begin(period: str, now: datetime, zone: str) -> datetime:
    """Midnight of today, of Monday, or of the first of the month, where the desk is."""
    midnight = now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        return midnight - timedelta(days=midnight.weekday())
    return midnight.replace(day=1) if period == "month" else midnight


def _by_kind(ask: Ask, counts: dict[str, int]) -> str:
    total = sum(counts.values())
    parts = [f"{ask.say(f'kind.{kind}')} {count}" for kind, count in sorted(counts.items()) if count]
    return f"{total} ({', '.join(parts)})" if len(parts) > 1 else str(total)


def _span(ask: Ask, span: timedelta | None) -> str:
    if span is None:
        return ask.say("stats.none")
    minutes = int(span.total_seconds() // 60)
    return (
        ask.say("age.minutes", n=minutes) if minutes < 120 else ask.say("age.hours", n=round(minutes / 60, 1))
    )
