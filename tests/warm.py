"""Starts `python -m bot …` often and fast: the imports are paid once, then each start is a fork.

A process started here is a process of its own, with its own loop, its own store and its own death; only the
importing of libraries (3 s of CPU with aiogram), which has no effect outside of memory, is not done again.

    async with Warm() as warm:
        service = await warm.start("run", "--config", path, log=path)
        service.kill(signal.SIGKILL)
        await service.ended()
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent
MODULES = (
    "bot.cli.setup",
    "bot.app",
    "channels.telegram.channel",
    "channels.slack.adapter",
    "channels.email.adapter",
    "channels.email.smtp_server",
    "channels.email.decode",
    "channels.email.authenticity",
    "channels.web.channel",
    "aiosqlite",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "bot.answers.intent",
    "numpy",
)


@dataclass
class Started:
    """A process and how it ended: an exit code, or minus the signal."""

    pid: int
    code: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; one that is gone needs none."""
        if not self.code.done():
            os.kill(self.pid, number)

    async def ended(self, timeout_s: float = 60.0) -> int:
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(self.code)


class Warm:
    """The process that forks. It is told what to start and tells what ended, a JSON line each."""

    def __init__(self) -> None:
        self.started: dict[int, Started] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.warm",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        async with asyncio.timeout(120):
            await self._line()  # it is warm
        self._births: asyncio.Queue[int] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in list(self.started.values()):
            one.kill()
            await one.ended()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(20):
            await self._process.wait()

    async def start(self, *argv: str, log: Path) -> Started:
        """Start `python -m bot ARGV`; what it prints goes into the log."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"argv": argv, "log": str(log)}).encode() + b"\n")
        await self._process.stdin.drain()
        return self.started[await self._births.get()]

    async def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the warm process died"
        found: dict[str, Any] = json.loads(line)
        return found

    async def _read(self) -> None:
        while True:
            news = await self._line()
            if "born" in news:
                self.started[news["born"]] = Started(news["born"])
                self._births.put_nowait(news["born"])
            else:
                self.started.pop(news["dead"]).code.set_result(news["code"])


def serve() -> None:
    """The warm process: fork for every line, tell of every death."""
    import importlib
    import select

    for module in MODULES:
        importlib.import_module(module)
    _tell({"warm": True})
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waiting = b""
    while True:
        ready, _, _ = select.select([0, waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _bury()
        if 0 in ready:
            read = os.read(0, 65536)
            if not read:
                return
            *lines, waiting = (waiting + read).split(b"\n")
            for line in lines:
                _fork(json.loads(line), waking, wake)


def _fork(order: dict[str, Any], *unwanted: int) -> None:
    pid = os.fork()
    if pid:
        _tell({"born": pid})
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    for fd in (log, nothing, *unwanted):
        os.close(fd)
    from bot.__main__ import main

    code = 70
    try:
        code = main(order["argv"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell({"dead": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(news: dict[str, Any]) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


if __name__ == "__main__":
    serve()
