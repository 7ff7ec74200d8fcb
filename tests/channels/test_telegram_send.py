"""Telegram, sending: what arrives, and what each failure is taken for."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from channels.base import FetchFailed, RetryLater, Undeliverable
from channels.conversation import Attachment, Op
from channels.rich import Button, Buttons, Fields, File, Form, Heading, Image, Input, Reply, Table, Text
from channels.telegram.api import Refused, TooMany, judge
from channels.telegram.channel import TelegramChannel
from tests.channels.telegram_kit import channel_for, outbound
from tests.fakes.telegram import FakeTelegram, SentMessage

FORUM = -1001234567890


def png(side: int = 8) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress((b"\0" + b"\x7f" * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@contextlib.asynccontextmanager
async def chat(**table: Any) -> AsyncIterator[tuple[FakeTelegram, TelegramChannel]]:
    """A fake with person 7, a forum, and a channel that talks to it."""
    async with FakeTelegram() as tg:
        tg.user_says(7, "hello")
        tg.add_group(FORUM, "Staff", forum=True)
        channel = channel_for(tg, **table)
        try:
            yield tg, channel
        finally:
            await channel.close()
        assert not [m for m in tg.messages if m.text_mode], "parse_mode was used"


def styled(message: SentMessage) -> dict[str, list[str]]:
    """The texts under each kind of entity, cut out as Telegram would."""
    units = message.text.encode("utf-16-le")
    out: dict[str, list[str]] = {}
    for e in message.entities:
        part = units[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le")
        out.setdefault(e["type"], []).append(part)
    return out


async def test_blocks_become_text_with_entities() -> None:
    async with chat() as (tg, channel):
        sent = await channel.send(
            outbound(
                "7",
                Reply.of(
                    Heading("😀 Your *order*"),
                    Fields((("Total", "3 < 5"), ("Name", "<b>Łucja</b>"))),
                    Text("as you wrote", quote=True),
                    Text("thanks", small=True),
                    Table(("A", "B"), (("张三", "1"), ("x", "22"))),
                    Buttons(
                        (Button("Yes", "ok:1"), Button("No", "no:1"), Button("Page", url="https://a.example"))
                    ),
                ),
                in_reply_to_id="7:11",
            )
        )
        message = tg.sent(7)[0]
        assert sent.event_id == message.id
        assert sent.event_ids == (message.id,)
        assert "Total: 3 < 5\nName: <b>Łucja</b>" in message.text
        assert styled(message) == {
            "bold": ["😀 Your *order*", "Total:", "Name:"],
            "blockquote": ["as you wrote"],
            "italic": ["thanks"],
            "pre": ["A     B\n张三  1\nx     22"],
        }
        assert message.buttons == ["Yes", "No", "Page"]
        assert message.reply_to == 11


async def test_a_long_text_becomes_several_messages_with_the_buttons_under_the_last() -> None:
    async with chat() as (tg, channel):
        paragraphs = [f"{n} " + "word " * 150 for n in range(20)]
        sent = await channel.send(
            outbound("7", Reply.of("\n\n".join(paragraphs), Buttons((Button("Ok", "ok"),))))
        )
        messages = tg.sent(7)
        assert [m.id for m in messages] == list(sent.event_ids)
        assert len(messages) > 3
        assert [m.buttons for m in messages] == [[]] * (len(messages) - 1) + [["Ok"]]
        assert all(m.text.split()[0].isdigit() for m in messages), "cut elsewhere than at a paragraph"
        assert " ".join(m.text for m in messages).split() == " ".join(paragraphs).split()


async def test_a_picture_takes_a_short_text_as_its_caption() -> None:
    async with chat() as (tg, channel):
        chart = Image("Sales by week", png())
        await channel.send(outbound("7", Reply.of("This week", chart, Buttons((Button("More", "more"),)))))
        await channel.send(outbound("7", Reply.of("x" * 1025, chart)))
        caption, text, picture = tg.sent(7)
        assert (caption.kind, caption.text, caption.buttons) == ("photo", "This week", ["More"])
        assert (text.kind, picture.kind, picture.text) == ("text", "photo", "Sales by week")
        assert picture.file == chart.content


async def test_files_go_by_their_kind_and_together_as_an_album() -> None:
    async with chat() as (tg, channel):
        files = (
            File("a.png", "image/png", png(), kind="photo"),
            File("b.png", "image/png", png(9), kind="photo"),
            File("v.ogg", "audio/ogg", b"OggS", kind="voice"),
            File("../e\nvil.pdf", "application/pdf", b"%PDF"),
            File("notes.txt", "text/plain", b"hi"),
            File("lost.txt", "text/plain", b""),
        )
        await channel.send(outbound("7", Reply.of("Here they are", *files)))
        assert [m.kind for m in tg.sent(7)] == ["text", "photo", "photo", "voice", "document", "document"]
        assert tg.sent(7)[1].album == tg.sent(7)[2].album != ""
        assert tg.sent(7)[0].text == "Here they are\n\n[lost.txt]"
        assert "/" not in tg.sent(7)[4].filename


async def test_what_is_no_picture_to_telegram_goes_as_a_document() -> None:
    async with chat() as (tg, channel):
        await channel.send(
            outbound("7", Reply.of("look", File("x.png", "image/png", b"broken", kind="photo")))
        )
        assert [(m.kind, m.text) for m in tg.sent(7)] == [("document", "look")]


async def test_a_file_of_ours_goes_out_again_by_its_id() -> None:
    async with chat() as (tg, channel):
        ref = tg.keep(b"content")["file_id"]
        await channel.send(outbound("7", File("a.pdf", "application/pdf", ref=ref, source="tg")))
        assert tg.sent(7)[0].file == b"content"


async def test_a_ticket_opens_a_topic_and_stays_in_it() -> None:
    async with chat() as (tg, channel):
        card = outbound(str(FORUM), "New ticket", opens_thread=True, subject="#12 Zhang San: " + "x" * 200)
        sent = await channel.send(card)
        thread = int(sent.address.thread_id)
        assert tg.topics[FORUM, thread].startswith("#12 Zhang San: xx")
        await channel.send(outbound(str(FORUM), "more", thread=sent.address.thread_id))
        assert tg.texts(FORUM, thread) == ["New ticket", "more"]


async def test_a_topic_is_not_opened_twice_when_the_card_must_be_repeated() -> None:
    async with chat() as (tg, channel):
        tg.fail("sendMessage", "5xx")
        card = outbound(str(FORUM), "New ticket", opens_thread=True, subject="#12")
        with pytest.raises(RetryLater):
            await channel.send(card)
        await channel.send(card)
        assert list(tg.topics.values()) == ["#12"]


async def test_a_group_without_topics_says_why_no_ticket_can_be_opened_there() -> None:
    async with chat() as (tg, channel):
        tg.add_group(-1005)
        with pytest.raises(Undeliverable, match="not a forum"):
            await channel.send(outbound("-1005", "New ticket", opens_thread=True, subject="#12"))


async def test_a_message_can_be_edited_and_taken_back() -> None:
    async with chat() as (tg, channel):
        sent = await channel.send(outbound("7", Reply.of("one", Buttons((Button("Ok", "ok"),)))))
        target = sent.event_id
        edit = outbound("7", "two", op=Op.EDIT, target_id=target)
        await channel.send(edit)
        assert (tg.sent(7)[0].text, tg.sent(7)[0].buttons) == ("two", [])
        await channel.send(edit)  # "message is not modified" is as wished
        delete = outbound("7", Reply(), op=Op.DELETE, target_id=target)
        await channel.send(delete)
        assert tg.sent(7) == []
        await channel.send(delete)  # gone is gone
        with pytest.raises(Undeliverable, match="not found"):
            await channel.send(edit)


async def test_an_edit_of_a_caption_and_an_edit_that_grew() -> None:
    async with chat() as (tg, channel):
        sent = await channel.send(outbound("7", Reply.of("one", Image("chart", png()))))
        await channel.send(outbound("7", "two", op=Op.EDIT, target_id=sent.event_id))
        assert tg.sent(7)[0].text == "two"
        sent = await channel.send(outbound("7", "short"))
        grown = await channel.send(outbound("7", "word " * 1500, op=Op.EDIT, target_id=sent.event_id))
        assert len(grown.event_ids) == 2
        assert sum(len(m.text.split()) for m in tg.sent(7)[1:]) == 1500


async def test_marks_show_on_the_agents_message_and_never_fail_it() -> None:
    async with chat() as (tg, channel):
        said = tg.user_says(9, "answer", chat_id=FORUM)
        target = f"{FORUM}:{said['message_id']}"
        for mark in ("held", "sent", "failed", "unknown", "withdrawn"):
            await channel.send(outbound(str(FORUM), Reply(), op=Op.MARK, target_id=target, mark=mark))
            assert len(tg.reactions[FORUM, said["message_id"]]) == 1
        gone = outbound(str(FORUM), Reply(), op=Op.MARK, target_id=f"{FORUM}:999", mark="sent")
        await channel.send(gone)


async def test_a_form_degrades_to_a_question_that_asks_for_a_reply() -> None:
    async with chat() as (tg, channel):
        form = Form("Reply", "reply:12", "Send", (Input("text", "Your answer"),), intro="To: Zhang San")
        await channel.send(outbound("7", form, op=Op.FORM))
        assert tg.sent(7)[0].text == "Reply\n\nTo: Zhang San\n\nYour answer"
        assert tg.sent(7)[0].markup == {"force_reply": True}


async def test_what_is_for_one_person_goes_to_their_private_chat() -> None:
    async with chat() as (tg, channel):
        sent = await channel.send(outbound(str(FORUM), "secret", thread="5", private_to="7"))
        assert tg.texts(7) == ["secret"]
        assert tg.texts(FORUM) == []
        assert (sent.address.room_id, sent.address.thread_id) == ("7", "")
        tg.blocks(7)
        with pytest.raises(Undeliverable) as blocked:
            await channel.send(outbound(str(FORUM), "secret", private_to="7"))
        assert not blocked.value.gone, "the group is still there"


@pytest.mark.parametrize(
    ("fault", "after_s", "maybe_sent"),
    [
        ("429", 3.0, False),
        ("5xx", None, False),
        ("502", None, False),
        ("html", None, False),
        ("html200", None, True),
        ("reset_before", None, True),  # seen from here it cannot be told from the next
        ("reset_after", None, True),
        ("hang", None, True),
        ("401", 60.0, False),
        ("409", 60.0, False),
    ],
)
async def test_faults_that_pass(fault: str, after_s: float | None, maybe_sent: bool) -> None:
    async with chat(request_timeout_s=0.3) as (tg, channel):
        tg.fail("sendMessage", fault, retry_after=3)
        with pytest.raises(RetryLater) as caught:
            await channel.send(outbound("7", "hello"))
        assert (caught.value.after_s, caught.value.maybe_sent) == (after_s, maybe_sent)
        assert len(tg.sent(7)) == (1 if fault == "reset_after" else 0)


async def test_nobody_there_is_known_not_to_have_sent() -> None:
    async with chat() as (_, _), FakeTelegram() as gone:
        channel = channel_for(gone)
        await gone.__aexit__()
        with pytest.raises(RetryLater) as caught:
            await channel.send(outbound("7", "hello"))
        assert not caught.value.maybe_sent
        await channel.close()


async def test_nothing_is_sent_before_retry_after_is_over() -> None:
    async with chat() as (tg, channel):
        tg.user_says(8, "hello")
        tg.fail("sendMessage", "429", chat_id=7, retry_after=2)
        with pytest.raises(RetryLater):
            await channel.send(outbound("7", "one"))
        with pytest.raises(RetryLater) as caught:
            await channel.send(outbound("7", "two"))
        assert 1 < (caught.value.after_s or 0) <= 2
        await channel.send(outbound("8", "another chat is not concerned"))
        assert tg.violations == []
        assert len(tg.called("sendMessage")) == 2


async def test_failures_that_stay() -> None:
    async with chat() as (tg, channel):
        with pytest.raises(Undeliverable, match="chat not found") as unknown:
            await channel.send(outbound("404", "hello"))
        assert not unknown.value.gone
        tg.blocks(7)
        with pytest.raises(Undeliverable, match="blocked") as blocked:
            await channel.send(outbound("7", "hello"))
        assert blocked.value.gone
        tg.add_group(-55)
        tg.migrates(-55, -1005555555555)
        with pytest.raises(Undeliverable) as moved:
            await channel.send(outbound("-55", "hello"))
        assert moved.value.moved_to == "-1005555555555"
        with pytest.raises(Undeliverable, match="thread not found"):
            await channel.send(outbound(str(FORUM), "hello", thread="99"))
        for target in ("", "x", "7:", "7:x"):
            with pytest.raises(Undeliverable):
                await channel.send(outbound("7", "x", op=Op.EDIT, target_id=target))
        with pytest.raises(Undeliverable, match="empty"):
            await channel.send(outbound("7", Reply.of(" \n ")))


async def test_a_message_of_several_parts_goes_on_where_it_stopped() -> None:
    async with chat() as (tg, channel):
        long = outbound("7", Reply.of(*(f"{n} " + "word " * 700 for n in range(3))))
        assert len(tg.sent(7)) == 0
        tg.fail("sendMessage", "slow", seconds=0.0)
        tg.fail("sendMessage", "5xx")
        with pytest.raises(RetryLater) as caught:
            await channel.send(long)
        assert caught.value.maybe_sent
        sent = await channel.send(long)
        assert [m.text[0] for m in tg.sent(7)] == ["0", "1", "2"]
        assert len(sent.event_ids) == 3


async def test_a_later_part_waits_for_a_short_retry_after() -> None:
    async with chat() as (tg, channel):
        tg.fail("sendMessage", "slow", seconds=0.0)
        fault = tg.fail("sendMessage", "429", retry_after=1)
        channel._sender._sleep = asyncio.sleep
        await channel.send(outbound("7", Reply.of("a" * 4000, "b" * 4000)))
        assert fault.times == 0
        assert [m.text[0] for m in tg.sent(7)] == ["a", "b"]
        assert tg.violations == []


async def test_entities_that_are_refused_do_not_cost_the_message() -> None:
    async with chat() as (tg, channel):
        tg.fail("sendMessage", "400:can't parse entities: whatever")
        await channel.send(outbound("7", Heading("hello")))
        assert [(m.text, m.entities) for m in tg.sent(7)] == [("hello", [])]


async def test_a_closed_topic_is_opened_again() -> None:
    async with chat() as (tg, channel):
        tg.topics[FORUM, 5] = "x"
        tg.closed_topics.add((FORUM, 5))
        tg.fail("sendMessage", "400:TOPIC_CLOSED")
        await channel.send(outbound(str(FORUM), "hello", thread="5"))
        assert tg.called("reopenForumTopic")
        assert tg.texts(FORUM, 5) == ["hello"]


async def test_buttons_telegram_would_refuse_become_text() -> None:
    async with chat() as (tg, channel):
        buttons = Buttons(
            (Button("Too long", "x" * 65), Button("Local", url="http://localhost:1/"), Button("Ok", "ok"))
        )
        await channel.send(outbound("7", Reply.of("choose", buttons)))
        await channel.send(outbound("7", Reply.of(Buttons((Button("Only", "ok"),)))))
        first, second = tg.sent(7)
        assert first.buttons == ["Ok"]
        assert first.text == "choose\n\nToo long\n\nLocal: http://localhost:1/"
        assert (second.text, second.buttons) == ("👇", ["Only"])


async def test_files_are_fetched_whole_or_not_at_all() -> None:
    async with chat() as (tg, channel):
        content = bytes(range(256)) * 100
        ref = tg.keep(content)["file_id"]
        assert await channel.fetch(Attachment("a.bin", ref=ref)) == content
        for fault in ("html", "html200", "5xx"):
            tg.fail("download", fault)
            with pytest.raises(FetchFailed) as passing:
                await channel.fetch(Attachment("a.bin", ref=ref))
            assert not passing.value.final
        with pytest.raises(FetchFailed) as unknown:
            await channel.fetch(Attachment("a.bin", ref="nope"))
        assert unknown.value.final
        with pytest.raises(FetchFailed) as large:
            await channel.fetch(Attachment("a.bin", size=21 << 20, ref=ref))
        assert large.value.final


async def test_a_profile_is_looked_up() -> None:
    async with chat() as (tg, channel):
        tg.chats[7] |= {"last_name": "Li", "username": "li"}
        found = await channel.profile("7")
        assert found is not None
        assert (found.name, found.handle) == ("User 7 Li", "@li")
        assert await channel.profile("404") is None
        assert await channel.profile(str(FORUM)) is None


async def test_an_answer_of_another_shape_is_still_a_message_sent() -> None:
    async with chat() as (tg, channel):

        async def terse(params: dict[str, Any], files: Any) -> Any:
            return {"message_id": 5, "chat": {"id": 7}}

        tg._sendMessage = terse  # type: ignore[method-assign]
        assert (await channel.send(outbound("7", "hello"))).event_id == "7:5"


@pytest.mark.parametrize(
    ("status", "raw", "what", "maybe_sent"),
    [
        (429, b"<html>slow down</html>", TooMany, False),
        (429, b'{"ok": false, "parameters": {"retry_after": "soon"}}', TooMany, False),
        (200, b'{"ok": false, "error_code": 429}', TooMany, False),
        (200, b'{"ok": false}', RetryLater, False),
        (200, b"[" * 100_000, RetryLater, True),
        (504, b"", RetryLater, True),
        (503, b"", RetryLater, False),
        (403, b'{"ok": false, "parameters": 3}', Refused, False),
    ],
)
def test_odd_answers_are_judged_and_never_a_crash(
    status: int, raw: bytes, what: type[Exception], maybe_sent: bool
) -> None:
    with pytest.raises(what) as caught:
        judge(status, raw)
    assert getattr(caught.value, "maybe_sent", False) == maybe_sent


async def test_under_faults_all_arrive_in_order_and_only_unknown_outcomes_are_repeated() -> None:
    faults = ("5xx", "reset_before", "429", "html", "reset_after", "hang", "502", "html200")
    async with chat(request_timeout_s=0.3) as (tg, channel):
        chats = range(21, 29)
        unknown: dict[str, int] = {}
        for person in chats:
            tg.user_says(person, "hello")
            for n in range(3):
                tg.fail("sendMessage", "slow", chat_id=person, seconds=0.0)
                tg.fail("sendMessage", faults[(person + 3 * n) % 8], chat_id=person, retry_after=1)

        async def deliver(person: int) -> None:
            for number in range(6):
                message = outbound(str(person), f"{number}")
                while True:
                    try:
                        await channel.send(message)
                        break
                    except RetryLater as later:
                        name = f"{person} {number}"
                        unknown[name] = unknown.get(name, 0) + later.maybe_sent
                        await asyncio.sleep(later.after_s or 0.01)

        async with asyncio.TaskGroup() as tasks:
            for person in chats:
                tasks.create_task(deliver(person))
        for person in chats:
            texts = tg.texts(person)
            assert texts == sorted(texts)
            assert set(texts) == {str(n) for n in range(6)}
            for text in set(texts):
                assert texts.count(text) <= 1 + unknown.get(f"{person} {text}", 0)
        assert tg.violations == []
