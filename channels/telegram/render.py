"""A Reply becomes Telegram messages: text with entities (never parse_mode), keyboards, files."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never
from urllib.parse import urlsplit

from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, MessageEntity

from channels.rich import (
    Button,
    Buttons,
    Fields,
    File,
    Form,
    Heading,
    Image,
    Reply,
    Table,
    Text,
    labelled,
    table_lines,
    width,
)

TEXT_LIMIT = 4096  # sendMessage.text, code points
CAPTION_LIMIT = 1024  # sendPhoto.caption, code points
ENTITY_LIMIT = 100  # entities in one message
ACTION_LIMIT = 64  # callback_data, bytes
BUTTON_LIMIT, KEYBOARD_LIMIT = 100, 9_500  # buttons of one keyboard, and bytes of its JSON: 10 kB are refused
ROW_WIDTH, ROW_BUTTONS = 28, 8  # columns that fit side by side on a phone; Telegram's buttons a row
UPLOAD_LIMIT, PHOTO_LIMIT = 50 << 20, 10 << 20  # bytes
SILENT = "👇"  # the text of a message that has only buttons


@dataclass(frozen=True, slots=True)
class Span:
    """An entity over text[start:end], in code points; Telegram's UTF-16 units are computed at the end."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A text that fits one message."""

    text: str
    spans: tuple[Span, ...] = ()

    def entities(self) -> list[MessageEntity]:
        """The spans as Telegram counts: offsets and lengths in UTF-16 units."""
        at = [0]
        for char in self.text:
            at.append(at[-1] + (2 if ord(char) > 0xFFFF else 1))
        return [
            MessageEntity(type=s.kind, offset=at[s.start], length=at[s.end] - at[s.start])
            for s in self.spans[:ENTITY_LIMIT]
        ]


@dataclass(frozen=True, slots=True)
class Media:
    """A file to send; `method` is photo | document | video | animation | audio | voice."""

    method: str
    filename: str
    content: bytes
    ref: str = ""  # a file_id of ours instead of content
    caption: Piece = Piece("")


@dataclass(frozen=True, slots=True)
class Rendered:
    """Messages in sending order: texts first, then the files; the keyboard belongs to the last text."""

    pieces: tuple[Piece, ...]
    media: tuple[Media, ...]
    keyboard: InlineKeyboardMarkup | None
    force_reply: bool = False


def render(reply: Reply, *, channel: str = "") -> Rendered:
    """Lay a reply out. `channel` is our name: files that came by it go out again by their id."""
    builder = _Builder()
    media: list[Media] = []
    rows: list[list[InlineKeyboardButton]] = []
    force_reply = False
    for block in reply.blocks:
        match block:
            case Text():
                builder.add(block.text, "blockquote" if block.quote else "italic" if block.small else "")
            case Heading():
                builder.add(block.text, "bold")
            case Fields():
                builder.fields(block.pairs)
            case Table():
                builder.add("\n".join(table_lines(block)), "pre", strip=False)
            case Image() | File():
                _add_file(block, builder, media, channel)
            case Buttons():
                rows += _rows(block.buttons, builder, rows)
            case Form():
                force_reply = True
                builder.add(block.title, "bold")
                builder.add(block.intro)
                builder.add("\n".join(_input_line(i.label, i.value, i.options) for i in block.inputs))
            case _:
                assert_never(block)
    whole = builder.piece()
    keyboard = InlineKeyboardMarkup(inline_keyboard=rows) if rows else None
    if len(media) == 1 and len(whole.text) <= CAPTION_LIMIT:
        one = replace(media[0], caption=whole) if whole.text else media[0]
        return Rendered((), (one,), keyboard, force_reply)
    if len(batches(media)) == 1 and whole.text and not keyboard and len(whole.text) <= CAPTION_LIMIT:
        return Rendered((), (replace(media[0], caption=whole), *media[1:]), None, force_reply)
    if not whole.text and keyboard:
        whole = Piece(SILENT)
    return Rendered(tuple(split(whole)), tuple(media), keyboard, force_reply)


def split(piece: Piece, limit: int = TEXT_LIMIT) -> list[Piece]:
    """Cut a text into messages: at a paragraph, a line, a space, in this order, and not inside an entity
    unless the entity is itself too long; then each part keeps its share of it."""
    out: list[Piece] = []
    text, spans = piece.text, piece.spans
    while len(text) > limit:
        cut = _cut(text, spans, limit)
        out.append(_trim(text[:cut], _within(spans, 0, cut)))
        spans = _within(spans, cut, len(text))
        text = text[cut:]
    out.append(_trim(text, spans))
    return [p for p in out if p.text]


def clean(text: str) -> str:
    """A text that can be sent: no lone surrogates, no control characters but tab and line feed."""
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\r\n", "\n")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text.replace("\r", "\n"))


def batches(media: Sequence[Media]) -> list[list[Media]]:
    """Files that may travel together: albums of photos and videos, or of documents, or of audio."""
    out: list[list[Media]] = []
    for one in media:
        together = one.method in ("photo", "video", "document", "audio")
        if out and together and len(out[-1]) < 10 and _family(out[-1][-1]) == _family(one):
            out[-1].append(one)
        else:
            out.append([one])
    return out


def keyboard_without_actions(markup: object) -> InlineKeyboardMarkup | None:
    """What stays of a used keyboard (JSON): the buttons that open pages."""
    rows = markup.get("inline_keyboard") if isinstance(markup, dict) else None
    kept = [
        [
            InlineKeyboardButton(text=b["text"], url=b["url"])
            for b in row
            if isinstance(b, dict) and "url" in b
        ]
        for row in rows or ()
        if isinstance(row, list)
    ]
    kept = [row for row in kept if row]
    return InlineKeyboardMarkup(inline_keyboard=kept) if kept else None


class _Builder:
    """Text that grows block by block, with its spans."""

    def __init__(self) -> None:
        self.text = ""
        self.spans: list[Span] = []

    def add(self, text: str, kind: str = "", *, strip: bool = True) -> None:
        text = clean(text)
        text = text.strip() if strip else text.strip("\n").rstrip()
        if not text.strip():
            return
        start = self._gap()
        self.text += text
        if kind:
            # An entity may neither begin nor end with white space that Telegram would trim.
            lead = len(text) - len(text.lstrip()) if kind != "pre" else 0
            self.spans.append(Span(kind, start + lead, len(self.text)))

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        first = True
        for label, value in pairs:
            label, value = clean(label).strip(), clean(value).strip()
            if not label and not value:
                continue
            start = self._gap() if first else len(self.text) + 1
            self.text += "" if first else "\n"
            first = False
            if label:
                said = labelled(label)
                self.text += said.rstrip()
                self.spans.append(Span("bold", start, len(self.text)))
                self.text += said[len(said.rstrip()) :] if value else ""
            self.text += value

    def piece(self) -> Piece:
        return _trim(self.text, tuple(self.spans))

    def _gap(self) -> int:
        if self.text:
            self.text += "\n\n"
        return len(self.text)


def _add_file(block: Image | File, builder: _Builder, media: list[Media], channel: str) -> None:
    known = isinstance(block, File) and block.source == channel and bool(block.ref) and not block.content
    if not known and (not block.content or len(block.content) > UPLOAD_LIMIT):
        builder.add(f"[{block.alt if isinstance(block, Image) else block.filename}]")
        return
    ref = block.ref if isinstance(block, File) and known else ""
    filename = re.sub(r'[\x00-\x1f\x7f"/\\]', "_", clean(block.filename)) or "file"
    caption = Piece(clean(block.alt).strip()[:CAPTION_LIMIT]) if isinstance(block, Image) else Piece("")
    media.append(Media(_method(block), filename, block.content, ref, caption))


def _method(block: Image | File) -> str:
    kind = "photo" if isinstance(block, Image) else block.kind
    mime = block.content_type.lower()
    if (
        kind == "photo"
        and mime in ("image/png", "image/jpeg", "image/webp")
        and (len(block.content) <= PHOTO_LIMIT)
    ):
        return "photo"
    if kind == "voice" and mime != "audio/ogg":
        kind = "audio"  # Telegram's voice messages are Ogg only
    fits = {"video": "video/mp4", "animation": "video/mp4 image/gif", "voice": "audio/ogg"}
    fits |= {"audio": "audio/mpeg audio/mp4 audio/x-m4a audio/m4a audio/mp3"}
    return kind if mime in fits.get(kind, "").split() else "document"


def _rows(
    buttons: Iterable[Button], builder: _Builder, above: list[list[InlineKeyboardButton]]
) -> list[list[InlineKeyboardButton]]:
    """Buttons side by side as far as their labels fit. What Telegram would refuse, by itself or with those
    above, becomes a line of text."""
    rows: list[list[InlineKeyboardButton]] = []
    used, before = ROW_WIDTH, [one for row in above for one in row]
    taken, size = len(before), sum(map(_size, before))
    for button in buttons:
        label = clean(button.label).strip()
        made = _button(label, button) if taken < BUTTON_LIMIT else None
        if made is not None and size + _size(made) > KEYBOARD_LIMIT:
            made = None
        if made is None:
            builder.add(f"{label}: {button.url}" if button.url else label)
            continue
        needs = width(label) + 3
        if used + needs > ROW_WIDTH or len(rows[-1]) >= ROW_BUTTONS:
            rows.append([])
            used = 0
        rows[-1].append(made)
        used, taken, size = used + needs, taken + 1, size + _size(made)
    return rows


def _size(button: InlineKeyboardButton) -> int:
    """Bytes of it in a keyboard's JSON."""
    return len(json.dumps([button.text, button.callback_data, button.url], ensure_ascii=False).encode()) + 30


def _button(label: str, button: Button) -> InlineKeyboardButton | None:
    if not label:
        return None
    if button.url:
        url = urlsplit(button.url)
        fine = url.scheme in ("http", "https") and "." in url.netloc
        return InlineKeyboardButton(text=label, url=button.url) if fine else None
    if 1 <= len(button.action.encode()) <= ACTION_LIMIT:
        return InlineKeyboardButton(text=label, callback_data=button.action)
    return None


def _input_line(label: str, value: str, options: Sequence[tuple[str, str]]) -> str:
    choice = " / ".join(text for _, text in options)
    return f"{label}: {choice or value}".rstrip(": ")


def _family(one: Media) -> str:
    return {"photo": "seen", "video": "seen"}.get(one.method, one.method)


def _cut(text: str, spans: Sequence[Span], limit: int) -> int:
    """Where to end a message: the best border outside every entity, else the best there is."""
    inside = [s for s in spans if s.end - s.start <= limit]
    borders = ("\n\n", "\n", " ")
    for allowed, low in ((True, limit // 2), (True, limit // 8), (False, limit // 2), (False, 1)):
        for border in borders:
            end = limit
            while (at := text.rfind(border, low, end)) > 0:
                if not allowed or not any(s.start < at + 1 < s.end for s in spans):
                    return at + len(border)
                end = at
        if allowed:
            starts = [s.start for s in inside if low <= s.start <= limit < s.end]
            if starts and low == limit // 2:
                return min(starts)
    cut = limit
    while cut > limit - 40 and _joins(text, cut):
        cut -= 1
    return cut if cut > limit - 40 else limit


def _joins(text: str, at: int) -> bool:
    """Whether cutting here would tear one visible character apart."""
    if not 0 < at < len(text):
        return False
    here, before = text[at], text[at - 1]
    return bool(
        unicodedata.combining(here)
        or here in "\u200d\ufe0f\ufe0e"
        or before == "\u200d"
        or 0x1F3FB <= ord(here) <= 0x1F3FF
        or (0x1F1E6 <= ord(here) <= 0x1F1FF and 0x1F1E6 <= ord(before) <= 0x1F1FF)
    )


def _within(spans: Sequence[Span], start: int, end: int) -> tuple[Span, ...]:
    """The parts of spans that lie in [start, end), counted from start."""
    cut = (replace(s, start=max(s.start, start) - start, end=min(s.end, end) - start) for s in spans)
    return tuple(s for s in cut if s.start < s.end)


def _trim(text: str, spans: tuple[Span, ...]) -> Piece:
    """Without outer white space: Telegram trims it, and the offsets would be wrong then."""
    lead = len(text) - len(text.lstrip())
    body = text.strip()
    shifted = _within(tuple(replace(s, start=s.start, end=s.end) for s in spans), lead, lead + len(body))
    return Piece(body, tuple(_tight(body, s) for s in shifted if body[s.start : s.end].strip()))


def _tight(text: str, span: Span) -> Span:
    inner = text[span.start : span.end]
    return replace(span, end=span.end - (len(inner) - len(inner.rstrip())))
