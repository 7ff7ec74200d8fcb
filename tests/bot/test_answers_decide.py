"""The bot answers when it is sure, offers when it is not, and leaves the rest to people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.answers.decide import Action, AnswerSettings, Decision, Question, decide
from bot.answers.index import ArticleIndex
from bot.answers.intent import Kind
from bot.sample import articles

OUT_OF_SCOPE = Path(__file__).parents[2] / "benchmarks" / "out_of_scope.jsonl"
SETTINGS = AnswerSettings()


@pytest.fixture(scope="module")
def index() -> ArticleIndex:
    return ArticleIndex.build(articles())


def ask(index: ArticleIndex, text: str, **known: bool | str) -> Decision:
    return decide(replace(Question(text), **known), index, SETTINGS)  # type: ignore[arg-type]


def key(index: ArticleIndex, made: Decision) -> str:
    return index.articles[made.article_id].key if made.article_id is not None else ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Where is my parcel?", "tracking"),
        ("退款多久到账", "refunds"),
        ("發票", "invoice"),
        ("how do i file a complaint", "complaints"),
        ("怎么投诉？", "complaints"),
        ("hello! when are you open?", "hours"),
    ],
)
def test_a_sure_answer_is_given_at_once(index: ArticleIndex, text: str, answer: str) -> None:
    made = ask(index, text)
    assert (made.kind, key(index, made)) == (Action.ANSWER, answer)


def test_a_plausible_question_gets_a_choice_of_at_most_three(index: ArticleIndex) -> None:
    made = ask(index, "my lamp is broken and I want money back")
    assert made.kind is Action.CHOICES
    assert 1 <= len(made.choices) <= 3
    assert "My item arrived damaged" in [title for _, title in made.choices]
    assert made.article_id is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("still waiting after 3 weeks!!!", Kind.COMPLAINT),
        ("我要投诉", Kind.COMPLAINT),
        ("I want to talk to a human about my return", Kind.WANTS_PERSON),
        ("转人工", Kind.WANTS_PERSON),
        ("the sofa is wonderful, great work", Kind.FEEDBACK),
    ],
)
def test_complaints_wishes_for_a_person_and_praise_are_handed_over(
    index: ArticleIndex, text: str, kind: Kind
) -> None:
    made = ask(index, text)
    assert (made.kind, made.intent.kind, made.article_id) == (Action.HANDOVER, kind, None)


def test_an_order_is_asked_for_by_number_or_the_number_is_asked_for(index: ArticleIndex) -> None:
    made = ask(index, "#A-1001 where is my order")
    assert (made.kind, made.intent.kind, made.order_number) == (Action.ANSWER, Kind.ORDER_STATUS, "A-1001")
    assert made.article_id is None
    assert ask(index, "where is my order").kind is Action.FORM


def test_a_muted_bot_says_nothing(index: ArticleIndex) -> None:
    assert ask(index, "Where is my parcel?", bot_muted=True).kind is Action.HANDOVER


def test_yes_and_no_answer_whether_it_helped(index: ArticleIndex) -> None:
    assert ask(index, "yes", asked_if_helped=True).kind is Action.ANSWER
    assert ask(index, "没有用", asked_if_helped=True).kind is Action.HANDOVER
    assert ask(index, "yes").kind is Action.HANDOVER


def test_the_language_is_the_text_s_or_else_the_customer_s(index: ArticleIndex) -> None:
    assert ask(index, "A-1001", customer_language="zh").language == "zh"
    assert ask(index, "我想退货").language == "zh"
    assert ask(index, "我想退货", language="en").language == "en"


def test_nothing_to_read_is_for_a_person(index: ArticleIndex) -> None:
    assert ask(index, "  \n").kind is Action.HANDOVER


def test_out_of_scope_is_hardly_ever_answered(index: ArticleIndex) -> None:
    rows = [json.loads(line) for line in OUT_OF_SCOPE.read_text("utf-8").splitlines()]
    assert len(rows) >= 100
    answered = [row["text"] for row in rows if ask(index, row["text"], language=row["language"]).article_id]
    assert len(answered) <= 0.03 * len(rows), answered


def test_a_decision_says_why(index: ArticleIndex) -> None:
    made = ask(index, "can you send the receipt again please")
    assert any(reason.startswith("intent: question") for reason in made.why)


def test_without_articles_every_question_is_a_person_s() -> None:
    assert ask(ArticleIndex.build([]), "how do I return a lamp").kind is Action.HANDOVER


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.booleans())
def test_there_is_a_decision_for_any_text(index: ArticleIndex, text: str, asked: bool) -> None:
    made = ask(index, text, asked_if_helped=asked)
    assert 0 <= made.confidence <= 1
    assert (made.kind is Action.CHOICES) == bool(made.choices)
