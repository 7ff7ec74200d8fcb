"""Telegram, understanding: every payload in tests/fixtures/telegram, and rubbish."""

from __future__ import annotations

import copy
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.conversation import Inbound, Kind, Raw
from channels.telegram.decode import Me, decode, to_raw

FIXTURES = Path(__file__).parent.parent / "fixtures" / "telegram"
ME = Me("4242", "desk_bot")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
MAP = "https://www.openstreetmap.org/?mlat=52.52&mlon=13.4#map=17/52.52/13.4"

# name: what is said about each value; text is compared always, the other keys when given
EXPECTED: dict[str, list[dict[str, Any]]] = {
    "text": [{"text": "Where is my order #A-1001? 😀", "private": True, "addressed": True}],
    "text_links": [{"text": "see 😀 here (https://shop.example/a?b=1) and https://a.example/x now"}],
    "start": [{"kind": Kind.START, "text": ""}],
    "start_payload": [{"kind": Kind.START, "text": "T-12_abc"}],
    "command_private": [{"text": "/customer 张三"}],
    "command_group_ours": [{"text": "/stats week", "addressed": True, "private": False}],
    "command_group_bare": [{"text": "/help", "addressed": True}],
    "command_group_other": [],
    "command_forwarded": [
        {"text": "/erase 7", "may_command": False, "user_id": "7001", "full_text": "↪ Eve\n\n/erase 7"}
    ],
    "command_via_bot": [{"text": "/stats", "may_command": False}],
    "anonymous_admin": [
        {"text": "/stats", "may_command": False, "user_id": "-1001234567890", "is_bot": False}
    ],
    "group_unaddressed": [{"text": "nice weather", "addressed": False, "private": False}],
    "group_mention": [{"text": "hey @desk_bot, is it open?", "addressed": True}],
    "group_text_mention": [{"text": "ask Wei and Desk", "addressed": True, "mentions": ("7001", "4242")}],
    "group_reply_to_us": [
        {
            "text": "thanks",
            "addressed": True,
            "in_reply_to_id": "-1001234567890:55",
            "full_text": "> Open until six.\n> Come by!\n\nthanks",
        }
    ],
    "topic_message": [{"text": "sent it today", "thread": "31", "in_reply_to_id": "", "addressed": False}],
    "thread_of_replies_is_no_topic": [
        {"text": "me too", "thread": "", "in_reply_to_id": "-1001234567890:55"}
    ],
    "reply_with_quote": [
        {"text": "this one", "in_reply_to_id": "7001:90", "full_text": "> blue\n\nthis one"}
    ],
    "photo": [{"text": "broken handle", "files": [("photo", "photo_AQAD3.jpg", "image/jpeg", "AgAC3")]}],
    "album_item": [
        {"text": "", "album": "13789456123", "files": [("photo", "photo_AQAD5.jpg", "image/jpeg", "AgAC5")]}
    ],
    "document": [{"text": "", "files": [("file", "voice.pdf", "application/pdf", "BQAC1")]}],
    "document_bare": [
        {"text": "", "files": [("file", "file_AgAD2.bin", "application/octet-stream", "BQAC2")]}
    ],
    "video": [{"text": "", "files": [("video", "clip.mp4", "video/mp4", "BAAC1")]}],
    "video_note": [{"text": "", "files": [("video", "video_AgAF1.mp4", "video/mp4", "DQAC1")]}],
    "voice": [{"text": "", "files": [("voice", "voice_AgAG1.ogg", "audio/ogg", "AwAC1")]}],
    "audio": [{"text": "", "files": [("audio", "song.mp3", "audio/mpeg", "CQAC1")]}],
    "animation": [{"text": "", "files": [("animation", "cat.mp4", "video/mp4", "CgAC1")]}],
    "sticker": [
        {"text": "[sticker 😀]", "files": [("sticker", "sticker_AgAJ1.webp", "image/webp", "CAAC1")]}
    ],
    "sticker_animated": [
        {"text": "[sticker]", "files": [("sticker", "sticker_AgAJ2.tgs", "application/x-tgsticker", "CAAC2")]}
    ],
    "contact_own": [{"text": "👤 Wei Zhang +4915112345678", "verified_phone": "+4915112345678"}],
    "contact_own_forwarded": [{"text": "👤 Wei +4915112345678", "verified_phone": None}],
    "contact_other": [
        {
            "text": "👤 Eve +49301234",
            "verified_phone": None,
            "files": [("file", "contact.vcf", "text/vcard", "")],
        }
    ],
    "location": [{"text": f"📍 52.52,13.4 {MAP}"}],
    "venue": [{"text": f"Garden shop\nHauptstr. 1\n📍 52.52,13.4 {MAP}"}],
    "poll": [{"text": "📊 Which colour?\n◦ red\n◦ blue"}],
    "dice": [{"text": "🎯 5"}],
    "checklist": [{"text": "[checklist] To do\n☑ water\n☐ mow"}],
    "story": [{"text": "[story]"}],
    "content_of_the_future": [{"text": "[hologram]", "kind": Kind.MESSAGE}],
    "service_joined": [{"text": "", "kind": Kind.UNKNOWN}],
    "migrated_from_here": [{"text": "-1005005005005", "kind": Kind.MOVED, "room": "-5005"}],
    "migrated_to_here": [{"text": "-1005005005005", "kind": Kind.MOVED, "room": "-5005"}],
    "edit": [{"text": "Where is order A-1002?", "kind": Kind.EDIT, "may_command": False}],
    "edit_into_a_command": [{"text": "/stats@desk_bot", "kind": Kind.EDIT, "may_command": False}],
    "callback": [
        {
            "text": "",
            "kind": Kind.ACTION,
            "action": "help:yes:12",
            "target_id": "7001:77",
            "event_id": "cb:30071",
            "trigger": "30071",
            "private": True,
            "may_command": True,
        }
    ],
    "callback_in_topic": [{"text": "", "kind": Kind.ACTION, "thread": "31", "private": False}],
    "callback_of_a_message_too_old_to_see": [{"text": "", "kind": Kind.ACTION, "target_id": "7001:3"}],
    "callback_of_a_game": [{"text": "", "kind": Kind.UNKNOWN}],
    "reaction": [
        {"text": "", "kind": Kind.REACTION, "action": "-👍", "target_id": "7001:77"},
        {"text": "", "kind": Kind.REACTION, "action": "+❤", "target_id": "7001:77"},
        {"text": "", "kind": Kind.REACTION, "action": "+:5368:", "target_id": "7001:77"},
    ],
    "reaction_anonymous": [{"text": "", "kind": Kind.REACTION, "action": "+⭐", "may_command": False}],
    "blocked": [{"text": "", "kind": Kind.GONE, "private": True, "user_id": "7001"}],
    "unblocked": [{"text": "", "kind": Kind.BACK, "private": True}],
    "made_admin": [{"text": "", "kind": Kind.UNKNOWN}],
    "poll_answer": [{"text": "", "kind": Kind.UNKNOWN, "user_id": "7001"}],
    "update_of_the_future": [{"text": "", "kind": Kind.UNKNOWN, "user_id": "7001"}],
}


def load(name: str) -> dict[str, Any]:
    update: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return update


def raw(update: dict[str, Any], me: Me = ME) -> Raw:
    return to_raw("tg", update, me, NOW)


def look(inbound: Inbound, key: str) -> Any:
    match key:
        case "room":
            return inbound.address.room_id
        case "thread":
            return inbound.address.thread_id
        case "files":
            return [(a.kind, a.filename, a.content_type, a.ref) for a in inbound.attachments]
        case "user_id" | "may_command" | "verified_phone" | "is_bot":
            return getattr(inbound.author, key)
    return getattr(inbound, key)


def test_each_fixture_has_its_expectation() -> None:
    assert {p.stem for p in FIXTURES.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_payload_is_understood(name: str) -> None:
    found = decode(raw(load(name)))
    expected = EXPECTED[name]
    assert [{k: look(i, k) for k in want} for i, want in zip(found, expected, strict=True)] == expected
    assert len({i.event_id for i in found}) == len(found)


def test_who_and_when_and_where_are_told() -> None:
    update = load("text")
    [inbound] = decode(raw(update))
    message = update["message"]
    assert inbound.event_id == f"7001:{message['message_id']}"
    assert inbound.sent_at.timestamp() == message["date"]
    assert (inbound.address.channel, inbound.address.room_id) == ("tg", "7001")
    author = inbound.author
    assert (author.user_id, author.name, author.handle) == ("7001", "Wei Zhang", "@weizhang")
    assert (author.language, author.is_bot, author.may_command) == ("zh-hans", False, True)


def test_an_edit_names_the_message_and_each_edit_is_an_event_of_its_own() -> None:
    update = load("edit")
    [first] = decode(raw(update))
    [second] = decode(raw(update | {"update_id": update["update_id"] + 1}))
    assert first.target_id == second.target_id == f"7001:{update['edited_message']['message_id']}"
    assert len({first.event_id, second.event_id, first.target_id}) == 3
    assert first.sent_at.timestamp() == update["edited_message"]["edit_date"]


def test_updates_go_into_the_lane_of_their_chat_and_albums_wait() -> None:
    assert {n: raw(load(n)).lane for n in ("text", "callback", "reaction", "blocked")} == dict.fromkeys(
        ("text", "callback", "reaction", "blocked"), "7001"
    )
    assert raw(load("topic_message")).lane == "-1009876543210"
    assert raw(load("album_item")).wait_s == 1.0
    assert raw(load("photo")).wait_s == 0.0


def test_a_username_that_is_not_known_yet_can_come_from_the_settings() -> None:
    other = raw(load("command_group_ours"), Me("", ""))
    assert decode(other, username="desk_bot")[0].text == "/stats week"
    assert decode(raw(load("group_mention"), Me("", "")))[0].addressed is False


def test_groups_can_be_listened_to_as_a_whole() -> None:
    assert decode(raw(load("group_unaddressed")), all_addressed=True)[0].addressed


def test_what_no_database_takes_does_not_come_through() -> None:
    update = load("text")
    update["message"]["text"] = "a\x00b \ud83d!"
    update["message"]["from"]["first_name"] = "Wei\x00"
    [inbound] = decode(raw(update))
    assert inbound.text == "ab \ufffd!"
    assert "\x00" not in inbound.author.name


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"update": 3}', b'{"update": {"message": {}}}', b"[" * 9999],
)
def test_a_body_that_makes_no_sense_is_unknown_and_not_an_exception(body: bytes) -> None:
    [inbound] = decode(Raw("tg", "5", "7", body, NOW))
    assert (inbound.kind, inbound.event_id, inbound.address.room_id) == (Kind.UNKNOWN, "update:5", "7")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just([None, 3, "x"]),
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, v in items for p in ((*at, key), *paths(v, (*at, key)))]


@given(st.sampled_from(sorted(EXPECTED)), st.data())
def test_no_mutation_of_a_payload_raises(name: str, data: st.DataObject) -> None:
    update = copy.deepcopy(load(name))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([p for p in paths(update) if p != ("update_id",)] or [("x",)]))
        target: Any = update
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = copy.deepcopy(data.draw(JUNK))
    for inbound in decode(raw(update)):
        assert isinstance(inbound.text, str)
        assert isinstance(inbound.event_id, str)
        inbound.text.encode()


def test_decoding_is_quick() -> None:
    body = {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}, "from": {"id": 7}}
    text = secrets.token_hex(2048)
    links = [
        {"type": "text_link", "offset": n * 40, "length": 9, "url": "https://a.example"} for n in range(100)
    ]
    [inbound] = decode(raw({"update_id": 1, "message": body | {"text": text, "entities": links}}))
    assert inbound.text.count("(https://a.example)") == 100
