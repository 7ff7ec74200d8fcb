"""A reply in neutral blocks. Each channel renders them; what it cannot show degrades in words."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeAlias, assert_never, cast


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, never markup. `quote` sets it off as somebody's words, `small` as an aside."""

    text: str
    quote: bool = False
    small: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True)
class Fields:
    """Label and value pairs."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture; `alt` says in words what it shows."""

    alt: str
    content: bytes = field(default=b"", repr=False)
    content_type: str = "image/png"
    filename: str = "image.png"
    blob: str = ""  # sha256 of stored content, filled in before sending


@dataclass(frozen=True, slots=True)
class File:
    """A file to pass on. In the store it travels as `blob` (sha256) or as `ref` of channel `source`."""

    filename: str
    content_type: str = "application/octet-stream"
    content: bytes = field(default=b"", repr=False)
    blob: str = ""
    ref: str = ""
    source: str = ""  # channel the ref belongs to
    kind: str = "file"
    attachment_id: int = 0


@dataclass(frozen=True, slots=True)
class Button:
    """`action` (at most 60 bytes of ASCII) comes back as Inbound.action; or `url` opens a page."""

    label: str
    action: str = ""
    url: str = ""
    style: str = ""  # "" | primary | danger


@dataclass(frozen=True, slots=True)
class Buttons:
    buttons: tuple[Button, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """One field of a form; with `options` a choice of (value, label)."""

    name: str
    label: str
    value: str = ""
    multiline: bool = False
    required: bool = True
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """A dialogue (Slack modal, web form). Submitted, it comes back as Inbound.action with values."""

    title: str
    action: str
    submit: str
    inputs: tuple[Input, ...]
    intro: str = ""


Block: TypeAlias = Text | Heading | Fields | Table | Image | File | Buttons | Form
BLOCKS: dict[str, type[Any]] = {
    c.__name__: c for c in (Text, Heading, Fields, Table, Image, File, Buttons, Form, Button, Input)
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: blocks in reading order."""

    blocks: tuple[Block, ...] = ()

    @classmethod
    def of(cls, *parts: Block | str) -> Reply:
        """Build a reply; plain strings become Text, empty ones are left out."""
        return cls(tuple(Text(p) if isinstance(p, str) else p for p in parts if p != ""))

    def buttons(self) -> tuple[Button, ...]:
        """All buttons, in order: the numbers a person may type where buttons can't be shown."""
        return tuple(b for block in self.blocks if isinstance(block, Buttons) for b in block.buttons)


def to_text(reply: Reply, *, numbered_buttons: bool = True) -> str:
    """Render as plain text: tables aligned, buttons as numbered lines, pictures as their alt text.

    >>> to_text(Reply.of(Heading("Orders"), Fields((("Total", "3"),))))
    'Orders\\n\\nTotal: 3'
    """
    parts: list[str] = []
    number = 0
    for block in reply.blocks:
        match block:
            case Text():
                text = block.text
                parts.append("\n".join(f"> {line}" for line in text.splitlines()) if block.quote else text)
            case Heading():
                parts.append(block.text)
            case Fields():
                parts.append("\n".join(f"{labelled(label)}{value}" for label, value in block.pairs))
            case Table():
                parts.append(_table_text(block))
            case Image():
                parts.append(f"[{block.alt}]")
            case File():
                parts.append(f"[{block.filename}]")
            case Buttons():
                lines = []
                for button in block.buttons:
                    number += 1
                    label = f"{button.label}: {button.url}" if button.url else button.label
                    lines.append(f"{number}. {label}" if numbered_buttons or button.url else "")
                parts.append("\n".join(line for line in lines if line))
            case Form():
                lines = [block.title, block.intro] if block.intro else [block.title]
                parts.append("\n".join([*lines, *(f"{i.label}: {i.value}" for i in block.inputs)]))
            case _:
                assert_never(block)
    return "\n\n".join(p for p in parts if p)


def labelled(label: str) -> str:
    """A label with its colon as its script writes it: "Status: ", "状态：".

    >>> labelled("状态") + "新建"
    '状态：新建'
    """
    wide = bool(label) and unicodedata.east_asian_width(label[-1]) in "WF"
    return f"{label}：" if wide else f"{label}: "


def table_lines(table: Table) -> list[str]:
    """A table as aligned lines for a fixed-width font; East Asian wide characters count two columns."""
    rows = [table.header, *table.rows] if any(table.header) else list(table.rows)
    if not rows:
        return []
    count = max(len(r) for r in rows)
    cells = [[c.replace("\n", " ") for c in r] + [""] * (count - len(r)) for r in rows]
    widths = [max(width(r[i]) for r in cells) for i in range(count)]
    return [
        "  ".join(c + " " * (w - width(c)) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells
    ]


def _table_text(table: Table) -> str:
    return "\n".join(table_lines(table))


def width(text: str) -> int:
    """Columns a text takes in a fixed-width font."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def dump(reply: Reply) -> str:
    """Serialise to JSON; `load` is its inverse."""
    return _encode(reply.blocks)


def load(text: str) -> Reply:
    """Read what `dump` wrote. Raise ValueError on anything else."""
    try:
        return Reply(tuple(_value(b) for b in json.loads(text)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a dumped reply") from error


@cache
def _fields(cls: type[Any]) -> tuple[tuple[str, Any], ...]:
    """The fields of a block with their defaults."""
    return tuple((f.name, f.default) for f in fields(cls)) if is_dataclass(cls) else ()


def _plain(value: object) -> Any:
    """What JSON has no form for: a block as its name and the fields that say more than their defaults."""
    if isinstance(value, bytes):
        return {"_": "bytes", "b": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Sequence):
        return list(value)
    known = _fields(cast(Hashable, type(value)))
    if not known:
        raise TypeError(f"a block cannot hold {type(value).__name__}")
    out: dict[str, Any] = {"_": type(value).__name__}
    for name, default in known:
        item = getattr(value, name)
        if item != default:
            out[name] = item
    return out


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        if value["_"] == "bytes":
            return base64.b64decode(value["b"])
        cls = BLOCKS[value["_"]]
        return cls(**{k: _value(v) for k, v in value.items() if k != "_"})
    if isinstance(value, list):
        return tuple(_value(v) for v in value)
    return value
