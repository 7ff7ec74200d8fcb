"""How often the bot answers, how often that is right, and how fast: `python -m benchmarks.answers [--data DIR]`.

1. The sample knowledge base, one phrasing of every article left out at a time and asked, together with
   out-of-scope sentences (near: about the shop but nobody wrote an answer; far: about anything else).
2. Held-out sentences for the intents.
3. With --data, a folder with banking77_{train,test}.csv and clinc150_full.json: the same over 77 and 150 intents
   as articles of 6 and of 30 phrasings, with CLINC150's own out-of-scope questions.
4. Time a query at 10,000 articles.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bot.answers.decide import Action, AnswerSettings, Decision, Question, decide
from bot.answers.index import Article, ArticleIndex
from bot.answers.intent import recognise
from bot.sample import articles

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "tests" / "fixtures" / "answers"
Asked = tuple[int | None, Decision]  # the right article, None for out of scope; what was decided


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for language in ("en", "zh"):
        results[f"sample {language}"] = judge(sample(language))
    for name in ("heldout", "unseen"):
        results[f"intents {name}"] = intents(FIXTURES / f"intents_{name}.jsonl")
    if given.data:
        for phrasings in (6, 30):
            results[f"banking77, {phrasings} phrasings"] = judge(banking(given.data, phrasings))
            results[f"clinc150, {phrasings} phrasings"] = judge(clinc(given.data, phrasings))
    results["10,000 articles"] = speed(10_000)
    if given.json:
        print(json.dumps(results, indent=1))
        return
    for name, values in results.items():
        print(f"{name:26}", "  ".join(f"{key} {value:g}" for key, value in values.items()))


def sample(language: str, most: int = 8) -> list[Asked]:
    """Ask every phrasing of the sample while it is left out, and the out-of-scope sentences."""
    own = [article for article in articles() if article.language == language]
    outside = [row for row in rows(HERE / "out_of_scope.jsonl") if row["language"] == language]
    found: list[Asked] = []
    for at in range(most):
        index = ArticleIndex.build(
            replace(article, phrasings=article.phrasings[:at] + article.phrasings[at + 1 :])
            for article in own
        )
        asked = [(article.id, article.phrasings[at]) for article in own if at < len(article.phrasings)]
        found += ask(index, language, asked)
        found += ask(index, language, [(None, row["text"]) for row in outside[at::most]])
    return found


def ask(index: ArticleIndex, language: str, asked: Iterable[tuple[int | None, str]]) -> list[Asked]:
    settings = AnswerSettings()
    return [(right, decide(Question(text, language), index, settings)) for right, text in asked]


def judge(asked: Sequence[Asked]) -> dict[str, float]:
    """Count: answered at once, right among these, right among those offered; false answers out of scope.

    What the intent alone decided (a courtesy, a state of an order, a complaint) is counted as `by_intent`.
    """
    inside = [(right, made) for right, made in asked if right is not None]
    outside = [made for right, made in asked if right is None]
    answered = [(right, made) for right, made in asked if made.article_id is not None]
    offered = [(right, made) for right, made in inside if made.kind is Action.CHOICES]
    good = sum(right == made.article_id for right, made in answered)
    shown = sum(right in [at for at, _ in made.choices] for right, made in offered)
    by_intent = sum(made.kind is Action.FORM or _by_intent(made) for _, made in inside)
    return {
        "asked": len(inside),
        "answered": _share(sum(made.article_id is not None for _, made in inside), len(inside)),
        "precision": _share(good, len(answered)),
        "offered": _share(len(offered), len(inside)),
        "among_offered": _share(shown, len(offered)),
        "by_intent": _share(by_intent, len(inside)),
        "out_of_scope": len(outside),
        "false_answers": _share(sum(made.article_id is not None for made in outside), len(outside)),
        "false_offers": _share(sum(made.kind is Action.CHOICES for made in outside), len(outside)),
    }


def _by_intent(made: Decision) -> bool:
    return made.article_id is None and not made.choices and not made.why[0].startswith("no article")


def intents(path: Path) -> dict[str, float]:
    wrong: Counter[str] = Counter()
    count: Counter[str] = Counter()
    took = []
    for row in rows(path):
        begun = time.perf_counter()
        found = recognise(row["text"], row["language"])
        took.append(time.perf_counter() - begun)
        count[row["kind"]] += 1
        wrong[row["kind"]] += found.kind != row["kind"]
    right = {
        f"recall_{kind}": _share(count[kind] - wrong[kind], count[kind])
        for kind in ("complaint", "wants_person")
    }
    return {
        "asked": count.total(),
        "accuracy": _share(count.total() - wrong.total(), count.total()),
        **right,
        **_times(took),
    }


def banking(folder: Path, phrasings: int) -> list[Asked]:
    sets = []
    for name in ("train", "test"):
        with (folder / f"banking77_{name}.csv").open(encoding="utf-8", newline="") as file:
            sets.append([(row["text"], row["category"]) for row in csv.DictReader(file)])
    return _public(sets[0], sets[1], [], phrasings)


def clinc(folder: Path, phrasings: int) -> list[Asked]:
    sets = json.loads((folder / "clinc150_full.json").read_text("utf-8"))
    return _public(sets["train"], sets["test"], [text for text, _ in sets["oos_test"]], phrasings)


def _public(
    train: Sequence[Sequence[str]], test: Sequence[Sequence[str]], outside: Sequence[str], phrasings: int
) -> list[Asked]:
    dice = random.Random(1)
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for text, name in train:
        by_name[name].append(text)
    names = sorted(by_name)
    index = ArticleIndex.build(
        Article(at, name, "en", name.replace("_", " "), "", tuple(dice.sample(by_name[name], phrasings)))
        for at, name in enumerate(names)
    )
    asked = [(names.index(name), text) for text, name in dice.sample(list(test), min(1_000, len(test)))]
    return ask(
        index, "en", [*asked, *((None, text) for text in dice.sample(list(outside), min(500, len(outside))))]
    )


def speed(many: int) -> dict[str, float]:
    """Time searches over the sample's articles repeated with words of their own, half of them Chinese."""
    dice = random.Random(1)
    own = articles()
    texts = [(article.language, phrasing) for article in own for phrasing in article.phrasings]

    def varied(text: str, language: str) -> str:
        at = dice.randrange(len(text) + 1)
        if language == "zh":
            return text[:at] + "".join(chr(dice.randrange(0x4E00, 0x6000)) for _ in range(2)) + text[at:]
        word = "".join(dice.choice("abcdefghiklmnoprstuvw") for _ in range(dice.randint(4, 9)))
        return f"{text} {word}"

    begun = time.perf_counter()
    index = ArticleIndex.build(
        replace(
            article,
            id=at,
            title=varied(article.title, article.language),
            phrasings=tuple(varied(phrasing, article.language) for phrasing in article.phrasings),
        )
        for at, article in ((at, own[at % len(own)]) for at in range(many))
    )
    built = time.perf_counter() - begun
    took = []
    for language, text in dice.sample(texts, 300):
        begun = time.perf_counter()
        index.search(text, language)
        took.append(time.perf_counter() - begun)
    return {"build_s": round(built, 1), **_times(took)}


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 3) if whole else 0.0


def _times(took: list[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 2),
        "p95_ms": round(ordered[int(len(ordered) * 0.95)] * 1e3, 2),
    }


if __name__ == "__main__":
    main()
