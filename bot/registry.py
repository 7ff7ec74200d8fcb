"""Which staff commands there are: every module of bot/commands, by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from channels.rich import Reply

PACKAGE = "bot.commands"
_REGISTRY: dict[str, Command] = {}


@dataclass(frozen=True, slots=True)
class Command:
    """A staff command: who may use it unless the configuration says otherwise, and how it is run."""

    name: str
    roles: frozenset[str]
    run: Callable[..., Reply]  # with an Ask: see bot/commands
    reads: bool
    confirms: bool = False


def add(command: Command) -> None:
    _REGISTRY[command.name] = command


@cache
def everything() -> dict[str, Command]:
    """All commands by name, after importing every module of the package."""
    for module in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{PACKAGE}.{module.name}")
    return dict(sorted(_REGISTRY.items()))
