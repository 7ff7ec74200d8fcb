"""What is new in a message: one pass over its lines, each looked at with a bounded window.

The lines come from plain text or from HTML and know how deeply they are quoted. Quotes, attributions and
header blocks are found by structure (a date, an address, a colon, what follows) and by words in tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from channels.email import quote_words, signature
from channels.email.content import Content
from channels.email.lines import Line, to_text
from channels.email.mail import Mailbox

_WINDOW = 400  # characters of a line that are looked at
_DECORATION = " \t\xa0\u3000-_=*~—–─━<>#·.|"
_RULER = re.compile(r"^\s?[-_=—–─━*]{5,}\s*$")
_ADDRESS = re.compile(r"[^\s@<>\"'()\[\]]+@[^\s@<>\"'()\[\]]+\.?\w")
_AT_END = re.compile(r"[>)\]\"*]\s*[:：]\s*[*_]*$")
_WROTE_AFTER = re.compile(  # `Name <address> escreveu (date):`
    r"[>)]\s*,?\s*(?:schrieb|schreef|skrev|escribió|escreveu|kirjoitti|wrote|a\s+écrit|ha\s+scritto|napisał(?:\(a\)|a)?"
    r"|napsal(?:\(a\)|a)?|написал\(?а?\)?|пишет|пише|írta|ezt\s+írta|yazdı|έγραψε|a\s+scris|đã\s+viết)\b",
    re.I,
)
_ONLY_WROTE = re.compile(r"^\w{1,20}(?:\s\w{1,20}){0,2}\s?[:：]$")
_URL_LINE = re.compile(r"^\s*[(<\[]?\s*(?:https?://|www\.)\S+\s*[)>\]]?\s*>?\s*$")
_OPEN_URL = re.compile(r"(?:[(<\[]|https?:)[^)>\]\s]*$")
_FORWARD_SUBJECT = re.compile(
    r"^\s*(?:fwd?|wg|tr|rv|enc|i|doorst|vs|vb|pd|转发|轉寄|転送|전달|fw|vl|ilt|továbbítás)\s*[:：]", re.I
)


@dataclass(slots=True)
class _Block:
    """A run of lines that introduces an earlier mail."""

    end: int  # the line after it
    kind: str  # attribution, header, separator, above
    forward: bool = False
    keep: str = ""  # words of the answer that share its first line


class _Budget:
    """How many windows may still be tried as an attribution: no real mail needs thousands."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 3_000

    def spend(self) -> bool:
        self.left -= 1
        return self.left >= 0


@dataclass(slots=True)
class _Result:
    reply: list[Line]
    quoted: list[Line]
    found: bool  # a quote was recognised
    fallback: bool = False


def extract(
    found: Content, *, sender: Mailbox | None = None, ours: Sequence[str] = (), subject: str = ""
) -> tuple[str, str]:
    """Give what is new in a message, and what was taken away as quoted.

    Reads the plain text where it shows where the quote begins, the HTML where only that does.
    """
    people = _names(sender)
    forward = bool(_FORWARD_SUBJECT.match(subject))
    if not found.html_lines:
        result = _scan(found.text_lines, people, ours, forward)
    elif not found.has_plain or not found.text_lines:
        result = _scan(found.html_lines, people, ours, forward)
    else:
        result = _scan(found.text_lines, people, ours, forward)
        rich = _scan(found.html_lines, people, ours, forward)
        if _html_is_better(result, rich):
            result = rich
    return to_text(result.reply, quoted=False).strip("\n"), to_text(result.quoted, quoted=False)


def _html_is_better(plain: _Result, rich: _Result) -> bool:
    if rich.fallback:
        return False
    if plain.fallback:
        return True
    size, rich_size = _weight(plain.reply), _weight(rich.reply)
    if rich.found and not plain.found:
        return 0 < rich_size < size or (rich_size > 0 and size == 0)
    if not rich_size:
        return False
    if rich.found and plain.found:
        return rich_size < 0.7 * size
    return size < 0.5 * rich_size


def _weight(lines: Sequence[Line]) -> int:
    return sum(len(line.text.split()) + len(line.text) // 20 for line in lines)


def _names(sender: Mailbox | None) -> set[str]:
    if sender is None:
        return set()
    local = sender.address.partition("@")[0]
    found = {w.lower() for w in re.findall(r"[^\W\d_]+", f"{sender.name} {local}"[:200])}
    return {w for w in found if len(w) > 1} - {
        "support",
        "info",
        "customer",
        "service",
        "team",
        "mail",
        "hello",
    }


# -- the scan -------------------------------------------------------------------------------------------


def _scan(
    lines: list[Line], people: set[str], ours: Sequence[str], forward_subject: bool, level: int = 0
) -> _Result:
    lines = _mend(lines)
    if ours:
        _align(lines, ours)
    names = set(people)
    budget = _Budget()
    kept: list[list[Line]] = [[]]
    quoted: list[Line] = []
    found = False
    weak = _weak_groups(lines, budget)
    i, n = 0, len(lines)
    has_above = False
    held_forward = False
    while i < n:
        line = lines[i]
        if line.depth and i not in weak:
            quoted.append(line)
            found = True
            if kept[-1]:
                kept.append([])
            i += 1
            continue
        if line.mark == "attr":
            quoted.append(line)
            names |= _people_in(line.text)
            found = True
            i += 1
            continue
        block = _block_at(lines, i, budget)
        if block is None and line.mark in ("cut", "boxed") and line.text:
            block = _Block(i, "markup", _is_forward_text(lines, i))
        if block is None:
            kept[-1].append(line)
            has_above = has_above or bool(line.text.strip())
            i += 1
            continue
        if block.keep:
            kept[-1].append(Line(block.keep, raw=block.keep))
            has_above = True
        for k in range(i, block.end):
            names |= _people_in(lines[k].text)
        follows = _next_text(lines, block.end)
        quote_follows = follows < n and lines[follows].depth > 0 and follows not in weak
        above = _above(kept) if has_above else []
        if block.kind == "above" or (has_above and not _keeps_forward(above, block, forward_subject)):
            found = True
            if quote_follows and block.kind != "above":
                quoted.extend(lines[i : block.end])
                i = block.end
                continue
            quoted.extend(lines[i:])
            break
        if (
            quote_follows
            and block.kind in ("attribution", "header", "separator")
            and not has_above
            and _after_quote(lines, follows)
        ):
            quoted.extend(lines[i : block.end])
            found = True
            i = block.end
            continue
        # nothing above: the earlier mail is the message (a forward by itself)
        held_forward = True
        end = max(block.end, i + 1)
        kept[-1].extend(Line(x.text, 0, "kept", raw=x.raw) for x in lines[i:end])
        has_above = has_above and block.kind != "attribution"
        if block.forward or forward_subject or block.kind in ("attribution", "markup"):
            kept[-1].extend(Line(x.text, 0, "kept", raw=x.raw) for x in lines[end:])
            break
        i = end
        has_above = False
        if level >= 3:
            kept[-1].extend(Line(x.text, 0, "kept", raw=x.raw) for x in lines[end:])
            break
        rest = _scan(lines[end:], names, (), False, level + 1)
        if any(x.text.strip() for x in rest.reply):
            kept[-1].extend(rest.reply)
            quoted.extend(rest.quoted)
        break
    reply = _finish(kept, names, found)
    if not any(x.text.strip() for x in reply):
        return _fallback(lines, kept, names, quoted, found)
    return _Result(reply, quoted, found and not (held_forward and not quoted))


def _above(kept: list[list[Line]]) -> list[Line]:
    return [line for run in kept for line in run if line.text.strip()][:6]


def _keeps_forward(above: list[Line], block: _Block, forward_subject: bool) -> bool:
    """A short note that points at a forwarded mail does not replace it."""
    if not (block.forward or (forward_subject and block.kind in ("header", "separator", "markup"))):
        return False
    note = " ".join(line.text for line in above)[:300]
    short = len(note.split()) <= 10 and len(note) <= 80
    return short and bool(quote_words.POINTING.search(note))


def _after_quote(lines: list[Line], at: int) -> bool:
    return any(not x.depth and x.text.strip() for x in lines[at:])


def _finish(kept: list[list[Line]], names: set[str], found: bool) -> list[Line]:
    """Take signatures off every run of kept lines, and join the runs."""
    out: list[Line] = []
    runs = [run for run in kept if any(x.text.strip() for x in run)]
    for number, run in enumerate(runs):
        marked = [x for x in run if x.mark != "sig"]
        if any(x.text.strip() for x in marked) or out:
            run = marked
        texts = [x.text[:300] for x in run]  # a longer line is no part of a signature
        first = not any(x.text.strip() for x in out)
        last = number == len(runs) - 1
        stripped = signature.strip(texts, names, first=first)
        if (
            not any(t.strip() for t in stripped)
            and not last
            and not signature.is_device_line(texts[-1])
            and len(texts) < 3
        ):
            stripped = texts  # "Thanks!" between two quotes is an answer
        if out and stripped:
            out.append(Line(""))
        out.extend(run[: len(stripped)])
    while out and not out[0].text.strip():
        out.pop(0)
    return out


def _fallback(
    lines: list[Line], kept: list[list[Line]], names: set[str], quoted: list[Line], found: bool
) -> _Result:
    """Everything would go: keep signatures, then keep all."""
    flat = [x for run in kept for x in run]
    if any(x.text.strip() for x in flat):
        return _Result(flat, quoted, found, fallback=True)
    return _Result([Line(x.text, 0, raw=x.raw) for x in lines], [], False, fallback=True)


def _next_text(lines: list[Line], at: int) -> int:
    n = len(lines)
    while at < n and not lines[at].text.strip() and not lines[at].depth:
        at += 1
    return at


def _mend(lines: list[Line]) -> list[Line]:
    """Give wrapped pieces back to the quote they were torn from."""
    out = lines
    n = len(lines)
    for i, line in enumerate(lines):
        if (
            line.depth == 1
            and _ONLY_WROTE.match(line.text[:80].strip())
            and i
            and not lines[i - 1].depth
            and quote_words.WROTE_LAST.search(line.text[:80])
        ):
            if "<" in "".join(x.text[-120:] for x in lines[max(0, i - 3) : i]):
                out[i] = Line("> " + line.text, 0, raw=line.raw)
            continue
        if line.depth or not line.text.strip() or not 0 < i < n - 1:
            continue
        before, after = lines[i - 1], lines[i + 1]
        if not before.depth or not after.depth:
            continue
        text = line.text.strip()
        if (
            _URL_LINE.match(text[:2_000])
            or (_OPEN_URL.search(before.text[-300:]) and text[-1:] in ")>]")
            or (
                len(before.raw) >= 66
                and before.text[-1:] not in ".?!:;。？！"
                and text[:1].islower()
                and len(text) <= 40
                and after.depth == before.depth
            )
        ):
            out[i] = Line(line.text, before.depth, raw=line.raw)
    return out


def _weak_groups(lines: list[Line], budget: _Budget) -> set[int]:
    """Blockquotes nobody introduced may be the writer's own: keep them when a real quote exists.

    Only lines marked "weak" by the HTML reader are in question. Gives the lines to be kept.
    """
    groups: list[tuple[int, int]] = []
    strong = False
    i, n = 0, len(lines)
    while i < n:
        line = lines[i]
        if not line.depth:
            strong = strong or line.mark in ("cut", "attr")
            i += 1
            continue
        start = i
        while i < n and (lines[i].depth or (not lines[i].text and i + 1 < n and lines[i + 1].depth)):
            i += 1
        weak = all(x.mark in ("weak", "own") for x in lines[start:i] if x.text and x.depth)
        if weak and not _introduced(lines, start, budget):
            groups.append((start, i))
        else:
            strong = True
    if not groups:
        return set()
    if not strong:
        last = groups[-1]
        if not any(x.mark == "own" for x in lines[last[0] : last[1]]):
            groups = groups[:-1]
    return {k for a, b in groups for k in range(a, b)}


def _introduced(lines: list[Line], start: int, budget: _Budget) -> bool:
    """Whether an attribution or a separator stands directly above or at the top of a quote."""
    k = start - 1
    while k >= 0 and not lines[k].text.strip():
        k -= 1
    if k >= 0:
        for top in range(max(0, k - 3), k + 1):
            block = _block_at(lines, top, budget)
            if block is not None and block.end > k:
                return True
    inner = [Line(x.text, 0) for x in lines[start : start + 8]]
    at = _next_text(inner, 0)
    return at < len(inner) and _block_at(inner, at, budget) is not None


def _is_forward_text(lines: list[Line], i: int) -> bool:
    return any(_separator(x.text) == "forward" for x in lines[i : i + 3])


def _people_in(text: str) -> set[str]:
    """Words of the names and addresses in an attribution or header line."""
    text = text[:_WINDOW]
    if "@" not in text:
        return set()
    local = " ".join(a.partition("@")[0] for a in _ADDRESS.findall(text))
    named = " ".join(re.findall(r"[\"“]?([^\W\d_][\w' .-]{1,40})[\"”]?\s*<", text))
    found = {w.lower() for w in re.findall(r"[^\W\d_]+", f"{local} {named}")}
    return {w for w in found if len(w) > 2} - {
        "from",
        "wrote",
        "sent",
        "mailto",
        "info",
        "support",
        "yes",
        "noreply",
    }


# -- blocks ---------------------------------------------------------------------------------------------


def _block_at(lines: list[Line], i: int, budget: _Budget) -> _Block | None:
    """Recognise what begins at a line: a separator, a header block, an attribution, a reply marker."""
    text = lines[i].text[:_WINDOW]
    if not text.strip():
        return _ruled_block(lines, i, budget) if lines[i].mark == "rule" else None
    if "\u3000" in text or "\xa0" in text:
        text = text.replace("\u3000", " ").replace("\xa0", " ")
    kind = _separator(text)
    if kind:
        end = i + 1
        header = _header_block(lines, _next_text(lines, end))
        if header and _next_text(lines, end) - end <= 3:
            end = header
        elif kind == "bare":
            return None
        return _Block(end, "separator", kind == "forward")
    if _RULER.match(text):
        nxt = _next_text(lines, i + 1)
        if nxt - i <= 4 and (header := _header_block(lines, nxt)):
            return _Block(header, "header")
        if nxt - i <= 2 and nxt < len(lines) and _separator(lines[nxt].text[:_WINDOW]) == "forward":
            return _block_at(lines, nxt, budget)
        return None
    header = _header_block(lines, i)
    if header:
        return _Block(header, "header")
    if (
        (len(text) < 250 and "line" in text.lower())
        or "行" in text
        or "线" in text
        or "줄" in text
        or "Linie" in text
        or "Zeile" in text
    ):
        if quote_words.ABOVE.search(text):
            return _Block(i + 1, "above")
    return _attribution(lines, i, budget)


def _separator(text: str) -> str:
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
        roles[role] = value[:_WINDOW]
        strong = strong or is_strong
        for inner_role in _inline_labels(value[:_WINDOW]):
            roles.setdefault(inner_role, value[:_WINDOW])
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
    for word in re.findall(r"(?:^|\s)\*?([^\W\d_]{2,12})\*?\s?[:：]\s", text[:_WINDOW]):
        found = quote_words.LABELS.get(word.lower())
        if found:
            out.add(found[0])
    return out


def _ruled_block(lines: list[Line], i: int, budget: _Budget) -> _Block | None:
    """Below a rule, `Label: value` lines in a language we have no table for are a header block too."""
    nxt = _next_text(lines, i)
    while nxt < len(lines) and lines[nxt].mark == "rule" and not lines[nxt].text:
        nxt = _next_text(lines, nxt + 1)
    if nxt - i > 6 or nxt >= len(lines):
        return None
    header = _header_block(lines, nxt)
    if header:
        return _Block(header, "header")
    if (kind := _separator(lines[nxt].text[:_WINDOW])) in ("original", "forward"):
        return _Block(nxt + 1, "separator", kind == "forward")
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
    values = " ".join(x.text[:_WINDOW] for x in lines[nxt:k])
    if shaped >= 3 and "@" in values and (quote_words.DATE.search(values) or quote_words.TIME.search(values)):
        return _Block(k, "header")
    return None


def _attribution(lines: list[Line], i: int, budget: _Budget) -> _Block | None:
    """Recognise `On <date>, <who> wrote:` in one to five lines, in the languages of the tables."""
    n = len(lines)
    first = lines[i].text[:_WINDOW].replace("\u3000", " ").strip()
    starts = bool(quote_words.STARTER.match(first.lstrip("-_*(>[ ")))
    pieces: list[str] = []
    blanks = 0
    for j in range(i, min(n, i + (5 if starts else 3))):
        line = lines[j]
        if line.depth:
            break
        text = line.text[:_WINDOW].strip()
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
    return tail.endswith((":", "：", ">", ")", "]")) or bool(quote_words.WROTE_LAST.search(tail))


def _closed_sentence(text: str) -> bool:
    return text.endswith(("?", "!", "。", "？", "！")) or (text.endswith(".") and len(text) > 60)


def _accept(lines: list[Line], i: int, j: int, joined: str, starts: bool) -> _Block | None:
    bare = joined.strip()
    colon = bare.rstrip(" *_-").endswith((":", "："))
    verb_last = quote_words.WROTE_LAST.search(bare[-80:]) is not None
    framed = bare.startswith(("--", "__")) and bare.endswith(("--", "__"))
    address = "@" in bare
    date = quote_words.DATE.search(bare)
    time = quote_words.TIME.search(bare) is not None
    n = len(lines)
    follows = _next_text(lines, j + 1)
    quote_next = follows < n and (lines[follows].depth > 0 or lines[follows].mark in ("weak", "own"))
    begin = bool(date) and date is not None and date.start() < 30
    single = i == j
    ok = False
    if verb_last and (colon or framed or quote_next):
        if (
            (address and (starts or begin or single or bare.lstrip("\"'“*- ")[:1].isupper() or quote_next))
            or (date is not None and (time or quote_next) and (starts or begin or single))
            or ((framed or quote_next) and len(bare) < 120 and single)
            or (date is not None and quote_words.WROTE_STRONG.search(bare))
        ):
            ok = True
    if not ok and colon and quote_words.WROTE_INSIDE.search(bare) and (starts or begin):
        ok = (
            (address and (date is not None or time))
            or (date is not None and time)
            or (date is not None and quote_next)
        )
    if not ok and colon and address and (date is not None or time) and _WROTE_AFTER.search(bare):
        ok = True
    if not ok and colon and address and date is not None and begin and _AT_END.search(bare):
        ok = True
    if not ok and colon and address and time and starts and _AT_END.search(bare):
        ok = True
    if not ok and quote_next and address and date is not None and begin and bare[-1:] in ">)]:：":
        ok = True
    if (
        not ok
        and quote_next
        and colon
        and date is not None
        and (time or address)
        and begin
        and len(bare) < 160
    ):
        ok = True
    if not ok:
        return None
    return _Block(j + 1, "attribution", keep=_shared_line(lines[i].text, starts))


def _shared_line(text: str, starts: bool) -> str:
    """Words of the answer in front of an attribution on the same line."""
    text = text[:_WINDOW].strip()
    if starts:
        return ""
    found = quote_words.INSIDE_START.search(text)
    if found is None or found.start() == 0:
        return ""
    return text[: found.start()].rstrip(" -_")


# -- what we sent ---------------------------------------------------------------------------------------


def _key(text: str) -> str:
    return re.sub(r"[\W_]+", "", text[:1000]).lower()


def _align(lines: list[Line], ours: Sequence[str]) -> None:
    """Mark lines that repeat what we sent as quoted: one long line, or two short ones that follow each other."""
    known: dict[str, int] = {}
    for text in ours[:50]:
        for sent in text[:200_000].split("\n"):
            key = _key(sent)
            if len(key) >= 4:
                known[key] = known.get(key, 0) + 1
    if not known:
        return
    marks = [len(key) if (key := _key(line.text)) in known else 0 for line in lines]
    texts = [n for n, line in enumerate(lines) if line.text.strip()]
    for place, n in enumerate(texts):
        if not marks[n] or lines[n].depth:
            continue
        before = place > 0 and marks[texts[place - 1]] > 0
        after = place + 1 < len(texts) and marks[texts[place + 1]] > 0
        if marks[n] >= 30 or ((before or after) and marks[n] >= 8) or (before and after):
            lines[n].depth = 1
