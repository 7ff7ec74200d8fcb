"""The MIME tree: one pass over the delimiter lines, a stack of open boundaries, and hard limits.

Not `email.feedparser`: it tries every open boundary on every line and recurses once a level.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from channels.email import charsets, headers
from channels.email.headers import Fields

NESTING_LIMIT = 100
PARTS_LIMIT = 1_000
_STRAY_DELIMITERS = 200_000  # lines that begin with -- and are no boundary; beyond this the rest is one part
_GUESSED = re.compile(rb"(?:\A|\n)--([^\s-][^\r\n]{0,200}?|-{2,}[^\s-][^\r\n]{0,200}?)[ \t]*\r?\n")
_UU_BEGIN = re.compile(rb"^begin(?:-base64)? [0-7]{3,4} ([^\r\n]{1,255})\r?\n", re.M)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]")


@dataclass(slots=True)
class Node:
    """One entity of the tree; `start` and `end` bound its body in the raw message."""

    fields: Fields
    start: int
    end: int
    content_type: str
    params: dict[str, str]
    disposition: str
    disposition_params: dict[str, str]
    children: list[Node] = field(default_factory=list)

    @property
    def filename(self) -> str:
        return headers.filename(self.disposition_params, self.params)

    @property
    def content_id(self) -> str:
        value = headers.first(self.fields, "content-id")
        return headers.to_text(value).strip("<> ") if value else ""

    @property
    def is_multipart(self) -> bool:
        return self.content_type.startswith("multipart/") and bool(self.children)

    def walk(self) -> Iterator[Node]:
        """Yield this entity and everything below, in the mail's order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))


def make_node(fields: Fields, start: int, end: int, default: str = "text/plain") -> Node:
    """Read the few MIME fields of one entity."""
    ctype, params = headers.parameters(headers.first(fields, "content-type"))
    disposition, dparams = headers.parameters(headers.first(fields, "content-disposition"))
    if ctype.count("/") != 1 or ctype.startswith("/") or ctype.endswith("/"):
        known = {
            "text": "text/plain",
            "html": "text/html",
            "plain": "text/plain",
            "multipart": "multipart/mixed",
        }
        fallback = "text/plain" if params.get("name", "") == "" else "application/octet-stream"
        ctype = known.get(ctype.strip("/"), default if not ctype else fallback)
    return Node(fields, start, end, ctype, params, disposition, dparams)


def read_tree(raw: bytes, root: Node, defects: list[str]) -> None:
    """Fill in the children below `root`, in time linear in the size of the message."""
    if not root.content_type.startswith("multipart/"):
        return
    stack: list[tuple[Node, bytes]] = []
    open_: dict[bytes, list[int]] = {}
    parts = dropped = strays = guesses = 0

    def push(node: Node) -> None:
        nonlocal guesses
        boundary = node.params.get("boundary", "").rstrip().encode("utf-8", "replace")
        if guesses < 10 and (not boundary or raw.find(b"--" + boundary, node.start, node.end) < 0):
            guesses += 1
            guessed = _guess_boundary(raw, node.start, node.end)
            if guessed:
                boundary = guessed
                _note(defects, "boundary_guessed")
        if not boundary:
            _note(defects, "no_boundary")
            return
        open_.setdefault(boundary, []).append(len(stack))
        stack.append((node, boundary))

    def close(depth: int, at: int) -> None:
        while len(stack) > depth:
            node, boundary = stack.pop()
            node.end = at
            open_[boundary].pop()
            if not open_[boundary]:
                del open_[boundary]

    current: Node | None = None  # the open leaf, or the multipart whose preamble this is
    push(root)
    pos = root.start
    while stack:
        line_start, after, line = _next_delimiter(raw, pos, root.end)
        if line_start < 0:
            break
        mark = line.rstrip(b" \t\r")
        depths = open_.get(mark[2:])
        final = False
        if depths is None and mark.endswith(b"--") and len(mark) > 4:
            depths = open_.get(mark[2:-2])
            final = depths is not None
        if depths is None:
            pos = after
            strays += 1
            if strays > _STRAY_DELIMITERS:
                _note(defects, "too_many_delimiters")
                break
            continue
        depth = depths[-1]
        at = _before_newline(raw, line_start)
        if current is not None:
            current.end = max(current.start, at)
            current = None
        close(depth + 1, at)
        if final:
            close(depth, at)
            pos = after
            continue
        parts += 1
        if parts > PARTS_LIMIT:
            dropped += 1
            if dropped >= _STRAY_DELIMITERS:
                break
            pos = after
            continue
        parent = stack[depth][0]
        fields, start, odd = headers.split(raw, after, root.end)
        if odd:
            _note(defects, "odd_part_header")
        default = "message/rfc822" if parent.content_type == "multipart/digest" else "text/plain"
        node = make_node(fields, start, root.end, default)
        parent.children.append(node)
        pos = max(start - 1, after - 1) if start > after else after - 1
        if node.content_type.startswith("multipart/"):
            if len(stack) < NESTING_LIMIT:
                before = len(stack)
                push(node)
                if len(stack) == before:
                    current = node
            else:
                _note(defects, "truncated_nesting")
                current = node
        else:
            current = node
    if stack:
        _note(defects, "unclosed_multipart")
        close(0, root.end)
    if dropped:
        defects.append(f"parts_dropped:{dropped}")


def _note(defects: list[str], key: str) -> None:
    if key not in defects:
        defects.append(key)


def _next_delimiter(raw: bytes, pos: int, end: int) -> tuple[int, int, bytes]:
    """Find the next line that begins with two dashes: its start, the next line's start, the line."""
    if raw[pos : pos + 2] == b"--" and (pos == 0 or raw[pos - 1 : pos] == b"\n"):
        start = pos
    else:
        found = raw.find(b"\n--", pos, end)
        if found < 0:
            return -1, -1, b""
        start = found + 1
    stop = raw.find(b"\n", start, end)
    after = end if stop < 0 else stop + 1
    return start, after, raw[start : min(after, start + 300)].rstrip(b"\r\n")


def _before_newline(raw: bytes, line_start: int) -> int:
    """The newline before a delimiter belongs to the delimiter."""
    if line_start >= 2 and raw[line_start - 2 : line_start] == b"\r\n":
        return line_start - 2
    return max(0, line_start - 1)


def _guess_boundary(raw: bytes, start: int, end: int) -> bytes:
    found = _GUESSED.search(raw, start, min(end, start + 200_000))
    if not found:
        return b""
    boundary = found[1]
    if boundary.endswith(b"--") or not re.search(rb"[\w=]", boundary):
        return b""
    rest = raw[found.end() : found.end() + 300]
    if re.match(rb"\s*content-", rest, re.I) or raw.find(b"\n--" + boundary, found.end(), end) >= 0:
        return boundary
    return b""


def decoded(raw: bytes, node: Node, defects: list[str]) -> bytes:
    """Undo the transfer encoding of one part, whatever state it is in."""
    data = raw[node.start : node.end]
    value = headers.first(node.fields, "content-transfer-encoding")
    encoding = headers.to_text(value).lower().split(";")[0].split("(")[0].strip("\"' ") if value else ""
    if encoding in ("", "7bit", "8bit", "binary", "7-bit", "8-bit", "none"):
        return data
    if encoding.startswith("base64") or encoding in ("b", "base-64", "64base", "base_64"):
        if _is_plain_text(data):
            _note(defects, "encoding_mislabelled")
            return data
        if b"\n--" in data:  # a delimiter nobody declared, or a footer glued on by a list
            return headers.base64_bytes(data.partition(b"\n--")[0])
        return headers.base64_bytes(_glued_footer(data))
    if encoding.startswith("quoted") or encoding in ("qp", "q"):
        return binascii.a2b_qp(data)
    if encoding in ("x-uuencode", "uuencode", "x-uue", "uue", "x-uu"):
        found = uuencoded(data)
        return found[0][1] if found else data
    _note(defects, "encoding_unknown")
    return data


def _is_plain_text(data: bytes) -> bool:
    """Whether bytes labelled base64 are words after all."""
    sample = data[:4000].strip()
    if not sample:
        return False
    foreign = len(_NOT_BASE64.findall(sample))
    spaces = sample.count(b" ")
    if foreign > 0.3 * len(sample):
        return True
    return spaces > 0.02 * len(sample) and foreign > 0.01 * len(sample)


def _glued_footer(data: bytes) -> bytes:
    """Cut a plain footer that a mailing list appended behind base64."""
    blank = re.search(rb"=\s*\r?\n\s*\r?\n(?=[^\n]*[ _])", data)
    return data[: blank.start() + 1] if blank and _is_plain_text(data[blank.end() :]) else data


def text_of(raw: bytes, node: Node, defects: list[str], hint: str = "") -> str:
    """Decode a text part: transfer encoding, charset, line ends, flowed lines."""
    data = decoded(raw, node, defects)
    label = node.params.get("charset", "")
    html = node.content_type == "text/html"
    if html and (not label or charsets.codec_of(label) in ("", "cp1252")):
        label = charsets.meta_charset(data) or label
    if label and not charsets.codec_of(label):
        _note(defects, "charset_unknown")
    text, guessed = charsets.decode(data, label, hint=hint)
    if guessed and label:
        _note(defects, "charset_guessed")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").removeprefix("\ufeff")
    if not html and node.params.get("format", "").lower() == "flowed":
        text = unflow(text, node.params.get("delsp", "").lower() == "yes")
    return text


def unflow(text: str, delsp: bool) -> str:
    """Join the soft line ends of format=flowed (RFC 3676), each quote depth for itself."""
    out: list[str] = []
    joined: list[str] = []
    depth_open = -1
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        if content.startswith(" "):
            content = content[1:]  # space-stuffing
        soft = content.endswith(" ") and content != "-- "
        if joined and (depth != depth_open or content == "-- "):
            out.append(_flowed_line(depth_open, joined))
            joined = []
        depth_open = depth
        joined.append(content[:-1] if soft and delsp else content)
        if not soft:
            out.append(_flowed_line(depth, joined))
            joined = []
    if joined:
        out.append(_flowed_line(depth_open, joined))
    return "\n".join(out)


def _flowed_line(depth: int, pieces: list[str]) -> str:
    line = "".join(pieces)
    return f"{'>' * depth} {line}" if depth else line


def uuencoded(data: bytes) -> list[tuple[str, bytes, int, int]]:
    """Find uuencoded files inside a text: name, content, start and end of each block."""
    out: list[tuple[str, bytes, int, int]] = []
    pos = 0
    while len(out) < 100 and (begin := _UU_BEGIN.search(data, pos)):
        content: list[bytes] = []
        at = begin.end()
        ended = False
        while at < len(data):
            stop = data.find(b"\n", at)
            after = len(data) if stop < 0 else stop + 1
            line = data[at:after].rstrip(b"\r\n")
            at = after
            if line.strip() in (b"end", b"===="):
                ended = True
                break
            if line in (b"", b"`", b" "):
                continue
            try:
                content.append(binascii.a2b_uu(line))
            except binascii.Error:
                count = (((line[0] - 32) & 63) * 4 + 5) // 3
                try:
                    content.append(binascii.a2b_uu(line[:count]))
                except (binascii.Error, IndexError):
                    break
        if ended and content:
            name = charsets.decode(begin[1].strip(), "utf-8")[0]
            out.append((name, b"".join(content), begin.start(), at))
            pos = at
        else:
            pos = begin.end()
    return out
