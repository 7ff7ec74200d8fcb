"""The console channel: lines of standard input are messages, answers are printed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, TextIO

from channels.base import Capabilities, Door, Quiet, Setup
from channels.conversation import Address, Author, Inbound, Op, Outbound, Raw, Sent
from channels.rich import to_text


class ConsoleChannel(Quiet):
    """One person at a terminal: one room, no threads, text only."""

    kind: ClassVar[str] = "console"

    def __init__(self, setup: Setup, *, source: TextIO | None = None, sink: TextIO | None = None) -> None:
        self.name = setup.name
        self.caps = Capabilities(commands=True, private=True)
        self._clock = setup.clock
        self._user = str(setup.settings.get("user", "console"))
        self._source = source or sys.stdin
        self._sink = sink or sys.stdout

    async def run(self, door: Door) -> None:
        """Accept a line at a time: the next is read when this one is durable."""
        door.report(None)
        while line := await asyncio.to_thread(self._source.readline):
            if text := line.strip():
                body = {"text": text, "user": self._user, "at": self._clock().isoformat()}
                raw = Raw(
                    channel=self.name,
                    event_id=secrets.token_hex(8),
                    lane=self._user,
                    body=json.dumps(body).encode(),
                    received_at=self._clock(),
                )
                await door.accept(raw)
        await asyncio.Event().wait()  # the end of input is no reason to stop

    def decode(self, raw: Raw) -> Sequence[Inbound]:
        body = json.loads(raw.body)
        return [
            Inbound(
                address=Address(self.name, body["user"]),
                event_id=raw.event_id,
                author=Author(body["user"], body["user"]),
                text=body["text"],
                sent_at=datetime.fromisoformat(body["at"]),
                private=True,
            )
        ]

    async def send(self, message: Outbound) -> Sent:
        if message.op is Op.SEND:
            with contextlib.suppress(ValueError):  # the terminal was closed
                print(to_text(message.reply), file=self._sink, flush=True)
        return Sent(message.key, message.address)
