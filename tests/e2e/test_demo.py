"""The demo as a newcomer meets it: the command, the page in a real browser, the mail."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import aiohttp
import pytest

from tests.browser import MISSING, browser
from tests.fakes.mail import send_mail

START_S = 60.0


@dataclass
class Demo:
    page: str
    base: str
    smtp_port: int
    said: str


@contextmanager
def demo() -> Iterator[Demo]:
    """`wellheard demo` as a process of its own; it must end well when told to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "demo", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    try:
        yield _started(process)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0, said


def _started(process: subprocess.Popen[str]) -> Demo:
    said = ""
    deadline = time.monotonic() + START_S
    assert process.stdout
    while "Ctrl-C" not in said and time.monotonic() < deadline:
        line = process.stdout.readline()
        assert line, f"the demo ended: {said}"
        said += line
    page = re.search(r"http://127\.0\.0\.1:\d+/demo\?code=\w+", said)
    smtp = re.search(r"at 127\.0\.0\.1:(\d+)", said)
    assert page, said
    assert smtp, said
    return Demo(page.group(), page.group().split("/demo")[0], int(smtp.group(1)), said)


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_a_newcomer_sees_the_product_do_its_job() -> None:
    """Question, answer, person, reply, profile and numbers, on the demo's page."""
    with demo() as shop, browser(width=1440, height=900) as page:
        page.open(shop.page)
        with page.inside("customer-frame"):
            page.type("text", "How long does delivery take?")
            page.click("send")
            page.find("theirs", "working day")
            page.find("theirs", "Did this help?")
            page.click("button", "Talk to a person")
            page.find("theirs", "your ticket is #1")
        with page.inside("staff-frame"):
            page.click("ticket", "#1")
            page.find("card", "How long does delivery take?")
            page.click("button", "Take")
            page.type("reply-text", "Hello, I am Mei. Yours comes on Tuesday!")
            page.click("reply-send")
        with page.inside("customer-frame"):
            page.find("theirs", "Yours comes on Tuesday!")
        with page.inside("staff-frame"):
            page.type("ask", "/customer Hollis", enter=True)
            page.click("button", "Noah Hollis")
            page.find("answer", "Open tickets")
            page.type("ask", "/stats week", enter=True)
            page.find("answer", "Tickets opened")
        if where := os.environ.get("WELLHEARD_PICTURES"):
            with page.inside("staff-frame"):
                page.find("answer", "Ratings")
            page.picture(Path(where) / "demo.png")
        assert page.problems() == []


async def test_a_mail_to_the_demo_is_answered_from_the_page_it_shows() -> None:
    """A known customer's mail is acknowledged; the outbox page shows it."""
    with demo() as shop:
        mail = EmailMessage()
        mail["From"], mail["To"] = "Noah Hollis <nhollis@example.org>", "support@harbour-pine.example"
        mail["Subject"], mail["Message-ID"] = "Wobbly chair", "<chair@example.org>"
        mail["Date"] = "Sun, 01 Mar 2026 10:00:00 +0000"
        mail.set_content("My chair wobbles and I am not happy about it. Please call me.")
        await send_mail(shop.smtp_port, "nhollis@example.org", "support@harbour-pine.example", mail)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{shop.base}/ready") as answer:
                assert answer.status == 200
            async with asyncio.timeout(20):
                while not (listed := await _mails(session, shop.base)):
                    await asyncio.sleep(0.05)
    [ours] = listed
    assert "nhollis@example.org" in ours["to"]
    assert "your ticket is #1" in ours["text"]


async def _mails(session: aiohttp.ClientSession, base: str) -> list[dict[str, str]]:
    async with session.get(f"{base}/demo/mail/list") as answer:
        listed: list[dict[str, str]] = await answer.json()
        return listed
