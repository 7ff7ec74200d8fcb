"""HTML as readable lines, each with its quote depth and what the markup says about it.

A tokenizer of our own instead of a tree: one pass, no recursion, no cost in nesting (tree builders are
quadratic in 50,000 unclosed divs), and the rules for quotes are rules about start tags.
"""

from __future__ import annotations

import re
from html import unescape

from channels.email import html_tags
from channels.email.lines import LINES_LIMIT, Line
from channels.email.reply_html import Role, role_of

HTML_LIMIT = 2_000_000  # characters that are read
TOKENS_LIMIT = 200_000  # tags; what follows is stripped without being understood
_BROKEN_LIMIT = 50  # tags with an unclosed quote that are searched far for their end
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]{0,60})((?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+)>")
_ATTRIBUTE = re.compile(
    r"([a-zA-Z_:][-\w:.]{0,60})\s{0,20}(?:=\s{0,20}(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++)))?"
)
_ANY_TAG = re.compile(r"<[^<>]*>")
_SPACE = re.compile(r"[ \t\r\n\f\u200b]+")


def to_lines(html: str) -> tuple[list[Line], int]:
    """Read HTML into lines; also give the deepest nesting of elements that was met."""
    reader = _Reader()
    reader.read(html[:HTML_LIMIT])
    return reader.finish(), reader.deepest


def attributes(text: str) -> dict[str, str]:
    """Read the attributes of one start tag."""
    out: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text[:20_000]):
        key = name.lower()
        if key not in out:
            out[key] = unescape(double or single or bare)
    return out


class _Open:
    """An element that is open, and what it changed."""

    __slots__ = ("href", "kind", "number", "start", "tag")

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.kind = ""
        self.href = ""
        self.start = 0
        self.number = 0


class _Reader:
    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.buffer: list[str] = []
        self.stack: list[_Open] = []
        self.counts: dict[str, int] = {}
        self.depth = self.skip = self.signature = self.pre = self.lists = self.attr = 0
        self.deepest = 0
        self.box = 0
        self.boxes: list[int] = []
        self.strengths: list[str] = []
        self.box_count = 0
        self.mark = ""
        self.at_line_start = True
        self.cell_gap = False
        self.want_blank = False

    # -- reading ----------------------------------------------------------------------------------------

    def read(self, html: str) -> None:
        pos, end, tokens, broken = 0, len(html), 0, 0
        while pos < end:
            start = html.find("<", pos)
            if start < 0:
                self.text(html[pos:])
                return
            if start > pos:
                self.text(html[pos:start])
            tokens += 1
            if tokens > TOKENS_LIMIT or len(self.lines) > LINES_LIMIT:
                self.line_end()
                self.text(_ANY_TAG.sub(" ", html[start:]))
                return
            found = _TAG.match(html, start, min(end, start + (100_000 if broken < _BROKEN_LIMIT else 300)))
            if found is None:
                broken += 1
                pos = self.odd(html, start)
                continue
            pos = found.end()
            tag = found[2].lower()
            if found[1]:
                self.end_tag(tag)
                continue
            attrs = found[3]
            self.start_tag(tag, attrs)
            if tag in ("script", "style", "title", "textarea", "xmp") and not attrs.endswith("/"):
                close = re.compile(f"</{tag}", re.I).search(html, pos)
                if close is None:
                    if tag in ("script", "style"):
                        return
                else:
                    pos = close.start()

    def odd(self, html: str, start: int) -> int:
        """Pass over a comment, a declaration, or a `<` that is none of them."""
        if html.startswith("<!--", start):
            close = html.find("-->", start + 4)
            if html.startswith("<!-->", start):
                return start + 5
            return close + 3 if close >= 0 else len(html)
        following = html[start + 1 : start + 2]
        if following in ("!", "?"):
            close = html.find(">", start)
            return close + 1 if close >= 0 else len(html)
        if following.isalpha() or following == "/":
            close = html.find(">", start, start + 2_000)
            if close >= 0 and "@" not in html[start:close]:
                return close + 1
        self.text("<")
        return start + 1

    def text(self, text: str) -> None:
        if self.skip:
            return
        if "&" in text:
            text = unescape(text)
        text = text.replace("\xa0", " ") if not self.pre else text
        if self.pre:
            pieces = text.replace("\r\n", "\n").split("\n")
            for n, piece in enumerate(pieces):
                if n:
                    self.line_end(force=True)
                self.put(piece)
            return
        text = _SPACE.sub(" ", text)
        if self.at_line_start:
            text = text.lstrip(" ")
        if text:
            if self.at_line_start is False and self.buffer and self.buffer[-1].endswith(" "):
                text = text.lstrip(" ")
            self.put(text)

    def put(self, text: str) -> None:
        if not text:
            return
        if self.cell_gap:
            self.cell_gap = False
            if self.buffer and "".join(self.buffer[-3:]).strip():
                self.buffer.append(" | ")
                text = text.lstrip()
        self.buffer.append(text)
        if text.strip():
            self.at_line_start = False

    # -- lines ------------------------------------------------------------------------------------------

    def line_end(self, force: bool = False) -> None:
        text = "".join(self.buffer).rstrip()
        self.buffer = []
        self.at_line_start = True
        self.cell_gap = False
        if text.strip() in ("|", ""):
            text = ""
        if not text and not force:
            return
        if self.want_blank and self.lines and self.lines[-1].text:
            self.lines.append(Line("", min(self.depth, self.lines[-1].depth), box=self.box))
        self.want_blank = False
        mark = self.mark or ("attr" if self.attr else "sig" if self.signature else "")
        if self.depth and not mark and self.strengths[0]:
            mark = self.strengths[0]
        if text:
            self.mark = ""
        self.lines.append(
            Line(text, self.depth, mark if text else ("sig" if self.signature else ""), self.box)
        )

    def finish(self) -> list[Line]:
        self.line_end()
        return _settle_boxes(self.lines)

    # -- elements ---------------------------------------------------------------------------------------

    def start_tag(self, tag: str, attrs: str) -> None:
        if tag == "br":
            if not self.skip:
                self.line_end(force=True)
            return
        if tag in html_tags.BLOCK or tag in html_tags.CELL:
            self.imply_ends(tag)
        block = tag in html_tags.BLOCK
        values = attributes(attrs) if attrs and not attrs.isspace() else {}
        if tag in html_tags.VOID:
            self.void(tag, values)
            return
        entry = _Open(tag)
        if (
            tag in html_tags.SKIPPED
            or (":" in tag and tag.startswith(("v:", "w:", "m:")))
            or (
                values
                and (
                    "hidden" in values
                    or (
                        (style := values.get("style", ""))
                        and html_tags.HIDDEN.search(style)
                        and not self.visible(style)
                    )
                )
            )
        ):
            entry.kind = "skip"
        if self.skip or entry.kind == "skip":
            self.push(entry)
            return
        role = role_of(tag, values)
        if block or role in (Role.QUOTE, Role.CUT, Role.BOX):
            self.line_end()
            if tag in html_tags.SPACED and not (tag in ("ul", "ol") and self.lists):
                tight = tag == "p" and (
                    "MsoNormal" in values.get("class", "") or html_tags.TIGHT.search(values.get("style", ""))
                )
                self.want_blank = self.want_blank or not tight
        if role is Role.QUOTE:
            entry.kind = "quote"
            entry.href = _quote_strength(values, bool(self.box), self.strengths)
        elif role is Role.BOX:
            entry.kind = "box"
        elif role is Role.ATTRIBUTION:
            entry.kind = "attr"
        elif role is Role.SIGNATURE:
            self.line_end()
            entry.kind = "sig"
        elif role is Role.CUT:
            self.mark = "cut"
        elif role is Role.RULE:
            self.rule()
        elif tag == "pre":
            entry.kind = "pre"
        elif tag in ("ul", "ol", "menu", "dir"):
            entry.kind = "list"
            entry.number = _integer(values.get("start", "")) or 1
        elif tag == "li":
            self.bullet()
        elif tag == "a":
            entry.kind, entry.href, entry.start = "a", values.get("href", "").strip(), len(self.buffer)
        elif tag in html_tags.CELL:
            self.cell_gap = bool(self.buffer)
        self.push(entry)

    def visible(self, style: str) -> bool:
        """`font-size:0` on a wrapper is a layout trick, not a wish to hide, unless it says more."""
        return not re.search(
            r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide|max-height\s*:\s*0", style, re.I
        )

    def void(self, tag: str, values: dict[str, str]) -> None:
        if self.skip:
            return
        if tag == "hr":
            self.line_end()
            self.want_blank = False
            if "b5c4df" in values.get("color", "").lower() and values.get("align", "") == "left":
                self.lines.append(Line("-- ", self.depth))  # Foxmail's signature line
            else:
                self.rule("cut" if role_of(tag, values) is Role.CUT else "")
        elif tag == "img":
            alt = _SPACE.sub(" ", values.get("alt", "")).strip()
            if alt and not html_tags.HIDDEN.search(values.get("style", "")):
                self.put(alt if len(alt) <= 2 else f"[{alt[:200].strip('[]')}]")

    def rule(self, mark: str = "") -> None:
        if mark:
            self.mark = mark
        self.lines.append(Line("", self.depth, "rule", self.box))

    def bullet(self) -> None:
        owner = next((e for e in reversed(self.stack[-40:]) if e.kind == "list"), None)
        indent = "  " * max(0, min(self.lists, 10) - 1)
        if owner is not None and owner.tag == "ol":
            self.buffer.append(f"{indent}{owner.number}. ")
            owner.number += 1
        else:
            self.buffer.append(f"{indent}- ")
        self.at_line_start = True

    def push(self, entry: _Open) -> None:
        self.stack.append(entry)
        self.counts[entry.tag] = self.counts.get(entry.tag, 0) + 1
        self.deepest = max(self.deepest, len(self.stack))
        match entry.kind:
            case "skip":
                self.skip += 1
            case "quote":
                self.depth += 1
                self.strengths.append(entry.href)
            case "sig":
                self.signature += 1
            case "pre":
                self.pre += 1
            case "list":
                self.lists += 1
            case "attr":
                self.attr += 1
            case "box":
                self.box_count += 1
                self.boxes.append(self.box)
                self.box = self.box or self.box_count

    def pop(self) -> None:
        entry = self.stack.pop()
        self.counts[entry.tag] -= 1
        kind = entry.kind
        if kind == "skip":
            self.skip -= 1
            return
        if self.skip:
            return
        if entry.tag in html_tags.BLOCK or kind in ("sig", "attr"):
            self.line_end()
            if entry.tag in html_tags.SPACED and not (kind == "list" and self.lists > 1):
                self.want_blank = True
        if kind == "quote":
            self.depth -= 1
            self.strengths.pop()
        elif kind == "sig":
            self.signature -= 1
        elif kind == "pre":
            self.pre -= 1
        elif kind == "list":
            self.lists -= 1
        elif kind == "attr":
            self.attr -= 1
        elif kind == "box":
            self.line_end()
            self.box = self.boxes.pop()
        elif kind == "a":
            self.link(entry)

    def link(self, entry: _Open) -> None:
        href = entry.href
        if not href or entry.start > len(self.buffer):
            return
        label = "".join(self.buffer[entry.start : entry.start + 100]).strip(" |")
        low = href.lower()
        if low.startswith("mailto:"):
            address = href[7:].split("?")[0]
            if label and "@" not in label and "@" in address and len(address) < 100:
                self.buffer.append(f" <{address}>")
            return
        if not low.startswith(("http://", "https://", "ftp://", "www.")) or len(href) > 1_000 or not label:
            return
        if _same_link(label, href):
            return
        self.buffer.append(f" ({href})")

    def end_tag(self, tag: str) -> None:
        if tag in ("br", "p") and not self.counts.get(tag):
            if not self.skip:
                self.line_end(force=tag == "br")
            return
        if not self.counts.get(tag):
            return
        for back in range(1, min(len(self.stack), 200) + 1):
            open_tag = self.stack[-back].tag
            if open_tag == tag:
                for _ in range(back):
                    self.pop()
                return
            if open_tag in html_tags.BARRIER and tag not in (
                "table",
                "tr",
                "td",
                "th",
                "tbody",
                "thead",
                "tfoot",
                "body",
                "html",
            ):
                return

    def imply_ends(self, tag: str) -> None:
        stack = self.stack
        if stack and stack[-1].tag == "p" and tag not in html_tags.CELL:
            self.pop()
        if tag == "li":
            while stack and stack[-1].tag in ("li", "p"):
                self.pop()
        elif tag in html_tags.CELL:
            while stack and stack[-1].tag in ("td", "th", "p"):
                self.pop()
        elif tag == "tr":
            while stack and stack[-1].tag in ("td", "th", "p", "tr"):
                self.pop()
        elif tag in ("dt", "dd"):
            while stack and stack[-1].tag in ("dt", "dd", "p"):
                self.pop()


def _quote_strength(values: dict[str, str], boxed: bool, outer: list[str]) -> str:
    """Tell a reply's blockquote ("") from one a writer may have made: "weak", or "own" (Gmail's indent)."""
    if outer:
        return outer[0]
    classes = values.get("class", "").lower()
    if boxed or values.get("type", "").lower() == "cite" or values.get("cite", "").lower().startswith("mid:"):
        return ""
    if "gmail_quote" in classes:
        return "own"
    strong = (
        "quote" in classes or "quote" in values.get("id", "").lower()
    ) and "blockquote" not in classes.split()
    return "" if strong else "weak"


def _integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _same_link(label: str, href: str) -> bool:
    def bare(url: str) -> str:
        url = re.sub(r"^(?:https?|ftp)://(?:www\.)?|^www\.", "", url.strip().strip("<>").lower())
        return url.rstrip("/… .")

    shown, target = bare(label), bare(href)
    return shown == target or (len(shown) > 8 and "/" in shown and target.startswith(shown))


def _settle_boxes(lines: list[Line]) -> list[Line]:
    """Decide what a quoting container holds: its attribution and quote, or a forwarded mail.

    Lines before the container's first blockquote introduce it; after one they are answers. A container
    without a blockquote is a quote as a whole.
    """
    first: dict[int, int] = {}
    for n, line in enumerate(lines):
        if line.box and line.depth and line.box not in first:
            first[line.box] = n
    for n, line in enumerate(lines):
        if line.box and not line.depth and not line.mark and line.text:
            quote_at = first.get(line.box)
            if quote_at is None or n < quote_at:
                line.mark = "attr" if quote_at is not None else "boxed"
    return lines
