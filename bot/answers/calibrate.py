"""Turn a knowledge base's raw scores into probabilities, as scores mean another thing in every other.

Three experiments on the knowledge base itself: every phrasing asked while it is left out (the article
should be found), every phrasing asked while its whole article is left out (whatever is found is wrong: a
question near the topic that nobody wrote an answer for), and small talk that no shop answers. A logistic
regression over the views of a hit learns right from wrong; its weights are held near PRIOR, so that a
knowledge base of three articles is judged by experience with others and one of three hundred by itself.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bot.answers.index import Shelf

    Floats = NDArray[np.float64]

SAMPLES = 400  # phrasings asked: enough for six weights, and a second of the build
NEAR_SHARE, FAR_SHARE = 0.20, 0.20  # of questions without an answer: near the topic, far from it
DOUBT = 0.3  # half a wrong answer supposed unseen
SURE, CHATTY = 0.8, 0.05  # when small talk is in scope here, see calibrate()
TOP = 3  # hits a question that teach
# About the mean of the fits to the sample articles, BANKING77 and CLINC150: bias, nearest, three, coverage, BM25, lead.
PRIOR = (-4.0, 2.7, 1.4, 1.4, 0.5, 2.4)
PRIOR_STRENGTH = 2.0


@dataclass(frozen=True, slots=True)
class Features:
    """How well an article fits a text: row nearest to it, fused score, the four views, lead over the next."""

    article: int
    row: int
    score: float
    views: tuple[float, float, float, float]
    lead: float = 0.0

    def beside(self, rival: float) -> Features:
        """Return these with the lead over the best other article (negative when that is better)."""
        return replace(self, lead=self.score - rival)

    @property
    def vector(self) -> tuple[float, ...]:
        return (1.0, *self.views, self.lead)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Weights of the regression, and (confidence, right, weight) of the questions asked, the surest first."""

    weights: tuple[float, ...] = PRIOR
    trials: tuple[tuple[float, bool, float], ...] = field(default=(), repr=False)

    def confidence(self, features: Features) -> float:
        """Return the probability that the article answers the text."""
        logit = sum(weight * value for weight, value in zip(self.weights, features.vector, strict=True))
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))

    def threshold(self, precision: float) -> float:
        """Return the least confidence above which that share of the trials was right (1.0: none is).

        A trial counts half by its outcome and half by its confidence: outcomes alone, a few dozen of them in a
        small knowledge base, swing the threshold between reckless and never.
        """
        best, right, total = 1.0, 0.0, DOUBT
        for at, (confidence, was_right, weight) in enumerate(self.trials):
            right += weight * (was_right + confidence) / 2
            total += weight
            last_of_equals = at + 1 == len(self.trials) or self.trials[at + 1][0] < confidence
            if last_of_equals and right >= precision * total:
                best = confidence
        return best if self.trials else precision


def calibrate(shelf: Shelf, language: str) -> Calibration:
    """Ask the shelf's own phrasings and small talk, and fit the weights."""
    asked: _Asked = []
    samples = shelf.samples(SAMPLES)
    for article, row, text in samples:
        asked.append((shelf.features(text, without_row=row), article, 1 - NEAR_SHARE - FAR_SHARE))
        asked.append((shelf.features(text, without_article=article), -1, NEAR_SHARE))
    known = _fit(_rows(asked))
    chatter = [shelf.features(text) for text in _chatter(language)]
    # Where much of the small talk finds a sure answer, it is this knowledge base's business: no null there.
    sure = [hits for hits in chatter if hits and Calibration(known).confidence(hits[0]) > SURE]
    if len(sure) > CHATTY * len(chatter):
        chatter = [hits for hits in chatter if hits not in sure]
    asked += [(hits, -1, FAR_SHARE * len(samples) / len(chatter)) for hits in chatter]
    fitted = Calibration(_fit(_rows(asked)))
    trials = tuple(
        (fitted.confidence(hits[0]), hits[0].article == article, weight)
        for hits, article, weight in asked
        if hits
    )
    return Calibration(fitted.weights, tuple(sorted(trials, reverse=True)))


_Asked = list[tuple[list[Features], int, float]]


def _rows(asked: _Asked) -> list[tuple[tuple[float, ...], bool, float]]:
    return [
        (hit.vector, hit.article == article, weight) for hits, article, weight in asked for hit in hits[:TOP]
    ]


def _fit(rows: list[tuple[tuple[float, ...], bool, float]]) -> tuple[float, ...]:
    """Fit a logistic regression by Newton's method, its weights drawn to PRIOR."""
    import numpy as np

    if not rows:
        return PRIOR
    x = np.array([row for row, _, _ in rows])
    y = np.array([right for _, right, _ in rows], float)
    importance = np.array([weight for _, _, weight in rows])
    prior = np.array(PRIOR)
    weights = prior.copy()
    loss = _loss(weights, x, y, importance, prior)
    for _ in range(40):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (importance * (p - y)) + PRIOR_STRENGTH * (weights - prior)
        hessian = (x * (importance * p * (1 - p))[:, None]).T @ x + PRIOR_STRENGTH * np.eye(len(prior))
        step = np.linalg.solve(hessian, gradient)
        # Newton alone runs away where most rows are far on the wrong side: halve until it helps.
        for _ in range(30):
            tried = _loss(weights - step, x, y, importance, prior)
            if tried <= loss:
                break
            step = step / 2
        else:
            break
        weights, before, loss = weights - step, loss, tried
        if before - loss < 1e-7 * max(1.0, before):
            break
    return tuple(float(round(weight, 6)) for weight in weights)


def _loss(weights: Floats, x: Floats, y: Floats, importance: Floats, prior: Floats) -> float:
    import numpy as np

    logits = x @ weights
    cross = np.logaddexp(0, logits) - y * logits
    return float(importance @ cross + PRIOR_STRENGTH / 2 * ((weights - prior) ** 2).sum())


@cache
def _chatter(language: str) -> tuple[str, ...]:
    lines = (Path(__file__).parent / "data" / "chatter.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return tuple(one["text"] for one in found if one["language"] == language)
