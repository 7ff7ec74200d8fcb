"""staff: who works here, and the codes that link them to their platforms."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from bot.access import ROLES
from bot.cli import CommandFailed
from bot.cli.common import load, with_store
from crm_store import audit, people
from crm_store.db import Store


def staff(arguments: argparse.Namespace) -> int:
    verb = {"add": _add, "code": _code, "list": _list, "disable": _disable, "enable": _enable}[arguments.verb]

    async def work(store: Store) -> str:
        return await store.write(verb, arguments, datetime.now(UTC))

    print(with_store(load(arguments), work))
    return 0


def _add(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    if arguments.role not in ROLES:
        raise CommandFailed(f"there is no role {arguments.role}; roles are {', '.join(ROLES)}")
    name = arguments.name.strip()
    if not name or people.by_name(tx, name) is not None:
        raise CommandFailed(f"there is somebody called {name!r} already")
    people.add(tx, now, name, arguments.role, arguments.lang)
    audit.record(tx, now, "cli", "staff_add", name, role=arguments.role)
    return f"added {name} ({arguments.role}); link them with: wellheard staff code {name!r}"


def _code(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    row = _named(tx, arguments.name)
    if row.disabled_at is not None:
        raise CommandFailed(f"{row.name} is disabled")
    code = people.new_code(tx, now, row.id)
    audit.record(tx, now, "cli", "staff_code", row.name)
    print(f"{row.name} sends this to the bot in a private message within 24 hours:", file=sys.stderr)
    return code


def _list(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    lines = []
    for row in people.everyone(tx):
        known = ", ".join(f"{i.space} {i.user_id}" for i in people.identities(tx, row.id)) or "not linked yet"
        state = " (disabled)" if row.disabled_at else ""
        lines.append(f"{row.name}\t{row.role}{state}\t{known}")
    return "\n".join(lines)


def _disable(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    row = _named(tx, arguments.name)
    people.disable(tx, now, row.id)
    audit.record(tx, now, "cli", "staff_disable", row.name)
    return f"{row.name} has no access any more"


def _enable(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    row = _named(tx, arguments.name)
    people.enable(tx, row.id)
    audit.record(tx, now, "cli", "staff_enable", row.name)
    return f"{row.name} has access again"


def _named(tx: Connection, name: str) -> Any:
    row = people.by_name(tx, name)
    if row is None:
        raise CommandFailed(f"there is nobody called {name!r}; see: wellheard staff list")
    return row
