"""What a customer wants with a message: to ask, to complain, to reach a person, to say thanks …

A linear model over words and characters, trained offline by `python -m bot.answers.train_intent` from
data/intents.jsonl and kept as weights in data/intents.json: a recognition takes some 0.1 ms of plain Python
and imports neither numpy nor scikit-learn (1.1 s and 166 MB).
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from bot.answers.text import is_han, normalise, stem, tokens


class Kind(StrEnum):
    QUESTION = "question"
    WANTS_PERSON = "wants_person"
    COMPLAINT = "complaint"
    ORDER_STATUS = "order_status"
    FEEDBACK = "feedback"  # praise and suggestions
    THANKS = "thanks"
    GREETING = "greeting"
    YES = "yes"
    NO = "no"
    CLOSING = "closing"


COURTESIES = frozenset({Kind.THANKS, Kind.GREETING, Kind.YES, Kind.NO, Kind.CLOSING})
URGENT = frozenset({Kind.WANTS_PERSON, Kind.COMPLAINT})

# Letters and digits as shops number their orders; "#" and lower case are tolerated where they cannot be a
# word.
ORDER_PATTERN = r"[A-Z]{1,4}-?\d{3,10}"
MODEL_PATH = Path(__file__).parent / "data" / "intents.json"
READ = 600  # characters of a long message that are judged: people say what they want first
SURE = 0.75  # from here one clause decides for the whole message
UNSURE = {  # below this it is a question: the knowledge base will know or hand over
    Kind.COMPLAINT: 0.45,
    Kind.WANTS_PERSON: 0.45,
    Kind.FEEDBACK: 0.45,
}

_DASHES = str.maketrans("‐‑‒–—−﹣", "-------")
_CLAUSE = re.compile(r"[^.!?,;:。！？，；：、\n]+[.!?,;:。！？，；：、\n]*")
_PERSON_EN = re.compile(
    r"\b(?:talk|speak|chat|connect|transfer|put)\b.{0,24}\b(?:human|real person|a person|someone|somebody|"
    r"an? agent|representative|manager|supervisor|operator|colleague|member of staff)\b"
)
_PERSON_ZH = re.compile(r"转(?:接)?(?:到)?人工|(?:要|找|接)(?:个)?(?:人工|真人|活人)|^人工(?:客服|服务)?$")
_ORDER_TOKEN = "ordernumber"


@dataclass(frozen=True, slots=True)
class Intent:
    """What the customer wants, how sure that is (0..1), and the first order number named, in upper case."""

    kind: Kind
    confidence: float
    order_number: str | None = None
    why: tuple[str, ...] = ()


def order_numbers(text: str, pattern: str = ORDER_PATTERN) -> tuple[str, ...]:
    """Return the order numbers in a text, each once, in order, in upper case and half width without "#"."""
    return tuple(dict.fromkeys(found["number"].upper() for found in _finder(pattern).finditer(_plain(text))))


def recognise(text: str, language: str, order_pattern: str = ORDER_PATTERN) -> Intent:
    """Say what a message wants. A courtesy beside something of substance gives way to it."""
    plain = _plain(text)
    finder = _finder(order_pattern)
    numbers = order_numbers(text, order_pattern)
    number = numbers[0] if numbers else None
    rest = finder.sub(f" {_ORDER_TOKEN} ", plain)[:READ].strip()
    if not finder.sub("", plain).strip(" #.?!。？！:：") and number:
        return Intent(Kind.ORDER_STATUS, 1.0, number, ("only an order number",))
    folded = normalise(rest)
    whole = _judge(rest)
    if _PERSON_EN.search(folded) or _PERSON_ZH.search(folded.strip(" .!?。！？")):
        return Intent(
            Kind.WANTS_PERSON, max(0.9, whole.confidence), number, ("asks for a person in so many words",)
        )
    clauses = [clause for clause in _CLAUSE.findall(rest) if clause.strip()]
    if len(clauses) > 1:
        whole = _weigh(whole, [_judge(clause) for clause in clauses[:12]])
    if whole.confidence < UNSURE.get(whole.kind, 0.3):
        whole = Intent(Kind.QUESTION, whole.confidence, None, (*whole.why, "unsure"))
    return replace(whole, order_number=number)


def substance(text: str) -> str:
    """Return the text without clauses that are mere courtesy ("Hello, …", "… 谢谢！"); all of it if all is."""
    clauses = _CLAUSE.findall(_plain(text))
    if not 1 < len(clauses) <= 12:
        return text
    kept = [clause for clause in clauses if not _is_courtesy(clause)]
    return "".join(kept).strip() if kept else text


def _is_courtesy(clause: str) -> bool:
    judged = _judge(clause)
    return judged.kind in COURTESIES and judged.confidence >= SURE


def _weigh(whole: Intent, parts: list[Intent]) -> Intent:
    """Let an urgent clause, or the one of substance beside courtesies, speak for the message."""
    urgent = [part for part in parts if part.kind in URGENT and part.confidence >= SURE]
    if urgent and whole.kind not in URGENT:
        best = max(urgent, key=lambda part: part.confidence)
        return replace(best, why=("one clause is urgent", *best.why))
    if whole.kind in COURTESIES:
        others = [part for part in parts if part.kind not in COURTESIES and part.confidence >= 0.5]
        if others:
            best = max(others, key=lambda part: part.confidence)
            return replace(best, why=("beside a courtesy", *best.why))
    return whole


def features(text: str) -> set[str]:
    """Return what the model looks at: words and their pairs, Chinese characters, marks, length."""
    folded = normalise(text)
    found: set[str] = set()
    earlier, before = "", "^"
    many = 0
    if folded.isascii():  # the same as below, for words alone: most of a message's cost is here
        words = ["0" if token.isdigit() else token for token in tokens(folded)]
        found.update(*map(_of_word, ("", "^", *words), ("^", *words), words))
        before, many = words[-1] if words else "^", 2 * len(words)
    for token in () if folded.isascii() else tokens(folded):
        if is_han(token):
            edged = f"^{token}$"
            found.update(edged[i : i + n] for n in (1, 2, 3, 4) for i in range(len(edged) - n + 1))
            many += len(token)
            found.update(_groups_within(token))
            before = ""
            continue
        word = "0" if token.isdigit() else token
        found.update(_of_word(earlier, before, word))
        earlier, before = before, word
        many += 2
    found.add(f"{before} $")
    found.add(f"length {min(many.bit_length(), 6)}")
    marks = text.count("!") + text.count("！")
    if marks:
        found.add("!!" if marks > 1 else "!")
    if "?" in text or "？" in text:
        found.add("??" if re.search(r"[?？][?？!！]", text) else "?")
    if any(letter.isalpha() for letter in text) and text == text.upper() != text.lower() and len(text) > 8:
        found.add("shouting")
    return found


@lru_cache(maxsize=20_000)  # people say the same: each word after its two neighbours is looked up once
def _of_word(earlier: str, before: str, word: str) -> tuple[str, ...]:
    lexicon = _lexicon()
    pair = f"{before} {word}"
    groups = (
        *lexicon.get(word, ()),
        *lexicon.get(pair, ()),
        *lexicon.get(f"{earlier} {pair}", ()),
    )
    return ("w:" + word, pair, "s:" + stem(word), *groups)


@cache
def _lexicon() -> dict[str, tuple[str, ...]]:
    """Words and the groups they belong to: hints to the model, which learns how much each is worth."""
    groups: dict[str, list[str]] = json.loads(MODEL_PATH.with_name("lexicon.json").read_text("utf-8"))
    found: dict[str, tuple[str, ...]] = {}
    for group, words in groups.items():
        for word in words:
            found[word] = (*found.get(word, ()), "g:" + group)
    return found


def _groups_within(run: str) -> set[str]:
    lexicon = _lexicon()
    return {
        group
        for size in (1, 2, 3, 4, 5)
        for at in range(len(run) - size + 1)
        for group in lexicon.get(run[at : at + size], ())
    }


@lru_cache(maxsize=32)  # a message's clauses are judged twice: for the intent, and for what is mere courtesy
def _judge(text: str) -> Intent:
    model = _model()
    found = [model.weights[one] for one in features(text) if one in model.weights]
    if found:
        scale = 1 / math.sqrt(len(found))
        logits = [b + total * scale for b, total in zip(model.bias, map(sum, zip(*found)))]  # noqa: B905
    else:
        logits = list(model.bias)
    top = max(logits)
    powers = [math.exp(logit - top) for logit in logits]
    best = powers.index(1.0)
    return Intent(model.kinds[best], round(1 / sum(powers), 4))


@dataclass(frozen=True, slots=True)
class _Model:
    kinds: tuple[Kind, ...]
    bias: tuple[float, ...]
    weights: dict[str, tuple[float, ...]]  # of a feature for each kind: added up in columns, which is quick


@cache
def _model() -> _Model:
    kept: dict[str, Any] = json.loads(MODEL_PATH.read_text("utf-8"))
    unit, kinds = float(kept["unit"]), tuple(Kind(kind) for kind in kept["kinds"])

    def row(pairs: list[Any]) -> tuple[float, ...]:
        given = {int(pairs[at]): pairs[at + 1] * unit for at in range(0, len(pairs), 2)}
        return tuple(given.get(kind, 0.0) for kind in range(len(kinds)))

    return _Model(
        kinds,
        tuple(float(value) for value in kept["bias"]),
        {name: row(pairs) for name, pairs in kept["weights"].items()},
    )


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:4_000]).translate(_DASHES)


@cache
def _finder(pattern: str) -> re.Pattern[str]:
    # Lower case only with "#" or "-": "room101" is no order. No \b: a Chinese character is a word character
    # too.
    return re.compile(
        rf"(?<![A-Za-z0-9])#?(?P<number>(?<=#)(?i:{pattern})|(?:{pattern})|(?=[a-z]+-)(?i:{pattern}))(?![A-Za-z0-9])"
    )
