"""token: who may use the API, as whom and for what."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from bot.cli import CommandFailed
from bot.cli.common import load, print_json, with_store
from crm_store import api_tokens, audit, people
from crm_store.db import Store


def token(arguments: argparse.Namespace) -> int:
    verb = {"add": _add, "list": _list, "revoke": _revoke}[arguments.verb]

    async def work(store: Store) -> Any:
        return await store.write(verb, arguments, datetime.now(UTC))

    found = with_store(load(arguments), work)
    if arguments.verb == "add":
        print("this is the only time it is shown:", file=sys.stderr)
        print(found)
    elif arguments.verb == "revoke":
        print(found, file=sys.stderr)
    elif arguments.json:
        print_json(found)
    else:
        for one in found:
            state = " (revoked)" if one["revoked"] else ""
            print(f"{one['name']}{state}\tas {one['staff']}\t{', '.join(one['scopes'])}")
    return 0


def _add(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    from bot.api.routes import SCOPES

    name = " ".join(arguments.name.split())
    scopes = sorted({scope for part in arguments.scopes.split(",") if (scope := part.strip())})
    if not name or not scopes:
        raise CommandFailed("a token needs a name and at least one scope")
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise CommandFailed(f"there is no scope {unknown[0]!r}; there are {', '.join(SCOPES)}")
    row = people.by_name(tx, arguments.staff)
    if row is None or row.disabled_at is not None:
        raise CommandFailed(f"there is nobody called {arguments.staff!r} among the active staff")
    secret = api_tokens.add_token(tx, now, name, scopes, row.id)
    if secret is None:
        raise CommandFailed(
            f"there is a token called {name!r} already, or there was: names are not used again"
        )
    audit.record(tx, now, "cli", "token_add", name, scopes=scopes, staff=row.name)
    return secret


def _list(tx: Connection, arguments: argparse.Namespace, now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "staff": row.staff,
            "scopes": row.scopes,
            "created_at": row.created_at.isoformat(),
            "revoked": row.revoked_at is not None,
        }
        for row in api_tokens.tokens(tx)
    ]


def _revoke(tx: Connection, arguments: argparse.Namespace, now: datetime) -> str:
    if not api_tokens.revoke(tx, now, arguments.name):
        raise CommandFailed(
            f"there is no token called {arguments.name!r} that counts; see: wellheard token list"
        )
    audit.record(tx, now, "cli", "token_revoke", arguments.name)
    return f"{arguments.name} has no access any more"
