"""The sandbox: understands dangerous messages in worker processes with a memory and a time limit.

A mail is hostile input: a few kilobytes can cost a parser seconds or gigabytes. A worker that takes too long
is killed and replaced; whoever sent that mail has delayed nobody but themselves. The worker also says what the
bot would do with the message, which costs as much as decoding it and would hold up the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import struct
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bot.cleaning import clean
from channels.conversation import Inbound, Kind, Raw

if TYPE_CHECKING:
    from bot.answers.decide import Decision
    from bot.mind import Mind

Understood = list[tuple[Inbound, "Decision | None"]]

START_TIMEOUT_S = 60.0  # to start a worker on a busy machine: not the mail's fault
TIMEOUT_S = 10.0  # wall time; the parser's own limits end far below it
MANY = 1000  # tries: as often as the line tries anything
MEMORY_BYTES = 2 * 1024**3
WORKERS = 2
PIECE = 1 << 18  # bytes written to a worker at a time
_LENGTH = struct.Struct(">Q")


class DecodeFailed(Exception):
    """The worker raised, ran too long or died. `tries`: how often it makes sense to try in all."""

    def __init__(self, reason: str, *, tries: int) -> None:
        super().__init__(reason)
        self.tries = tries


class Sandbox:
    """Worker processes for one decoder. Started when first needed."""

    def __init__(self, decoder: Callable[[Raw], Sequence[Inbound]], *, timeout_s: float = TIMEOUT_S) -> None:
        self._decoder = pickle.dumps(decoder)
        self._timeout_s = timeout_s
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        for _ in range(WORKERS):
            self._idle.put_nowait(_Worker(self._decoder))

    async def understand(self, raw: Raw, mind: Mind | None = None) -> Understood:
        """Decode in a worker, clean, and decide about what customers say. Raise DecodeFailed."""
        worker = await self._idle.get()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await worker.start()
            async with asyncio.timeout(self._timeout_s):
                ok, result = await worker.ask(raw, mind)
        except TimeoutError as error:
            await worker.kill()
            # Once more: a machine that stood still looks the same as a mail without end.
            raise DecodeFailed(f"decoding took longer than {self._timeout_s:g} s", tries=2) from error
        except (OSError, EOFError, asyncio.IncompleteReadError) as error:
            await worker.kill()
            raise DecodeFailed("the decoding process died", tries=3) from error
        except BaseException:
            await worker.kill()
            raise
        finally:
            self._idle.put_nowait(worker)
        if not ok:
            raise DecodeFailed(result, tries=1)
        understood: Understood = result
        return understood

    async def close(self) -> None:
        while not self._idle.empty():
            await self._idle.get_nowait().kill()


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
            "from bot.sandbox import serve; serve()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        self._mind = None
        await self._send(self._decoder)
        await self._receive()

    async def ask(self, raw: Raw, mind: Mind | None) -> tuple[bool, Any]:
        if mind is not None and mind != self._mind:  # articles were learnt
            await self._send(pickle.dumps(mind, protocol=pickle.HIGHEST_PROTOCOL))
            self._mind = mind
        await self._send(pickle.dumps(raw, protocol=pickle.HIGHEST_PROTOCOL))
        answer: tuple[bool, Any] = await self._receive()
        return answer

    async def _receive(self) -> Any:
        process = self._process
        if process is None or process.stdout is None:
            raise EOFError
        (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
        # our own code wrote this: a worker parses hostile mail but runs nothing from it
        return pickle.loads(await process.stdout.readexactly(length))

    async def _send(self, payload: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise EOFError
        process.stdin.write(_LENGTH.pack(len(payload)))
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


def serve() -> None:
    """The worker's side: a decoder; then messages, each answered with (ok, values or reason), and minds."""
    with contextlib.suppress(BrokenPipeError):  # the service is gone
        _serve()


def _serve() -> None:
    import logging
    import os
    import signal

    _limit_memory()
    logging.disable()  # libraries log what they stumble over: a stranger's words, in everybody's log
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides when its workers end
    source, sink = os.fdopen(0, "rb", buffering=1 << 16), os.fdopen(1, "wb")

    def receive() -> Any:
        head = source.read(_LENGTH.size)
        return pickle.loads(source.read(_LENGTH.unpack(head)[0])) if len(head) == _LENGTH.size else None

    def answer(value: object) -> None:
        payload = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        sink.write(_LENGTH.pack(len(payload)) + payload)
        sink.flush()

    decoder, mind = receive(), None
    answer("ready")
    while decoder is not None and (given := receive()) is not None:
        if not isinstance(given, Raw):
            mind = given
            continue
        try:
            answer((True, [_considered(clean(inbound), mind) for inbound in decoder(given)]))
        except Exception as error:
            answer((False, f"{type(error).__name__}: {error}"[:500]))


def _considered(inbound: Inbound, mind: Mind | None) -> tuple[Inbound, Decision | None]:
    if mind is None or inbound.kind is not Kind.MESSAGE:
        return inbound, None
    try:
        return inbound, mind.about(inbound)
    except Exception:  # the message arrives all the same: whoever takes it decides, and has a log
        return inbound, None


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
