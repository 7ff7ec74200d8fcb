"""Twenty mails of 25 MB at once: the server's memory stays flat. It runs in a process of its own."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.fakes.mail import Dialogue

SERVER = """
import asyncio, sys
from channels.email.smtp_server import Limits, Server

MIB = 1 << 20

def peak() -> int:
    rows = dict(row.split(":", 1) for row in open("/proc/self/status"))
    return int(rows["VmHWM"].split()[0]) * 1024

async def main() -> None:
    sizes = []
    async def deliver(mail) -> None:
        await asyncio.sleep(0.05)
        assert mail.content.count(b"x") == 25 * MIB, len(mail.content)
        sizes.append(len(mail.content))
    limits = Limits(bytes_in_flight=128 * MIB)
    async with Server(listen="127.0.0.1:0", accepts=lambda _: True, deliver=deliver, limits=limits) as server:
        before = peak()
        print(server.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        print(len(sizes), peak() - before, server.room.peak, server.room.held, flush=True)

asyncio.run(main())
"""
MIB = 1 << 20
LINE = b"x" * 1022 + b"\r\n"
BLOCK = LINE * 1024 + b"x" * 2048 + b"\r\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
async def test_twenty_mails_of_25_mb_at_once_keep_memory_flat() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = 0
        while not port:  # the first lines may be log
            row = (await process.stdout.readline()).decode().strip()
            port = int(row) if row.isdigit() else 0
        replies = await asyncio.gather(*(_send(port, announce=n % 2 == 0) for n in range(20)))
        process.stdin.write(b"\n")
        stored, grown, peak, held = map(int, (await process.stdout.readline()).split())
    finally:
        if process.returncode is None:
            process.stdin.close()
        await process.wait()
    assert {reply[:3] for reply in replies} <= {"250", "452"}
    assert stored == sum(reply.startswith("250") for reply in replies) >= 15
    assert held == 0
    assert peak <= 128 * MIB + 20 * 65536
    # what is held, the slack of growing buffers and what is still being read
    assert grown < 180 * MIB, f"{grown / MIB:.0f} MiB"


async def _send(port: int, *, announce: bool) -> str:
    async with Dialogue(port) as line:
        await line.say("EHLO client.test")
        size = f" SIZE={25 * len(BLOCK)}" if announce else ""
        await line.say(f"MAIL FROM:<a@b.test>{size}")
        await line.say("RCPT TO:<support@example.com>")
        reply = await line.say("DATA", timeout_s=60)
        if not reply.startswith("354"):
            return reply
        for _ in range(25):
            await line.send(BLOCK)
        await line.send(b".\r\n")
        return await line.reply(timeout_s=60)
