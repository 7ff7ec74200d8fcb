"""Where a person's words end and the signature, the device's advertisement or the disclaimer begins."""

from __future__ import annotations

import re
from collections.abc import Collection

from channels.email import signature_words as looks


def strip(lines: list[str], names: Collection[str] = (), *, first: bool = True) -> list[str]:
    """Cut what stands below a person's words; `names` are lower-case words of the people involved.

    `first` says that nothing readable stands above these lines. Only looks at a bounded tail a few times.
    """
    out = list(lines)
    for _ in range(8):
        _trim(out)
        before = len(out)
        if not out:
            break
        device = _cut_footers(out)
        _trim(out)
        _cut_delimited(out, first)
        _trim(out)
        _cut_sign_off(out, first)
        _trim(out)
        _cut_contacts(out, names, first)
        _cut_names(out, names, first, device)
        if len(out) == before:
            break
    return out


def _trim(lines: list[str]) -> None:
    while lines and not lines[-1].strip():
        lines.pop()


def _first_text(lines: list[str]) -> int:
    return next((n for n, line in enumerate(lines) if line.strip()), len(lines))


def _words(line: str) -> list[str]:
    return line.split()


def _is_short(line: str, limit: int = 90) -> bool:
    return len(line) <= (limit // 2 if looks.CJK.search(line[:60]) else limit)


def _is_sentence(line: str) -> bool:
    """Whether a line reads as prose: it ends as one, or is long and has few capitals."""
    text = line.strip().strip("*_")
    if looks.CONTACT.search(text[:200]):
        return False
    if looks.CJK.search(text[:80]):
        ends = text.endswith(tuple("。？！?!~～"))
        asks = text.endswith(("？", "?"))
        return len(text) > 60 or (ends and len(text) > 16) or asks or text.count("，") + text.count("、") >= 2
    words = text.split()
    if text[-1:] == "?" and len(words) > 1:
        return True
    if text[-1:] in ".!" and len(words) > 5:
        return True
    return len(words) > 12


def is_device_line(line: str) -> bool:
    """Whether a line is what a mail program adds of itself."""
    text = line.strip().strip("*_")
    if not text or len(text) > 160 or not looks.DEVICE.match(text):
        return False
    # "Sent from my desk, is much easier than my phone." is a sentence
    tail = text.split(",", 1)
    return not (len(tail) == 2 and len(tail[1].split()) > 3 and "http" not in text)


def _cut_footers(out: list[str]) -> bool:
    """Cut device lines, scanners' notes, list footers and disclaimers off the end."""
    device = False
    for _ in range(12):
        _trim(out)
        if not out:
            return device
        at_first = len(out) - 1 == _first_text(out)
        if is_device_line(out[-1]) and not (at_first and len(out[-1]) > 80):
            out.pop()
            device = True
            continue
        start = len(out) - 1
        floor = max(0, len(out) - 40)
        while start > floor and out[start - 1].strip():
            start -= 1
        paragraph = "\n".join(out[start:])[:1500]
        if start > _first_text(out) and looks.DISCLAIMER.search(paragraph):
            marker = next(
                (
                    n
                    for n in range(start, len(out))
                    if looks.DISCLAIMER.search("\n".join(out[n : n + 4])[:800])
                ),
                start,
            )
            top = start if marker - start <= 1 or _is_short(paragraph, 200) else marker
            if not any(_is_sentence(x) for x in out[start:marker]):
                top = start if marker - start <= 1 else marker
            del out[top:]
            continue
        if looks.FOOTER.match(paragraph) and start > _first_text(out):
            del out[start:]
            continue
        if _list_footer(out):
            continue
        return device
    return device


def _list_footer(out: list[str]) -> bool:
    """`____` or `----`, then a few lines about a mailing list."""
    for at in range(len(out) - 1, max(-1, len(out) - 14), -1):
        line = out[at].strip()
        if len(line) >= 5 and not line.strip("_-=*~# "):
            tail = [x for x in out[at + 1 :] if x.strip()]
            if tail and looks.LIST_FOOTER.search("\n".join(tail)[:1500]):
                del out[at:]
                return True
            return False
    return False


def _cut_delimited(out: list[str], first: bool) -> None:
    start = _first_text(out)
    begin = max(start, len(out) - 60)
    for at in range(begin, len(out)):
        line = out[at].strip().strip("*")
        if not line or len(line) > 120:
            continue
        strong = bool(looks.DELIMITER.match(line))
        if not strong and not looks.WEAK_DELIMITER.match(line):
            continue
        if at == start and first:
            continue
        tail = [x for x in out[at + 1 :] if x.strip()]
        if not tail:
            if at == len(out) - 1:
                del out[at:]
                return
            continue
        if _signs_below(tail, strong, _announces(out, at)):
            del out[at:]
            return


def _announces(out: list[str], at: int) -> bool:
    """Whether the text above ends with a colon: what follows is what the writer wants to say."""
    above = next((x for x in reversed(out[max(0, at - 6) : at]) if x.strip()), "")
    return above.rstrip(" *_").endswith((":", "："))


def _signs_below(tail: list[str], strong: bool, announced: bool) -> bool:
    """Whether the lines below a delimiter are a signature."""
    prose = sum(_is_sentence(x) for x in tail)
    if strong:
        opens = not (_is_sentence(tail[0]) and len(tail[0].split()) > 12)
        return len(tail) <= 25 and prose <= max(2, len(tail) // 2) and (opens or len(tail) > 2)
    if announced or len(tail) > 16 or prose > 1 or not all(_is_short(x, 110) for x in tail):
        return False
    contact = len(looks.CONTACT.findall("\n".join(tail)[:2000]))
    if looks.STRONG.match(tail[0].strip()) or (contact and len(tail) >= 2):
        return True
    if _named(tail[0]) and len(tail) <= 3 and all(_is_tiny(x) for x in tail):
        return True
    framed = not tail[-1].strip().strip("-_=*~#─━―－＿＝＊+・･")
    return framed and not prose and (contact > 0 or _named(tail[0]))


def _is_tiny(line: str) -> bool:
    text = line.strip()
    if text[-1:] in "?？:：" or looks.BULLET.match(line):
        return False
    return len(text) <= 14 if looks.CJK.search(text) else len(text.split()) <= 4 and not _is_sentence(text)


def _cut_sign_off(out: list[str], first: bool) -> None:
    start = _first_text(out)
    seen = 0
    best = -1
    for at in range(len(out) - 1, max(start, len(out) - 30) - 1, -1):
        line = out[at].strip().strip("*_")
        if not line:
            continue
        seen += 1
        if seen > 14:
            break
        if at == start and first:
            break
        tail = [x for x in out[at + 1 :] if x.strip()]
        if (
            looks.STRONG.match(line)
            and len(line) <= 70
            and not (_is_sentence(line) and len(line.split()) > 9)
        ):
            if _sign_tail(tail):
                best = at
        elif len(line) <= 70 and (thanks := looks.THANKS.match(line)):
            rest = thanks["rest"].strip(" ,.!！。…~:)&-")
            named = (
                rest
                and all(looks.NAME_WORD.match(w) and w[:1].isupper() for w in rest.split())
                and len(rest.split()) <= 3
            )
            alone = not rest and not line.endswith("?")
            if (
                (alone and tail and _named(tail[0]))
                or (named and not tail)
                or (alone and best == _next_text(out, at))
            ) and _sign_tail(tail):
                best = at
        if not _is_short(line, 110) or (_is_sentence(line) and at != best):
            break
    if best >= 0:
        del out[best:]


def _next_text(out: list[str], at: int) -> int:
    return next((n for n in range(at + 1, len(out)) if out[n].strip()), -2)


def _named(line: str) -> bool:
    """Whether a line can be a name (and perhaps a firm): few words, each capitalised or CJK."""
    text = line.strip().strip("*_-–—/~ ,.")
    if not text or text[-1:] in "?？:：" or len(text) > 60:
        return False
    if looks.CJK.search(text):
        return len(text) <= 16 and not re.search(r"[，。？！、的了吗呢吧か]", text)
    words = text.split()
    if len(words) > 5:
        return False
    return all(
        w[:1].isupper()
        or not w[:1].isalpha()
        or w.lower() in ("van", "de", "von", "der", "da", "di", "bin", "la", "le", "del")
        for w in words
    ) or (len(words) == 1 and text.islower() and len(text) >= 2)


def _sign_tail(tail: list[str]) -> bool:
    return (
        len(tail) <= 14
        and all(_is_short(x, 120) for x in tail)
        and not any(_is_sentence(x) for x in tail[:4])
        and sum(bool(looks.BULLET.match(x)) for x in tail) < 2
    )


def _cut_contacts(out: list[str], names: Collection[str], first: bool) -> None:
    """Cut a business card at the end: a name, then ways to reach it; or the writer's own full name and more."""
    top = _first_text(out)
    start = len(out) - 1
    floor = max(0, len(out) - 10)
    while start > floor and out[start - 1].strip():
        start -= 1
    if (start <= top and first) or _announces(out, start):
        return
    block = [x.strip() for x in out[start:]]
    apart = start > 2 and not out[start - 1].strip() and not out[start - 2].strip()
    if (
        len(block) == 1 and apart and looks.BARE_ADDRESS.match(block[0])
    ):  # Foxmail signs with the bare address
        del out[start:]
        return
    if 2 <= len(block) <= 9 and not (start and out[start - 1].strip()):
        contacts = sum(len(looks.CONTACT.findall(x)) for x in block[1:])
        if (
            _named(block[0])
            and not looks.CONTACT.search(block[0])
            and contacts >= 2
            and not any(_is_sentence(x) for x in block)
        ):
            del out[start:]
            return
    for at in range(max(top + 1, len(out) - 16), len(out)):
        words = re.findall(r"[^\W\d_]+", out[at][:60].lower())
        if len(words) < 2 or len(words) > 4 or len(out[at]) > 50 or not all(w in names for w in words):
            continue
        tail = [x for x in out[at + 1 :] if x.strip()]
        if (at and out[at - 1].strip()) or _announces(out, at) or len(tail) > 10:
            continue
        if not any(_is_sentence(x) or not _is_short(x, 120) for x in tail):
            del out[at:]
            return


def _cut_names(out: list[str], names: Collection[str], first: bool, device: bool) -> None:
    """Cut a last line that is only a name: `-roman`, `/John`, or somebody who takes part in the mail."""
    _trim(out)
    if not out:
        return
    at = len(out) - 1
    if first and at <= _first_text(out):
        return
    line = out[at].strip()
    above = next((x for x in reversed(out[max(0, at - 6) : at]) if x.strip()), "")
    blank_above = at > 0 and not out[at - 1].strip()
    if (
        (found := looks.DASH_NAME.match(line))
        and not looks.BULLET.match(above)
        and not above.rstrip().endswith((":", "："))
    ):
        spaced = bool(re.match(r"^\s?\W+\s", line))
        count = len(found[1].split())
        if count <= (2 if spaced else 3) and line[:1] != "*" and not (above.lstrip()[:1] in "-–" and spaced):
            out.pop()
            return
    if _announces(out, at):
        return
    if looks.CJK.search(line) and len(line) <= 8 and _named(line) and looks.THANKS.match(above.strip()):
        out.pop()  # よろしくお願いします。/ 田中
        return
    words = re.findall(r"[^\W\d_]+", line.lower())
    if words and len(_words(line)) <= 4 and len(line) <= 40 and names and all(w in names for w in words):
        out.pop()
        return
    if (
        device
        and blank_above
        and 2 <= len(_words(line)) <= 3
        and all(w[:1].isupper() and looks.NAME_WORD.match(w) for w in _words(line))
        and above
    ):
        out.pop()
