"""The command line. Exit 0 when it did what it says, 1 when the world said no, 2 for wrong usage."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from bot.cli import COMMANDS


def parser() -> argparse.ArgumentParser:
    """All commands; `--config F` is taken before and after a command's own arguments."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="the configuration file")
    top = argparse.ArgumentParser(
        prog="wellheard", description="A CRM that lives in the conversation.", parents=[shared]
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (help_text, configure, _) in COMMANDS.items():
        sub = commands.add_parser(name, help=help_text, description=help_text, parents=[shared])
        configure(sub, shared)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; say in one sentence on stderr what went wrong."""
    for stream in (sys.stdout, sys.stderr):  # mail may hold what no encoding can write
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    arguments = parser().parse_args(argv)
    arguments.config = getattr(arguments, "config", None)
    from bot.cli import CommandFailed

    try:
        code: int | None = COMMANDS[arguments.command][2](arguments)
    except CommandFailed as error:
        print(f"wellheard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
