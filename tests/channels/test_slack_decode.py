"""Slack, decoding: every payload is a fixture, and rubbish becomes an unknown event, never an exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.conversation import Inbound, Kind, Raw
from channels.slack.decode import decode
from channels.slack.envelope import event_id, lane, wrap
from channels.slack.manifest import EVENTS, SCOPES, manifest
from channels.slack.text import escape, understand
from tests.fakes import slack_rules
from tests.fakes.slack_api import Api

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "slack").glob("*.json"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def raw_of(fixture: dict[str, Any]) -> Raw:
    us = {"bot_user_id": fixture["bot_user_id"], "team_id": fixture["team_id"]}
    return wrap("slack", fixture["type"], fixture["payload"], received_at=NOW, **us)


def facts(inbound: Inbound) -> dict[str, Any]:
    return {
        "kind": inbound.kind.value,
        "room": inbound.address.room_id,
        "thread": inbound.address.thread_id,
        "event_id": inbound.event_id,
        "dedupe": inbound.dedupe,
        "author": inbound.author.user_id,
        "name": inbound.author.name,
        "may_command": inbound.author.may_command,
        "text": inbound.text,
        "action": inbound.action,
        "values": dict(inbound.values),
        "target_id": inbound.target_id,
        "trigger": inbound.trigger,
        "private": inbound.private,
        "addressed": inbound.addressed,
        "mentions": list(inbound.mentions),
        "attachments": [[a.filename, a.kind, a.ref] for a in inbound.attachments],
    }


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_a_payload_says_what_the_fixture_expects(path: Path) -> None:
    fixture = json.loads(path.read_text())
    got = [facts(i) for i in decode(raw_of(fixture))]
    wanted = fixture["expect"]
    assert len(got) == len(wanted)
    for found, want in zip(got, wanted, strict=True):
        assert {k: found[k] for k in want} == want


def test_the_time_of_a_message_is_slacks() -> None:
    fixture = json.loads((FIXTURES[0].parent / "message_direct.json").read_text())
    (got,) = decode(raw_of(fixture))
    assert got.sent_at == datetime(2023, 11, 14, 22, 13, 20, 200, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("message_in_channel", "C0STAFF:1700000000.000200"),
        ("message_in_thread", "C0STAFF:1699999999.000100"),
        ("message_edited", "C0STAFF:1699999999.000100"),
        ("message_deleted", "C0STAFF:1699999999.000100"),
        ("message_direct", "D0ANNA"),
        ("app_mention", "C0STAFF:1700000000.000200"),
        ("reaction_added", "C0STAFF:1700000000.000200"),
        ("button_on_a_card", "C0STAFF:1700000000.000200"),
        ("button_in_a_thread", "C0STAFF:1699999999.000100"),
        ("form_submitted", "C0STAFF:1700000000.000200"),
        ("slash_command", "C0STAFF:U0ANNA"),
        ("history", "C0STAFF:1699999999.000100"),
    ],
)
def test_what_belongs_together_shares_a_lane(name: str, expected: str) -> None:
    fixture = json.loads((FIXTURES[0].parent / f"{name}.json").read_text())
    assert raw_of(fixture).lane == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(FIXTURES), st.data())
def test_a_payload_with_any_part_replaced_never_raises(path: Path, data: st.DataObject) -> None:
    fixture = json.loads(path.read_text())
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            spots.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(fixture["payload"])
    node, key = data.draw(st.sampled_from(spots))
    node[key] = data.draw(JSON)
    for inbound in decode(raw_of(fixture)):
        assert isinstance(inbound.text, str)
        assert isinstance(inbound.address.room_id, str)


@given(st.binary(max_size=60) | JSON.map(lambda v: json.dumps(v).encode()))
def test_a_body_of_rubbish_is_unknown(body: bytes) -> None:
    (got,) = decode(Raw("slack", "e", "l", body, NOW))
    assert got.kind is Kind.UNKNOWN


def test_interactions_are_unique_by_their_trigger() -> None:
    first = {"type": "block_actions", "trigger_id": "1.a", "actions": [{"action_ts": "1"}]}
    assert event_id("interactive", first) == event_id("interactive", dict(reversed(first.items())))
    assert event_id("interactive", first) != event_id("interactive", {**first, "trigger_id": "1.b"})
    assert lane("interactive", {}) == ""


@given(st.text())
def test_escaped_text_is_understood_as_it_was_written(text: str) -> None:
    assert understand(escape(text)).text == text
    assert not slack_rules.RINGING.search(escape(text))


def test_the_manifest_names_exactly_what_is_used() -> None:
    made = manifest({"en": {"help": "Show help", "customer": "Find a customer"}}, name="Wellheard")
    assert made["oauth_config"]["scopes"]["bot"] == sorted(SCOPES)
    assert made["settings"]["event_subscriptions"] == {"bot_events": sorted(EVENTS)}
    assert [c["command"] for c in made["features"]["slash_commands"]] == ["/customer", "/help"]
    assert made["settings"]["socket_mode_enabled"]
    used = {s for scopes in slack_rules.SCOPES.values() for s in scopes}
    assert used <= set(SCOPES)
    assert {m for m in slack_rules.SCOPES if not hasattr(Api, "_" + m.replace(".", "_"))} == set()


def test_the_manifest_over_http_names_its_address() -> None:
    made = manifest(
        {"zh": {"help": "帮助"}},
        socket_mode=False,
        public_url="https://desk.example/",
        shortcuts=[("ticket", "Open a ticket from this message", "Opens a ticket")],
    )
    address = "https://desk.example/slack/events"
    assert made["settings"]["interactivity"] == {"is_enabled": True, "request_url": address}
    assert made["features"]["slash_commands"][0]["url"] == address
    assert made["features"]["shortcuts"][0]["name"] == "Open a ticket from this "
    assert not made["settings"]["socket_mode_enabled"]
