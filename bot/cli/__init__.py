"""The commands of the command line: name, one line of help, arguments, and what to run.

Only argparse is imported here: `wellheard --help` answers in a tenth of a second. Each command imports what
it needs when it runs.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

Configure = Callable[[argparse.ArgumentParser, argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], int | None]


class CommandFailed(Exception):
    """The world said no: one sentence for the person at the terminal."""


def _late(module: str, name: str) -> Run:
    def run(arguments: argparse.Namespace) -> int | None:
        code: int | None = getattr(importlib.import_module(f"bot.cli.{module}"), name)(arguments)
        return code

    return run


def _nothing(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    return None


def _demo(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("--port", type=int, default=8080, help="port of the pages on loopback (8080)")
    sub.add_argument(
        "--dir", default="", help="keep the demo's data here instead of in a throw-away directory"
    )


def _init(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("dir", nargs="?", default=".", help="where wellheard.toml is written")


def _file(what: str) -> Configure:
    def configure(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
        sub.add_argument("file", help=what)

    return configure


def _staff(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    verbs = sub.add_subparsers(dest="verb", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="add a person", parents=[shared])
    add.add_argument("name")
    add.add_argument(
        "--role", required=True, help="viewer, agent, sales, manager, admin, or one of [access.roles]"
    )
    add.add_argument("--lang", default=None, help="the language they are answered in")
    add.add_argument("--team", default="", help='with rows = "team" they see each other\'s customers')
    for verb, text, value in (
        ("team", 'put somebody into a team, or several with commas between ("" for none)', "team"),
        ("role", "give somebody another role", "role"),
    ):
        changed = verbs.add_parser(verb, help=text, parents=[shared])
        changed.add_argument("name")
        changed.add_argument(value)
    code = verbs.add_parser("code", help="print a one-time code to be sent to the bot", parents=[shared])
    code.add_argument("name")
    verbs.add_parser("list", help="everybody, with their platform identities", parents=[shared]).add_argument(
        "--json", action="store_true"
    )
    for verb, text in (("disable", "end somebody's access at once"), ("enable", "give it back")):
        verbs.add_parser(verb, help=text, parents=[shared]).add_argument("name")


def _token(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    verbs = sub.add_subparsers(dest="verb", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="make a token and print it, once", parents=[shared])
    add.add_argument("name", help="what it is for: shop, erp")
    add.add_argument("--scopes", required=True, help="customers:read,orders:write, …")
    add.add_argument("--as", dest="staff", required=True, metavar="STAFF", help="the person it acts as")
    verbs.add_parser("list", help="all tokens", parents=[shared]).add_argument("--json", action="store_true")
    verbs.add_parser("revoke", help="end a token at once", parents=[shared]).add_argument("name")


def _import(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("what", choices=["customers", "orders", "events", "articles", "deals", "undo"])
    sub.add_argument("file", help="CSV, JSON, JSON lines or XLSX; for undo the number of the import")
    sub.add_argument("--dry-run", action="store_true", help="report only, change nothing")
    sub.add_argument("--json", action="store_true", help="print the report as JSON")


def _export(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "what", choices=["customers", "orders", "events", "tickets", "messages", "articles", "deals"]
    )
    sub.add_argument("--as", dest="name", default="", metavar="NAME", help="only what that person may see")
    sub.add_argument(
        "--where", default="", metavar="SEGMENT", help="of customers only these: country:DE spent>1000"
    )
    sub.add_argument("--format", choices=["csv", "json", "jsonl", "xlsx"], default="csv")


def _json(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true")


def _ask(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("text")
    sub.add_argument("--lang", default=None)
    sub.add_argument("--json", action="store_true")


def _command(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("text")
    sub.add_argument("--as", dest="name", required=True, metavar="NAME", help="the staff member who asks")
    sub.add_argument("--yes", action="store_true", help="confirm what asks for a second confirmation")
    sub.add_argument("--json", action="store_true")


def _email(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    verbs = sub.add_subparsers(dest="verb", metavar="VERB", required=True)
    parse = verbs.add_parser("parse", help="how message files are understood", parents=[shared])
    parse.add_argument("files", nargs="+", metavar="FILE")
    parse.add_argument("--json", action="store_true", help="one JSON document a line, in order")


def _dump(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true")


def _train(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("--report", action="store_true", help="held-out accuracy, coverage and error rate")
    sub.add_argument("--json", action="store_true")


def _shelf(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    verbs = sub.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="what is there, and why", parents=[shared]).add_argument(
        "--json", action="store_true"
    )
    for verb, text in (
        ("show", "one entry with its raw message"),
        ("retry", "try again"),
        ("discard", "give up on it for good"),
    ):
        verbs.add_parser(verb, help=text, parents=[shared]).add_argument(
            "id", help="in:ID, out:ID or hook:ID"
        )


def _erase(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("who", help="an address, a phone number, an order, a name, or C12 by number")
    sub.add_argument("--yes", action="store_true", help="do not ask at the terminal")
    sub.add_argument("--json", action="store_true")


def _takeout(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("who", help="an address, a phone number, an order, a name, or C12 by number")
    sub.add_argument(
        "--to", default="", metavar="PATH", help="a directory, or a file ending in .zip; else JSON is printed"
    )
    sub.add_argument("--json", action="store_true", help="print the document, without files")


def _rekey(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("new", help="env:NAME, the environment's variable that holds the new key")


def _retention(sub: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    sub.add_argument("--preview", action="store_true", help="only say what is past its time")
    sub.add_argument("--json", action="store_true")


COMMANDS: dict[str, tuple[str, Configure, Run]] = {
    "demo": ("try everything, with no token and no configuration", _demo, _late("demo", "demo")),
    "init": ("write a commented wellheard.toml", _init, _late("setup", "init")),
    "run": ("run the service; SIGTERM drains", _nothing, _late("setup", "run")),
    "doctor": ("check every configured piece for real", _nothing, _late("setup", "doctor")),
    "migrate": ("bring the database's schema up to date", _nothing, _late("setup", "migrate")),
    "backup": (
        "write everything into one file, while running",
        _file("the backup to write"),
        _late("setup", "backup"),
    ),
    "restore": ("read a backup into an empty store", _file("the backup to read"), _late("setup", "restore")),
    "staff": ("people: add, code, list, team, role, disable, enable", _staff, _late("people", "staff")),
    "token": ("tokens of other systems for the API: add, list, revoke", _token, _late("tokens", "token")),
    "import": (
        "bring in customers, orders, events, articles or deals; undo an import",
        _import,
        _late("exchange", "import_"),
    ),
    "imports": ("the latest imports, and how far each has come", _json, _late("exchange", "imports")),
    "quality": ("how good the customers' data is", _json, _late("exchange", "quality")),
    "export": ("write data to standard output", _export, _late("exchange", "export")),
    "ask": ("what the bot would answer, and why", _ask, _late("look", "ask")),
    "command": ("run a staff command as somebody", _command, _late("look", "command")),
    "email": ("how mail is understood", _email, _late("look", "email")),
    "dump": ("all tickets and messages, what is pending and shelved", _dump, _late("look", "dump")),
    "shelf": ("what could not be processed or delivered", _shelf, _late("look", "shelf")),
    "erase": ("forget a customer for good", _erase, _late("privacy", "erase")),
    "takeout": ("everything held on a customer", _takeout, _late("privacy", "takeout")),
    "scrub": ("leave nothing of what was deleted in the database file", _nothing, _late("privacy", "scrub")),
    "key": ("print a new key for privacy.key", _nothing, _late("sealing", "key")),
    "seal": (
        "seal contact data with privacy.key; the service is stopped",
        _nothing,
        _late("sealing", "seal"),
    ),
    "unseal": ("open it again, to go on without a key", _nothing, _late("sealing", "unseal")),
    "rekey": ("seal it with another key", _rekey, _late("sealing", "rekey")),
    "retention": ("forget what is past the configured time", _retention, _late("privacy", "retention")),
    "train": (
        "build the answers from the articles, and say how good they are",
        _train,
        _late("train", "train"),
    ),
    "slack-manifest": ("the app manifest to paste into Slack", _nothing, _late("setup", "slack_manifest")),
}
