"""Telegram, laying out: limits, offsets, borders; and how fast we may go."""

from __future__ import annotations

import json

from aiogram.types import InlineKeyboardMarkup
from hypothesis import given
from hypothesis import strategies as st

from channels.rich import Button, Buttons, Heading, Reply, Table, Text
from channels.telegram.limits import Limits
from channels.telegram.render import (
    Piece,
    Rendered,
    Span,
    clean,
    keyboard_without_actions,
    render,
    split,
)
from tests.fakes import telegram_rules as rules

KINDS = st.sampled_from(["", "bold", "italic", "blockquote", "pre"])
WORDS = st.text(alphabet="ab \n😀é张\u0301\u200d👨", min_size=0, max_size=60)


def check(piece: Piece, limit: int = rules.TEXT_LIMIT) -> None:
    entities = [e.model_dump(exclude_none=True) for e in piece.entities()]
    rules.check_text(piece.text, json.dumps(entities), limit=limit)


def check_all(rendered: Rendered) -> None:
    for piece in rendered.pieces:
        check(piece)


@given(st.lists(st.tuples(WORDS, KINDS), max_size=12), st.integers(20, 90))
def test_split_then_join_loses_nothing_and_telegram_takes_each_part(
    parts: list[tuple[str, str]], limit: int
) -> None:
    text, spans = "", []
    for words, kind in parts:
        if kind and words:
            spans.append(Span(kind, len(text), len(text) + len(words)))
        text += words + "\n\n"
    pieces = split(Piece(text, tuple(spans)), limit)
    assert "".join("".join(p.text for p in pieces).split()) == "".join(text.split())
    for piece in pieces:
        assert len(piece.text) <= limit
        check(piece, limit)


@given(st.lists(st.tuples(st.text(max_size=300), st.booleans(), st.booleans()), max_size=6))
def test_any_reply_is_one_that_telegram_takes(texts: list[tuple[str, bool, bool]]) -> None:
    blocks = [Text(t, quote=q, small=s) for t, q, s in texts]
    heads = [Heading(t) for t, _, _ in texts]
    table = Table(tuple(t for t, _, _ in texts), (tuple(t for t, _, _ in texts),))
    buttons = Buttons(tuple(Button(t, t[:80], "http://x" if q else "") for t, q, _ in texts))
    check_all(render(Reply((*blocks, *heads, table, buttons))))


def test_an_entity_is_not_broken_when_it_fits() -> None:
    text = "x " * 40 + "important words here" + " y" * 40
    start = text.index("important")
    for limit in range(60, 120):
        pieces = split(Piece(text, (Span("bold", start, start + 20),)), limit)
        bold = [p.text[s.start : s.end] for p in pieces for s in p.spans]
        assert bold == ["important words here"], limit


def test_an_entity_too_long_for_a_message_goes_on_in_the_next() -> None:
    rows = "\n".join(f"row {n}" for n in range(1500))
    pieces = split(Piece(rows, (Span("pre", 0, len(rows)),)))
    assert [len(p.spans) for p in pieces] == [1] * len(pieces)
    assert "\n".join(p.text for p in pieces) == rows


def test_a_visible_character_is_not_torn_apart() -> None:
    family = "👨\u200d👩\u200d👧"
    for shift in range(6):
        pieces = split(Piece("x" * shift + family * 30), 50)
        assert all(not p.text.startswith("\u200d") and not p.text.endswith("\u200d") for p in pieces)


def test_offsets_are_counted_in_utf16_units() -> None:
    entity = Piece("😀😀 bold", (Span("bold", 3, 7),)).entities()[0]
    assert (entity.offset, entity.length) == (5, 4)


def test_what_cannot_be_sent_is_taken_out_of_a_text() -> None:
    assert clean("a\x00b\ud800c\r\nd\te") == "ab\ufffdc\nd\te"


def test_short_buttons_stand_side_by_side_and_long_ones_below_each_other() -> None:
    def rows(*labels: str) -> list[int]:
        keyboard = render(Reply.of("x", Buttons(tuple(Button(t, "a") for t in labels)))).keyboard
        assert isinstance(keyboard, InlineKeyboardMarkup)
        return [len(r) for r in keyboard.inline_keyboard]

    assert rows("1", "2", "3", "4", "5") == [5]
    assert rows("Yes, this helped", "Talk to a person") == [1, 1]
    assert rows("是", "转人工") == [2]


def test_a_used_keyboard_keeps_what_opens_pages() -> None:
    row = [{"text": "Yes", "callback_data": "y"}, {"text": "Page", "url": "https://a.example"}]
    kept = keyboard_without_actions({"inline_keyboard": [row, [row[0]]]})
    assert kept is not None
    assert [[b.text for b in r] for r in kept.inline_keyboard] == [["Page"]]
    assert keyboard_without_actions({"inline_keyboard": [[row[0]]]}) is None
    assert keyboard_without_actions(None) is None


def test_a_chat_may_burst_and_then_gets_one_a_second() -> None:
    limits = Limits(1000)
    waits = [limits.take("7", 100.0, patience_s=60) for _ in range(23)]
    assert waits == [0.0] * 20 + [1.0, 2.0, 3.0]
    assert limits.take("8", 100.0, patience_s=60) == 0.0


def test_a_group_gets_twenty_in_any_minute() -> None:
    limits = Limits(1000)
    times = [100 + n / 10 for n in range(3000) if limits.take("-100", 100 + n / 10, patience_s=0) == 0]
    assert max(sum(start <= t < start + 60 for t in times) for start in times) == 20
    assert len(times) >= 99


def test_everything_together_keeps_to_the_rate() -> None:
    limits = Limits(28)
    waits = [limits.take(str(chat), 100.0, patience_s=60) for chat in range(56)]
    assert waits[:28] == [0.0] * 28
    assert 0.99 < waits[-1] <= 1.0


def test_a_wait_beyond_patience_reserves_nothing() -> None:
    limits = Limits(1000)
    limits.hold("7", 100.0, 30)
    assert [limits.take("7", 100.0, patience_s=5) for _ in range(3)] == [30, 30, 30]
    assert limits.take("7", 131.0, patience_s=5) == 0.0


def test_a_second_refused_chat_means_all_of_them() -> None:
    limits = Limits(1000)
    limits.hold("7", 100.0, 30)
    assert limits.held("8", 101.0) == 0
    limits.hold("8", 101.0, 20)
    assert limits.held("9", 102.0) == 19


def test_more_buttons_than_telegram_takes_become_lines() -> None:
    many = Buttons(tuple(Button(f"Customer {n}", f"profile:{n}") for n in range(60)))
    long = Buttons(tuple(Button("深圳" * 35, f"profile:{n}") for n in range(60)))
    for reply, kept in ((Reply((many, many, many)), 100), (Reply((long,)), 30)):
        shown = render(reply)
        assert shown.keyboard is not None
        buttons = [b for row in shown.keyboard.inline_keyboard for b in row]
        assert kept <= len(buttons) <= 100
        rules.check_markup(shown.keyboard.model_dump(exclude_none=True))
        told = sum(piece.text.count("Customer") + piece.text.count("深圳" * 35) for piece in shown.pieces)
        assert told + len(buttons) == len(reply.buttons())
