"""Articles are found, in both languages, and confidence means something."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.answers.calibrate import Calibration
from bot.answers.han import simplify
from bot.answers.index import Article, ArticleIndex
from bot.answers.text import normalise, terms
from bot.sample import articles


@pytest.fixture(scope="module")
def index() -> ArticleIndex:
    return ArticleIndex.build(articles())


def first(index: ArticleIndex, text: str, language: str | None) -> str:
    hits = index.search(text, language)
    return index.articles[hits[0].article_id].key if hits else ""


def test_every_title_and_phrasing_finds_its_own_article(index: ArticleIndex) -> None:
    missed = [
        (phrasing, article.key)
        for article in index.articles.values()
        for phrasing in (article.title, *article.phrasings)
        if first(index, phrasing, article.language) != article.key
    ]
    assert missed == []


@pytest.mark.parametrize(
    ("text", "language", "key"),
    [
        ("my parcel has not come, where is it", "en", "tracking"),
        ("how can i get a tax invoice", "en", "invoice"),
        ("PASWORD forgoten", "en", "account"),
        ("wheres my pakage", "en", "tracking"),
        ("我的快遞到哪裡了", "zh", "tracking"),
        ("能開發票嗎", "zh", "invoice"),
        ("请问你们可以退货吗", "zh", "returns"),
    ],
)
def test_other_words_typos_and_traditional_characters_are_understood(
    index: ArticleIndex, text: str, language: str, key: str
) -> None:
    assert first(index, text, language) == key


def test_the_language_keeps_to_its_articles_and_none_searches_all(index: ArticleIndex) -> None:
    assert {index.articles[hit.article_id].language for hit in index.search("refund 退款", "en")} == {"en"}
    assert first(index, "退款什么时候到账", None) == "refunds"
    assert index.articles[index.search("退款什么时候到账", None)[0].article_id].language == "zh"
    assert first(index, "how do refunds work", "de") == "refunds"


def test_regions_and_scripts_of_a_language_share_its_articles(index: ArticleIndex) -> None:
    assert first(index, "發票", "zh-Hant-TW") == "invoice"


def test_confidence_is_a_probability_and_falls_with_the_rank(index: ArticleIndex) -> None:
    hits = index.search("when will I get my money back", "en")
    assert all(0 <= hit.confidence <= 1 for hit in hits)
    assert hits[0].confidence == max(hit.confidence for hit in hits)
    assert hits[0].score == max(hit.score for hit in hits)


def test_small_talk_is_never_sure(index: ArticleIndex) -> None:
    for text, language in (("what's the weather like in oslo", "en"), ("今晚有什么好看的电影", "zh")):
        hits = index.search(text, language)
        assert not hits or hits[0].confidence < index.threshold(language, 0.95)


def test_a_hit_says_why(index: ArticleIndex) -> None:
    why = index.search("where is my parcel", "en")[0].why
    assert why[0] == "like: Where is my parcel?"
    assert "word: parcel" in why


def test_an_exact_phrasing_is_known_whatever_its_case_and_marks(index: ArticleIndex) -> None:
    found = index.exact("  WHERE is my parcel ", "en")
    assert found is not None
    assert index.articles[found].key == "tracking"
    assert index.exact("where is my parcel", "zh") is None


@pytest.mark.parametrize("many", [0, 1, 2, 3])
def test_a_tiny_knowledge_base_works(many: int) -> None:
    index = ArticleIndex.build(articles()[:many])
    hits = index.search("how long does delivery take", "en")
    assert len(hits) <= many
    if many:
        assert index.articles[hits[0].article_id].key == "delivery-time"
        assert hits[0].confidence > 0.5
    assert 0 <= index.threshold("en", 0.95) <= 1


def test_an_article_without_words_or_phrasings_harms_nothing() -> None:
    index = ArticleIndex.build([Article(1, "a", "en", "", ""), Article(2, "b", "en", "Returns", "", ())])
    assert index.search("returns", "en")[0].article_id == 2
    assert index.search("", "en") == []
    assert index.search("???", "en") == []


def test_building_twice_gives_the_same_answers() -> None:
    some = articles()[:12]
    assert [ArticleIndex.build(some).search("track my shipment", "en") for _ in range(2)] == [
        ArticleIndex.build(some).search("track my shipment", "en")
    ] * 2


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_no_text_breaks_the_search(index: ArticleIndex, text: str) -> None:
    index.search(text, None)
    index.exact(text, "en")


def test_leaving_a_row_out_equals_an_index_without_it(index: ArticleIndex) -> None:
    """The calibration's shortcut ranks as a real index built without the phrasing does, nearly always."""
    own = [article for article in articles() if article.language == "en"]
    shelf = index._shelves["en"]
    same = 0
    for at, article in enumerate(own[:10]):
        row = shelf.first[at] + 1
        kept = Article(article.id, article.key, "en", article.title, article.body, article.phrasings[1:])
        rebuilt = ArticleIndex.build([kept if one.id == article.id else one for one in own])
        quick = shelf.features(article.phrasings[0], without_row=row)
        real = rebuilt.search(article.phrasings[0], "en")
        same += own[quick[0].article].id == real[0].article_id
    assert same >= 9


def test_a_threshold_keeps_its_precision_on_the_trials() -> None:
    trials = tuple(
        (0.999 - at / 2_000 if at < 60 else 0.6 - at / 1_000, at < 60 or at % 2 == 0, 1.0)
        for at in range(100)
    )
    bar = Calibration(trials=trials).threshold(0.95)
    kept = [right for confidence, right, _ in trials if confidence >= bar]
    assert len(kept) >= 30
    assert sum(kept) / len(kept) >= 0.9
    assert Calibration().threshold(0.95) == 0.95


def test_a_query_is_fast_at_a_thousand_articles() -> None:
    own = [one for one in articles() if one.language == "en"]
    index = ArticleIndex.build(
        Article(
            at,
            "k",
            "en",
            f"{own[at % len(own)].title} {at}",
            own[at % len(own)].body,
            own[at % len(own)].phrasings,
        )
        for at in range(1_000)
    )
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        index.search("how do I send my parcel back to you", "en")
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.010


def test_importing_the_engine_imports_neither_numpy_nor_scikit_learn() -> None:
    code = (
        "import sys, bot.answers.decide, bot.answers.intent\n"
        "bot.answers.intent.recognise('where is A-1001', 'en')\n"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'sklearn', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_forms_of_a_word_share_a_term() -> None:
    for words in (("deliver", "delivers", "delivered", "delivering"), ("return", "returned", "returns")):
        assert len({terms(word)[0] for word in words}) == 1


def test_full_width_and_traditional_read_as_plain() -> None:
    assert normalise("Ａ－１００１ 訂單") == "a-1001 订单"
    assert simplify("發票退貨換貨") == "发票退货换货"
