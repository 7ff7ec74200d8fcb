"""Address lists as people and programs write them: groups, comments, routes, quotes, missing commas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from channels.email.headers import to_text, words
from channels.email.mail import Mailbox

ADDRESSES_LIMIT = 2_000
_GAP = re.compile(r"[ \t\r\n]*\Z")
_TOKENS = (
    r"(?P<word>=\?[^?\s]{1,60}\?\s{0,2}[bBqQ]\?[^?]*+\?=)"
    r"|(?P<mark>[<>,;:()])"
    r"|(?P<atom>[^\s\"<>,;:()]+)"
    r"|(?P<space>\s+)"
    r"|(?P<stray>.)"
)
_TOKEN = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*+)"|' + _TOKENS, re.S)
_TOKEN_UNQUOTED = re.compile(r"(?P<quoted>(?!))|" + _TOKENS, re.S)  # after a quote that never ends
_BARE = re.compile(  # begun where a word begins only: from every letter of 60 KB without an @ it took 12 s
    r"(?<![^\s@<>\"(),;:])[^\s@<>\"(),;:]++@[^\s@<>\"(),;:]+"
)


def addresses(values: Iterable[bytes], hint: str = "") -> tuple[Mailbox, ...]:
    """Read address lists, the values of one field; `hint` is a charset for raw 8-bit bytes."""
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
                if "@" in address:
                    done()
                elif address:  # "<!channel> shop <a@b>" is a name with brackets, then the address
                    phrase, comments, address = [*phrase, f"<{address}> ", *comments, " "], [], ""
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
