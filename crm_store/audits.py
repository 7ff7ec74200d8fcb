"""What audits need: which platform ids we have, and who asked for one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from crm_store import schema
from crm_store.privacy import tombstones
from crm_store.rows import insert

AT_ONCE = 500
PREFIX = "audit:"  # requests lie beside the cursors: a name and a text
cursor = schema.cursor


def stored(tx: Connection, channel: str, ids: Sequence[str]) -> set[str]:
    """Which of these platform ids we have, as messages or still waiting, or had until they were erased."""
    m, inbox = schema.message, schema.inbox
    found: set[str] = set()
    for at in range(0, len(ids), AT_ONCE):
        some = list(ids[at : at + AT_ONCE])
        found |= set(
            tx.execute(select(m.c.event_id).where(m.c.channel == channel, m.c.event_id.in_(some))).scalars()
        )
    rest = [i for i in ids if i not in found]
    found |= {str(i) for _, i in tombstones.erased_of(tx, "event", [(channel, i) for i in rest])}
    if rest:
        waiting = tx.execute(
            select(inbox.c.event_id).where(
                inbox.c.channel == channel, inbox.c.state.in_(["pending", "shelved"])
            )
        ).scalars()
        bases = {event.rpartition("#")[0] or event for event in waiting}
        found |= bases & set(rest)
    return found


def leave(tx: Connection, who: str, request: str, now: datetime) -> None:
    """Note that somebody wants an audit."""
    tx.execute(
        insert(tx, cursor)
        .values(channel=f"{PREFIX}{who}", value=request, updated_at=now)
        .on_conflict_do_update(index_elements=["channel"], set_={"value": request, "updated_at": now})
    )


def waiting(tx: Connection) -> list[Any]:
    """Requests nobody has taken."""
    return list(tx.execute(select(cursor).where(cursor.c.channel.startswith(PREFIX))).all())


def claim(tx: Connection, request: Any) -> bool:
    """Take a request; False when another process was faster."""
    gone = tx.execute(
        cursor.delete().where(cursor.c.channel == request.channel, cursor.c.updated_at == request.updated_at)
    )
    return gone.rowcount == 1
