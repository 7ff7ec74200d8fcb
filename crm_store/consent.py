"""Consent: a ledger of what a customer agreed to. Rows are added, never changed; the newest counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from crm_store import schema

GRANTED, WITHDRAWN = "granted", "withdrawn"
PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,39}")
consent = schema.consent


def add(
    tx: Connection,
    now: datetime,
    contact_id: int,
    purpose: str,
    state: str,
    *,
    source: str,
    actor: str,
    at: datetime | None = None,
    message_id: int | None = None,
) -> bool:
    """Note that a purpose was granted or withdrawn; False when that is how it stands, by the same source.

    `source` says in words how we know; `at` is when it was said. Raise ValueError for a purpose that is none.
    """
    if not PURPOSE.fullmatch(purpose) or state not in (GRANTED, WITHDRAWN):
        raise ValueError(purpose)
    stands = current(tx, contact_id).get(purpose)
    if stands is not None and stands.state == state and stands.source == source:
        return False
    tx.execute(
        consent.insert().values(
            contact_id=contact_id,
            purpose=purpose,
            state=state,
            source=source,
            actor=actor,
            message_id=message_id,
            at=at or now,
            created_at=now,
        )
    )
    return True


def ledger(tx: Connection, contact_id: int) -> Sequence[Any]:
    """All rows, oldest first: by when it was said, then by when it was noted."""
    query = select(consent).where(consent.c.contact_id == contact_id).order_by(consent.c.at, consent.c.id)
    return tx.execute(query).all()


def current(tx: Connection, contact_id: int) -> dict[str, Any]:
    """The row that counts of each purpose."""
    return {row.purpose: row for row in ledger(tx, contact_id)}


def current_of(tx: Connection, contact_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """What counts for each of these contacts: purpose → state."""
    found: dict[int, dict[str, str]] = {}
    query = select(consent.c.contact_id, consent.c.purpose, consent.c.state)
    query = query.where(consent.c.contact_id.in_(list(contact_ids))).order_by(consent.c.at, consent.c.id)
    for contact_id, purpose, state in tx.execute(query):
        found.setdefault(contact_id, {})[purpose] = state
    return found


def in_words(states: dict[str, str]) -> list[str]:
    """As files have it: "marketing_email", "-marketing_email" for what was withdrawn."""
    return [purpose if state == GRANTED else f"-{purpose}" for purpose, state in sorted(states.items())]


def said_by_file(
    tx: Connection, now: datetime, contact_id: int, said: Sequence[tuple[str, str]], source: str
) -> bool:
    """Note what a file says; whether that was news. It grants nothing that was withdrawn: lists are older than what
    people said."""
    stands, news = current(tx, contact_id), False
    for purpose, state in said:
        known = stands.get(purpose)
        if known is None or (state == WITHDRAWN and known.state == GRANTED):
            news |= add(tx, now, contact_id, purpose, state, source=source, actor="import")
    return news


def granted(tx: Connection, contact_id: int, purpose: str) -> bool:
    """Whether it may be done. What nobody granted is not granted."""
    stands = current(tx, contact_id).get(purpose)
    return stands is not None and stands.state == GRANTED
