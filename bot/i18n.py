"""Words: every sentence a person sees, by key and language, from bot/words/*.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

DEFAULT = "en"


class UserError(Exception):
    """Something the asker can mend; shown to them in their language."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """All sentences of a language by dotted key."""
    text = resources.files("bot").joinpath("words", f"{language}.toml").read_text("utf-8")
    flat: dict[str, str] = {}

    def walk(prefix: str, table: Mapping[str, Any]) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(f"{prefix}{key}.", value)
            else:
                flat[prefix + key] = value

    walk("", tomllib.loads(text))
    return flat


@cache
def languages() -> tuple[str, ...]:
    """Languages there are words for."""
    names = (p.name for p in resources.files("bot").joinpath("words").iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml")))


def pick(*wanted: str | None, offered: tuple[str, ...] = ()) -> str:
    """The first wanted language we have words for ("zh-Hant-TW" is served by "zh")."""
    have = [code for code in (offered or languages()) if code in languages()] or [DEFAULT]
    for code in wanted:
        if code:
            base = re.split(r"[-_]", code.lower())[0]
            if base in have:
                return base
    return have[0]


def say(key: str, language: str, /, **values: object) -> str:
    """The sentence for a key. A language without words falls back to English; values fill {names}."""
    sentence = catalogue(language if language in languages() else DEFAULT).get(key)
    if sentence is None:
        sentence = catalogue(DEFAULT)[key]
    return sentence.format_map(values) if values else sentence
