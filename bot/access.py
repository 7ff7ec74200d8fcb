"""Access: which role may do what. Authority comes from an enrolled identity, never from a room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from channels.conversation import Author
from crm_store import people

ROLES = ("viewer", "agent", "sales", "manager", "admin")

EVERYONE = frozenset(ROLES)
AGENTS = frozenset(("agent", "sales", "manager", "admin"))
MANAGERS = frozenset(("manager", "admin"))


@dataclass(frozen=True, slots=True)
class Member:
    """A staff member who is acting, and as whom the audit log knows them."""

    id: int
    name: str
    role: str
    language: str | None

    @property
    def actor(self) -> str:
        return f"staff:{self.id}"


def member(row: Any, language: str | None = None) -> Member:
    """A staff row as who acts; `language` is the platform's idea, for those who chose none."""
    return Member(row.id, row.name, row.role, row.language or language)


def recognise(tx: Connection, space: str, author: Author) -> Member | None:
    """The enrolled staff member who wrote this; None for everybody else and whatever carries no authority
    (forwarded, edited, by a bot, from another team)."""
    if author.is_bot or not author.may_command:
        return None
    row = people.by_identity(tx, space, author.user_id)
    return member(row, author.language) if row is not None else None
