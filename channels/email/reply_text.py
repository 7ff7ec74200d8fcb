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
from channels.email.lines import WINDOW, Line, to_text
from channels.email.mail import Mailbox
from channels.email.quote_blocks import Block, Budget, block_at, next_text, separator

_ADDRESS = re.compile(r"[^\s@<>\"'()\[\]]+@[^\s@<>\"'()\[\]]+\.?\w")
_ONLY_WROTE = re.compile(r"^\w{1,20}(?:\s\w{1,20}){0,2}\s?[:：]$")
_URL_LINE = re.compile(r"^\s*[(<\[]?\s*(?:https?://|www\.)\S+\s*[)>\]]?\s*>?\s*$")
_OPEN_URL = re.compile(r"(?:[(<\[]|https?:)[^)>\]\s]*$")
_FORWARD_SUBJECT = re.compile(
    r"^\s*(?:fwd?|wg|tr|rv|enc|i|doorst|vs|vb|pd|转发|轉寄|転送|전달|fw|vl|ilt|továbbítás)\s*[:：]", re.I
)


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
    budget = Budget()
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
        block = block_at(lines, i, budget)
        if block is None and line.mark in ("cut", "boxed") and line.text:
            block = Block(i, "markup", _is_forward_text(lines, i))
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
        follows = next_text(lines, block.end)
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


def _keeps_forward(above: list[Line], block: Block, forward_subject: bool) -> bool:
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


def _weak_groups(lines: list[Line], budget: Budget) -> set[int]:
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


def _introduced(lines: list[Line], start: int, budget: Budget) -> bool:
    """Whether an attribution or a separator stands directly above or at the top of a quote."""
    k = start - 1
    while k >= 0 and not lines[k].text.strip():
        k -= 1
    if k >= 0:
        for top in range(max(0, k - 3), k + 1):
            block = block_at(lines, top, budget)
            if block is not None and block.end > k:
                return True
    inner = [Line(x.text, 0) for x in lines[start : start + 8]]
    at = next_text(inner, 0)
    return at < len(inner) and block_at(inner, at, budget) is not None


def _is_forward_text(lines: list[Line], i: int) -> bool:
    return any(separator(x.text) == "forward" for x in lines[i : i + 3])


def _people_in(text: str) -> set[str]:
    """Words of the names and addresses in an attribution or header line."""
    text = text[:WINDOW]
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
