"""Command lists: each staff member sees, in their own chat with the bot, the commands that their role may use,
in their language; nobody else sees any."""

from __future__ import annotations

import hashlib

from sqlalchemy import select

from bot import i18n
from bot.i18n import say
from bot.office import Office, Turn
from channels import rich
from channels.conversation import Op
from channels.rich import Fields, Reply
from crm_store import outbox, schema
from crm_store.rows import insert

PREFIX = "menu:"  # of what the store remembers to have shown


def sync(turn: Turn) -> int:
    """Bring the lists up to date that a role, a language, an end of access or an update changed; say how many."""
    changed = 0
    for channel in turn.office.config.channels:
        if turn.office.can(channel).menus:
            changed += _sync(turn, channel)
    return changed


def _sync(turn: Turn, channel: str) -> int:
    meta, staff, identity = schema.meta, schema.staff, schema.staff_identity
    prefix = f"{PREFIX}{channel}:"
    shown = {
        row.name.removeprefix(prefix): row.value
        for row in turn.tx.execute(select(meta).where(meta.c.name.startswith(prefix, autoescape=True)))
    }
    people = select(identity.c.user_id, staff.c.role, staff.c.language, staff.c.disabled_at).join(
        staff, staff.c.id == identity.c.staff_id
    )
    changed = 0
    for row in turn.tx.execute(people.where(identity.c.space == turn.office.space(channel))).all():
        lang = i18n.pick(row.language, turn.office.staff_language)
        wanted = () if row.disabled_at else listed(turn.office, row.role, lang)
        digest = hashlib.sha256(repr(wanted).encode()).hexdigest()[:16] if wanted else ""
        if shown.get(row.user_id, "") != digest:
            _show(turn, channel, row.user_id, wanted)
            kept = insert(turn.tx, meta).values(name=prefix + row.user_id, value=digest)
            turn.tx.execute(kept.on_conflict_do_update(index_elements=["name"], set_={"value": digest}))
            changed += 1
    return changed


def listed(office: Office, role: str, lang: str) -> tuple[tuple[str, str], ...]:
    """(name, what it does) of the commands of a role."""
    from bot import commands

    return tuple(
        (name, say(f"command.{name}", lang))
        for name, one in commands.everything().items()
        if office.access.allows(role, name, one.roles)
    )


def _show(turn: Turn, channel: str, user_id: str, pairs: tuple[tuple[str, str], ...]) -> None:
    outbox.put(
        turn.tx,
        outbox.Order(
            channel=channel,
            room_id=user_id,
            thread_id="",
            lane=f"menu:{channel}:{user_id}",
            op=Op.MENU,
            purpose="menu",
            body=rich.dump(Reply((Fields(pairs),))),
            due_at=turn.now,
        ),
        turn.now,
    )
