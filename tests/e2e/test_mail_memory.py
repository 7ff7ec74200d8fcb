"""Twenty mails of 25 MB at once, into the service as it is run: its memory stays within bounds."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.e2e.test_mail_fuzz import _children, _pending, _ready, _rss
from tests.fakes.mail import Dialogue
from tests.mailservers import free_port
from tests.world import ADDRESS

MIB = 1 << 20
MAILS = 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
@pytest.mark.timeout(400)
async def test_twenty_mails_of_25_mb_at_once_keep_the_service_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smtp, web = free_port(), free_port()
    config = tmp_path / "wellheard.toml"
    config.write_text(
        f'[store]\nurl = "sqlite:///{tmp_path}/store/w.db"\n[http]\nport = {web}\n[desk]\nsecret = "s"\n'
        f'[channels.support]\nkind = "email"\naddress = "{ADDRESS}"\nauthentication = "none"\n'
        f'smtp_listen = "127.0.0.1:{smtp}"\n'
    )
    log = (tmp_path / "log").open("wb")
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "run", "--config", str(config), stdout=log, stderr=log
    )
    log.close()
    peaks = [0, 0]
    try:
        await _ready(web)
        before = _rss(service.pid)

        async def watch() -> None:
            while True:
                peaks[0] = max(peaks[0], _rss(service.pid))
                peaks[1] = max(peaks[1], sum(map(_rss, _children(service.pid))))
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        body = base64.encodebytes(os.urandom(18 * MIB)).replace(b"\n", b"\r\n")
        answers = await asyncio.gather(*(_send(smtp, n, body) for n in range(MAILS)))
        async with asyncio.timeout(240):
            while _pending(tmp_path / "store" / "w.db"):
                await asyncio.sleep(0.2)
        watching.cancel()
        assert service.returncode is None
    finally:
        if service.returncode is None:
            service.send_signal(signal.SIGTERM)
        await service.wait()
    taken = sum(answer.startswith("250") for answer in answers)
    with capsys.disabled():
        print(
            f"\n{taken} of {MAILS} mails of {len(body) / MIB:.1f} MiB taken at once: service {before / MIB:.0f} MiB "
            f"before, {peaks[0] / MIB:.0f} at most; its workers together {peaks[1] / MIB:.0f} at most"
        )
    assert {answer[:3] for answer in answers} <= {"250", "452"}
    assert taken >= 15
    assert peaks[0] - before < 500 * MIB  # all twenty held together would be twice that, and copies
    db = sqlite3.connect(f"file:{tmp_path}/store/w.db?mode=ro", uri=True)
    try:
        assert db.execute("SELECT count(*) FROM message WHERE kind = 'in'").fetchone() == (taken,)
        whole = db.execute("SELECT count(*) FROM attachment WHERE size = ?", (18 * MIB,)).fetchone()
        assert whole == (taken,)
    finally:
        db.close()


async def _send(port: int, number: int, body: bytes) -> str:
    head = (
        f"From: c{number}@customers.example\r\nTo: {ADDRESS}\r\nSubject: film {number}\r\n"
        f"Message-ID: <{number}@customers.example>\r\nMIME-Version: 1.0\r\nContent-Type: video/mp4\r\n"
        f"Content-Transfer-Encoding: base64\r\nX-Number: {number}\r\n\r\n"
    ).encode()
    async with Dialogue(port) as line:
        reply = await line.envelope(f"c{number}@customers.example", ADDRESS)
        if not reply.startswith("354"):
            return reply
        await line.send(head)
        for at in range(0, len(body), MIB):
            await line.send(body[at : at + MIB])
        await line.send(b".\r\n")
        return await line.reply(timeout_s=200)
