"""Numbers for Prometheus: what waits, what is on the shelf, which channels are up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from bot.door import ChannelDoor
from crm_store import inbox, outbox, schema, webhooks
from crm_store.db import Store


async def render(store: Store, doors: Mapping[str, ChannelDoor]) -> bytes:
    """The text exposition of all gauges, read from the store at the moment of asking."""
    # 50 ms of import that only a scraped service pays
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    numbers = await store.read(_numbers)
    registry = CollectorRegistry()
    box = Gauge("wellheard_inbox_messages", "Raw messages by state", ["state"], registry=registry)
    for state, count in numbers["inbox"].items():
        box.labels(state).set(count)
    out = Gauge("wellheard_outbox_messages", "Outgoing messages by state", ["state"], registry=registry)
    for state, count in numbers["outbox"].items():
        out.labels(state).set(count)
    told = Gauge(
        "wellheard_webhook_events",
        "Events for webhooks and the broker by state",
        ["state"],
        registry=registry,
    )
    for state, count in numbers["webhooks"].items():
        told.labels(state).set(count)
    up = Gauge("wellheard_channel_up", "Whether a channel is up", ["channel"], registry=registry)
    for name, door in doors.items():
        up.labels(name).set(0 if door.problem else 1)
    unknown = Gauge(
        "wellheard_unknown_events", "Events of kinds we do not know", ["channel", "kind"], registry=registry
    )
    for channel, kind, count in numbers["unknown"]:
        unknown.labels(channel, kind).set(count)
    return generate_latest(registry)


def _numbers(tx: Connection) -> dict[str, Any]:
    table = schema.event_count
    return {
        "inbox": inbox.counts(tx),
        "outbox": outbox.counts(tx),
        "webhooks": webhooks.counts(tx),
        "unknown": [tuple(r) for r in tx.execute(select(table.c.channel, table.c.kind, table.c.count))],
    }
