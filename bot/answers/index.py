"""Find the article that answers a text, and say how sure that is.

    index = ArticleIndex.build(articles)
    for hit in index.search("where is my parcel", language="en"):
        print(hit.article_id, hit.confidence, hit.why)

Two steps: BM25 over words, concepts and characters of whole articles picks some forty candidates; among these
every phrasing is compared with the text (cosine of the same terms), and both views are fused. Languages are
indexed apart. The score means nothing by itself; the confidence is calibrated on this knowledge base when
it is built (bot.answers.calibrate).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.answers.calibrate import Calibration, Features, calibrate
from bot.answers.language import base
from bot.answers.text import STOP, concept_of, normalise, stem, terms, tokens

if TYPE_CHECKING:  # numpy costs 0.1 s and 20 MB: imported when an index is built, not with the bot
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int32]

K1, B = 1.5, 0.2  # BM25; many phrasings make long articles, not vague ones: B far below the usual 0.75
CANDIDATES = 40
POSTINGS_BUDGET = 150_000  # postings read a query beyond the words: bounds the time of a long text
# These and FUSION by random search over the sample articles and six phrasings each of two public intent sets.
KIND_WEIGHT = {"w": 0.5, "b": 0.6, "c": 0.2, "k": 1.0, "1": 0.5, "2": 0.6, "3": 0.8}
STOP_WEIGHT = 0.6
WORDS = "wk2"  # kinds that count as words for the coverage
MISSPELT_FROM = 6  # letters and the kind's: shorter words are too often another word misspelt
BODY_KINDS = "wbk12"  # a body gives no character pieces: they would be half of the index
FIELD_WEIGHT = {"title": 1.5, "phrasing": 1.0, "body": 1.5}
FUSION = (1.0, 2.0, 1.0, 1.0)  # nearest phrasing, the three nearest, coverage, BM25

_STOP_STEMS = frozenset(stem(word) for word in STOP)


def _says_little(term: str) -> bool:
    """Tell whether a term is made of stop words only: "do", "do you", 请问, 怎么."""
    kind, rest = term[0], term[1:]
    if kind == "w":
        return rest in _STOP_STEMS
    if kind == "b":
        return all(part in _STOP_STEMS for part in rest.split(" "))
    return kind in "123" and (rest in STOP or all(letter in STOP for letter in rest))


@dataclass(frozen=True, slots=True)
class Article:
    """One answer of the knowledge base; `key` is the same for its translations."""

    id: int
    key: str
    language: str
    title: str
    body: str
    phrasings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """An article for a text. `confidence` is the probability 0..1 that it answers it; `why` is for staff."""

    article_id: int
    score: float
    confidence: float
    why: tuple[str, ...]


def _key(text: str) -> str:
    return " ".join(tokens(normalise(text)))


def _one_less(word: str) -> set[str]:
    """The word and it without one letter: two words that share one of these are one mistake apart."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


class ArticleIndex:
    """An immutable index over all articles; build a new one when an article changes."""

    def __init__(self, shelves: dict[str, Shelf], articles: dict[int, Article]) -> None:
        self._shelves = shelves
        self.articles = articles
        self._exact: dict[tuple[str, str], set[int]] = {}
        for article in articles.values():
            for phrasing in (article.title, *article.phrasings):
                self._exact.setdefault((base(article.language), _key(phrasing)), set()).add(article.id)

    @classmethod
    def build(cls, articles: Iterable[Article]) -> ArticleIndex:
        """Index the articles and calibrate: some 0.8 s for 50, some 10 s for 10,000. Off the event loop."""
        by_language: dict[str, list[Article]] = {}
        known: dict[int, Article] = {}
        for article in articles:
            known[article.id] = article
            by_language.setdefault(base(article.language), []).append(article)
        return cls({language: Shelf(language, some) for language, some in by_language.items()}, known)

    def search(self, text: str, language: str | None = None, limit: int = 5) -> list[Hit]:
        """Return the best articles, the surest first. A language without articles searches all of them."""
        wanted = base(language) if language else ""
        shelves = [self._shelves[wanted]] if wanted in self._shelves else list(self._shelves.values())
        hits = [hit for shelf in shelves for hit in shelf.search(text, limit)]
        return sorted(hits, key=lambda hit: -hit.confidence)[:limit] if len(shelves) > 1 else hits

    def exact(self, text: str, language: str) -> int | None:
        """Return the article that has the text among its phrasings, None when no or several articles do."""
        found = self._exact.get((base(language), _key(text)), set())
        return next(iter(found)) if len(found) == 1 else None

    def threshold(self, language: str, precision: float) -> float:
        """Return the confidence from which that share of the first hits is right, by the calibration."""
        shelf = self._shelves.get(base(language))
        known = [shelf] if shelf else list(self._shelves.values())
        return max((one.calibration.threshold(precision) for one in known), default=1.0)


class Shelf:
    """The articles of one language: vocabulary, postings by article, and a row of terms by phrasing."""

    def __init__(self, language: str, articles: Sequence[Article]) -> None:
        import numpy as np

        self.articles = articles
        self._vocabulary: dict[str, int] = {}
        self._entries: list[str] = []  # the text of every row
        self.first: list[int] = [0]  # rows of article a: first[a] .. first[a + 1]
        ids: list[int] = []
        counts: list[float] = []
        fields: list[float] = []
        ends: list[int] = [0]
        for article in articles:
            texts = [("title", article.title), *(("phrasing", phrasing) for phrasing in article.phrasings)]
            for field, text in [*texts, ("body", article.body)]:
                found = Counter(terms(text))
                for term, count in found.items():
                    if field == "body" and term[0] not in BODY_KINDS:
                        continue
                    ids.append(self._vocabulary.setdefault(term, len(self._vocabulary)))
                    counts.append(count)
                    fields.append(FIELD_WEIGHT[field])
                self._entries.append(text)
                ends.append(len(ids))
            self.first.append(len(self._entries))
        self._ends = np.array(ends, np.int64)
        self._ids: Ints = np.array(ids, np.int32)
        self._counts: Floats = np.array(counts, np.float32) * np.array(fields, np.float32)
        self._post(np.array(counts, np.float32))
        self.calibration = Calibration()
        self.calibration = calibrate(self, language)

    def _post(self, counts: Floats) -> None:
        """Make postings with BM25 weights, inverse document frequencies, and unit rows for the cosine."""
        import numpy as np

        size, many = len(self._vocabulary), len(self.articles)
        kinds = np.ones(size, np.float32)
        for term, at in self._vocabulary.items():
            kinds[at] = KIND_WEIGHT[term[0]] * (STOP_WEIGHT if _says_little(term) else 1.0)
        row_of = np.repeat(np.arange(len(self._entries)), np.diff(self._ends))
        owner = np.repeat(np.arange(many), np.diff(np.array(self.first)))[row_of] if many else row_of
        pair = self._ids.astype(np.int64) * many + owner
        unique, inverse = np.unique(pair, return_inverse=True)
        frequency = np.bincount(inverse, self._counts, len(unique)).astype(np.float32)
        term, article = unique // max(many, 1), (unique % max(many, 1)).astype(np.int32)
        df = np.bincount(term, minlength=size)
        self.idf: Floats = (kinds * np.log1p((many - df + 0.5) / (df + 0.5))).astype(np.float32)
        self._unknown = math.log1p((many + 0.5) / 0.5)
        length = np.bincount(article, frequency, many).astype(np.float32)
        self._norm: Floats = (
            K1 * (1 - B + B * length / max(float(length.mean()) if many else 1.0, 1e-6))
        ).astype(np.float32)
        self._articles_of = article
        self._weights: Floats = (
            self.idf[term] * frequency * (K1 + 1) / (frequency + self._norm[article])
        ).astype(np.float32)
        self._starts = np.concatenate([[0], np.cumsum(df)])
        rows = self.idf[self._ids] * (1 + np.log(counts))
        lengths = np.sqrt(np.bincount(row_of, rows * rows, len(self._entries))) + 1e-9
        self._rows: Floats = (rows / lengths[row_of]).astype(np.float32)
        self._df = df
        self._variants: dict[str, str] = {}
        for entry in self._vocabulary:
            if entry[0] == "w" and MISSPELT_FROM <= len(entry) < 20 and entry.isascii():
                for variant in _one_less(entry[1:]):
                    other = self._variants.setdefault(variant, entry[1:])
                    if df[self._vocabulary["w" + other]] < df[self._vocabulary[entry]]:
                        self._variants[variant] = entry[1:]

    def search(self, text: str, limit: int) -> list[Hit]:
        found = self.features(text)
        found = found[:limit]
        hits = [
            Hit(
                self.articles[features.article].id,
                round(features.score, 4),
                round(self.calibration.confidence(features), 4),
                self._why(text, features),
            )
            for features in found
        ]
        return hits

    def features(self, text: str, *, without_row: int = -1, without_article: int = -1) -> list[Features]:
        """Score the best articles, best first; as if a row or an article were not there, for calibration."""
        import numpy as np

        found = self._corrected(Counter(terms(text)))
        known: list[tuple[int, str, int]] = []
        norm2, mass, full = 0.0, 0.0, 0.0
        for term, count in found.items():
            at = self._vocabulary.get(term, -1)
            cut = STOP_WEIGHT if _says_little(term) else 1.0
            weight = float(self.idf[at]) if at >= 0 else self._unknown * KIND_WEIGHT[term[0]] * cut
            norm2 += (weight * (1 + math.log(count))) ** 2
            full += weight * (K1 + 1)
            if term[0] in WORDS:
                mass += weight
            if at >= 0:
                known.append((at, term, count))
        if not known or not self.articles:
            return []
        score = np.zeros(len(self.articles), np.float32)
        covered = np.zeros(len(self.articles), np.float32)
        budget = POSTINGS_BUDGET
        for at, term, _ in sorted(known, key=lambda one: self._df[one[0]]):
            here = slice(self._starts[at], self._starts[at + 1])
            word = term[0] in WORDS
            if budget < 0 and not word:
                continue
            budget -= int(self._df[at])
            which = self._articles_of[here]
            score[which] += self._weights[here]
            if word:
                covered[which] += self.idf[at]
        if without_row >= 0:
            owner = int(np.searchsorted(self.first, without_row, "right")) - 1
            score[owner], covered[owner] = self._rescored(owner, without_row, known)
        if without_article >= 0:
            score[without_article] = 0
        some = min(CANDIDATES, len(score))
        candidates = np.argpartition(score, -some)[-some:]
        query = np.zeros(len(self._vocabulary), np.float32)
        for at, _, count in known:
            query[at] = self.idf[at] * (1 + math.log(count))
        query /= math.sqrt(norm2) or 1.0
        results = []
        for article in candidates.tolist():
            if score[article] <= 0:
                continue
            first, last = self.first[article], self.first[article + 1]
            lo, hi = self._ends[first], self._ends[last]
            products = query[self._ids[lo:hi]] * self._rows[lo:hi]
            sums = np.concatenate([[0.0], np.cumsum(products)])
            edges = self._ends[first : last + 1] - lo
            likeness = sums[edges[1:]] - sums[edges[:-1]]
            if first <= without_row < last:
                likeness[without_row - first] = 0
            nearest = int(likeness.argmax())
            three = np.sort(likeness)[-3:]
            views = (
                float(likeness[nearest]),
                float(three.mean()),
                float(covered[article] / mass) if mass else 0.0,
                float(score[article] / full) if full else 0.0,
            )
            fused = sum(part * view for part, view in zip(FUSION, views, strict=True))
            results.append(Features(article, first + nearest, fused, views))
        results.sort(key=lambda one: -one.score)
        return [
            one.beside(results[1].score if at == 0 and len(results) > 1 else results[0].score if at else 0.0)
            for at, one in enumerate(results)
        ]

    def _corrected(self, found: Counter[str]) -> Counter[str]:
        """Read a word that no article has as the known word one letter away, if there is one."""
        for term in list(found):
            if term[0] != "w" or term in self._vocabulary or len(term) < MISSPELT_FROM or not term.isascii():
                continue
            near = {self._variants.get(variant, "") for variant in _one_less(term[1:])} - {""}
            if near:
                word = max(near, key=lambda one: int(self._df[self._vocabulary["w" + one]]))
                found["w" + word] += found.pop(term)
                if concept := concept_of(word):
                    found["k" + concept] += 1
        return found

    def _rescored(
        self, article: int, without_row: int, known: list[tuple[int, str, int]]
    ) -> tuple[float, float]:
        """Compute BM25 and coverage of an article again without one of its rows."""
        import numpy as np

        lo, hi = self._ends[self.first[article]], self._ends[self.first[article + 1]]
        keep = np.ones(hi - lo, bool)
        keep[self._ends[without_row] - lo : self._ends[without_row + 1] - lo] = False
        ids, counts = self._ids[lo:hi][keep], self._counts[lo:hi][keep]
        score = covered = 0.0
        for at, term, _ in known:
            frequency = float(counts[ids == at].sum())
            if frequency:
                score += float(self.idf[at]) * frequency * (K1 + 1) / (frequency + float(self._norm[article]))
                covered += float(self.idf[at]) if term[0] in WORDS else 0.0
        return score, covered

    def _why(self, text: str, features: Features) -> tuple[str, ...]:
        row = set(terms(self._entries[features.row]))
        shared = {term for term in terms(text) if term in row and term[0] in WORDS and not _says_little(term)}
        best = sorted(shared, key=lambda term: (-float(self.idf[self._vocabulary[term]]), term))[:4]
        entry = self._entries[features.row][:80]
        return (f"like: {entry}", *(f"{_KIND_NAMES[term[0]]}: {term[1:]}" for term in best))

    def samples(self, most: int) -> list[tuple[int, int, str]]:
        """Return (article, row, text) of titles and phrasings, spread evenly over the shelf."""
        rows = [
            (article, row, self._entries[row])
            for article in range(len(self.articles))
            for row in range(self.first[article], self.first[article + 1] - 1)
        ]
        return rows if len(rows) <= most else [rows[at * len(rows) // most] for at in range(most)]


_KIND_NAMES = {"w": "word", "k": "concept", "2": "characters"}
