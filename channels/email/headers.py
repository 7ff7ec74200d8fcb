"""Header fields: splitting the block, encoded words, addresses, parameters, ids and dates.

All of it is one pass over text of bounded length: `email.policy.default` takes seconds for a 50 KB header.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

from channels.email import charsets
from channels.email.mail import Mailbox

BLOCK_LIMIT = 100_000  # bytes of one header block that are read; the rest is skipped
ADDRESSES_LIMIT = 2_000
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


# -- addresses ------------------------------------------------------------------------------------------

_TOKENS = (
    r"(?P<word>=\?[^?\s]{1,60}\?\s{0,2}[bBqQ]\?[^?]*+\?=)"
    r"|(?P<mark>[<>,;:()])"
    r"|(?P<atom>[^\s\"<>,;:()]+)"
    r"|(?P<space>\s+)"
    r"|(?P<stray>.)"
)
_TOKEN = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*+)"|' + _TOKENS, re.S)
_TOKEN_UNQUOTED = re.compile(r"(?P<quoted>(?!))|" + _TOKENS, re.S)  # after a quote that never ends
_BARE = re.compile(r"[^\s@<>\"(),;:]+@[^\s@<>\"(),;:]+")


def addresses(values: Iterable[bytes], hint: str = "") -> tuple[Mailbox, ...]:
    """Read address lists as people send them: groups, comments, routes, quotes, missing commas."""
    out: list[Mailbox] = []
    for value in values:
        _address_list(to_text(value, hint), out)
        if len(out) >= ADDRESSES_LIMIT:
            break
    return tuple(out[:ADDRESSES_LIMIT])


def _address_list(text: str, out: list[Mailbox]) -> None:
    phrase: list[str] = []  # raw pieces before <…>
    comments: list[str] = []
    angle: list[str] | None = None
    address = ""
    depth = 0
    comment: list[str] = []
    quoted = False

    def done() -> None:
        nonlocal phrase, comments, angle, address, quoted
        if angle is not None and not address:
            address = _angle(angle)
        raw_name = "".join(phrase).strip()
        name = words(raw_name)
        if not address and name:
            bare = _BARE.search(name)
            if bare and not quoted:
                address = bare[0]
                name = name.replace(bare[0], "", 1)
            elif bare and name.strip("'\" ") == bare[0]:
                address, name = bare[0], ""
            elif "@" in name and not quoted:
                address, name = name if name.startswith('"') else name.replace(" ", ""), ""
        elif not address and quoted and len(phrase) == 0:
            pass
        if not name.strip() and comments:
            name = words(" ".join(comments))
        name = _tidy_name(name)
        address = words(address).strip().strip("'").rstrip(".")
        if (name or address) and len(out) < ADDRESSES_LIMIT:
            out.append(Mailbox(name, address))
        phrase, comments, angle, address, quoted = [], [], None, "", False

    for found in _tokens(text):
        kind, piece = found.lastgroup, found[0]
        if depth:
            if piece == "(":
                depth += 1
            elif piece == ")":
                depth -= 1
                if not depth:
                    comments.append("".join(comment).strip())
                    comment = []
                    continue
            comment.append(piece)
            continue
        if kind == "mark":
            if piece == "(":
                depth = 1
                continue
            if angle is not None and not address:
                if piece == ">":
                    address = _angle(angle)
                    if not address:
                        angle = None
                        address = ""
                elif piece == ":" or (len(angle) < 30 and _before_address("".join(angle))):
                    angle.append(piece)
                elif piece in ",;":
                    done()
                continue
            if piece == "<":
                if address:
                    done()
                angle = []
            elif piece in ",;":
                if piece == "," and not address and phrase and not _looks_done(phrase, found.end(), text):
                    phrase.append(", ")
                    continue
                done()
            elif piece == ":":
                joined = "".join(phrase).strip()
                if joined and "@" not in joined and angle is None:
                    phrase, comments = [], []  # a group's name
                elif joined.lower() in ("mailto",):
                    phrase = []
            continue
        if kind == "quoted":
            plain = re.sub(r"\\(.)", r"\1", found["quoted"])
            if angle is not None and not address:
                angle.append(piece if _needs_quotes(plain) else plain)
            elif text[found.end() : found.end() + 1] == "@":
                phrase.append(piece if _needs_quotes(plain) else plain)
            else:
                quoted = True
                phrase.append(plain)
        elif kind == "space":
            if angle is None or address:
                phrase.append(" ")
        elif angle is not None and not address:
            angle.append(piece)
        elif address:
            if "@" in piece and angle is not None and not _GAP.match(piece):
                done()  # a missing comma
                phrase.append(piece)
            elif kind == "word" or piece.strip():
                comments.append(piece)
        else:
            phrase.append(piece)
    done()


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """Tokenize; once a quote is found to be unclosed, quotes are ordinary characters (and time is linear)."""
    pos, pattern = 0, _TOKEN
    while found := pattern.match(text, pos):
        if found.lastgroup == "stray" and found[0] == '"':
            pattern = _TOKEN_UNQUOTED
        pos = found.end()
        yield found


def _before_address(text: str) -> bool:
    """Whether `<` was followed by no address yet: nothing, or a route (`@relay,@relay:`)."""
    return "@" not in text or (text.startswith("@") and ":" not in text)


def _needs_quotes(text: str) -> bool:
    return bool(re.search(r"[\s,<>()\[\]:;@\"\\]", text))


def _looks_done(phrase: Sequence[str], pos: int, text: str) -> bool:
    """Whether the words before a comma are an address of their own (not `Doe, John <j@x>`)."""
    joined = "".join(phrase)
    if "@" in joined:
        return True
    rest = text[pos : pos + 200]
    at = re.match(r"[^<>,;@\"]{0,80}<[^<>]*@", rest)
    return at is None or len(joined.split()) > 3


def _angle(pieces: Sequence[str]) -> str:
    text = "".join(pieces).strip()
    if text.lower().startswith("mailto:"):
        text = text[7:]
    if text.startswith("@") and ":" in text:  # an obsolete route: <@relay,@relay:user@host>
        text = text.rsplit(":", 1)[1]
    return text


def _tidy_name(name: str) -> str:
    name = re.sub(r"\s+", " ", name.replace('\\"', '"')).strip()
    while len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1].strip()
    return name.strip(' ,;"')


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
