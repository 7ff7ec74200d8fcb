"""What is new in a message: a table of clients and languages, and the rules one by one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from channels.email.parse import Mail, parse

FIXTURES = Path(__file__).parents[1] / "fixtures" / "email"


def _cases(name: str) -> list[Any]:
    lines = (FIXTURES / name).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [pytest.param(row, id=f"{n}-{row['client']}") for n, row in enumerate(rows)]


def mail(
    text: str,
    *,
    kind: str = "plain",
    subject: str = "Re: case",
    sender: str = "Customer <customer@example.org>",
) -> bytes:
    head = (
        f"From: {sender}\nTo: support@example.com\nSubject: {subject}\nMessage-ID: <1@example.org>\n"
        "Date: Tue, 05 Mar 2024 10:00:00 +0000\nMIME-Version: 1.0\n"
        f"Content-Type: text/{kind}; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    )
    return (head + text).encode()


def _read(row: dict[str, str]) -> Mail:
    return parse(mail(row["html"], kind="html") if "html" in row else mail(row["text"]))


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("row", _cases("replies_cjk.jsonl"))
def test_the_reply_of_a_chinese_japanese_or_korean_client(row: dict[str, str]) -> None:
    assert _plain(_read(row).reply) == _plain(row["reply"])


@pytest.mark.parametrize("row", _cases("replies_european.jsonl"))
def test_the_reply_of_a_european_client(row: dict[str, str]) -> None:
    assert _plain(_read(row).reply) == _plain(row["reply"])


def test_there_are_at_least_sixty_cjk_fixtures() -> None:
    assert len(_cases("replies_cjk.jsonl")) >= 60


@pytest.mark.parametrize(
    "text",
    [
        "Please ship to:\n\nJane Doe\n12 Main Street\nSpringfield, IL 62701\njane@example.org\n555-123-4567",
        "Here are my details:\n\nName: Jane Doe\nEmail: jane@example.org\nPhone: +1 555 123 4567",
        "I tried this:\n\n---\nstep one\nstep two\n---\n\nbut no luck.",
        "Two problems.\n\n--\n\nThe second is that the lamp does not work at all since Monday, and I cannot read.",
        "How do I write a signature?\n\nBest regards,\n\nis what I want in it. Can you help me to do it?",
        "Regards to the team. Can you call me?",
        "订单没收到，谢谢！",
        "Sent from my desk, is much easier than my phone.",
        "It says:\n\n- yes\n- no",
        "The error is\n\n    > undefined is not a function <\n\nand nothing else.",
    ],
)
def test_words_of_the_writer_are_not_cut(text: str) -> None:
    assert _plain(parse(mail(text, sender="Jane Doe <jane@example.org>")).reply) == _plain(text)


@pytest.mark.parametrize(
    "line",
    [
        "Quoting Bob <b@example.com>:", "Zitat von Bob <b@example.com>:", "In article <x@y>, Bob says...",
        "* Bob <b@example.com> [2024-01-02 13:00]:", "Bob writes:",
        "Bob (b@example.com) hat am 2. Januar 2024 geschrieben:",
    ],
)  # fmt: skip
def test_attributions_of_older_programs_are_known_by_the_quote_below(line: str) -> None:
    assert parse(mail(f"Answer\n\n{line}\n\n> old\n")).reply == "Answer"


def test_what_we_sent_is_recognised_without_any_quote_mark() -> None:
    sent = "Hello Max,\nplease tell us the serial number of your device.\nYour support team"
    answer = f"It is 88-231.\n\nUnknown Client 3.1 says\n{sent}"
    assert "serial number of your device" not in parse(mail(answer), ours=[sent]).reply
    assert parse(mail(answer), ours=[sent]).reply.startswith("It is 88-231.")


def test_an_answer_between_our_lines_is_kept() -> None:
    sent = "Which size would you like to order from us?\nWhich colour would you like to order from us?"
    text = "Which size would you like to order from us?\nLarge\nWhich colour would you like to order from us?\nRed"
    assert _plain(parse(mail(text), ours=[sent]).reply) == "Large Red"


def test_a_mail_that_is_only_a_quote_is_not_empty() -> None:
    assert parse(mail("> all of this\n> is quoted\n")).reply
    assert parse(mail("-- \nOnly a name\n")).reply


def test_the_html_is_read_where_only_it_shows_the_quote() -> None:
    raw = (
        "From: a@example.org\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n"
        "Blue.\n\nXYZ\nWhich colour?\n\n--b\nContent-Type: text/html\n\n"
        '<div>Blue.</div><div class="gmail_quote"><div class="gmail_attr">XYZ</div>'
        '<blockquote class="gmail_quote">Which colour?</blockquote></div>\n--b--\n'
    )
    assert parse(raw.encode()).reply == "Blue."


def test_the_removed_quote_is_still_there_to_be_searched() -> None:
    found = parse(
        mail("Yes.\n\nOn Tue, Mar 5, 2024 at 10:21 AM Support <s@example.com> wrote:\n> marker [#77-abc]\n")
    )
    assert "marker [#77-abc]" in found.quoted_text
    assert "marker [#77-abc]" in found.text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("你好，请问什么时候发货？", "zh"),
        ("お世話になっております。", "ja"),
        ("안녕하세요. 주문 확인 부탁드립니다.", "ko"),
        ("Где мой заказ?", "ru"),
        ("Де моє замовлення? Дякую, і ще питання", "uk"),
        ("Wo ist meine Bestellung? Ich habe nichts erhalten und bitte um Antwort.", "de"),
        ("Where is my order? I have not received it.", "en"),
        ("Où est ma commande ? Je n'ai pas reçu le colis.", "fr"),
        ("¿Dónde está mi pedido? No lo he recibido, gracias.", "es"),
        ("12345", ""),
    ],
)
def test_the_language_is_guessed(text: str, language: str) -> None:
    assert parse(mail(text)).language == language
