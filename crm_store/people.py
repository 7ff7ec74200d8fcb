"""Staff: who they are, by which platform identities they are known, and the codes that link them."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from crm_store import schema
from crm_store.rows import insert
from crm_store.statement import Statement

staff = schema.staff
CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # nothing that is misread: no I L O 0 1
CODE_LIFE = timedelta(hours=24)

_get = Statement(select(staff).where(staff.c.id == bindparam("row")))
_by_identity = Statement(
    select(staff)
    .join(schema.staff_identity, schema.staff_identity.c.staff_id == staff.c.id)
    .where(
        schema.staff_identity.c.space == bindparam("space"),
        schema.staff_identity.c.user_id == bindparam("user_id"),
        staff.c.disabled_at.is_(None),
    )
)
_ended_author = Statement(
    select(staff.c.name)
    .join(schema.message, schema.message.c.author_id == staff.c.id)
    .where(
        schema.message.c.id == bindparam("message"),
        schema.message.c.author_kind == "staff",
        staff.c.disabled_at.is_not(None),
    )
)


def add(tx: Connection, now: datetime, name: str, role: str, language: str | None = None) -> int | None:
    """Add a person; None when the name is taken."""
    return tx.execute(
        insert(tx, staff)
        .values(name=name, role=role, language=language, created_at=now)
        .on_conflict_do_nothing()
        .returning(staff.c.id)
    ).scalar()


def by_name(tx: Connection, name: str) -> Any:
    """By name, whatever its case; None when unknown."""
    return tx.execute(select(staff).where(func.lower(staff.c.name) == name.strip().lower())).first()


def get(tx: Connection, staff_id: int) -> Any:
    return _get.first(tx, row=staff_id)


def everyone(tx: Connection) -> list[Any]:
    return list(tx.execute(select(staff).order_by(staff.c.id)).all())


def identities(tx: Connection, staff_id: int) -> list[Any]:
    table = schema.staff_identity
    return list(tx.execute(select(table).where(table.c.staff_id == staff_id).order_by(table.c.id)).all())


def team_of(tx: Connection, staff_id: int) -> list[int]:
    """The ids of a person and of all who are in a team of theirs."""
    own = get(tx, staff_id)
    mine = {name.casefold() for name in teams(own.team)} if own is not None else set()
    if not mine:
        return [staff_id]
    rows = tx.execute(select(staff.c.id, staff.c.team).where(staff.c.team != "").order_by(staff.c.id))
    return [row.id for row in rows if mine & {name.casefold() for name in teams(row.team)}]


def teams(text: str) -> list[str]:
    """The names of teams in "north, south"."""
    names = (" ".join(name.split()) for name in re.split("[,;，；、]", text))
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(name.casefold(), name)
    return [name for name in found.values() if name]


def set_team(tx: Connection, staff_id: int, team: str) -> None:
    tx.execute(update(staff).where(staff.c.id == staff_id).values(team=team))


def set_role(tx: Connection, staff_id: int, role: str) -> None:
    tx.execute(update(staff).where(staff.c.id == staff_id).values(role=role))


def disable(tx: Connection, now: datetime, staff_id: int) -> None:
    """End somebody's access: their identities stop counting at once and their codes are void."""
    tx.execute(update(staff).where(staff.c.id == staff_id).values(disabled_at=now))
    tx.execute(
        update(schema.staff_code)
        .where(schema.staff_code.c.staff_id == staff_id, schema.staff_code.c.used_at.is_(None))
        .values(used_at=now)
    )


def enable(tx: Connection, staff_id: int) -> None:
    tx.execute(update(staff).where(staff.c.id == staff_id).values(disabled_at=None))


def by_identity(tx: Connection, space: str, user_id: str) -> Any:
    """The active staff member whose identity this is, or None."""
    return _by_identity.first(tx, space=space, user_id=user_id)


def ended_author(tx: Connection, message_id: int) -> str:
    """The name of a message's author whose access has ended; "" for everybody else's message."""
    return str(_ended_author.scalar(tx, message=message_id) or "")


def was_somebody(tx: Connection, space: str, user_id: str) -> bool:
    """Whether this is the identity of somebody whose access has ended."""
    known = schema.staff_identity
    query = (
        select(staff.c.id)
        .join(known, known.c.staff_id == staff.c.id)
        .where(known.c.space == space, known.c.user_id == user_id, staff.c.disabled_at.is_not(None))
    )
    return tx.execute(query).first() is not None


def new_code(tx: Connection, now: datetime, staff_id: int) -> str:
    """A one-time code, 10 letters (50 bits), valid a day; only its hash is kept."""
    code = "".join(secrets.choice(CODE_LETTERS) for _ in range(10))
    tx.execute(
        schema.staff_code.insert().values(digest=_digest(code), staff_id=staff_id, expires_at=now + CODE_LIFE)
    )
    return code


def looks_like_code(text: str) -> bool:
    text = text.strip().upper()
    return len(text) == 10 and all(c in CODE_LETTERS for c in text)


def redeem(tx: Connection, now: datetime, code: str, space: str, user_id: str, name: str) -> Any:
    """Link an identity to the person whose code it is and return their row; None for any wrong code."""
    table = schema.staff_code
    row = tx.execute(
        update(table)
        .where(table.c.digest == _digest(code), table.c.used_at.is_(None), table.c.expires_at > now)
        .values(used_at=now)
        .returning(table.c.staff_id)
    ).first()
    if row is None:
        return None
    member = tx.execute(
        select(staff).where(staff.c.id == row.staff_id, staff.c.disabled_at.is_(None))
    ).first()
    if member is None:
        return None
    identity = schema.staff_identity
    tx.execute(
        insert(tx, identity)
        .values(staff_id=member.id, space=space, user_id=user_id, name=name, created_at=now)
        .on_conflict_do_update(
            index_elements=["space", "user_id"], set_={"staff_id": member.id, "name": name, "created_at": now}
        )
    )
    return member


def _digest(code: str) -> str:
    return hashlib.sha256(code.strip().upper().encode()).hexdigest()
