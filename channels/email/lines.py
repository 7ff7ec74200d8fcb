"""A message's text as lines that know how deeply they are quoted: what the reply scanner reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WINDOW = 400  # characters of a line that the scanner looks at
LINES_LIMIT = 12_000  # that the scanner looks at; what follows is taken or left as one piece


@dataclass(slots=True)
class Line:
    """One line without its quote marks.

    `depth` is the number of quote marks or blockquotes around it. `mark` is what the markup said:
    "" nothing, "attr" a line that introduces a quote, "cut" everything from here on is quoted,
    "sig" part of a signature, "rule" a horizontal rule (its text is empty).
    """

    text: str
    depth: int = 0
    mark: str = ""
    box: int = 0  # the quoting container the line is in (gmail_quote and its kind), 0 for none
    raw: str = ""  # as it was written, with its quote marks


def from_text(text: str) -> list[Line]:
    """Split plain text into lines and take the quote marks off."""
    out: list[Line] = []
    pieces = text.split("\n", LINES_LIMIT)
    rest = pieces.pop() if len(pieces) > LINES_LIMIT else ""
    for raw in pieces:
        line = raw.rstrip()
        head = line.lstrip()
        if head[:1] in (">", "＞") and len(line) - len(head) <= 4 and not _is_decoration(head):
            depth, at = 0, 0
            while at < len(head) and head[at] in ">＞ ":
                depth += head[at] != " "
                at += 1
                if depth >= 200:
                    at = len(head) - len(head.lstrip(">＞ "))
                    break
            out.append(Line(head[at:], depth, raw=line))
        else:
            out.append(Line(line, raw=line))
    if rest:
        out.append(Line(rest, int(rest.lstrip()[:1] == ">"), raw=rest))
    return out


def _is_decoration(head: str) -> bool:
    """`>>> look here <<<` and `> <` are ornaments."""
    return head.endswith("<") or (head.startswith(">>") and head.endswith("<<"))


def to_text(lines: Iterable[Line], quoted: bool = True) -> str:
    """Write lines as text, quotes marked with `> `; at most two blank lines in a row."""
    out: list[str] = []
    blank = 0
    for line in lines:
        text = (
            f"{'>' * min(line.depth, 20)} {line.text}".rstrip()
            if quoted and line.depth
            else line.text.rstrip()
        )
        blank = 0 if text else blank + 1
        if blank <= 2 and (text or out):
            out.append(text)
    while out and not out[-1]:
        out.pop()
    return "\n".join(out)
