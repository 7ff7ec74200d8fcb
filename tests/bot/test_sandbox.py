"""The sandbox: one bad mail is nobody else's fault, whether it kills the worker, hangs it or confuses it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from bot.sandbox import DecodeFailed, Sandbox
from channels.conversation import Address, Author, Inbound, Raw

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def decode(raw: Raw) -> Sequence[Inbound]:
    """A decoder that its input commands. It travels to the worker by name."""
    text = raw.body.decode()
    if text == "die":
        os._exit(9)
    if text == "hang":
        time.sleep(60)
    if text == "refuse":
        raise ValueError("no such mail")
    return [Inbound(Address("mail", "a@b.example"), raw.event_id, Author("a@b.example"), text, NOW)]


@asynccontextmanager
async def running(timeout_s: float = 10.0) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(decode, timeout_s=timeout_s)
    task = asyncio.create_task(sandbox.run())
    try:
        yield sandbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(sandbox: Sandbox, *texts: str) -> list[str]:
    """What became of mails that were given at once: their text, or why not."""

    async def one(number: int, text: str) -> str:
        try:
            found = await sandbox.understand(Raw("mail", str(number), "lane", text.encode(), NOW))
        except DecodeFailed as error:
            return f"{error.tries}: {error}"
        assert [inbound.event_id for inbound, _ in found] == [str(number)], "somebody else's answer"
        return found[0][0].text

    return await asyncio.gather(*(one(i, text) for i, text in enumerate(texts)))


async def test_each_of_many_gets_its_own_answer() -> None:
    texts = [f"mail {i}" for i in range(200)]
    async with running() as sandbox:
        assert await ask(sandbox, *texts) == texts


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("die", "3: the decoding process died"),
        ("hang", "2: decoding took longer than 0.5 s"),
        ("refuse", "1: ValueError: no such mail"),
    ],
)
async def test_a_bad_mail_among_good_ones_is_the_only_one_that_fails(bad: str, said: str) -> None:
    texts = [f"mail {i}" for i in range(40)]
    texts[7] = texts[23] = bad
    async with running(0.5) as sandbox:
        await ask(sandbox, "warm", "warm", "warm")
        answers = await ask(sandbox, *texts)
    assert [a for a, text in zip(answers, texts, strict=True) if text == bad] == [said, said]
    assert [a for a, text in zip(answers, texts, strict=True) if text != bad] == [
        t for t in texts if t != bad
    ]


async def test_a_large_mail_is_understood_by_itself() -> None:
    texts = ["small", "x" * 600_000, "small", "x" * 600_000, *["small"] * 20]
    async with running() as sandbox:
        assert await ask(sandbox, *texts) == texts


async def test_nothing_is_left_running() -> None:
    async with running() as sandbox:
        await ask(sandbox, "a", "b")
        children = _children()
        assert len(children) >= 1
    assert not set(children) & set(_children())


def _children() -> list[str]:
    tasks = f"/proc/{os.getpid()}/task"
    if not os.path.isdir(tasks):
        pytest.skip("no /proc here to look for processes in")
    found: list[str] = []
    for task in os.listdir(tasks):
        try:
            with open(f"{tasks}/{task}/children") as file:
                found += file.read().split()
        except FileNotFoundError:
            continue
    return found
