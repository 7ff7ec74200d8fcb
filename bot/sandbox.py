"""The sandbox: understands dangerous messages in worker processes with a memory and a time limit.

A mail is hostile input: a few kilobytes can cost a parser seconds or gigabytes. A worker that takes too long
is killed and replaced; whoever sent that mail has delayed, once, the few that were given to it along with it:
those are understood one by one after that. The worker also says what the
bot would do with the message, which costs as much as decoding it and would hold up the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from bot.understanding import LENGTH, Understood, packed
from channels.conversation import Inbound, Raw

if TYPE_CHECKING:
    from bot.mind import Mind

log = structlog.get_logger()
START_TIMEOUT_S = 60.0  # to start a worker on a busy machine: not the mail's fault
TIMEOUT_S = 10.0  # wall time; the parser's own limits end far below it
MANY = 1000  # tries: as often as the line tries anything
WORKERS = 2
AT_ONCE = 8  # messages that a worker is given at a time
PIECE = 1 << 18  # bytes written to a worker at a time; what is larger is understood by itself


class DecodeFailed(Exception):
    """The worker raised, ran too long or died. `tries`: how often it makes sense to try in all."""

    def __init__(self, reason: str, *, tries: int) -> None:
        super().__init__(reason)
        self.tries = tries


@dataclass(slots=True)
class _Asked:
    """A message that waits to be understood."""

    raw: Raw
    mind: Mind | None
    future: asyncio.Future[Understood]
    alone: bool = False  # it was among those of a worker that failed: now it is seen whose fault it was


class Sandbox:
    """Worker processes for one decoder, started when first needed. `run` keeps them at work."""

    def __init__(self, decoder: Callable[[Raw], Sequence[Inbound]], *, timeout_s: float = TIMEOUT_S) -> None:
        self._decoder = pickle.dumps(decoder)
        self._timeout_s = timeout_s
        self._waiting: asyncio.Queue[_Asked] = asyncio.Queue()

    async def understand(self, raw: Raw, mind: Mind | None = None) -> Understood:
        """Decode in a worker, clean, and decide about what customers say. Raise DecodeFailed."""
        asked = _Asked(raw, mind, asyncio.get_running_loop().create_future(), len(raw.body) > PIECE)
        self._waiting.put_nowait(asked)
        return await asked.future

    async def run(self) -> None:
        """Work until cancelled; the worker processes end with it."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work(_Worker(self._decoder)))

    async def _work(self, worker: _Worker) -> None:
        try:
            while True:
                if not (asked := await self._next()):
                    continue
                try:
                    await self._ask(worker, asked)
                except TimeoutError:
                    await worker.kill()
                    # Once more: a machine that stood still looks the same as a mail without end.
                    self._failed(
                        asked, DecodeFailed(f"decoding took longer than {self._timeout_s:g} s", tries=2)
                    )
                except (OSError, EOFError, asyncio.IncompleteReadError):
                    await worker.kill()
                    self._failed(asked, DecodeFailed("the decoding process died", tries=3))
                except Exception as error:  # an answer that cannot be read: the other mails are not to wait
                    log.exception("sandbox_failed")
                    await worker.kill()
                    self._failed(asked, DecodeFailed(f"{type(error).__name__}: {error}", tries=3))
        finally:
            await worker.kill()

    async def _next(self) -> list[_Asked]:
        """This worker's share of what waits: a burst costs one exchange for many mails."""
        asked = [await self._waiting.get()]
        share = min(AT_ONCE, 1 + self._waiting.qsize() // WORKERS)
        while len(asked) < share and not asked[0].alone:
            one = self._waiting.get_nowait()
            if one.alone:
                self._waiting.put_nowait(one)
                break
            asked.append(one)
        return [one for one in asked if not one.future.done()]  # whoever asked may have been stopped

    async def _ask(self, worker: _Worker, asked: Sequence[_Asked]) -> None:
        async with asyncio.timeout(START_TIMEOUT_S):
            await worker.start()
        async with asyncio.timeout(self._timeout_s):
            answers = await worker.ask([one.raw for one in asked], asked[-1].mind)
        for one, (ok, result) in zip(asked, answers, strict=True):
            if one.future.done():
                continue
            if ok:
                one.future.set_result(result)
            else:
                one.future.set_exception(DecodeFailed(result, tries=1))

    def _failed(self, asked: Sequence[_Asked], error: DecodeFailed) -> None:
        for one in asked:
            if len(asked) > 1:
                self._waiting.put_nowait(replace(one, alone=True))
            elif not one.future.done():
                one.future.set_exception(error)


class _Worker:
    def __init__(self, decoder: bytes) -> None:
        self._decoder = decoder
        self._process: asyncio.subprocess.Process | None = None
        self._mind: Mind | None = None  # that the process has

    async def start(self) -> None:
        """Start the process unless it runs, and wait until it is ready."""
        if self._process is not None and self._process.returncode is None:
            return
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from bot.understanding import serve; serve()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        self._mind = None
        await self._send(self._decoder)
        await self._receive()

    async def ask(self, raws: Sequence[Raw], mind: Mind | None) -> list[tuple[bool, Any]]:
        if mind is not None and mind != self._mind:  # articles were learnt
            await self._send(packed(mind))
            self._mind = mind
        await self._send(packed(raws))
        answers: list[tuple[bool, Any]] = await self._receive()
        return answers

    async def _receive(self) -> Any:
        process = self._process
        if process is None or process.stdout is None:
            raise EOFError
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        # our own code wrote this: a worker parses hostile mail but runs nothing from it
        return pickle.loads(await process.stdout.readexactly(length))

    async def _send(self, payload: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise EOFError
        process.stdin.write(LENGTH.pack(len(payload)))
        rest = memoryview(payload)
        while rest:  # in pieces: the transport would copy what the pipe does not take at once
            process.stdin.write(rest[:PIECE])
            rest = rest[PIECE:]
            await process.stdin.drain()

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
