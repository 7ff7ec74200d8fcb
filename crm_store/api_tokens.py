"""The API's tokens, of which only a hash is kept, and what was answered to a token, so that a repeat is answered the
same."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from crm_store import schema
from crm_store.db import Conflict
from crm_store.rows import insert

token = schema.api_token
request = schema.api_request
MARK = "whl_"  # so that a token is recognised as one where it does not belong
REPEAT_FOR = timedelta(hours=24)
BATCH = 500


# --- tokens -------------------------------------------------------------------------------------------------


def add_token(tx: Connection, now: datetime, name: str, scopes: Sequence[str], staff_id: int) -> str | None:
    """A new token, 256 bits, of which only the hash is kept; None when the name is taken."""
    secret = MARK + secrets.token_urlsafe(32)
    added = tx.execute(
        insert(tx, token)
        .values(name=name, digest=_digest(secret), scopes=list(scopes), staff_id=staff_id, created_at=now)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(token.c.id)
    ).scalar()
    return None if added is None else secret


def tokens(tx: Connection) -> list[Any]:
    """All tokens with the names of whom they act as."""
    query = select(token, schema.staff.c.name.label("staff")).join(
        schema.staff, schema.staff.c.id == token.c.staff_id
    )
    return list(tx.execute(query.order_by(token.c.id)).all())


def revoke(tx: Connection, now: datetime, name: str) -> bool:
    """End a token at once. False when there is none of that name that counts."""
    result = tx.execute(
        update(token).where(token.c.name == name, token.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    return result.rowcount == 1


def by_secret(tx: Connection, secret: str) -> Any:
    """The token's row joined with its person's, or None: revoked, of somebody disabled, or none at all."""
    return tx.execute(
        select(
            token.c.id,
            token.c.name,
            token.c.scopes,
            schema.staff.c.id.label("staff_id"),
            schema.staff.c.name.label("staff_name"),
            schema.staff.c.role,
            schema.staff.c.language,
        )
        .join(schema.staff, schema.staff.c.id == token.c.staff_id)
        .where(
            token.c.digest == _digest(secret),
            token.c.revoked_at.is_(None),
            schema.staff.c.disabled_at.is_(None),
        )
    ).first()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# --- repeats ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request was answered."""

    digest: str
    status: int
    headers: dict[str, str]
    body: str


def answered(tx: Connection, token_id: int, key: str, now: datetime) -> Answered | None:
    """What the request of this key was answered within a day."""
    row = tx.execute(
        select(request).where(
            request.c.token_id == token_id, request.c.key == key, request.c.created_at > now - REPEAT_FOR
        )
    ).first()
    return None if row is None else Answered(row.digest, row.status, dict(row.headers), row.body)


def reserve(tx: Connection, token_id: int, key: str, now: datetime, digest: str) -> None:
    """Take a key before the work begins: who sends it at the same moment waits for our end. Raise Conflict when
    they were first; the transaction is repeated then, and finds their answer."""
    tx.execute(
        request.delete().where(
            request.c.token_id == token_id, request.c.key == key, request.c.created_at <= now - REPEAT_FOR
        )
    )
    added = tx.execute(
        insert(tx, request)
        .values(token_id=token_id, key=key, digest=digest, status=0, headers={}, body="", created_at=now)
        .on_conflict_do_nothing()
        .returning(request.c.key)
    ).scalar()
    if added is None:
        raise Conflict("idempotency key")


def remember(tx: Connection, token_id: int, key: str, answer: Answered) -> None:
    """Keep the answer of a reserved key in the transaction of its effect."""
    tx.execute(
        update(request)
        .where(request.c.token_id == token_id, request.c.key == key)
        .values(status=answer.status, headers=answer.headers, body=answer.body)
    )


def forget_answers(tx: Connection, now: datetime) -> int:
    old = (
        select(request.c.token_id, request.c.key).where(request.c.created_at <= now - REPEAT_FOR).limit(BATCH)
    )
    rows = tx.execute(old).all()
    for row in rows:
        tx.execute(request.delete().where(request.c.token_id == row.token_id, request.c.key == row.key))
    return len(rows)
