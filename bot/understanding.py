"""What runs in a worker process of the sandbox: understands messages, and has nothing else loaded.

Neither asyncio nor the log is imported here: a worker starts in half the time, also after one was killed.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from bot.cleaning import clean
from channels.conversation import Inbound, Kind, Raw

if TYPE_CHECKING:
    from bot.answers.decide import Decision
    from bot.mind import Mind

Understood = list[tuple[Inbound, "Decision | None"]]

MEMORY_BYTES = 2 * 1024**3
LENGTH = struct.Struct(">Q")  # before each value that is sent, either way


def serve() -> None:
    """The worker's side: a decoder; then lists of messages, answered with a list of (ok, values or reason), and
    minds."""
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
        head = source.read(LENGTH.size)
        return pickle.loads(source.read(LENGTH.unpack(head)[0])) if len(head) == LENGTH.size else None

    def answer(value: object) -> None:
        payload = packed(value)
        sink.write(LENGTH.pack(len(payload)) + payload)
        sink.flush()

    decoder, mind = receive(), None
    answer("ready")
    while decoder is not None and (given := receive()) is not None:
        if isinstance(given, list):
            answer([_understood(decoder, raw, mind) for raw in given])
        else:
            mind = given


def _understood(
    decoder: Callable[[Raw], Sequence[Inbound]], raw: Raw, mind: Mind | None
) -> tuple[bool, Understood | str]:
    try:
        return True, [_considered(clean(inbound), mind) for inbound in decoder(raw)]
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"[:500]


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


class _Pickler(pickle.Pickler):
    """Writes our values as calls of their constructors. How frozen dataclasses with slots are pickled by
    themselves, field by field through `dataclasses.fields`, took the service twice as long to read."""

    def reducer_override(self, value: object) -> Any:
        names = _names(cast(Hashable, type(value)))
        return (type(value), tuple([getattr(value, name) for name in names])) if names else NotImplemented


@cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    """The constructor's arguments of a dataclass; none for what is no dataclass."""
    return tuple(f.name for f in fields(cls) if f.init) if is_dataclass(cls) else ()


def packed(value: object) -> bytes:
    """The value as it goes to the other process."""
    into = io.BytesIO()
    _Pickler(into, pickle.HIGHEST_PROTOCOL).dump(value)
    return into.getvalue()
