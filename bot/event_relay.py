"""The event relay: what webhooks tell, told to a broker as well: NATS, Redis, RabbitMQ or Kafka, by FastStream.

It is one more receiver of the same durable rows (crm_store/webhooks.py): claimed, sent, settled, tried again, in
order for each object, at least once. A row counts as told when the broker has confirmed it: NATS through
JetStream, Redis by the id of the entry in a stream, RabbitMQ by publisher confirms of a persistent message, Kafka
by the acknowledgement of the partition. The body is the webhooks' own; its `id` is the same at each repeat.

FastStream is an extra (`pip install wellheard[events]`) and is imported when a relay is configured: 0.3 s.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from bot.config import EventsSettings
from bot.webhooks import Refused
from channels.base import ConfigError
from crm_store.webhooks import Leaving

ADDRESS = "relay:events"  # what the rows are addressed to: the broker's URL may hold a password
JSON = "application/json"
PING_S = 2.0
SUSPECT = 3  # refusals in a row after which a connection that seems to live is made anew
KEPT = 1_000_000  # entries of a Redis stream, about
Broker = Any  # one of FastStream's, which is not there without the extra
Publish = Callable[[Broker, str, bytes, Leaving, Mapping[str, str]], Awaitable[None]]


class EventRelay:
    """A receiver of events that is a broker."""

    url = ADDRESS

    def __init__(self, settings: EventsSettings, make: Callable[[str], Broker] | None = None) -> None:
        """Raise ConfigError when what it needs is not installed."""
        self.events = settings.events
        self.first_retry_s = settings.first_retry_s
        self._settings = settings
        self._kind = kind_of(settings.url)
        self._make = make or _maker(self._kind)
        self._broker: Broker | None = None
        self._opening = asyncio.Lock()
        self._refusals = 0  # since the last event that was taken

    async def send(self, row: Leaving, body: bytes) -> None:
        """Publish one event and wait until the broker has it. Raise Refused."""
        broker: Broker | None = None
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                broker = await self._open()
                headers = {"content-type": JSON, "wellheard-event": row.key, "wellheard-type": row.type}
                await _PUBLISH[self._kind](broker, self._settings.topic, body, row, headers)
        except TimeoutError:
            await self._drop()
            raise Refused("the broker does not answer in time", away=True) from None
        except Exception as error:  # each of four libraries has errors of its own
            # One that still answers refused this event: the connection serves the others that are on their way.
            alive = broker is not None and broker is self._broker and await _answers(broker)
            self._refusals += 1
            if not alive or self._refusals >= SUSPECT:
                await self._drop(broker)
            said = f"{type(error).__name__}: {_without_url(error, self._settings.url)}"
            raise Refused(said, away=not alive) from error
        self._refusals = 0

    async def reach(self) -> str:
        """Connect, and say in words why that is not possible; "" when it is."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._open()
        except TimeoutError:
            return "the broker does not answer in time"
        except Exception as error:
            return f"{type(error).__name__}: {_without_url(error, self._settings.url)}"
        finally:
            await self._drop()
        return ""

    async def close(self) -> None:
        await self._drop()

    async def _open(self) -> Broker:
        async with self._opening:
            if self._broker is None:
                broker = self._make(self._settings.url)
                self._broker = broker  # also when it cannot be reached: it is stopped then
                _prepare(self._kind, broker, self._settings.topic)
                await broker.start()
                return broker  # another event may have dropped it meanwhile: then publishing says why
            return self._broker

    async def _drop(self, failed: Broker | None = None) -> None:
        """Begin anew with the next one: a connection that failed once may be half dead. One that was made since
        is left alone."""
        if failed is not None and failed is not self._broker:
            return
        broker, self._broker = self._broker, None
        if broker is not None:
            try:
                async with asyncio.timeout(2.0):
                    await broker.stop()
            except Exception:  # it is gone already
                return


def kind_of(url: str) -> str:
    """nats, redis, rabbit or kafka. Raise ConfigError."""
    kinds = {
        "nats": "nats",
        "tls": "nats",
        "redis": "redis",
        "rediss": "redis",
        "amqp": "rabbit",
        "amqps": "rabbit",
        "kafka": "kafka",
    }
    scheme = urlsplit(url).scheme
    if scheme not in kinds:
        raise ConfigError("events.url must begin with nats://, redis://, amqp:// or kafka://")
    return kinds[scheme]


def _maker(kind: str) -> Callable[[str], Broker]:
    classes = {"nats": "NatsBroker", "redis": "RedisBroker", "rabbit": "RabbitBroker", "kafka": "KafkaBroker"}
    try:
        module = importlib.import_module(f"faststream.{kind}")
    except ImportError as error:
        said = "events.url needs FastStream: pip install 'wellheard[events]'"
        raise ConfigError(said) from error
    broker = getattr(module, classes[kind])
    if kind == "kafka":  # bootstrap servers are no URL
        return lambda url: broker(
            url.removeprefix("kafka://").rstrip("/").split(","), acks="all", logger=None
        )
    if kind == "nats":
        return lambda url: broker(url, allow_reconnect=False, logger=None)
    return lambda url: broker(url, logger=None)


def _prepare(kind: str, broker: Broker, topic: str) -> None:
    """Have the place made that keeps what is told, where the broker wants that."""
    if kind == "nats":
        from faststream.nats import JStream

        broker.publisher(topic, stream=JStream(name=_stream(topic), subjects=[topic]))


async def _nats(broker: Broker, topic: str, body: bytes, row: Leaving, headers: Mapping[str, str]) -> None:
    # the id lets JetStream drop a repeat by itself, within its window
    sent = {**headers, "Nats-Msg-Id": f"{row.key}"}
    await broker.publish(body, topic, headers=sent, stream=_stream(topic), correlation_id=row.key)


async def _redis(broker: Broker, topic: str, body: bytes, row: Leaving, headers: Mapping[str, str]) -> None:
    await broker.publish(body, stream=topic, maxlen=KEPT, headers=dict(headers), correlation_id=row.key)


async def _rabbit(broker: Broker, topic: str, body: bytes, row: Leaving, headers: Mapping[str, str]) -> None:
    await broker.publish(
        body,
        topic,
        persist=True,
        headers=dict(headers),
        content_type=JSON,
        message_id=row.key,
        correlation_id=row.key,
        message_type=row.type,
    )


async def _kafka(broker: Broker, topic: str, body: bytes, row: Leaving, headers: Mapping[str, str]) -> None:
    # one partition an object, so that its events stay in order
    await broker.publish(body, topic, key=row.lane.encode(), headers=dict(headers), correlation_id=row.key)


_PUBLISH: dict[str, Publish] = {"nats": _nats, "redis": _redis, "rabbit": _rabbit, "kafka": _kafka}


async def _answers(broker: Broker) -> bool:
    try:
        async with asyncio.timeout(PING_S):
            return bool(await broker.ping(PING_S))
    except Exception:  # of one of four libraries, or of a timeout
        return False


def _stream(topic: str) -> str:
    """A JetStream's name may hold no dots."""
    return topic.replace(".", "_").replace("*", "_").replace(">", "_").upper()


def _without_url(error: Exception, url: str) -> str:
    """What a library says, without the password that is in the URL."""
    said = str(error)
    password = urlsplit(url).password or ""
    for hidden in {password, unquote(password)} - {""}:  # a library may have taken the %40 for the @ it means
        said = said.replace(hidden, "•••")
    return said[:300]
