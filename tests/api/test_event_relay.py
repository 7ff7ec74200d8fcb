"""The event relay: what happens is told to a broker, at least once, in order for each object."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.config import EventsSettings, parse
from bot.event_relay import ADDRESS, EventRelay, kind_of
from bot.webhooks import STRIKES, Refused, Webhooks
from channels.base import ConfigError
from crm_store import contacts, webhooks
from crm_store.db import Store
from crm_store.webhooks import Leaving
from tests.deciding import NOW, deciding

pytest.importorskip("faststream")
TOPIC = "wellheard.events"
URLS = {
    "nats": "nats://broker.example:4222",
    "redis": "redis://broker.example:6379",
    "rabbit": "amqp://guest:guest@broker.example/",
    "kafka": "kafka://a.example:9092,b.example:9092",
}
NAMES = {"nats": "NatsBroker", "redis": "RedisBroker", "rabbit": "RabbitBroker", "kafka": "KafkaBroker"}


def listening(kind: str) -> tuple[Any, Any, list[Any]]:
    """A broker in memory, its test context, and what a subscriber of the topic hears."""
    module = importlib.import_module(f"faststream.{kind}")
    broker = getattr(module, NAMES[kind])(logger=None)
    heard: list[Any] = []

    async def hear(message: dict[str, Any]) -> None:
        heard.append(message)

    if kind == "redis":
        broker.subscriber(stream=TOPIC)(hear)
    elif kind == "nats":
        broker.subscriber(TOPIC, stream="WELLHEARD_EVENTS")(hear)
    else:
        broker.subscriber(TOPIC)(hear)
    return broker, getattr(module, f"Test{NAMES[kind]}")(broker), heard


@pytest.mark.parametrize("kind", ["nats", "rabbit", "redis"])  # Kafka's takes 20 s to come up in memory
async def test_what_happens_is_told_to_each_kind_of_broker(tmp_path: Path, kind: str) -> None:
    broker, memory, heard = listening(kind)
    async with deciding(tmp_path) as door, memory:
        relay = EventRelay(EventsSettings(url=URLS[kind]), lambda url: broker)
        teller = Webhooks(door.store, (), lambda: NOW, outlets=[relay])
        await teller.install()
        contact_id = await door.store.write(lambda tx: contacts.create(tx, NOW, name="Li Wei"))
        await door.store.write(lambda tx: contacts.set_values(tx, NOW, contact_id, city="Leeds"))
        await tell(door.store, teller)
        assert [(m["type"], m["object"]) for m in heard] == [
            ("customer.created", "customer:1"),
            ("customer.changed", "customer:1"),
        ]
        assert heard[-1]["data"]["city"] == "Leeds"
        assert len({m["id"] for m in heard}) == 2
        assert (await door.store.read(webhooks.counts))["sent"] == 2


async def tell(store: Store, teller: Webhooks) -> None:
    """Everything that is due, one after another."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(teller.run())
        async with asyncio.timeout(20):
            while (await store.read(webhooks.counts))["pending"]:
                await asyncio.sleep(0.01)
        running.cancel()


class Flaky:
    """A broker that breaks off, sometimes after it has taken what it was told."""

    def __init__(self) -> None:
        self.calls = 0
        self.taken: list[tuple[str, bytes]] = []
        self.stopped = 0

    async def start(self) -> None:
        if self.calls % 5 == 4:
            self.calls += 1
            raise ConnectionRefusedError("nobody there: secret")

    async def stop(self) -> None:
        self.stopped += 1

    async def publish(self, body: bytes, **how: Any) -> None:
        self.calls += 1
        if self.calls % 3 == 1:
            raise ConnectionResetError("broken off")
        self.taken.append((how["correlation_id"], body))
        if self.calls % 3 == 2:
            raise TimeoutError


async def test_a_broker_that_breaks_off_is_told_again_until_it_has_everything(tmp_path: Path) -> None:
    async with deciding(tmp_path) as door:
        flaky = Flaky()
        settings = EventsSettings(url="redis://u:secret@b.example", first_retry_s=0.001)
        relay = EventRelay(settings, lambda url: flaky)
        clock = Later()
        teller = Webhooks(door.store, (), clock, outlets=[relay])
        await teller.install()
        for number in range(8):
            await door.store.write(lambda tx, n=number: contacts.create(tx, NOW, name=f"C{n}"))
        await tell(door.store, teller)
        told = Counter(key for key, _ in flaky.taken)
        assert len(told) == 8
        assert max(told.values()) > 1  # at least once, and the id tells a repeat
        assert flaky.stopped

        def errors(tx: Any) -> list[str]:
            return [row.error for row in tx.execute(webhooks.event.select())]

        assert not any("secret" in error for error in await door.store.read(errors))


class Choosy:
    """A broker that takes everything but what is about one customer; `dies`: its connection breaks at that."""

    def __init__(self, *, dies: bool) -> None:
        self.dies = dies
        self.taken: list[dict[str, Any]] = []
        self.refused = 0
        self.started = 0

    async def start(self) -> None:
        self.started += 1

    async def stop(self) -> None: ...

    async def ping(self, *_: object) -> bool:
        return not self.dies

    async def publish(self, body: bytes, **how: Any) -> None:
        said = json.loads(body)
        if said["object"] == "customer:1" and said["data"]["city"] == "":
            self.refused += 1
            raise ValueError("message too large")
        self.taken.append(said)


@pytest.mark.parametrize("dies", [False, True])
async def test_an_event_that_a_broker_never_takes_goes_to_the_shelf_and_the_rest_goes_on(
    tmp_path: Path, dies: bool
) -> None:
    async with deciding(tmp_path) as door:
        choosy = Choosy(dies=dies)
        settings = EventsSettings(url="redis://b.example", first_retry_s=0.01)
        relay = EventRelay(settings, lambda url: choosy)
        teller = Webhooks(door.store, (), lambda: datetime.now(UTC), outlets=[relay])
        await teller.install()
        await door.store.write(lambda tx: contacts.create(tx, NOW, name="Large"))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(teller.run())
            number = 1
            async with asyncio.timeout(20):
                while not await door.store.read(webhooks.dead):
                    number += 1
                    await door.store.write(lambda tx, n=number: contacts.create(tx, NOW, name=f"C{n}"))
                    while len(choosy.taken) < number - 1:  # nobody waits for the one that is refused
                        await asyncio.sleep(0.005)
                await door.store.write(lambda tx: contacts.set_values(tx, NOW, 1, city="Leeds"))
                while (await door.store.read(webhooks.counts))["pending"]:
                    await asyncio.sleep(0.01)
            running.cancel()
        assert [one["object"] for one in choosy.taken] == [
            *(f"customer:{n}" for n in range(2, number + 1)),
            "customer:1",
        ]
        (shelved,) = await door.store.read(webhooks.dead)
        assert (shelved.type, shelved.lane) == ("customer.created", "customer:1")
        assert shelved.attempts == choosy.refused > STRIKES
        assert "message too large" in shelved.error
        assert dies or choosy.started <= 2  # the others keep their connection


async def test_while_a_broker_takes_nothing_nothing_goes_to_the_shelf(tmp_path: Path) -> None:
    class Full(Choosy):
        async def publish(self, body: bytes, **how: Any) -> None:
            self.refused += 1
            raise ValueError("no queue of that name")

    async with deciding(tmp_path) as door:
        full = Full(dies=False)
        relay = EventRelay(EventsSettings(url="redis://b.example", first_retry_s=0.001), lambda url: full)
        teller = Webhooks(door.store, (), lambda: datetime.now(UTC), outlets=[relay])
        await teller.install()
        for number in range(4):
            await door.store.write(lambda tx, n=number: contacts.create(tx, NOW, name=f"C{n}"))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(teller.run())
            async with asyncio.timeout(20):
                while full.refused < 6 * STRIKES:
                    await asyncio.sleep(0.005)
            running.cancel()
        assert await door.store.read(webhooks.dead) == []
        assert (await door.store.read(webhooks.counts))["pending"] == 4
        assert full.started > 1  # a connection on which everything is refused is not kept for ever


async def test_kafka_keeps_an_objects_events_in_one_partition() -> None:
    said: list[Any] = []

    class Kafka(Flaky):
        async def publish(self, body: bytes, topic: str, **how: Any) -> None:  # type: ignore[override]
            said.append((topic, body, how["key"]))

    relay = EventRelay(EventsSettings(url=URLS["kafka"]), lambda url: Kafka())
    await relay.send(Leaving(1, "k", ADDRESS, "customer:1", "customer.created", 1, NOW, 1, 1), b"{}")
    assert said == [(TOPIC, b"{}", b"customer:1")]


class Later:
    """A clock that is always past the next try."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Any:
        self.now += timedelta(hours=1)
        return self.now


@pytest.mark.parametrize("written", ["secret", "secre%74"])
async def test_what_a_broker_says_is_told_without_the_password(written: str) -> None:
    flaky = Flaky()
    flaky.calls = 4
    relay = EventRelay(EventsSettings(url=f"redis://u:{written}@b.example"), lambda url: flaky)
    with pytest.raises(Refused) as caught:
        await relay.send(Leaving(1, "k", ADDRESS, "customer:1", "customer.created", 1, NOW, 1, 1), b"{}")
    assert "secret" not in caught.value.reason
    assert caught.value.away


@pytest.mark.parametrize(("kind", "url"), sorted(URLS.items()))
def test_the_broker_is_known_by_its_url(kind: str, url: str) -> None:
    assert kind_of(url) == kind
    assert parse(f'[events]\nurl = "{url}"').events.topic == TOPIC


def test_another_url_is_refused() -> None:
    with pytest.raises(ConfigError):
        kind_of("http://broker.example")


def test_nothing_of_it_is_loaded_without_a_broker() -> None:
    code = (
        "import sys, bot.webhooks; sys.exit('faststream' in sys.modules or 'bot.event_relay' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_broker_that_is_not_there_is_said_in_words() -> None:
    flaky = Flaky()
    relay = EventRelay(EventsSettings(url="redis://u:secret@b.example"), lambda url: flaky)
    assert await relay.reach() == ""
    flaky.calls = 4
    assert "ConnectionRefusedError" in await relay.reach()
    assert flaky.stopped == 2
