"""Header fields: splitting the block, encoded words, parameters, ids and dates.

All of it is one pass over text of bounded length: `email.policy.default` takes seconds for a 50 KB header.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

from channels.email import charsets

BLOCK_LIMIT = 100_000  # bytes of one header block that are read; the rest is skipped
IDS_LIMIT = 1_000
_NAME = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_WORD = re.compile(r"=\?([^?\s]{1,60})\?\s{0,2}([bBqQ])\?")
_GAP = re.compile(r"[ \t\r\n]*\Z")
_ID = re.compile(r"<\s*([^<>]*[^<>\s])\s*>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Fields = list[tuple[str, bytes]]


def split(raw: bytes, start: int, end: int) -> tuple[Fields, int, bool]:
    """Read a header block; return its fields, where the body starts and whether it was cut or odd.

    A line that is no field ends the block: the body began without a blank line.
    """
    fields: Fields = []
    pos, odd = start, False
    limit = min(end, start + BLOCK_LIMIT)
    name, value = "", [b""]
    while pos < end:
        stop = raw.find(b"\n", pos, end)
        after = end if stop < 0 else stop + 1
        line = raw[pos : min(after, pos + BLOCK_LIMIT)].rstrip(b"\r\n")
        if not line.strip(b" \t") and not (line and _continues(raw, after, end) and fields):
            pos = after
            break
        if pos >= limit:
            odd = True
            blank = raw.find(b"\n\n", pos, end)
            crlf = raw.find(b"\n\r\n", pos, end)
            ends = [x for x in (blank + 2 if blank >= 0 else -1, crlf + 3 if crlf >= 0 else -1) if x > 0]
            pos = min(ends) if ends else end
            break
        if line[:1] in b" \t" and name:
            value.append(line)
        elif line[:2] != b"--" and (found := _NAME.match(line)):
            if name:
                fields.append((name, b"".join(value)))
            name, value = found[1].decode("ascii").lower(), [line[found.end() :]]
        elif not fields and not name and line[:5] in (b"From ", b">From"):
            pass
        else:
            odd = True
            break
        pos = after
    if name:
        fields.append((name, b"".join(value)))
    return fields, pos, odd


def _continues(raw: bytes, pos: int, end: int) -> bool:
    """Whether a line of spaces inside a header is followed by more of the header."""
    nxt = raw[pos : min(end, pos + 1)]
    return nxt in (b" ", b"\t")


def first(fields: Fields, name: str) -> bytes | None:
    """Give a field's first value."""
    return next((v for n, v in fields if n == name), None)


def every(fields: Fields, name: str) -> list[bytes]:
    """Give all values of a field, topmost first."""
    return [v for n, v in fields if n == name]


def to_text(value: bytes, hint: str = "") -> str:
    """Turn raw header bytes into one unfolded line, without touching encoded words."""
    line = value.replace(b"\r", b"").replace(b"\n", b"")
    text = (
        line.decode("ascii")
        if line.isascii() and b"\x1b" not in line
        else charsets.decode(line, "", hint=hint)[0]
    )
    return _CONTROL.sub("", text.replace("\t", " ")).strip()


def unstructured(value: bytes | None, hint: str = "") -> str:
    """Decode a free-text field such as Subject."""
    return "" if value is None else words(to_text(value, hint)).strip()


def words(text: str) -> str:
    """Decode RFC 2047 encoded words; neighbours in one charset are joined before decoding,
    because senders cut them inside a character."""
    if "=?" not in text:
        return text
    out: list[str] = []
    run: list[bytes] = []
    label, pos = "", 0

    def flush() -> None:
        if run:
            out.append(_clean(charsets.decode(b"".join(run), label)[0]))
            run.clear()

    for start, end, charset, kind, body in _find_words(text):
        gap = text[pos:start]
        charset = charset.split("*")[0]
        if not (run and _GAP.match(gap)):
            flush()
            out.append(gap)
        elif charset.lower() != label.lower() or run[-1].endswith(b"\x1b(B"):
            flush()
        label = charset
        run.append(_word_bytes(kind, body))
        pos = end
    flush()
    out.append(text[pos:])
    return "".join(out)


def _find_words(text: str) -> Iterator[tuple[int, int, str, str, str]]:
    """Find encoded words: start, end, charset, kind and body; a missing `?=` ends at a space."""
    pos, close = 0, -2
    while (at := text.find("=?", pos)) >= 0:
        if not (found := _WORD.match(text, at)):
            pos = at + 2
            continue
        start = found.end()
        if close != -1 and close < start:
            close = text.find("?=", start)
        following = text.find("=?", start, close) if close >= 0 else text.find("=?", start)
        if following >= 0 and _WORD.match(text, following):
            pos = following
            yield at, pos, found[1], found[2], text[start:following].rstrip("? ")
        elif close >= 0:
            pos = close + 2
            yield at, pos, found[1], found[2], text[start:close]
        else:
            space = text.find(" ", start)
            pos = space if space >= 0 else len(text)
            yield at, pos, found[1], found[2], text[start:pos].rstrip("?")


def _clean(text: str) -> str:
    return _CONTROL.sub("", text.replace("\r", "").replace("\n", " ").replace("\t", " "))


def _word_bytes(kind: str, body: str) -> bytes:
    data = body.encode("utf-8", "replace")
    if kind in "bB":
        return base64_bytes(data)
    data = data.replace(b"_", b" ")
    return re.sub(rb"=([0-9a-fA-F]{2})", lambda m: bytes((int(m[1], 16),)), data)


def base64_bytes(data: bytes) -> bytes:
    """Decode base64 with garbage, bad padding, or several pieces one after another."""
    clean = re.sub(
        rb"[^A-Za-z0-9+/=]+", b"", data.replace(b"-", b"+").replace(b"_", b"/") if _url_safe(data) else data
    )
    if b"=" not in clean.rstrip(b"="):
        return _quartets(clean.rstrip(b"="))
    return b"".join(_quartets(piece) for piece in re.split(rb"=+", clean) if piece)


def _url_safe(data: bytes) -> bool:
    return (b"-" in data or b"_" in data) and b"+" not in data and b"/" not in data


def _quartets(data: bytes) -> bytes:
    if len(data) % 4 == 1:
        data = data[:-1]
    try:
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
    except binascii.Error:
        return b""


# -- parameters -----------------------------------------------------------------------------------------


def parameters(value: bytes | None, hint: str = "") -> tuple[str, dict[str, str]]:
    """Split `type/sub; name=value` into the lower-case first token and decoded parameters (RFC 2231)."""
    if value is None:
        return "", {}
    text = to_text(value, hint)
    head, plain, parts = "", {}, {}  # type: str, dict[str, str], dict[str, list[tuple[int, bool, str]]]
    for n, piece in enumerate(_semicolons(text)):
        if n == 0 and "=" not in piece.split("/")[0]:
            head = re.sub(r"\(.*?\)", "", piece[:300]).strip().strip("\"'").lower()
            head = re.split(r"[\s,]", head, maxsplit=1)[0] if head else ""
            continue
        name, eq, raw = piece.partition("=")
        name = name.strip().lower()
        if not eq or not name:
            continue
        raw = raw.strip()
        is_quoted = raw.startswith('"')
        content = _unquote(raw)
        base, star, tail = name.partition("*")
        if not star:
            plain.setdefault(base.strip(), content if is_quoted else raw.strip("\"'") or content)
            continue
        extended = tail.endswith("*") or tail == ""
        number = tail.rstrip("*")
        order = int(number) if number.isdigit() and len(number) < 5 else 0
        parts.setdefault(base.strip(), []).append((order, extended, content))
    out = {k: words(v) if "=?" in v else v for k, v in plain.items()}
    for name, segments in parts.items():
        decoded = _continuations(segments, hint)
        if decoded or name not in out:
            out[name] = decoded
    return head, out


def _semicolons(text: str) -> list[str]:
    """Split at semicolons outside of quotes; an unclosed quote ends at the next semicolon."""
    pieces: list[str] = []
    start = pos = 0
    n = len(text)
    no_more_quotes = False
    while pos < n:
        c = text[pos]
        if c == ";":
            pieces.append(text[start:pos])
            start = pos = pos + 1
            continue
        if c == '"' and not no_more_quotes:
            end = pos + 1
            while True:
                end = text.find('"', end)
                if end < 0:
                    no_more_quotes = True
                    break
                slashes = len(text[max(pos, end - 20) : end]) - len(
                    text[max(pos, end - 20) : end].rstrip("\\")
                )
                if slashes % 2 == 0 or _closes(text, end):
                    break
                end += 1
            pos = pos + 1 if end < 0 else end + 1
            continue
        nxt = min((x for x in (text.find(";", pos), text.find('"', pos) if not no_more_quotes else -1) if x >= 0),
                  default=n)  # fmt: skip
        pos = nxt if nxt > pos else pos + 1
    pieces.append(text[start:])
    return pieces[:2_000]


def _closes(text: str, quote: int) -> bool:
    """Whether an escaped-looking quote is the closing one of a Windows path (`name="C:\\dir\\"`)."""
    return text[quote + 1 :].lstrip()[:1] in ("", ";") and text.find('"', quote + 1) < 0


def _unquote(raw: str) -> str:
    if not raw.startswith('"'):
        return raw.split(" (")[0].strip()
    end = raw.rfind('"')
    inner = raw[1:end] if end > 0 else raw[1:]
    return re.sub(r"\\([\"\\])", r"\1", inner)


def _continuations(segments: list[tuple[int, bool, str]], hint: str) -> str:
    segments.sort(key=lambda s: s[0])
    label = ""
    data: list[bytes] = []
    for n, (_, extended, content) in enumerate(segments):
        if extended and n == 0 and content.count("'") >= 2:
            label, _, content = content.split("'", 2)
        if extended:
            data.append(unquote_to_bytes(content))
        else:
            data.append(content.encode("utf-8", "replace"))
    joined = b"".join(data)
    text = charsets.decode(joined, label or "utf-8", hint=hint)[0]
    return words(text) if "=?" in text else text


def filename(disposition: dict[str, str], content: dict[str, str]) -> str:
    """Choose and clean a part's file name: no directories, no control characters."""
    name = disposition.get("filename") or content.get("name") or content.get("filename") or ""
    if not name:
        return ""
    if re.match(r"[A-Za-z0-9.-]*'[A-Za-z-]*'", name):  # RFC 2231 value without its star
        name = name.split("'", 2)[2]
    if re.search(r"(?:%[0-9A-Fa-f]{2}){2}", name) and " " not in name:
        name = charsets.decode(unquote_to_bytes(name), "utf-8")[0]
    name = _CONTROL.sub("", words(name)).replace("\r", "").replace("\n", " ").strip()
    if re.match(r"^(?:[A-Za-z]:)?[\\/]", name) or "../" in name or "..\\" in name:
        name = re.split(r"[\\/]", name)[-1]
    return re.sub(r"\s+", " ", name.replace("/", "_")).strip()[:255]


# -- ids and dates --------------------------------------------------------------------------------------


def ids(value: bytes | None) -> tuple[str, ...]:
    """Read message ids, without brackets, in order and once each."""
    if value is None:
        return ()
    text = to_text(value)
    found = (
        _ID.findall(text)
        if "<" in text and ">" in text
        else [w for w in re.split(r"[\s,]+", text) if "@" in w]
    )
    if not found and text.strip("<> "):
        found = [text.strip("<> ")] if " " not in text.strip() else []
    return tuple(dict.fromkeys(re.sub(r"\s+", "", i) for i in found))[:IDS_LIMIT]


def date(value: bytes | None) -> datetime | None:
    """Read a Date field into an aware datetime; None when nobody can."""
    if value is None:
        return None
    from email.utils import parsedate_tz

    text = to_text(value)[:120]
    text = re.sub(r"\(.*?\)", " ", text)
    try:
        found = parsedate_tz(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        found = None
    try:
        if found is not None and found[0] >= 1900:
            seconds = found[9] or 0
            if abs(seconds) >= 86_400:
                seconds = 0
            from datetime import timedelta, timezone

            zone = UTC if not seconds else timezone(timedelta(seconds=seconds))
            second = min(found[5], 59)
            return datetime(*found[:5], second, tzinfo=zone)
        iso = datetime.fromisoformat(text.strip())
        return iso if iso.tzinfo else iso.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError):
        return None
