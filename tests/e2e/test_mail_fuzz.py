"""Ten thousand generated and mutated mails, by SMTP, into the service as it is run: each one is stored."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from channels.base import utc_now
from channels.email.envelope import Transit, pack
from tests.fakes.mail import FakeSmarthost
from tests.mail_mutator import TOKENS, mails
from tests.mailservers import free_port
from tests.world import ADDRESS

COUNT = int(os.environ.get("FUZZ_MAILS", "10000"))
SEED = int(os.environ.get("FUZZ_SEED", "20260302"))
SESSIONS = 24
MIB = 1 << 20
ANSWER = re.compile(rb"[2345]\d\d[ -][^\r\n]*\r\n\Z")


class Client:
    """A fast session that pipelines envelope and content, and notes what was answered to each mail."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted: set[str] = set()  # event ids, as the door sees them
        self.answers: Counter[str] = Counter()
        self.broken = 0

    async def run(self, queue: Iterator[tuple[int, bytes]]) -> None:
        reader = writer = None
        try:
            for number, mail in queue:
                if writer is None or reader is None:
                    reader, writer = await self._open()
                try:
                    if number % 50 == 7:
                        await self._rubbish(reader, writer, number)
                    await self._send(reader, writer, number, mail)
                except (ConnectionError, asyncio.IncompleteReadError):  # after 421 or too many errors
                    self.broken += 1
                    writer.transport.abort()
                    reader, writer = await self._open()
                    await self._send(reader, writer, number, mail)
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await self._answer(reader)
        writer.write(b"EHLO fuzz.example\r\n")
        await self._answer(reader)
        return reader, writer

    async def _rubbish(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        """A command nobody sends: it gets a proper answer, and the session goes on."""
        token = TOKENS[number % len(TOKENS)].replace(b"\r", b"").replace(b"\n", b"")
        verb = (b"MAIL FROM:<%b>", b"RCPT TO:<%b>", b"%b", b"EHLO %b", b"VRFY %b", b"BDAT %b")[number % 6]
        writer.write(verb % token + b"\r\n")
        await self._answer(reader)
        writer.write(b"RSET\r\n")
        await self._answer(reader)

    async def _send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, mail: bytes
    ) -> None:
        sender = b"" if number % 17 == 0 else b"c%d@customers.example" % number
        stuffed = re.sub(rb"(\A|\r\n)\.", rb"\1..", mail)
        end = b".\r\n" if stuffed.endswith(b"\r\n") or not stuffed else b"\r\n.\r\n"
        writer.write(b"MAIL FROM:<%b> BODY=8BITMIME\r\nRCPT TO:<%b>\r\nDATA\r\n" % (sender, ADDRESS.encode()))
        for expected in (b"250", b"250", b"354"):
            answer = await self._answer(reader)
            assert answer.startswith(expected), answer
        writer.write(stuffed + end)
        await writer.drain()
        answer = await self._answer(reader)
        self.answers[answer[:3].decode()] += 1
        if answer.startswith(b"250"):
            whole = mail if mail.endswith(b"\r\n") or not mail else mail + b"\r\n"
            transit = Transit(sender.decode(), (ADDRESS,))
            self.accepted.add(pack("support", transit, whole, utc_now()).event_id)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(60):
            while True:
                line = await reader.readuntil(b"\r\n")
                assert ANSWER.match(line), line
                if line[3:4] == b" ":
                    if line.startswith(b"421"):
                        raise ConnectionResetError
                    return line


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
@pytest.mark.timeout(600)
async def test_ten_thousand_mutated_mails_are_stored_and_nothing_restarts_or_grows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smtp, web = free_port(), free_port()
    async with FakeSmarthost() as smarthost:
        config = tmp_path / "wellheard.toml"
        config.write_text(
            f'[store]\nurl = "sqlite:///{tmp_path}/store/w.db"\n[http]\nport = {web}\n[desk]\nsecret = "s"\n'
            f'[channels.support]\nkind = "email"\naddress = "{ADDRESS}"\nauthentication = "none"\n'
            f'smtp_listen = "127.0.0.1:{smtp}"\nsmtp_send = "{smarthost.url}"\n'
        )
        log = (tmp_path / "log").open("wb")
        service = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "run", "--config", str(config), stdout=log, stderr=log
        )
        log.close()
        try:
            await _ready(web)
            found = await _flood(service.pid, smtp, web, tmp_path / "store" / "w.db", capsys)
            assert service.returncode is None
        finally:
            if service.returncode is None:
                service.send_signal(signal.SIGTERM)
            code = await service.wait()
        assert code == 0
        accepted, rows = found
        _all_there(accepted, rows, tmp_path / "store" / "w.db")
        assert smarthost.refusals == []
        text = (tmp_path / "log").read_text("utf-8", "replace")
        assert "Traceback" not in text, text[text.index("Traceback") - 400 :][:3000]
    print(f"our own mails: {len(smarthost.mails)}")


async def _ready(web: int) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(60):
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{web}/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def _flood(
    pid: int, smtp: int, web: int, path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[set[str], int]:
    queue = enumerate(mails(SEED, COUNT))
    clients = [Client(smtp) for _ in range(SESSIONS)]
    memory: list[tuple[int, int]] = []
    cpu: dict[int, float] = {}
    workers: set[int] = set()
    slowest = 0.0
    since = time.monotonic()

    async def watch() -> None:
        nonlocal slowest
        async with aiohttp.ClientSession() as http:
            while True:
                begun = time.monotonic()
                async with http.get(f"http://127.0.0.1:{web}/health") as response:
                    assert response.status == 200
                slowest = max(slowest, time.monotonic() - begun)
                children = _children(pid)
                workers.update(children)
                memory.append((_rss(pid), sum(map(_rss, children))))
                cpu.update({one: _cpu_s(one) for one in (pid, *children)})
                await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    try:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(queue))
        sent = time.monotonic() - since
        async with asyncio.timeout(240):
            while _pending(path):
                assert not watching.done(), watching.exception()
                await asyncio.sleep(0.2)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    took = time.monotonic() - since
    answers = sum((c.answers for c in clients), Counter[str]())
    third = len(memory) // 3
    early, late = max(memory[third : 2 * third]), max(memory[-third:])
    with capsys.disabled():
        print(
            f"\n{COUNT} mails, seed {SEED}: answers {dict(answers)}, {sum(c.broken for c in clients)} sessions ended;"
            f" sent in {sent:.0f} s, all processed in {took:.0f} s with {sum(cpu.values()):.0f} s of CPU;"
            f" {len(workers)} worker processes were seen;"
            f" slowest /health {slowest * 1000:.0f} ms; service {early[0] / MIB:.0f} MiB in the second third, "
            f"{late[0] / MIB:.0f} in the last; workers {early[1] / MIB:.0f} and {late[1] / MIB:.0f} MiB"
        )
    assert sum(answers.values()) == COUNT
    assert set(answers) <= {"250", "550", "554", "552", "500", "451", "452"}
    assert answers["250"] > 0.9 * COUNT
    assert late[0] < early[0] * 1.25 + 48 * MIB
    assert late[1] < early[1] * 1.5 + 64 * MIB
    return set().union(*(c.accepted for c in clients)), answers["250"]


def _all_there(accepted: set[str], rows: int, path: Path) -> None:
    """Every mail that was answered 250 is a raw row, processed, and a message of a conversation."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        states = dict(db.execute("SELECT event_id, state FROM inbox WHERE channel = 'support'"))
        taken = {row[0] for row in db.execute("SELECT dedupe FROM message WHERE kind = 'in'")}
        unread = db.execute(
            "SELECT count(*) FROM message WHERE kind = 'in' AND warnings LIKE '%undecodable%'"
        ).fetchone()[0]
        originals = db.execute(
            "SELECT count(*) FROM message m JOIN attachment a ON a.message_id = m.id "
            "WHERE m.warnings LIKE '%undecodable%' AND a.content_type = 'message/rfc822' AND a.sha256 IS NOT NULL"
        ).fetchone()[0]
    finally:
        db.close()
    wanted = {_storable(event) for event in accepted}
    assert wanted == set(states)
    assert Counter(states.values()) == {"done": len(states)}
    assert wanted - taken == set()
    assert originals >= unread
    print(f"{rows} answered 250, {len(states)} different; {unread} undecodable, with the original attached")


def _storable(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _pending(path: Path) -> int:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT count(*) FROM inbox WHERE state = 'pending'").fetchone()[0])
    finally:
        db.close()


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


def _rss(pid: int) -> int:
    try:
        rows = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(rows["VmRSS"].split()[0]) * 1024
    except (OSError, KeyError):
        return 0
