"""Train the intents: `python -m bot.answers.train_intent [HELD_OUT.jsonl]` writes data/intents.json.

Needs scikit-learn; the bot itself does not. The weights are rounded and small ones dropped, so that the file
stays readable in a diff and small.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from bot.answers.intent import MODEL_PATH, ORDER_PATTERN, Kind, _finder, _model, features, recognise

C = 30.0  # inverse regularisation: rows are unit vectors, so weak
SMALLEST = 0.05
UNIT = 0.01


def main() -> None:
    examples = _read(MODEL_PATH.with_name("intents.jsonl"))
    MODEL_PATH.write_text(_train(examples), "utf-8")
    _model.cache_clear()
    for path in sys.argv[1:]:
        report(_read(Path(path)))


def report(examples: list[dict[str, str]]) -> None:
    """Print accuracy and what was mistaken."""
    right: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for example in examples:
        found = recognise(example["text"], example["language"])
        for key in (example["kind"], example["language"], "all"):
            count[key] += 1
            right[key] += found.kind == example["kind"]
        if found.kind != example["kind"]:
            print(f"  {example['kind']} read as {found.kind} {found.confidence}: {example['text']}")
    print({key: f"{right[key]}/{count[key]}" for key in sorted(count)})


def _train(examples: list[dict[str, str]]) -> str:
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]  # heavy: only here
    from sklearn.linear_model import LogisticRegression

    finder = _finder(ORDER_PATTERN)
    rows = [features(finder.sub(" ordernumber ", example["text"])) for example in examples]
    often = Counter(one for row in rows for one in row)
    vocabulary = {one: at for at, one in enumerate(sorted(one for one, times in often.items() if times > 1))}
    values: list[float] = []
    columns: list[int] = []
    ends = [0]
    for row in rows:
        known = sorted(vocabulary[one] for one in row if one in vocabulary)
        columns += known
        values += [len(known) ** -0.5] * len(known)
        ends.append(len(columns))
    matrix = csr_matrix((values, columns, ends), shape=(len(rows), len(vocabulary)))
    kinds = [kind.value for kind in Kind]
    labels = [kinds.index(example["kind"]) for example in examples]
    model = LogisticRegression(C=C, max_iter=2_000, class_weight="balanced").fit(matrix, labels)
    weights = {
        name: [
            value
            for kind, weight in enumerate(model.coef_[:, at])
            if abs(weight) >= SMALLEST
            for value in (kind, round(float(weight) / UNIT))
        ]
        for name, at in vocabulary.items()
    }
    lines = ",\n".join(
        f"{json.dumps(name, ensure_ascii=False)}:{json.dumps(pairs, separators=(',', ':'))}"
        for name, pairs in weights.items()
        if pairs
    )
    bias = [round(float(value), 4) for value in model.intercept_]
    return f'{{"kinds":{json.dumps(kinds)},\n"bias":{bias},\n"unit":{UNIT},\n"weights":{{\n{lines}\n}}}}\n'


def _read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


if __name__ == "__main__":
    main()
