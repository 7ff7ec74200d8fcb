"""train: build the answers from the store's articles, and try them on questions they have not seen."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from bot.answers.decide import AnswerSettings, Question, decide
from bot.answers.index import Article, ArticleIndex
from bot.cli import CommandFailed
from bot.cli.common import load, print_json, with_store
from bot.decisions import all_articles
from crm_store.db import Store

FOLDS = 5
MOST_ASKED = 400  # questions a fold: a few milliseconds each


def train(arguments: argparse.Namespace) -> int:
    config = load(arguments)

    async def work(store: Store) -> list[Article]:
        return await store.read(_articles)

    articles = with_store(config, work)
    if not articles:
        raise CommandFailed("there are no articles yet; see: wellheard import articles FILE")
    settings = config.answers
    languages = sorted({a.language for a in articles})
    found: dict[str, Any] = {"articles": len(articles), "languages": {}}
    for language in languages:
        own = [a for a in articles if a.language == language]
        begun = time.perf_counter()
        index = ArticleIndex.build(own)
        took = time.perf_counter() - begun
        bar = max(settings.answer_from, index.threshold(language, settings.precision))
        one: dict[str, Any] = {
            "articles": len(own),
            "phrasings": sum(len(a.phrasings) for a in own),
            "built_s": round(took, 2),
            "answers_from": round(bar, 3),
        }
        if arguments.report:
            one |= held_out(own, language, settings)
        found["languages"][language] = one
    if arguments.json:
        print_json(found)
        return 0
    print(f"{len(articles)} articles; a running service takes them up by itself", file=sys.stderr)
    for language, one in found["languages"].items():
        print(language, "  ".join(f"{key} {value:g}" for key, value in one.items()), sep="  ")
    return 0


def _articles(tx: Connection) -> list[Article]:
    return list(all_articles(tx))


def held_out(articles: Sequence[Article], language: str, settings: AnswerSettings) -> dict[str, float]:
    """Ask phrasings that were left out of the index: of articles that are there, and (a fifth of them) of
    articles that are not, where every answer is wrong.

    accuracy: the right article is found first, whatever was done. coverage: answered at once. error_rate: of
    the answers given at once, those that were wrong. false_answers: answered, though no article fits.
    """
    asked = first = answered = wrong = outside = false = 0
    for fold in range(FOLDS):
        left_out = [a for at, a in enumerate(articles) if at % FOLDS == fold] if len(articles) > FOLDS else []
        gone = {a.id for a in left_out}
        index = ArticleIndex.build(_without(a, fold) for a in articles if a.id not in gone)
        questions = [(a, a.phrasings[fold % len(a.phrasings)]) for a in articles if len(a.phrasings) > 1]
        for article, text in questions[:: max(1, len(questions) // MOST_ASKED)]:
            made = decide(Question(text, language), index, settings)
            if article.id in gone:
                outside += 1
                false += made.article_id is not None
                continue
            asked += 1
            hits = index.search(text, language, limit=1)
            first += bool(hits) and hits[0].article_id == article.id
            answered += made.article_id is not None
            wrong += made.article_id not in (None, article.id)
    return {
        "asked": asked,
        "accuracy": _share(first, asked),
        "coverage": _share(answered, asked),
        "error_rate": _share(wrong, answered),
        "asked_outside": outside,
        "false_answers": _share(false, outside),
    }


def _without(article: Article, fold: int) -> Article:
    if len(article.phrasings) < 2:
        return article
    at = fold % len(article.phrasings)
    return replace(article, phrasings=article.phrasings[:at] + article.phrasings[at + 1 :])


def _share(part: int, whole: int) -> float:
    return round(part / whole, 3) if whole else 0.0
