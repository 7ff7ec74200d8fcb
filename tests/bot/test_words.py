"""Words: the same in every language, all of them used, none of them in code; and each person hears their own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

from bot import commands, i18n
from tests.e2e.test_story import wait
from tests.fakes.web import StaffBrowser, Visitor
from tests.world import running

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "bot").rglob("*.py"))
HAN = re.compile(r"[\u3400-\u9fff]")
SPECIMENS = ("sample", "answers")  # sample data and the language of questions: words, but not of ours


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


def test_every_language_has_the_same_keys() -> None:
    english = set(i18n.catalogue("en"))
    for language in i18n.languages():
        assert set(i18n.catalogue(language)) == english, language
    assert set(i18n.languages()) == {"en", "zh"}


def test_a_sentence_has_the_same_placeholders_in_every_language() -> None:
    english = i18n.catalogue("en")
    wrong = [
        (language, key)
        for language in i18n.languages()
        for key, sentence in i18n.catalogue(language).items()
        if not sentence.strip() or placeholders(sentence) != placeholders(english[key])
    ]
    assert wrong == []


def test_chinese_sentences_are_chinese() -> None:
    same = {
        key
        for key, sentence in i18n.catalogue("zh").items()
        if not HAN.search(sentence) and re.search(r"[A-Za-z]{3}", re.sub(r"{\w+}", "", sentence))
    }
    assert {key for key in same if not key.startswith("usage.")} == set()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def trees(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, tree_of(path)


def constants() -> tuple[set[str], set[str]]:
    """String constants of the program, and the beginnings ("status.") of those that are put together."""
    whole: set[str] = set(commands.everything()) | {str(n) for n in range(1, 6)}
    starts: set[str] = set()
    for _, tree in trees("bot", "crm_store", "channels"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole |= {node.value, *node.value.split()}
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                starts.add(str(node.values[0].value))
    return whole, starts


def keys_in_code() -> Iterator[tuple[str, str]]:
    for path, tree in trees("bot"):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in ("say", "UserError", "_tell", "_notice", "_say"):
                continue
            for argument in node.args:
                inner = {id(c) for j in ast.walk(argument) if isinstance(j, ast.JoinedStr) for c in j.values}
                for part in ast.walk(argument):
                    if (
                        isinstance(part, ast.Constant)
                        and isinstance(part.value, str)
                        and id(part) not in inner
                    ):
                        if re.fullmatch(r"[a-z]+\.[a-z0-9_]+", part.value):
                            yield path.name, part.value
                    elif isinstance(part, ast.JoinedStr) and isinstance(part.values[0], ast.Constant):
                        yield path.name, str(part.values[0].value) + "*"


def test_every_key_that_code_names_has_words() -> None:
    have = i18n.catalogue("en")
    named = set(keys_in_code())
    assert len(named) > 100
    unsaid = {
        (file, key)
        for file, key in named
        if not (any(k.startswith(key[:-1]) for k in have) if key.endswith("*") else key in have)
    }
    assert unsaid == set()


def test_no_words_are_kept_that_nobody_says() -> None:
    whole, starts = constants()
    sections = {key.partition(".")[0] for key in i18n.catalogue("en")}

    def is_used(key: str) -> bool:
        return key in whole or any(
            key[:at] in starts and key[:at].partition(".")[0] in sections and key[at:] in whole
            for at in range(1, len(key) + 1)
        )

    assert [key for key in i18n.catalogue("en") if not is_used(key)] == []


def literal(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and bool(re.search(r"\w{2}", node.value))
    )


def test_no_words_stand_in_code() -> None:
    found: list[tuple[str, int, str]] = []
    for path in SOURCES:
        if path.parent.name in SPECIMENS:
            continue
        tree, name = tree_of(path), str(path.relative_to(ROOT))
        patterns = {
            id(a)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "compile"
            for a in ast.walk(node)
        }
        hints = path.name == "demo.py"  # its configuration, a specimen as well
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in patterns:
                if not hints and HAN.search(node.value):
                    found.append((name, node.lineno, node.value))
            elif isinstance(node, ast.Call):
                called = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if called in ("Text", "Heading", "of", "Button") and any(literal(a) for a in node.args[:1]):
                    found.append((name, node.lineno, ast.unparse(node)))
    assert found == []


# --- each person hears their own language --------------------------------------------------------------------

ENGLISH = re.compile(r"\b(the|your|ticket|thank|colleague|how did|did this|write|closed)\b", re.IGNORECASE)
ANGRY = "我要投诉！包裹坏了，等了三个星期也没有人理我！"


@pytest.mark.parametrize("side", ["telegram", "web"])
async def test_a_chinese_customer_hears_chinese_from_beginning_to_end(tmp_path: Path, side: str) -> None:
    async with running(tmp_path, telegram=True) as world, StaffBrowser(world.url) as agent:
        await agent.sign_in(await world.code("Tom"))
        visitor = Visitor(world.url, language="zh")
        tg = world.telegram
        assert tg
        await visitor.open()
        by_web = side == "web"

        async def says(text: str) -> None:
            if by_web:
                await visitor.says(text)
            else:
                tg.user_says(7001, text, language="zh-hans")

        def heard() -> list[str]:
            return visitor.answers if by_web else ["\n".join([m.text, *m.buttons]) for m in tg.sent(7001)]

        async def hears(words: str) -> None:
            await wait(lambda: any(words in t for t in heard()), f"{words} in {heard()}")

        try:
            if by_web:
                await visitor.starts()
            else:
                tg.user_says(7001, "/start", language="zh-hans")
            await hears("您好！这里是Example Ltd")
            await says("多久能送到？")
            await hears("这个回答对您有帮助吗")
            await says("我的订单到哪里了？")
            await hears("订单号")
            await says(ANGRY)
            await hears("#1")
            thread = await agent.thread("投诉")
            await agent.press(thread, "Take")
            await agent.reply(thread, "非常抱歉，今天就给您补发。")
            await hears("今天就给您补发")
            await agent.press(thread, "Close")
            await hears("您对我们的服务满意吗")
            if by_web:
                await visitor.press("2")
            else:
                asked = next(m for m in tg.sent(7001) if "满意" in m.text)
                tg.press(7001, asked, "2 ★★")
            await hears("哪里可以做得更好")
            await says("太慢了")
            await hears("我们已经转达")
        finally:
            await visitor.close()
        for text in heard():
            assert not ENGLISH.search(text), text


async def test_staff_are_answered_in_their_own_language(tmp_path: Path) -> None:
    async with running(tmp_path) as world, StaffBrowser(world.url) as mei, StaffBrowser(world.url) as tom:
        await mei.sign_in(await world.code("Mei"))  # whose language is Chinese
        await tom.sign_in(await world.code("Tom"))
        await wait(lambda: mei.answers and tom.answers, "both are welcomed")
        assert "欢迎" in mei.answers[-1]
        assert "Welcome" in tom.answers[-1]
        asked = ("/help", "/stats week", "/tickets", "/whoami", "/customer nobody at all", "/ticket 99", "/shelf",
                 "/tikets", "/note", "/xyzzy", "/stats never")  # fmt: skip
        for text in asked:
            answer = await mei.command(text)
            assert HAN.search(answer), (text, answer)
            assert not ENGLISH.search(re.sub(r"\[[^]]*\]|<[^>]*>|[/!]\w+( \w+)?", "", answer)), (text, answer)
            assert not HAN.search(await tom.command(text)), text
