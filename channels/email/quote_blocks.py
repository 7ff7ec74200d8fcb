"""Runs of lines that introduce an earlier mail: separators, From/Sent/To blocks, attributions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from channels.email import quote_words
from channels.email.lines import WINDOW, Line

_DECORATION = " \t\xa0\u3000-_=*~—–─━<>#·.|"
_QUOTING = re.compile(  # what older programs write: `Quoting Bob <b@x>:`, `In article <id>, Bob says...`
    r"(?:quoting|quoted from|zitat von|citando|citado por|cita di|citat från|citerar|selon|in article|in message"
    r"|in news:|цитирую|引用)\b.{0,140}(?:[:：]|\.{3}|…)\s*$",
    re.I,
)
_RULER = re.compile(r"^\s?[-_=—–─━*]{5,}\s*$")
_AT_END = re.compile(r"[>)\]\"*]\s*[:：]\s*[*_]*$")
_WROTE_AFTER = re.compile(  # `Name <address> escreveu (date):`
    r"[>)]\s*,?\s*(?:schrieb|schreef|skrev|escribió|escreveu|kirjoitti|wrote|a\s+écrit|ha\s+scritto"
    r"|napisał(?:\(a\)|a)?"
    r"|napsal(?:\(a\)|a)?|написал\(?а?\)?|пишет|пише|írta|ezt\s+írta|yazdı|έγραψε|a\s+scris|đã\s+viết)\b",
    re.I,
)


@dataclass(slots=True)
class Block:
    """A run of lines that introduces an earlier mail."""

    end: int  # the line after it
    kind: str  # attribution, header, separator, above
    forward: bool = False
    keep: str = ""  # words of the answer that share its first line


class Budget:
    """How many windows may still be tried as an attribution: no real mail needs thousands."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 3_000

    def spend(self) -> bool:
        self.left -= 1
        return self.left >= 0


def block_at(lines: list[Line], i: int, budget: Budget) -> Block | None:
    """Recognise what begins at a line: a separator, a header block, an attribution, a reply marker."""
    text = lines[i].text[:WINDOW]
    if not text.strip():
        return _ruled_block(lines, i, budget) if lines[i].mark == "rule" else None
    if "\u3000" in text or "\xa0" in text:
        text = text.replace("\u3000", " ").replace("\xa0", " ")
    kind = separator(text)
    if kind:
        end = i + 1
        header = _header_block(lines, next_text(lines, end))
        if header and next_text(lines, end) - end <= 3:
            end = header
        elif kind == "bare":
            return None
        return Block(end, "separator", kind == "forward")
    if _RULER.match(text):
        nxt = next_text(lines, i + 1)
        if nxt - i <= 4 and (header := _header_block(lines, nxt)):
            return Block(header, "header")
        if nxt - i <= 2 and nxt < len(lines) and separator(lines[nxt].text[:WINDOW]) == "forward":
            return block_at(lines, nxt, budget)
        return None
    header = _header_block(lines, i)
    if header:
        return Block(header, "header")
    if len(text) < 250 and quote_words.ABOVE.search(text):
        return Block(i + 1, "above")
    return _attribution(lines, i, budget)


def separator(text: str) -> str:
    """Tell `-----Original Message-----` in any language: "original", "forward", "bare" or ""."""
    text = text[:200]
    core = text.strip(_DECORATION).strip(" :：*").lower()
    if not core or len(core) > 60:
        return ""
    core = re.sub(r"\s+", " ", core)
    decorated = len(text) - len(core) >= 4 and re.search(r"[-_=*—–─━~]{2,}", text) is not None
    colon = text.rstrip(" *").endswith((":", "："))
    if core in quote_words.FORWARD or core.startswith(("forwarded message from", "forwarded by ")):
        return "forward" if decorated or colon else "bare"
    if core in quote_words.ORIGINAL or (decorated and core.startswith("original message")):
        return (
            "original"
            if decorated
            else ("bare" if colon or core in ("原始邮件", "原始郵件", "original message") else "")
        )
    return ""


def _label(text: str) -> tuple[str, bool, str] | None:
    """Read `*From:* value`: its role, whether the label alone is evidence, and the value."""
    head = text[:60].replace("\u3000", " ").replace("\xa0", " ")
    at = min((x for x in (head.find(":"), head.find("：")) if x >= 0), default=-1)
    if at <= 0 or at > 40:
        return None
    name = head[:at].strip(" \t*_|【】[]<>•·-\u200b\u200e\u200f").lower()
    if not name or len(name) > 30:
        return None
    if any("\u3000" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3" for c in name):
        name = name.replace(" ", "")
    found = quote_words.LABELS.get(name)
    if found is None and "/" in name:
        found = quote_words.LABELS.get(name.split("/")[0].strip())
    return (found[0], found[1], text[at + 1 :].strip(" *_|")) if found else None


def _header_block(lines: list[Line], i: int) -> int:
    """Give the end of a From/Sent/To/Subject block that begins at a line, 0 when there is none."""
    n = len(lines)
    if i >= n or lines[i].depth:
        return 0
    first = _label(lines[i].text)
    if first is None or first[0] == "cc":
        return 0
    roles: dict[str, str] = {}
    strong = False
    end = i
    loose = 0
    k = i
    while k < n and k < i + 24:
        line = lines[k]
        if line.depth:
            break
        text = line.text.strip()
        if not text:
            loose += 1
            k += 1
            if loose > 2 or len(roles) >= 4:
                break
            continue
        label = _label(line.text)
        if label is None:
            inner = {} if roles and k != i else _inline_labels(text)
            loose += 1
            last_role = next(reversed(roles), "")
            if (
                loose > (3 if last_role in ("to", "cc") else 1)
                or (not lines[k - 1].text.strip() and k > i)
                or inner
            ):
                break
            if last_role and _continues_header(text, last_role):
                k += 1
                continue
            break
        role, is_strong, value = label
        if role in roles and role in ("from", "subject"):
            break
        roles[role] = value[:WINDOW]
        strong = strong or is_strong
        for inner_role in _inline_labels(value[:WINDOW]):
            roles.setdefault(inner_role, value[:WINDOW])
        loose = 0
        k += 1
        end = k
    main = [r for r in roles if r != "cc"]
    if len(main) < 2 or not ("from" in roles or "date" in roles):
        return 0
    if first[0] in ("to", "subject") and len(main) < 3:
        return 0
    values = " ".join(roles.values())
    has_address = "@" in values
    evidence = has_address or strong or ("from" in roles and "subject" in roles)
    if not evidence:
        return 0
    if not has_address and "from" not in roles:
        return 0
    if (
        not has_address
        and len(main) == 2
        and not ("from" in roles and (quote_words.DATE.search(values) or "subject" in roles))
    ):
        return 0
    tail = end
    while (
        tail < n
        and tail < end + 3
        and lines[tail].text.strip()
        and _label(lines[tail].text) is None
        and not lines[tail].depth
    ):
        if (
            next(reversed(roles), "") in ("to", "cc", "subject")
            and _continues_header(lines[tail].text, "to")
            and "@" in lines[tail].text
            and len(lines[tail].text) < 120
        ):
            tail += 1
        else:
            break
    return tail


def _continues_header(text: str, role: str) -> bool:
    if "@" in text or text.rstrip().endswith((">", ";", "]", ",")):
        return True
    return len(text) < 60 and role in ("to", "cc", "subject", "date")


def _inline_labels(text: str) -> set[str]:
    """Labels further along one line: `From: a@b Date: …`."""
    out: set[str] = set()
    for word in re.findall(r"(?:^|\s)\*?([^\W\d_]{2,12})\*?\s?[:：]\s", text[:WINDOW]):
        found = quote_words.LABELS.get(word.lower())
        if found:
            out.add(found[0])
    return out


def _ruled_block(lines: list[Line], i: int, budget: Budget) -> Block | None:
    """Below a rule, `Label: value` lines in a language we have no table for are a header block too."""
    nxt = next_text(lines, i)
    while nxt < len(lines) and lines[nxt].mark == "rule" and not lines[nxt].text:
        nxt = next_text(lines, nxt + 1)
    if nxt - i > 6 or nxt >= len(lines):
        return None
    header = _header_block(lines, nxt)
    if header:
        return Block(header, "header")
    if (kind := separator(lines[nxt].text[:WINDOW])) in ("original", "forward"):
        return Block(nxt + 1, "separator", kind == "forward")
    block = _attribution(lines, nxt, budget)
    if block is not None:
        return block
    shaped = 0
    k = nxt
    while (
        k < len(lines) and k < nxt + 6 and re.match(r"^\W?[^\W\d][^:：]{0,24}[:：]\s*\S", lines[k].text[:80])
    ):
        shaped += 1
        k += 1
    values = " ".join(x.text[:WINDOW] for x in lines[nxt:k])
    if shaped >= 3 and "@" in values and (quote_words.DATE.search(values) or quote_words.TIME.search(values)):
        return Block(k, "header")
    return None


def _attribution(lines: list[Line], i: int, budget: Budget) -> Block | None:
    """Recognise `On <date>, <who> wrote:` in one to five lines, in the languages of the tables."""
    n = len(lines)
    first = lines[i].text[:WINDOW].replace("\u3000", " ").strip()
    starts = bool(quote_words.STARTER.match(first.lstrip("-_*(>[ ")))
    pieces: list[str] = []
    blanks = 0
    for j in range(i, min(n, i + (5 if starts else 3))):
        line = lines[j]
        if line.depth:
            break
        text = line.text[:WINDOW].strip()
        if not text:
            blanks += 1
            if blanks > 1 or not (starts and j == i + 1 and _opens_address(lines, j)):
                break
            continue
        if j > i and not starts:
            torn = pieces and pieces[-1].endswith("<")  # a name, then its address on the next line
            if not torn and quote_words.STARTER.match(text.lstrip("-_*([ ")):
                break
            if not torn and _could_end(text) and _accept(lines, j, j, text, False) is not None:
                break
        pieces.append(text)
        joined = " ".join(pieces)[-700:]
        if _could_end(text):
            if not budget.spend():
                return None
            block = _accept(lines, i, j, joined, starts)
            if block is not None:
                return block
            if text.endswith((":", "：")):
                break
        if j > i and _closed_sentence(text):
            break
        if not starts and j == i and not ("@" in text or "<" in text or len(text) < 60):
            break
    return None


def _opens_address(lines: list[Line], blank: int) -> bool:
    return blank + 1 < len(lines) and lines[blank + 1].text.lstrip().startswith("<")


def _could_end(text: str) -> bool:
    tail = text[-40:].rstrip(" *_")
    return tail.endswith((":", "：", ">", ")", "]", "...", "…")) or quote_words.wrote_last(tail)


def _closed_sentence(text: str) -> bool:
    return text.endswith(("?", "!", "。", "？", "！")) or (text.endswith(".") and len(text) > 60)


def _accept(lines: list[Line], i: int, j: int, joined: str, starts: bool) -> Block | None:
    bare = joined.strip()
    follows = next_text(lines, j + 1)
    quote_next = follows < len(lines) and (lines[follows].depth > 0 or lines[follows].mark in ("weak", "own"))
    if not _introduces(bare, single=i == j, starts=starts, quote_next=quote_next):
        return None
    return Block(j + 1, "attribution", keep=_shared_line(lines[i].text, starts))


def _introduces(bare: str, *, single: bool, starts: bool, quote_next: bool) -> bool:
    """Weigh the evidence: "wrote", an address, a date, a time, a colon, and whether a quote follows."""
    colon = bare.rstrip(" *_-").endswith((":", "："))
    framed = bare.startswith(("--", "__")) and bare.endswith(("--", "__"))
    if not (colon or framed or quote_next):
        return False
    found = quote_words.DATE.search(bare)
    date = found is not None
    opens = starts or (found is not None and found.start() < 30)
    time = quote_words.TIME.search(bare) is not None
    address = "@" in bare
    if quote_words.wrote_last(bare[-80:]):
        named = single or quote_next or bare.lstrip("\"'“*- ")[:1].isupper()
        if address and (opens or named):
            return True
        if date and (time or quote_next) and (opens or single):
            return True
        if (framed or quote_next) and single and len(bare) < 120:
            return True
        if date and quote_words.WROTE_STRONG.search(bare):
            return True
    if colon and opens and quote_words.WROTE_INSIDE.search(bare):
        if date and (address or time or quote_next):
            return True
        if address and time:
            return True
    if colon and address and (date or time):
        if _WROTE_AFTER.search(bare):
            return True
        if opens and _AT_END.search(bare):
            return True
    if quote_next and single and len(bare) < 160 and (bare.endswith((">:", "> :")) or _QUOTING.match(bare)):
        return True
    if not (quote_next and date and opens):
        return False
    return (address and bare[-1:] in ">)]:：") or (colon and (time or address) and len(bare) < 160)


def _shared_line(text: str, starts: bool) -> str:
    """Words of the answer in front of an attribution on the same line."""
    text = text[:WINDOW].strip()
    if starts:
        return ""
    found = quote_words.INSIDE_START.search(text)
    if found is None or found.start() == 0:
        return ""
    return text[: found.start()].rstrip(" -_")


def next_text(lines: list[Line], at: int) -> int:
    n = len(lines)
    while at < n and not lines[at].text.strip() and not lines[at].depth:
        at += 1
    return at
