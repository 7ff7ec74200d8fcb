"""Columns that hold who customers are, how they are reached and what was said: sealed where there is a key.

Each names itself as its label: what is sealed for one column does not open in another. `fresh` columns are
only read, the others are looked up as well. `clear` says which values tell nothing and stay as they are,
`lead` which beginnings do, so that SQL can look at them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import JSON, Dialect, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import operators

from crm_store import sealing

EVENT = (
    "event"  # platforms' ids of messages, which many of them make of the sender's; compared between tables
)
Process = Callable[[Any], Any]
_EQUAL = {operators.eq, operators.ne, operators.in_op, operators.not_in_op, operators.is_, operators.is_not}


def _same(values: Any) -> Any:
    return values


class Sealed(TypeDecorator[str]):
    """A text that is looked up: by equality alone where there is a key."""

    impl = String
    cache_ok = True
    fresh = False

    def __init__(self, label: str, clear: str = "", lead: str = "") -> None:
        super().__init__()
        self.label = label
        self.clear = clear
        self.lead = lead

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """What is compared for being equal is sealed as the column is; a pattern cannot be."""
        return self if op in _EQUAL else self.impl_instance

    def bind_processor(self, dialect: Dialect) -> Process | None:
        seal = sealing.of(dialect)
        return self.impl_instance.bind_processor(dialect) if seal is None else partial(self.shut, seal)

    def result_processor(self, dialect: Dialect, coltype: object) -> Process | None:
        seal = sealing.of(dialect)
        if seal is None:
            return self.impl_instance.result_processor(dialect, coltype)
        return partial(self.open, seal)

    def shut(self, seal: sealing.Seal, value: Any) -> Any:
        if not value or (self.clear and re.fullmatch(self.clear, value)):
            return value
        begins = _begins(self.lead, value)
        return begins + seal.shut(self.label, value[len(begins) :], fresh=self.fresh)

    def open(self, seal: sealing.Seal, value: Any) -> Any:
        if not value:
            return value
        begins = _begins(self.lead, value)
        return begins + seal.open(self.label, value[len(begins) :], fresh=self.fresh)

    def is_shut(self, value: Any) -> bool:
        """Whether it looks so."""
        return bool(value) and value[len(_begins(self.lead, value)) :].startswith(sealing.MARK)


def _begins(lead: str, value: str) -> str:
    found = re.match(lead, value) if lead else None
    return found[0] if found else ""


class SealedText(Sealed):
    """The same for a column of the type Text."""

    impl = Text
    cache_ok = True


class Fresh(Sealed):
    """A text that is only read: even the same text twice is not seen to be the same."""

    cache_ok = True
    fresh = True

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Looking it up would find nothing where there is a key; so it cannot be asked without one either."""
        if op in _EQUAL and value and not (self.clear and re.fullmatch(self.clear, str(value))):
            raise TypeError(f"{self.label} is only read: it cannot be looked up by what it says")
        return super().coerce_compared_value(op, value)


class FreshText(Fresh):
    impl = Text
    cache_ok = True


class SealedJson(TypeDecorator[Any]):
    """JSON that is only read. Of an object the keys in `open_keys` stay as they are, for SQL to look at."""

    impl = JSON
    cache_ok = True

    def __init__(self, label: str, open_keys: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.label = label
        self.open_keys = open_keys

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(JSONB() if dialect.name == "postgresql" else JSON())

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        return self.impl_instance.coerce_compared_value(op, value)

    def bind_processor(self, dialect: Dialect) -> Process | None:
        plain = self.impl_instance.bind_processor(dialect)
        seal = sealing.of(dialect)
        if seal is None:
            return plain
        return lambda value: (plain or _same)(self.shut(seal, value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Process | None:
        plain = self.impl_instance.result_processor(dialect, coltype)
        seal = sealing.of(dialect)
        if seal is None:
            return plain
        return lambda value: self.open(seal, (plain or _same)(value))

    def shut(self, seal: sealing.Seal, value: Any) -> Any:
        if not value:
            return value
        seen = {k: v for k, v in value.items() if k in self.open_keys} if isinstance(value, dict) else {}
        rest = {k: v for k, v in value.items() if k not in seen} if seen else value
        if not rest:
            return value
        sealed = seal.shut(self.label, json.dumps(rest, ensure_ascii=False), fresh=True)
        return {**seen, sealing.MARK: sealed} if seen else sealed

    def open(self, seal: sealing.Seal, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(sealing.MARK):
            return json.loads(seal.open(self.label, value, fresh=True))
        if isinstance(value, dict) and sealing.MARK in value:
            sealed = json.loads(seal.open(self.label, value[sealing.MARK], fresh=True))
            return {k: v for k, v in value.items() if k != sealing.MARK} | sealed
        return value

    def is_shut(self, value: Any) -> bool:
        if isinstance(value, str):
            return value.startswith(sealing.MARK)
        return isinstance(value, dict) and sealing.MARK in value


class SealedBytes(TypeDecorator[bytes]):
    """Bytes that are only read."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def bind_processor(self, dialect: Dialect) -> Process | None:
        plain = self.impl_instance.bind_processor(dialect) or _same
        seal = sealing.of(dialect)
        return plain if seal is None else lambda value: plain(self.shut(seal, value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Process | None:
        plain = self.impl_instance.result_processor(dialect, coltype)
        seal = sealing.of(dialect)
        return plain if seal is None else lambda value: self.open(seal, (plain or _same)(value))

    def shut(self, seal: sealing.Seal, value: Any) -> Any:
        return seal.shut_bytes(self.label, bytes(value)) if value else value

    def open(self, seal: sealing.Seal, value: Any) -> Any:
        return seal.open_bytes(self.label, bytes(value)) if value else value

    def is_shut(self, value: Any) -> bool:
        return bool(value) and bytes(value).startswith(sealing.RAW_MARK)


BYTES = (LargeBinary, SealedBytes)
