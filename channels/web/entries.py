"""Entries of a room's log: how a reply is written into it and what a browser gets to see of it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from channels import rich
from channels.base import Journal
from channels.web.tokens import FileRef, file_token

FILE_LIMIT = 32 * 1024 * 1024  # bytes of one file kept in a log
FILE_DAYS = 2  # how long the address of a file works; a page gets a new one whenever it is opened

Plain = dict[str, Any]


async def blocks(journal: Journal, reply: rich.Reply) -> list[Plain]:
    """Turn a reply into what the pages draw; the bytes of its files are put into the journal."""
    return [await _block(journal, block) for block in reply.blocks]


async def _block(journal: Journal, block: rich.Block) -> Plain:
    match block:
        case rich.Text():
            plain: Plain = {"b": "text", "text": block.text}
            return plain | ({"quote": True} if block.quote else {}) | ({"small": True} if block.small else {})
        case rich.Heading():
            return {"b": "heading", "text": block.text}
        case rich.Fields():
            return {"b": "fields", "pairs": [list(pair) for pair in block.pairs]}
        case rich.Table():
            return {"b": "table", "header": list(block.header), "rows": [list(row) for row in block.rows]}
        case rich.Image():
            kept = await keep_file(journal, block.filename, block.content_type, block.content)
            return kept | {"b": "image", "alt": block.alt}
        case rich.File():
            kept = await keep_file(journal, block.filename, block.content_type, block.content)
            picture = block.content_type in SHOWN and "sha" in kept
            return kept | ({"b": "image", "alt": block.filename} if picture else {"b": "file"})
        case rich.Buttons():
            return {"b": "buttons", "buttons": [_button(button) for button in block.buttons]}
        case rich.Form():
            return {
                "b": "form",
                "title": block.title,
                "action": block.action,
                "submit": block.submit,
                "intro": block.intro,
                "inputs": [
                    {
                        "name": i.name,
                        "label": i.label,
                        "value": i.value,
                        "multiline": i.multiline,
                        "required": i.required,
                        "options": [list(option) for option in i.options],
                    }
                    for i in block.inputs
                ],
            }
        case _:
            assert_never(block)


def _button(button: rich.Button) -> Plain:
    plain = {"label": button.label, "action": button.action, "url": button.url, "style": button.style}
    return {key: value for key, value in plain.items() if value}


SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})  # what a browser shows in place


async def keep_file(journal: Journal, filename: str, content_type: str, content: bytes) -> Plain:
    """Put a file into the journal, once per content, and return how an entry names it."""
    plain: Plain = {"name": filename, "type": content_type, "size": len(content)}
    if not content or len(content) > FILE_LIMIT:
        return plain
    sha = hashlib.sha256(content).hexdigest()
    body = json.dumps({"data": base64.b64encode(content).decode("ascii")})
    await journal.append(f"file:{sha}", sha, body)
    return plain | {"sha": sha}


async def file_content(journal: Journal, sha: str) -> bytes | None:
    """The bytes of a kept file, None when they are gone."""
    for _, body in await journal.since(f"file:{sha}", 0, 1):
        return base64.b64decode(json.loads(body)["data"])
    return None


def text_blocks(text: str) -> list[Plain]:
    return [{"b": "text", "text": text}] if text else []


def visible(
    room: str, number: int, body: str, *, secret: bytes, channel: str, files: str, now: float
) -> Plain | None:
    """An entry as the page gets it: with its id, and with addresses for its files under `files`."""
    try:
        entry = json.loads(body)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    day = 86_400
    until = (int(now) // day + FILE_DAYS) * day  # the same all day: browsers can cache
    shown = []
    for block in entry.get("blocks") or ():
        if isinstance(block, Mapping) and "sha" in block:
            ref = FileRef(block["sha"], block.get("name") or "file", block.get("type") or "", until)
            address = f"{files}/{file_token(secret, channel, ref)}"
            block = {key: value for key, value in block.items() if key != "sha"} | {"url": address}
        shown.append(block)
    out = {**entry, "n": number, "id": entry.get("event") or f"{room}:{number}"}
    if shown:
        out["blocks"] = shown
    return out


def dumped(entry: Mapping[str, Any] | Sequence[Any]) -> str:
    """JSON for the journal and the wire."""
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))


def loaded(text: str) -> Any:
    return json.loads(text)
