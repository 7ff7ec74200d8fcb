"""Blocks to the two bodies of a mail: plain text and quiet HTML that every mail program shows alike."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import assert_never

from channels.rich import (
    Block,
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
    to_text,
)

_URL = re.compile(r"https?://[^\s<>\"'\u3000-\u303f\uff00-\uffef]+")
_SAFE_LINK = re.compile(r"(https?|mailto):[^\s\x00-\x20<>\"]+\Z", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]")

_FONT = (
    "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,'Helvetica Neue',Arial,"
    "'PingFang SC','Microsoft YaHei','Noto Sans CJK SC',sans-serif"
)
_BODY = f"margin:0;padding:24px 16px;background:#ffffff;color:#1f2933;font-size:15px;line-height:1.55;{_FONT}"
_PARAGRAPH = "margin:0 0 14px 0"
_SMALL = "margin:0 0 14px 0;font-size:13px;color:#616e7c"
_QUOTE = "margin:0 0 14px 0;padding:2px 0 2px 14px;border-left:3px solid #cbd2d9;color:#52606d"
_HEADING = "margin:22px 0 10px 0;font-size:17px;line-height:1.35;font-weight:600;color:#102a43"
_LABEL = "padding:4px 18px 4px 0;vertical-align:top;color:#616e7c;white-space:nowrap"
_VALUE = "padding:4px 0;vertical-align:top"
_TH = "padding:7px 12px;text-align:left;border-bottom:2px solid #cbd2d9;font-weight:600;color:#52606d"
_TD = "padding:7px 12px;text-align:left;border-bottom:1px solid #e4e7eb;vertical-align:top"
_BUTTON = (
    "display:inline-block;margin:0 8px 8px 0;padding:9px 18px;border-radius:6px;text-decoration:none;"
    "font-weight:600;font-size:14px"
)
_COLOURS = {
    "primary": "background:#1f6feb;color:#ffffff",
    "danger": "background:#c62828;color:#ffffff",
    "": "background:#edf2f7;color:#243b53",
}


def text_body(reply: Reply, marker: str = "") -> str:
    """Render as plain text. Buttons that need an app are left out: nobody can press them in a mail."""
    blocks: list[Block] = []
    for block in reply.blocks:
        match block:
            case Buttons():
                lines = [f"{b.label}: {b.url}" for b in block.buttons if _is_link(b)]
                if lines:
                    blocks.append(Text("\n".join(lines)))
            case File() | Form():
                continue  # a file travels as a part of its own
            case _:
                blocks.append(block)
    text = _CONTROL.sub("", to_text(Reply(tuple(blocks)))).strip()
    return "\n\n".join(part for part in (text, marker) if part) + "\n"


def html_body(reply: Reply, pictures: Mapping[int, str], marker: str = "") -> str:
    """Render as HTML with inline styles, everything escaped. `pictures` gives the Content-ID of the
    block at that place in the reply."""
    parts = [_block(block, pictures.get(place, "")) for place, block in enumerate(reply.blocks)]
    if marker:
        parts.append(f'<p style="margin:18px 0 0 0;font-size:10px;color:#9aa5b1">{_escape(marker)}</p>')
    inner = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light"></head>\n'
        f'<body style="{_BODY}">\n<div dir="auto" style="max-width:640px">\n{inner}\n</div>\n</body></html>\n'
    )


def _block(block: Block, content_id: str) -> str:
    match block:
        case Text():
            if block.quote:
                return f'<blockquote style="{_QUOTE}">{_lines(block.text)}</blockquote>'
            style = _SMALL if block.small else _PARAGRAPH
            paragraphs = re.split(r"\n[ \t]*\n", _CONTROL.sub("", block.text).strip("\n"))
            return "\n".join(f'<p dir="auto" style="{style}">{_lines(p)}</p>' for p in paragraphs)
        case Heading():
            return f'<h2 dir="auto" style="{_HEADING}">{_lines(block.text)}</h2>'
        case Fields():
            rows = "".join(
                f'<tr><td style="{_LABEL}">{_escape(label)}</td>'
                f'<td style="{_VALUE}">{_lines(value)}</td></tr>'
                for label, value in block.pairs
            )
            attributes = f'role="presentation" cellpadding="0" cellspacing="0" style="{_PARAGRAPH}"'
            return f"<table {attributes}>{rows}</table>"
        case Table():
            return _table(block)
        case Image():
            if not content_id:
                return f'<p style="{_SMALL}">[{_escape(block.alt)}]</p>'
            style = "max-width:100%;height:auto;border:0;border-radius:4px"
            picture = f'<img src="cid:{_escape(content_id)}" alt="{_escape(block.alt)}" style="{style}">'
            return f'<p style="{_PARAGRAPH}">{picture}</p>'
        case Buttons():
            links = "".join(_button(b) for b in block.buttons if _is_link(b))
            return f'<p style="margin:4px 0 12px 0">{links}</p>' if links else ""
        case File() | Form():
            return ""
        case _:
            assert_never(block)


def _table(table: Table) -> str:
    head = "".join(f'<th style="{_TH}">{_escape(cell)}</th>' for cell in table.header)
    rows = "".join(
        "<tr>" + "".join(f'<td style="{_TD}">{_lines(cell)}</td>' for cell in row) + "</tr>"
        for row in table.rows
    )
    head = f"<tr>{head}</tr>" if any(table.header) else ""
    style = f"{_PARAGRAPH};border-collapse:collapse;font-size:14px"
    return f'<table cellpadding="0" cellspacing="0" style="{style}">{head}{rows}</table>'


def _button(button: Button) -> str:
    style = f"{_BUTTON};{_COLOURS.get(button.style, _COLOURS[''])}"
    return f'<a href="{_escape(button.url)}" style="{style}">{_escape(button.label)}</a>'


def _is_link(button: Button) -> bool:
    return bool(_SAFE_LINK.match(button.url))


def _lines(text: str) -> str:
    """Escape, make web addresses clickable, keep line breaks and indentation."""
    text = _CONTROL.sub("", text.replace("\r\n", "\n")).strip("\n")
    out: list[str] = []
    at = 0
    for match in _URL.finditer(text):
        url = match[0].rstrip(".,;:!?)]}")
        out.append(_escape(text[at : match.start()]))
        out.append(f'<a href="{_escape(url)}" style="color:#1f6feb">{_escape(url)}</a>')
        at = match.start() + len(url)
    out.append(_escape(text[at:]))
    return "".join(out).replace("  ", " &nbsp;").replace("\n", "<br>\n")


def _escape(text: str) -> str:
    return html.escape(_CONTROL.sub("", text), quote=True)
