"""What becomes of everything people do in chats, for each pair of channels: docs/channels.md as data.

A test walks every cell against far sides that are as strict as the platforms. The page is made from it:
`python -m bot.fidelity > docs/channels.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bot.i18n import say

How = Literal["carried", "degraded", "refused", "absent"]

KINDS = {
    "text": "text",
    "long_text": "text of 20,000 characters",
    "formatted": "formatted text, links with a label",
    "photo": "photo",
    "album": "several photos in one message",
    "document": "document",
    "large_document": "document of 21 MB",
    "video": "video",
    "voice": "voice message",
    "audio": "audio file",
    "animation": "animation (GIF)",
    "sticker": "sticker",
    "contact": "contact",
    "location": "location",
    "venue": "venue",
    "poll": "poll",
    "dice": "dice",
    "quote": "answer that quotes a message",
    "edit": "edit of a message",
    "delete": "deletion of a message",
    "reaction": "reaction",
    "button": "buttons and their presses",
    "unknown": "a kind we do not know",
    "inline_image": "picture within a mail's text",
    "html": "HTML mail",
    "empty": "empty message",
}
CUSTOMER_SIDES = ("telegram", "slack", "email", "web")
STAFF_SIDES = ("slack", "telegram", "web")


@dataclass(frozen=True, slots=True)
class Cell:
    """What becomes of one kind on one way. `words` is the key of what is said when it is refused; where the
    platform itself refuses, or nobody needs to be told, it is ""."""

    how: How
    note: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """From a customer to staff ("in") or from an agent to a customer ("out")."""

    direction: Literal["in", "out"]
    source: str
    target: str


OK = Cell("carried")
NOT_THERE = Cell("absent", "not a thing there")
FILES = ("photo", "album", "document", "large_document", "video", "voice", "audio", "animation")
SPECIAL = ("sticker", "contact", "location", "venue", "poll", "dice")
MAIL_ONLY = ("inline_image", "html", "empty")
LOOKS = Cell("degraded", "the words, and the addresses of links; bold and the like are lost")
LINE = Cell("degraded", "as a line of text")

# What reaches us at all, and as what, whatever it is passed on to.
_TELEGRAM: Mapping[str, Cell] = {
    "formatted": LOOKS,
    "sticker": Cell("degraded", "its emoji as text, the picture as a file"),
    **dict.fromkeys(("contact", "location", "venue", "poll", "dice"), LINE),
    "delete": Cell("absent", "Telegram tells bots nothing of deletions"),
    "unknown": Cell("degraded", "its name in brackets"),
    **dict.fromkeys(MAIL_ONLY, NOT_THERE),
}
_SLACK: Mapping[str, Cell] = {
    "formatted": LOOKS,
    **dict.fromkeys((*SPECIAL, *MAIL_ONLY), NOT_THERE),
    "unknown": Cell("refused", "kept and counted, not shown: it holds nobody's words"),
}
_WEB: Mapping[str, Cell] = {
    "long_text": Cell("refused", "the page says that 8,000 characters are the limit"),
    "large_document": Cell("refused", "the page says what is too big (`max_upload_mb`)"),
    "empty": Cell("refused", "the page sends nothing"),
    "unknown": Cell("refused", "malformed frames are not taken"),
    **dict.fromkeys((*SPECIAL, "formatted", "quote", "reaction", "inline_image", "html"), NOT_THERE),
}
_EMAIL: Mapping[str, Cell] = {
    "formatted": LOOKS,
    "html": LOOKS,
    "contact": Cell("carried", "a vCard is a file"),
    "quote": Cell("carried", "what is new; what it quotes stands above already"),
    "large_document": Cell(
        "degraded", "its name and a signed link to it (`show_file_mb`)", "thread.file_kept"
    ),
    "inline_image": Cell("carried", "as a picture with the message"),
    "unknown": Cell("carried", "a part of an unknown type is a file"),
    "empty": Cell("carried", "a line says that there was no text"),
    "button": Cell("carried", "a signed link in the mail, or a number as answer"),
    **dict.fromkeys(("sticker", "location", "venue", "poll", "dice"), NOT_THERE),
    **dict.fromkeys(("edit", "delete", "reaction"), Cell("absent", "a mail is final")),
}
_FROM: Mapping[str, Mapping[str, Cell]] = {
    "telegram": _TELEGRAM,
    "slack": _SLACK,
    "email": _EMAIL,
    "web": _WEB,
}


def cell(way: Way, kind: str) -> Cell:
    """What becomes of a kind on a way."""
    return _inward(way, kind) if way.direction == "in" else _outward(way, kind)


def ways() -> list[Way]:
    """Every pair of channels, in both directions."""
    inward = [Way("in", c, s) for c in CUSTOMER_SIDES for s in STAFF_SIDES]
    return inward + [Way("out", s, c) for s in STAFF_SIDES for c in CUSTOMER_SIDES]


def _inward(way: Way, kind: str) -> Cell:
    own = _FROM[way.source].get(kind)
    if way.source == "web" and kind in ("edit", "delete"):
        return Cell("absent", "visitors cannot change what they said")
    if own is not None:
        return own
    match kind:
        case "long_text" if way.source == "telegram":
            what = "whole" if way.target == "web" else "its beginning, and the whole as a file"
            return Cell("degraded", f"the app cuts it at 4,096: each part {what}")
        case "long_text":
            return Cell("degraded", "its beginning, and the whole as a file: one post, never five")
        case "large_document" if way.source == "telegram":
            return Cell("refused", "Telegram gives bots no more than 20 MB", "thread.file_missing")
        case "edit":
            return Cell("carried", "what it said and what it says now; versions are kept")
        case "delete":
            return Cell("carried", "a line says what was deleted")
        case "reaction":
            return Cell("carried", "a line names it")
        case _:
            return OK


def _outward(way: Way, kind: str) -> Cell:
    own = _FROM[way.source].get(kind)
    if kind == "button":
        if way.target == "email":
            return Cell("degraded", "as links, or a number as answer")
        return OK
    if kind in ("reaction", "edit", "delete", "quote"):
        return _change(way, kind)
    if kind == "large_document" and way.source == "telegram":
        return Cell("refused", "Telegram gives bots no more than 20 MB", "thread.failed")
    if own is not None:
        return own
    if kind == "long_text":
        return _long(way)
    return OK


def _change(way: Way, kind: str) -> Cell:
    match kind:
        case "reaction":
            if way.source == "web":
                return NOT_THERE
            return Cell("refused", "stays among colleagues")
        case "quote":
            if way.source == "telegram":
                return Cell("degraded", "the words; what they quote may be a note and stays inside")
            if way.source == "slack":
                return Cell("refused", "a shared message may be a note: kept as one", "thread.kept_inside")
            return NOT_THERE
        case "delete" if way.source == "telegram":
            return Cell("absent", "Telegram tells bots nothing of deletions: /undo takes a reply back")
    if way.target != "email":
        return Cell("carried", "also after it was sent")
    words = "thread.too_late_edit" if kind == "edit" else "thread.too_late"
    return Cell("refused", "while it is held it is changed; a mail that left is final", words)


def _long(way: Way) -> Cell:
    if way.source == "telegram":
        return Cell("degraded", "the app cuts it at 4,096: each part is a message")
    match way.target:
        case "telegram":
            return Cell("degraded", "several messages, cut between paragraphs")
        case "slack":
            return Cell("degraded", "its beginning, and the whole as a file")
        case _:
            return OK


_SIGNS = {"carried": "✓", "degraded": "≈", "refused": "✗", "absent": "–"}


def page() -> str:
    """docs/channels.md."""
    parts = [
        "# What is carried, and how",
        "Generated by `python -m bot.fidelity`; do not edit. A test walks every cell.",
        "✓ carried · ≈ carried in another form · ✗ not carried, and said · – no such thing there",
        "Files are passed on with their bytes: to Telegram up to 50 MB, to Slack and from it up to 64 MB, to the web "
        "up to 32 MB, by mail what both servers take. What a platform cannot show becomes words; what cannot be sent "
        "is said in the ticket's thread and marked on the agent's own message. A note never leaves.",
    ]
    for direction, sources in (("in", CUSTOMER_SIDES), ("out", STAFF_SIDES)):
        parts.append("## From customers to staff" if direction == "in" else "## From agents to customers")
        parts += [_table([w for w in ways() if (w.direction, w.source) == (direction, s)]) for s in sources]
    return "\n\n".join(parts) + "\n"


def _table(group: list[Way]) -> str:
    names = {"telegram": "Telegram", "slack": "Slack", "email": "e-mail", "web": "web"}
    what = f"### {'Customer' if group[0].direction == 'in' else 'Agent'} on {names[group[0].source]}"
    heads = " | ".join(f"to {names[w.target]}" for w in group)
    lines = [what, "", f"| | {heads} |", "|---" * (len(group) + 1) + "|"]
    for kind, label in KINDS.items():
        lines.append(f"| {label} | " + " | ".join(_shown(cell(w, kind)) for w in group) + " |")
    return "\n".join(lines)


def _shown(found: Cell) -> str:
    words = f"“{say(found.words, 'en')}”" if found.words else ""
    text = ": ".join(p for p in (found.note, words) if p)
    return f"{_SIGNS[found.how]} {text}".strip().replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
