"""Socket Mode: a WebSocket that is reopened whenever Slack asks or the network fails.

The SDK's client starts loose tasks, looks for a dead socket only every ping and says nothing of a reconnect,
after which missed history must be read. So this is the protocol itself: hello, envelopes, disconnect.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import structlog

from channels.base import Door, RetryLater, Undeliverable
from channels.slack.api import Api

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 20.0
HEARTBEAT_S = 15.0  # a pong missing for half of it is a dead socket
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
IN_FLIGHT = 500  # envelopes taken but not stored yet
SEND_TIMEOUT_S = 10.0

Receive = Callable[[str, Mapping[str, Any], Door], Awaitable[Any]]


class SocketMode:
    """Keeps one socket open (two while one replaces the other) and acknowledges what was stored."""

    def __init__(
        self,
        name: str,
        api: Api,
        receive: Receive,
        report: Callable[[str | None], None],
        on_connect: Callable[[], None],
    ) -> None:
        self._name = name
        self._api = api
        self._receive = receive
        self._report = report
        self._on_connect = on_connect
        self._wait_s = FIRST_WAIT_S
        self._room = asyncio.Semaphore(IN_FLIGHT)

    async def run(self, door: Door) -> None:
        """Connect and reconnect until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                replace = asyncio.Event()  # the socket ended, or Slack announced that it will
                group.create_task(self._connection(door, group, replace))
                await replace.wait()

    async def _connection(self, door: Door, group: asyncio.TaskGroup, replace: asyncio.Event) -> None:
        try:
            answer = await self._api.call("apps.connections.open")
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await self._api.session.ws_connect(
                    str(answer["url"]), heartbeat=HEARTBEAT_S, max_msg_size=0
                )
            async with socket:
                log.info("socket_open", channel=self._name)
                self._report(None)
                self._on_connect()
                await self._read(socket, door, group, replace)
        except (RetryLater, Undeliverable) as error:
            self._report(f"Socket Mode cannot connect: {error.reason}")
            after_s = error.after_s if isinstance(error, RetryLater) else None
            await self._pause(after_s or (LONGEST_WAIT_S if isinstance(error, Undeliverable) else None))
        except (aiohttp.ClientError, TimeoutError, OSError, KeyError) as error:
            self._report(f"Socket Mode cannot connect: {type(error).__name__}")
            await self._pause(None)
        finally:
            replace.set()

    async def _read(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        door: Door,
        group: asyncio.TaskGroup,
        replace: asyncio.Event,
    ) -> None:
        greeted = False
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            greeted = True
            self._wait_s = FIRST_WAIT_S
            envelope = _object(message.data)
            match envelope.get("type"):
                case "hello":
                    pass
                case "disconnect":
                    log.info("socket_replaced", channel=self._name, reason=str(envelope.get("reason")))
                    if envelope.get("reason") == "link_disabled":
                        self._report("Socket Mode was switched off for the app")
                        await self._pause(LONGEST_WAIT_S)
                    replace.set()  # a new one opens while this one still delivers
                case kind if envelope.get("envelope_id"):
                    await self._room.acquire()
                    group.create_task(self._take(socket, str(kind), envelope, door))
        log.info("socket_closed", channel=self._name, code=socket.close_code)
        if not replace.is_set():
            self._report("Socket Mode lost its connection")
            await self._pause(None if greeted else self._wait_s)

    async def _take(
        self, socket: aiohttp.ClientWebSocketResponse, kind: str, envelope: Mapping[str, Any], door: Door
    ) -> None:
        """Store one envelope, then acknowledge it. Unacknowledged, Slack delivers it again."""
        try:
            payload = envelope.get("payload")
            answer = await self._receive(kind, payload if isinstance(payload, dict) else {}, door)
            if answer.status != 200:
                return
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await socket.send_str(json.dumps({"envelope_id": envelope["envelope_id"]}))
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
            log.info("not_acknowledged", channel=self._name, error=type(error).__name__)
        finally:
            self._room.release()

    async def _pause(self, after_s: float | None) -> None:
        """Wait before the next connection: as long as asked, else twice as long each time."""
        await asyncio.sleep(min(after_s if after_s is not None else self._wait_s, 10 * LONGEST_WAIT_S))
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
