"""ask, command, email parse, dump, shelf: looking at what the service sees, thinks and holds."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from bot.cli import CommandFailed
from bot.cli.common import load, office_for, print_json, with_store
from channels import rich
from crm_store import dump as dumps
from crm_store import inbox, outbox, people, webhooks
from crm_store.db import Store


def ask(arguments: argparse.Namespace) -> int:
    from bot import decisions
    from bot.office import Office

    config = load(arguments)

    async def work(store: Store) -> dict[str, Any]:
        office = Office(config, {}, b"")
        office.index = await store.read(decisions.load_index)
        return await store.read(_asked, office, arguments.text, arguments.lang)

    answer = with_store(config, work)
    if arguments.json:
        print_json(answer)
    else:
        print(answer["answer"] or "\n".join(answer["choices"]) or answer["kind"])
        print(
            f"{answer['kind']}, confidence {answer['confidence']:.2f}",
            *answer["why"],
            sep="\n  ",
            file=sys.stderr,
        )
    return 0


def _asked(tx: Connection, office: Any, text: str, lang: str | None) -> dict[str, Any]:
    from bot import decisions
    from bot.i18n import say
    from crm_store import articles

    decision = decisions.consider(office, text, lang)
    if decision is None:
        raise CommandFailed("the bot answers nothing: answers.enabled is false")
    kind, answer = str(decision.kind), ""
    article = articles.by_id(tx, decision.article_id) if decision.article_id else None
    if article is not None and kind == "answer":
        answer = article.body
    elif kind == "form":
        answer = say("customer.which_order", decision.language)
    elif kind == "answer" and decision.order_number:  # told to whoever ordered; others prove it first
        kind, answer = "form", say("customer.order_code_sent", decision.language)
    elif kind == "answer":
        courtesy = "greeting" if decision.intent.kind == "greeting" else "thanks"
        answer = say(f"customer.{courtesy}", decision.language, desk=office.config.desk.name)
    return {
        "answer": answer,
        "kind": kind,
        "confidence": decision.confidence,
        "article_id": decision.article_id,
        "intent": str(decision.intent.kind),
        "choices": [title for _, title in decision.choices],
        "language": decision.language,
        "why": list(decision.why),
    }


def command(arguments: argparse.Namespace) -> int:
    from bot import commands, confirm
    from bot.access import member
    from bot.office import Turn

    config = load(arguments)

    async def work(store: Store) -> commands.Performed:
        office = await office_for(config, store)

        def perform(tx: Connection) -> commands.Performed:
            row = people.by_name(tx, arguments.name)
            if row is None or row.disabled_at is not None:
                raise CommandFailed(f"there is nobody called {arguments.name!r} among the active staff")
            who = member(row)
            turn = Turn(tx, office, datetime.now(UTC), via="cli")
            done = commands.perform(turn, who, arguments.text)
            commands.audited(turn, who, done)
            if done.code and arguments.yes:
                done = confirm.redeem(turn, who, done.code)
                commands.audited(turn, who, done)
            return done

        return await store.write(perform)

    done = with_store(config, work)
    text = rich.to_text(done.reply)
    if arguments.json:
        print_json({"text": text, "blocks": json.loads(rich.dump(done.reply))})
    else:
        print(text)
    if done.code:
        print("wellheard: nothing is done yet; to do it at once, add --yes", file=sys.stderr)
    return 0 if all(outcome == "ok" for *_, outcome in done.audits) else 1


def email(arguments: argparse.Namespace) -> int:
    parse = importlib.import_module("channels.email.parse")
    code = 0
    for name in arguments.files:
        try:
            raw = Path(name).read_bytes()
        except OSError as error:
            print(f"wellheard: {name}: {error.strerror}", file=sys.stderr)
            code = 1
            continue
        found = parse.read(raw)
        if arguments.json:
            print_json(found)
        else:
            sender = found["from"] or {}
            print(f"From: {sender.get('name', '')} <{sender.get('address', '')}>")
            print(f"Subject: {found['subject']}\n\n{found['reply']}\n")
            for a in found["attachments"]:
                print(f"[{a['filename']} {a['content_type']} {a['size']} bytes]")
    return code


def dump(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> dict[str, Any]:
        return await store.read_apart(dumps.everything)

    found = with_store(load(arguments), work)
    if arguments.json:
        print_json(found)
        return 0
    for ticket in found["tickets"]:
        print(f"#{ticket['number']} {ticket['status']} {ticket['kind']} {ticket['customer']['name']}")
        for m in ticket["messages"]:
            print(
                f"    {m['at']} {m['kind']:4} {m['channel']} {m['author']}: {m['text'][:100]!r} {m['delivery'] or ''}"
            )
    print(f"inbox {found['inbox']} outbox {found['outbox']} integrity {found['integrity']}")
    return 0


def shelf(arguments: argparse.Namespace) -> int:
    config = load(arguments)
    now = datetime.now(UTC)
    if arguments.verb == "list":
        return _shelf_list(arguments, config)
    side, _, number = arguments.id.rpartition(":")
    if side not in ("in", "out", "hook", "") or not (
        number.isascii() and number.isdigit() and len(number) < 19
    ):
        raise CommandFailed(f"{arguments.id!r} is not in:ID, out:ID or hook:ID")
    row_id = int(number)

    async def work(store: Store) -> Any:
        room: Any = {"out": outbox, "hook": webhooks}.get(side, inbox)
        if arguments.verb == "show":
            return await store.read(_show, side, row_id)
        if arguments.verb == "retry":
            return await store.write(room.retry, row_id, now)
        return await store.write(room.discard, row_id, now)

    result = with_store(config, work)
    if not result:
        raise CommandFailed(f"{arguments.id} is not on the shelf")
    if arguments.verb == "show":
        print(result)
    else:
        print(f"{arguments.id}: {arguments.verb} done", file=sys.stderr)
    return 0


def _shelf_list(arguments: argparse.Namespace, config: Any) -> int:
    async def work(store: Store) -> list[dict[str, Any]]:
        return await store.read(_rows)

    rows = with_store(config, work)
    if arguments.json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{row['id']}\t{row['channel']}\t{row['at']}\t{row['attempts']} attempts\t{row['reason']}")
        if not rows:
            print("the shelf is empty", file=sys.stderr)
    return 0


def _rows(tx: Connection) -> list[dict[str, Any]]:
    rows = [
        {
            "id": f"in:{r.id}",
            "channel": r.channel,
            "event_id": r.event_id,
            "at": r.received_at.isoformat(),
            "attempts": r.attempts,
            "reason": r.error,
        }
        for r in inbox.shelved(tx)
    ]
    return (
        rows
        + [
            {
                "id": f"out:{r.id}",
                "channel": r.channel,
                "event_id": r.event_id,
                "at": r.created_at.isoformat(),
                "attempts": r.attempts,
                "reason": f"{r.state}: {r.error}",
            }
            for r in outbox.dead(tx)
        ]
        + [
            {
                "id": f"hook:{r.id}",
                "channel": r.url,
                "event_id": r.key,
                "at": r.created_at.isoformat(),
                "attempts": r.attempts,
                "reason": f"{r.type}: {r.error}",
            }
            for r in webhooks.dead(tx)
        ]
    )


def _show(tx: Connection, side: str, row_id: int) -> str:
    if side == "out":
        row = next((r for r in outbox.dead(tx, limit=100_000) if r.id == row_id), None)
        if row is None:
            return ""
        return f"{row.channel} {row.room_id} {row.op} {row.state}: {row.error}\n\n{rich.to_text(rich.load(row.body))}"
    if side == "hook":
        told = next((r for r in webhooks.dead(tx, limit=100_000) if r.id == row_id), None)
        return "" if told is None else f"{told.url} {told.type} {told.lane} {told.key}: {told.error}"
    body = inbox.body(tx, row_id)
    reason = next((r.error for r in inbox.shelved(tx, limit=100_000) if r.id == row_id), None)
    return "" if body is None or reason is None else f"{reason}\n\n{body.decode('utf-8', 'replace')}"
