"""What a customer wants is recognised, in English and Chinese, on sentences that nobody trained on."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.answers.intent import Kind, order_numbers, recognise, substance
from bot.answers.language import detect

FIXTURES = Path(__file__).parent.parent / "fixtures" / "answers"
DATA = Path(__file__).parents[2] / "bot" / "answers" / "data"


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("still waiting after 3 weeks!!!", Kind.COMPLAINT),
        ("how do I file a complaint", Kind.QUESTION),
        ("怎么投诉", Kind.QUESTION),
        ("我要投诉", Kind.COMPLAINT),
        ("转人工", Kind.WANTS_PERSON),
        ("轉人工", Kind.WANTS_PERSON),
        ("I want to speak with someone", Kind.WANTS_PERSON),
        ("talk to a human", Kind.WANTS_PERSON),
        ("#A-1001 where is my order", Kind.ORDER_STATUS),
        ("A-1001", Kind.ORDER_STATUS),
        ("Thank you!", Kind.THANKS),
        ("谢谢", Kind.THANKS),
        ("你好", Kind.GREETING),
        ("yes", Kind.YES),
        ("不是", Kind.NO),
        ("bye", Kind.CLOSING),
        ("Hello! Can I return a lamp?", Kind.QUESTION),
        ("Thanks! But how do I get an invoice?", Kind.QUESTION),
        ("Thanks for nothing. This is unacceptable, worst shop ever", Kind.COMPLAINT),
        ("Hi. I want to return a lamp. Please let me talk to a person.", Kind.WANTS_PERSON),
        ("I love my new lamp", Kind.FEEDBACK),
    ],
)
def test_plain_cases(text: str, kind: Kind) -> None:
    assert recognise(text, "en").kind is kind


@pytest.mark.parametrize(("name", "least"), [("heldout", 0.93), ("unseen", 0.85)])
def test_most_held_out_sentences_are_understood(name: str, least: float) -> None:
    rows = read(FIXTURES / f"intents_{name}.jsonl")
    wrong = [
        (row["kind"], found.kind.value, row["text"])
        for row in rows
        if (found := recognise(row["text"], row["language"])).kind != row["kind"]
    ]
    assert len(wrong) <= (1 - least) * len(rows), wrong


def test_no_held_out_sentence_was_trained_on() -> None:
    trained = {row["text"].lower() for row in read(DATA / "intents.jsonl")}
    for name in ("heldout", "unseen"):
        again = [
            row["text"] for row in read(FIXTURES / f"intents_{name}.jsonl") if row["text"].lower() in trained
        ]
        assert len(again) <= 5, again


def test_every_kind_is_trained_in_both_languages() -> None:
    count = Counter((row["language"], row["kind"]) for row in read(DATA / "intents.jsonl"))
    assert all(count[language, kind.value] >= 20 for language in ("en", "zh") for kind in Kind)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("A-1001", ("A-1001",)),
        ("#A-1001", ("A-1001",)),
        ("# a-1001", ("A-1001",)),
        ("a-1001 please", ("A-1001",)),
        ("Ａ－１００１到哪了", ("A-1001",)),
        ("订单A–1001和#B2002", ("A-1001", "B2002")),
        ("A-1001, A-1001", ("A-1001",)),
        ("room101, utf-8, covid-19, A-12, x1001y, 2024-01-01", ()),
        ("1001", ()),
    ],
)
def test_order_numbers_are_found_however_they_are_typed(text: str, numbers: tuple[str, ...]) -> None:
    assert order_numbers(text) == numbers


def test_a_shop_may_number_its_orders_otherwise() -> None:
    found = recognise("where is 2024/17", "en", r"20\d\d/\d+")
    assert (found.kind, found.order_number) == (Kind.ORDER_STATUS, "2024/17")


def test_courtesies_are_left_out_of_the_search() -> None:
    assert substance("Hello! how do I return a lamp? Thanks!") == "how do I return a lamp?"
    assert substance("thanks, bye") == "thanks, bye"


@given(st.text(max_size=400))
def test_no_text_breaks_it(text: str) -> None:
    found = recognise(text, "en")
    assert 0 <= found.confidence <= 1
    detect(text, "en")


def test_it_takes_less_than_a_millisecond() -> None:
    recognise("warm up", "en")
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        recognise("hello, I ordered a lamp on monday and would like to know when it comes", "en")
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.001


@pytest.mark.parametrize(
    ("text", "default", "language"),
    [
        ("OK", "zh", "zh"),
        ("A-1001", "zh", "zh"),
        ("", "en", "en"),
        ("👍", "zh", "zh"),
        ("where is my order", "zh", "en"),
        ("我的Harbour台灯坏了", "en", "zh"),
        ("發票", "zh-TW", "zh-TW"),
        ("發票", "en", "zh"),
        ("wo ist meine Bestellung", "en", "de"),
        ("où est ma commande", "en", "fr"),
        ("注文はどこですか", "en", "ja"),
        ("где мой заказ", "en", "ru"),
    ],
)
def test_the_language_is_told_by_script_and_small_words(text: str, default: str, language: str) -> None:
    assert detect(text, default) == language


def test_only_the_languages_asked_for_are_found() -> None:
    assert detect("wo ist meine Bestellung", "en", ("en", "zh")) == "en"
    assert detect("我要退货", "en", ("en", "zh-CN")) == "zh"
