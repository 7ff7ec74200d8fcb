"""staff: who works here, and the codes that link them to their platforms."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from bot import i18n
from bot.cli import CommandFailed
from bot.cli.common import load, print_json, with_store
from bot.config import Config
from bot.roles import ROLES
from crm_store import audit, people
from crm_store.db import Store


def staff(arguments: argparse.Namespace) -> int:
    verb = {
        "add": _add,
        "code": _code,
        "list": _list,
        "team": _team,
        "role": _role,
        "disable": _disable,
        "enable": _enable,
    }[arguments.verb]

    config = load(arguments)
    if getattr(arguments, "role", None) is not None:
        _role_exists(config, arguments.role)

    async def work(store: Store) -> Any:
        return await store.write(verb, arguments, datetime.now(UTC))

    found = with_store(config, work)
    if arguments.verb == "list" and arguments.json:
        print_json(found)
    elif arguments.verb == "list":
        for one in found:
            known = ", ".join(f"{i['channel']} {i['user_id']}" for i in one["identities"]) or "not linked yet"
            team = f", {one['team']}" if one["team"] else ""
            print(f"{one['name']}\t{one['role']}{team}{' (disabled)' if one['disabled'] else ''}\t{known}")
    elif arguments.verb == "code":
        print(
            f"{arguments.name} sends this to the bot in a private message within 24 hours:", file=sys.stderr
        )
        print(found)
    else:
        print(found, file=sys.stderr)
    return 0


def _role_exists(config: Config, role: str) -> None:
    """Raise CommandFailed for a role that is neither ours nor configured."""
    known = list(dict.fromkeys([*ROLES, *config.access.roles]))
    if role not in known:
        raise CommandFailed(f"there is no role {role}; roles are {', '.join(known)}")


def _add(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    name = " ".join(arguments.name.split())
    if not name:
        raise CommandFailed("a name cannot be empty")
    if arguments.lang is not None and arguments.lang not in i18n.languages():
        raise CommandFailed(
            f"there are no words for {arguments.lang!r}, only for {', '.join(i18n.languages())}"
        )
    if people.by_name(tx, name) is not None:
        raise CommandFailed(f"there is somebody called {name!r} already")
    added = people.add(tx, now, name, arguments.role, arguments.lang)
    if added is not None and arguments.team:
        people.set_team(tx, added, _as_team(arguments.team))
    audit.record(tx, now, "cli", "staff_add", name, role=arguments.role)
    return f"added {name} ({arguments.role}); link them with: wellheard staff code {name!r}"


def _code(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    row = _named(tx, arguments.name)
    if row.disabled_at is not None:
        raise CommandFailed(f"{row.name} is disabled")
    code = people.new_code(tx, now, row.id)
    audit.record(tx, now, "cli", "staff_code", row.name)
    return code


def _list(tx: Connection, arguments: argparse.Namespace, now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "role": row.role,
            "team": row.team,
            "language": row.language,
            "disabled": row.disabled_at is not None,
            "identities": [{"channel": i.space, "user_id": i.user_id} for i in people.identities(tx, row.id)],
        }
        for row in people.everyone(tx)
    ]


def _team(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    row, team = _named(tx, arguments.name), _as_team(arguments.team)
    people.set_team(tx, row.id, team)
    audit.record(tx, now, "cli", "staff_team", row.name, team=team)
    if not team:
        return f"{row.name} is in no team"
    return f"{row.name} is in the team{'s' if ',' in team else ''} {team}"


def _role(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    row = _named(tx, arguments.name)
    people.set_role(tx, row.id, arguments.role)
    audit.record(tx, now, "cli", "staff_role", row.name, role=arguments.role)
    return f"{row.name} is {arguments.role} now"


def _as_team(text: str) -> str:
    """Names of teams with commas between, each once."""
    return ", ".join(people.teams(text))[:200]


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
