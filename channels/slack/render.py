"""A Reply as Block Kit, within Slack's limits and with everybody's words as literal text.

Words go into rich_text and plain_text, which know no markup: `*bold*`, `<!channel>` and `:smile:` are shown
as they were written. https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from channels.conversation import Address
from channels.rich import (
    Button,
    Buttons,
    Fields,
    File,
    Form,
    Heading,
    Image,
    Input,
    Reply,
    Table,
    Text,
    table_lines,
    to_text,
)
from channels.slack.text import escape

BLOCKS_LIMIT = 50  # message; 100 in views
VIEW_BLOCKS_LIMIT = 100
HEADER_LIMIT = 150
FIELDS_LIMIT = 10
FIELD_LIMIT = 2000
CONTEXT_LIMIT = 2000
ELEMENTS_LIMIT = 25  # in one actions block
LABEL_LIMIT = 75
VALUE_LIMIT = 2000
URL_LIMIT = 3000
TITLE_LIMIT = 24  # of a modal, and of its buttons
METADATA_LIMIT = 3000  # private_metadata
INPUT_LIMIT = 3000
OPTIONS_LIMIT = 100
OPTION_VALUE_LIMIT = 150
FOLD_AT = 2500  # of one text; the whole of it follows as a file
TOTAL_LIMIT = 12_000  # Slack refuses 13,200 in one message with msg_blocks_too_long
FALLBACK_LIMIT = 700  # `text` beside blocks, for notifications; escaped it stays under chat.update's 4,000
LINK = re.compile(r"https?://\w[^\s<>\"'`|{}\\^\u3000-\u303f\uff00-\uffef]*")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that goes with the message."""

    filename: str
    content: bytes = field(repr=False)
    alt: str = ""
    folded: bool = False  # the whole of a text of which the message shows the beginning


@dataclass(slots=True)
class Rendered:
    blocks: list[Json] = field(default_factory=list)
    text: str = ""
    uploads: list[Upload] = field(default_factory=list)


def message(reply: Reply) -> Rendered:
    """Render a reply for chat.postMessage; what is too long is folded into a file."""
    out = Rendered()
    _blocks(reply, out)
    said = Reply(tuple(b for b in reply.blocks if not isinstance(b, Image | File)))
    whole = to_text(said, numbered_buttons=False)
    if len(out.blocks) > BLOCKS_LIMIT or _size(out.blocks) > TOTAL_LIMIT:
        out = Rendered(uploads=[u for u in out.uploads if not u.folded])
        rows = [b for b in reply.blocks if isinstance(b, Buttons)]
        _blocks(Reply((Text(whole), *rows)), out)
        out.blocks = out.blocks[:BLOCKS_LIMIT]
    out.text = escape(cut(whole, FALLBACK_LIMIT)) if out.blocks else ""
    return out


def plainly(reply: Reply) -> Rendered:
    """Render as one plain paragraph and the buttons: for when Slack refuses the better layout."""
    said = Reply(tuple(b for b in reply.blocks if not isinstance(b, Image | File)))
    whole = to_text(said, numbered_buttons=False)
    rows, _ = _buttons([b for b in reply.buttons() if not b.url], 0)
    blocks = [{"type": "section", "text": _plain(cut(whole, FOLD_AT), FOLD_AT)}, *rows]
    return Rendered(blocks[:BLOCKS_LIMIT], escape(cut(whole, FALLBACK_LIMIT)))


def view(form: Form, address: Address) -> Json:
    """Render a form for views.open. Address and action travel in private_metadata."""
    metadata = json.dumps({"room": address.room_id, "thread": address.thread_id, "action": form.action})
    if len(metadata) > METADATA_LIMIT:
        raise ValueError("the form's action is too long")
    blocks: list[Json] = []
    if form.intro:
        blocks.append(_rich([_section(cut(form.intro, FOLD_AT))]))
    blocks += [_input(i, n) for n, i in enumerate(form.inputs)]
    return {
        "type": "modal",
        "callback_id": form.action[:255],
        "private_metadata": metadata,
        "title": _plain(form.title, TITLE_LIMIT),
        "submit": _plain(form.submit, TITLE_LIMIT),
        "blocks": blocks[:VIEW_BLOCKS_LIMIT],
    }


def home(reply: Reply) -> Json:
    """Render a reply for views.publish: App Home. Files cannot be shown there."""
    out = Rendered()
    _blocks(reply, out)
    return {"type": "home", "blocks": out.blocks[:VIEW_BLOCKS_LIMIT]}


def _blocks(reply: Reply, out: Rendered) -> None:
    number = 0
    for block in reply.blocks:
        match block:
            case Text():
                _text(block, out)
            case Heading():
                _heading(block.text, out)
            case Fields():
                out.blocks += _fields(block)
            case Table():
                _table(block, out)
            case Image():
                if block.content:
                    out.uploads.append(Upload(block.filename, block.content, block.alt))
                else:
                    _text(Text(f"[{block.alt}]"), out)
            case File():
                if block.content:
                    out.uploads.append(Upload(block.filename, block.content))
                else:
                    _text(Text(f"[{block.filename}]"), out)
            case Buttons():
                rows, number = _buttons(block.buttons, number)
                out.blocks += rows
            case Form():
                _text(Text(to_text(Reply((block,)))), out)
            case _:
                assert_never(block)


def _text(block: Text, out: Rendered) -> None:
    if not block.text.strip():
        return
    text = _folded(block.text, out)
    if block.small and len(text) <= CONTEXT_LIMIT:
        out.blocks.append({"type": "context", "elements": [_plain(text, CONTEXT_LIMIT)]})
        return
    kind = "rich_text_quote" if block.quote else "rich_text_section"
    out.blocks.append(_rich([{"type": kind, "elements": _inline(text)}]))


def _heading(text: str, out: Rendered) -> None:
    if len(text) <= HEADER_LIMIT and text.strip():
        out.blocks.append({"type": "header", "text": _plain(" ".join(text.split()), HEADER_LIMIT)})
    elif text.strip():
        bold = {"type": "text", "text": _folded(text, out), "style": {"bold": True}}
        out.blocks.append(_rich([{"type": "rich_text_section", "elements": [bold]}]))


def _fields(block: Fields) -> list[Json]:
    """Two columns, the labels left; a value too long for a field becomes a paragraph of its own."""
    found: list[Json] = []
    row: list[Json] = []
    for label, value in block.pairs:
        row += [_plain(label, FIELD_LIMIT), _plain(value, FIELD_LIMIT)]
        if len(row) == FIELDS_LIMIT:
            found.append({"type": "section", "fields": row})
            row = []
    if row:
        found.append({"type": "section", "fields": row})
    return found


def _table(block: Table, out: Rendered) -> None:
    text = "\n".join(table_lines(block))
    if not text.strip():
        return
    shown = text
    if len(text) > FOLD_AT:
        shown = text[:FOLD_AT].rpartition("\n")[0] or text[:FOLD_AT]
        shown += "\n…"
        out.uploads.append(Upload(_file_name(out), text.encode(), folded=True))
    words = {"type": "text", "text": shown}
    out.blocks.append(_rich([{"type": "rich_text_preformatted", "elements": [words]}]))


def _buttons(buttons: Sequence[Button], number: int) -> tuple[list[Json], int]:
    elements: list[Json] = []
    for button in buttons:
        number += 1
        element: Json = {
            "type": "button",
            "text": _plain(button.label, LABEL_LIMIT),
            "action_id": f"b{number}",
        }
        if button.url:
            if not LINK.match(button.url) or len(button.url) > URL_LIMIT:
                continue
            element["url"] = button.url
        else:
            element["value"] = button.action[:VALUE_LIMIT]
        if button.style in ("primary", "danger"):
            element["style"] = button.style
        elements.append(element)
    rows = range(0, len(elements), ELEMENTS_LIMIT)
    return [{"type": "actions", "elements": elements[i : i + ELEMENTS_LIMIT]} for i in rows], number


def _input(entry: Input, number: int) -> Json:
    element: Json = {"action_id": entry.name[:255] or f"input{number}"}
    if entry.options:
        element["type"] = "static_select"
        element["options"] = [
            {"text": _plain(label or value, LABEL_LIMIT), "value": value[:OPTION_VALUE_LIMIT]}
            for value, label in entry.options[:OPTIONS_LIMIT]
        ]
        chosen = [o for o in element["options"] if entry.value and o["value"] == entry.value]
        if chosen:
            element["initial_option"] = chosen[0]
    else:
        element |= {"type": "plain_text_input", "multiline": entry.multiline, "max_length": INPUT_LIMIT}
        if entry.value:
            element["initial_value"] = entry.value[:INPUT_LIMIT]
    return {
        "type": "input",
        "block_id": f"i{number}",
        "label": _plain(entry.label, FIELD_LIMIT),
        "element": element,
        "optional": not entry.required,
    }


def _folded(text: str, out: Rendered) -> str:
    if len(text) <= FOLD_AT:
        return text
    out.uploads.append(Upload(_file_name(out), text.encode(), folded=True))
    return cut(text, FOLD_AT)


def _file_name(out: Rendered) -> str:
    taken = sum(u.folded for u in out.uploads)
    return f"message-{taken + 1}.txt" if taken else "message.txt"


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, on a line or word border where one is near."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    for border in ("\n", " "):
        at = head.rfind(border)
        if at > limit * 3 // 4:
            head = head[:at]
            break
    return head.rstrip() + "…"


def _inline(text: str) -> list[Json]:
    """Literal text; bare addresses become links that show themselves."""
    nodes: list[Json] = []
    end = 0
    for match in LINK.finditer(text):
        url = match.group().rstrip(".,;:!?)]")
        if match.start() > end:
            nodes.append({"type": "text", "text": text[end : match.start()]})
        nodes.append({"type": "link", "url": url})
        end = match.start() + len(url)
    if end < len(text):
        nodes.append({"type": "text", "text": text[end:]})
    return nodes


def _section(text: str) -> Json:
    return {"type": "rich_text_section", "elements": _inline(text)}


def _rich(elements: list[Json]) -> Json:
    return {"type": "rich_text", "elements": elements}


def _plain(text: str, limit: int) -> Json:
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return {"type": "plain_text", "text": text or "\u2013", "emoji": False}


def _size(blocks: Sequence[Json]) -> int:
    return sum(len(json.dumps(b, ensure_ascii=False)) for b in blocks)
