"""Slack, outwards: what is posted is what was meant, once, within the limits, with nobody's markup acting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.base import FetchFailed, RetryLater, Setup, Undeliverable
from channels.conversation import Address, Attachment, Op, Outbound
from channels.rich import Button, Buttons, Fields, File, Form, Heading, Image, Input, Reply, Table, Text
from channels.slack import api, render
from channels.slack.adapter import Slack
from channels.slack.manifest import SCOPES
from tests.fakes import slack_rules
from tests.fakes.slack import FakeSlack

HOSTILE = "<!channel> <@U0ANNA> *bold* `code` <https://evil.example|bank> & :smile:"


class NoLimit:
    def reserve(self, room: str) -> float:
        del room
        return 0.0


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack(mode="http") as far:
        far.scopes = set(SCOPES)
        far.retry_after_s = ()  # nobody listens
        far.add_user("U0ANNA", "anna", email="Anna@example.com", locale="de-DE")
        yield far


@pytest.fixture
async def channel(slack: FakeSlack) -> AsyncIterator[Slack]:
    made = Slack(Setup("slack", slack.settings(), b"s"), limiter=NoLimit())
    yield made
    await made.close()


def to(slack: FakeSlack, *parts: Any, thread: str = "", key: str = "1", **more: Any) -> Outbound:
    room = more.pop("room", slack.staff_channel)
    return Outbound(Address("slack", room, thread), Reply.of(*parts), key, **more)


async def test_a_card_opens_a_thread_and_replies_go_into_it(slack: FakeSlack, channel: Slack) -> None:
    card = to(
        slack,
        Heading("#12 Anna"),
        Fields((("Channel", "e-mail"), ("Status", "new"))),
        Buttons((Button("Take", "take:12", style="primary"), Button("Page", url="https://example.com/"))),
        opens_thread=True,
    )
    sent = await channel.send(card)
    ts = sent.address.thread_id
    assert sent.event_id == f"{slack.staff_channel}:{ts}"
    await channel.send(to(slack, "first words", thread=ts, key="2"))
    (top,) = slack.messages(slack.staff_channel)
    (reply,) = slack.messages(slack.staff_channel, thread_ts=ts)
    assert top["ts"] == ts
    assert slack.buttons(top) == ["Take", "Page"]
    assert "first words" in slack.text(reply)
    assert reply["unfurls"] == [False, False]


async def test_words_of_a_customer_never_act(slack: FakeSlack, channel: Slack) -> None:
    parts = (Heading(HOSTILE), Text(HOSTILE), Text(HOSTILE, quote=True), Text(HOSTILE, small=True))
    fields = Fields(((HOSTILE, HOSTILE),))
    table = Table((HOSTILE,), ((HOSTILE,),))
    await channel.send(to(slack, *parts, fields, table, Buttons((Button(HOSTILE, "x"),))))
    (message,) = slack.messages(slack.staff_channel)
    assert slack.rings == []
    assert "<!channel>" not in message["text"]
    assert "mrkdwn" not in {t["type"] for t in texts(message["blocks"])}
    assert slack.text(message).count(HOSTILE) == 9


def texts(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        own = [node] if node.get("type") in ("mrkdwn", "plain_text") else []
        return own + [t for v in node.values() for t in texts(v)]
    return [t for n in node for t in texts(n)] if isinstance(node, list) else []


URLS = st.sampled_from(("", "https://a.example/x", "javascript:x"))
WORDS = st.text(max_size=40) | st.integers(70, 500).map("long <b> & ".__mul__)
BLOCK = st.one_of(
    st.builds(Text, WORDS, st.booleans(), st.booleans()),
    st.builds(Heading, WORDS),
    st.builds(Fields, st.lists(st.tuples(WORDS, WORDS), max_size=12).map(tuple)),
    st.builds(
        Table,
        st.lists(WORDS, max_size=3).map(tuple),
        st.lists(st.lists(WORDS, max_size=3).map(tuple), max_size=30).map(tuple),
    ),
    st.builds(
        Buttons,
        st.lists(
            st.builds(Button, WORDS, WORDS, URLS, WORDS),
            max_size=30,
        ).map(tuple),
    ),
    st.builds(Image, WORDS, st.binary(max_size=4)),
    st.builds(File, WORDS, content=st.binary(max_size=4)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(BLOCK, max_size=60).map(tuple))
def test_any_reply_stays_within_the_limits(blocks: tuple[Any, ...]) -> None:
    rendered = render.message(Reply(blocks))
    slack_rules.check_blocks(rendered.blocks)
    assert len(rendered.text) < 4000
    slack_rules.check_blocks(render.plainly(Reply(blocks)).blocks)
    home = render.home(Reply(blocks))
    slack_rules.check_view(home)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.builds(
        Form,
        WORDS,
        st.text("abc:", max_size=60),
        WORDS,
        st.lists(
            st.builds(
                Input,
                st.sampled_from(("a", "b", "")),
                WORDS,
                WORDS,
                st.booleans(),
                st.booleans(),
                st.lists(st.tuples(st.text("xy", min_size=1, max_size=200), WORDS), max_size=120).map(tuple),
            ),
            max_size=8,
        ).map(tuple),
        WORDS,
    )
)
def test_any_form_stays_within_the_limits(form: Form) -> None:
    slack_rules.check_view(render.view(form, Address("slack", "C0STAFF", "1.2")))


async def test_a_long_text_is_one_post_and_a_file_with_the_whole(slack: FakeSlack, channel: Slack) -> None:
    whole = "a line of a long mail\n" * 1000
    sent = await channel.send(to(slack, Heading("Mail"), Text(whole, quote=True), opens_thread=True))
    (top,) = slack.messages(slack.staff_channel)
    (file,) = slack.messages(slack.staff_channel, thread_ts=sent.address.thread_id)
    assert len(slack.text(top)) < 2600
    assert slack.contents(file) == [whole.encode()]


async def test_files_and_pictures_are_uploaded_into_the_thread(slack: FakeSlack, channel: Slack) -> None:
    card = await channel.send(to(slack, "card", opens_thread=True))
    picture, file = Image("a chart", b"PNG"), File("a.pdf", "application/pdf", b"PDF")
    sent = await channel.send(to(slack, "see", picture, file, thread=card.address.thread_id, key="2"))
    replies = slack.messages(slack.staff_channel, thread_ts=card.address.thread_id)
    assert [[f["title"] for f in m.get("files", ())] for m in replies] == [[], ["a chart", "a.pdf"]]
    assert len(sent.event_ids) == 3
    assert len(set(sent.event_ids)) == 3
    await channel.send(to(slack, op=Op.DELETE, target_id=sent.event_ids[1]))
    replies = slack.messages(slack.staff_channel, thread_ts=card.address.thread_id)
    assert [[f["title"] for f in m.get("files", ())] for m in replies] == [[], ["a.pdf"]]


async def test_a_repeat_finds_the_first_post(slack: FakeSlack, channel: Slack) -> None:
    card = await channel.send(to(slack, "card", opens_thread=True))
    slack.fault("chat.postMessage", "reset_after")
    thread = card.address.thread_id
    with pytest.raises(RetryLater) as caught:
        await channel.send(to(slack, "words", thread=thread, key="2"))
    assert caught.value.maybe_sent
    sent = await channel.send(to(slack, "words", thread=thread, key="2", attempt=2))
    (reply,) = slack.messages(slack.staff_channel, thread_ts=thread)
    assert sent.event_id == f"{slack.staff_channel}:{reply['ts']}"
    other = await channel.send(to(slack, "words", thread=thread, key="3", attempt=2))
    assert other.event_id != sent.event_id


async def test_a_repeated_card_finds_its_thread(slack: FakeSlack, channel: Slack) -> None:
    slack.fault("chat.postMessage", "reset_after")
    with pytest.raises(RetryLater):
        await channel.send(to(slack, "card", opens_thread=True))
    sent = await channel.send(to(slack, "card", opens_thread=True, attempt=2))
    (top,) = slack.messages(slack.staff_channel)
    assert sent.address.thread_id == top["ts"]


async def test_a_repeat_that_cannot_look_back_waits(slack: FakeSlack, channel: Slack) -> None:
    slack.fault("conversations.history", "500")
    with pytest.raises(RetryLater) as caught:
        await channel.send(to(slack, "card", attempt=2))
    assert caught.value.maybe_sent
    assert slack.messages(slack.staff_channel) == []


async def test_a_repeated_file_is_not_shared_twice(slack: FakeSlack, channel: Slack) -> None:
    card = await channel.send(to(slack, "card", opens_thread=True))
    thread = card.address.thread_id
    slack.fault("files.completeUploadExternal", "reset_after")
    files = (File("a.pdf", content=b"PDF"), File("b.pdf", content=b"PDF2"))
    with pytest.raises(RetryLater):
        await channel.send(to(slack, *files, thread=thread, key="2"))
    await channel.send(to(slack, *files, thread=thread, key="2", attempt=2))
    replies = slack.messages(slack.staff_channel, thread_ts=thread)
    assert [[f["name"] for f in m["files"]] for m in replies] == [["a.pdf", "b.pdf"]]


@pytest.mark.parametrize(
    ("kind", "unsure"),
    [("500", True), ("html", True), ("json", True), ("reset_before", True), ("ratelimited", False)],
)
async def test_a_fault_is_retried_later_and_only_by_the_caller(
    slack: FakeSlack, channel: Slack, kind: str, unsure: bool
) -> None:
    slack.fault("chat.postMessage", kind)
    with pytest.raises(RetryLater) as caught:
        await channel.send(to(slack, "words"))
    assert caught.value.maybe_sent is unsure
    assert len(slack.calls_of("chat.postMessage")) == 1


async def test_a_hang_ends_by_our_own_clock(
    slack: FakeSlack, channel: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel._api, "_timeout_s", 0.1)
    slack.fault("chat.postMessage", "hang")
    with pytest.raises(RetryLater) as caught:
        await channel.send(to(slack, "words"))
    assert caught.value.maybe_sent


async def test_nothing_is_sent_before_retry_after(slack: FakeSlack, channel: Slack) -> None:
    slack.fault("chat.postMessage", "ratelimited", after_s=30)
    for _ in range(2):
        with pytest.raises(RetryLater) as caught:
            await channel.send(to(slack, "words"))
        assert 25 < (caught.value.after_s or 0) <= 30
    assert len(slack.calls_of("chat.postMessage")) == 1
    await channel.send(to(slack, op=Op.DELETE, target_id=f"{slack.staff_channel}:1.1"))


async def test_posts_to_one_room_are_spaced() -> None:
    now = 100.0
    limiter = api.PostLimiter(per_s=1, burst=3, clock=lambda: now)
    assert [limiter.reserve("C1") for _ in range(5)] == [0, 0, 0, 1, 2]
    assert limiter.reserve("C2") == 0
    now += 10
    assert [limiter.reserve("C1") for _ in range(4)] == [0, 0, 0, 1]


async def test_what_can_never_be_delivered_says_what_to_do(slack: FakeSlack, channel: Slack) -> None:
    with pytest.raises(Undeliverable, match=r"channel_not_found - .*invite"):
        await channel.send(to(slack, "words", room="C0NOWHERE"))
    slack.rooms[slack.staff_channel].archived = True
    with pytest.raises(Undeliverable, match="is_archived"):
        await channel.send(to(slack, "words"))
    slack.scopes.discard("chat:write")
    with pytest.raises(Undeliverable, match=r"missing_scope \(chat:write\)"):
        await channel.send(to(slack, "words"))


async def test_a_token_that_is_refused_waits_for_a_person(slack: FakeSlack, channel: Slack) -> None:
    slack.token_valid = False
    with pytest.raises(RetryLater) as caught:
        await channel.send(to(slack, "words"))
    assert caught.value.after_s == 60
    assert not caught.value.maybe_sent


async def test_edit_and_delete_work_on_the_message(slack: FakeSlack, channel: Slack) -> None:
    sent = await channel.send(to(slack, "before"))
    await channel.send(to(slack, "after", op=Op.EDIT, target_id=sent.event_id))
    (message,) = slack.messages(slack.staff_channel)
    assert "after" in slack.text(message)
    for _ in range(2):  # the second finds nothing, which is what was wanted
        await channel.send(to(slack, op=Op.DELETE, target_id=sent.event_id))
        await slack.idle()
    assert slack.messages(slack.staff_channel) == []
    with pytest.raises(Undeliverable, match="message_not_found"):
        await channel.send(to(slack, "again", op=Op.EDIT, target_id=sent.event_id))


async def test_a_mark_replaces_the_one_before(slack: FakeSlack, channel: Slack) -> None:
    ts = await slack.says("U0ANNA", slack.staff_channel, "a reply", deliver=False)
    target = f"{slack.staff_channel}:{ts}"
    for mark in ("held", "sent", "sent"):
        await channel.send(to(slack, op=Op.MARK, target_id=target, mark=mark))
    assert slack.reactions(slack.staff_channel, ts) == ["white_check_mark"]
    fresh = Slack(Setup("slack", slack.settings(), b"s"), limiter=NoLimit())
    await fresh.send(to(slack, op=Op.MARK, target_id=target, mark="failed"))
    await fresh.close()
    assert slack.reactions(slack.staff_channel, ts) == ["x"]
    await channel.send(to(slack, op=Op.MARK, target_id=f"{slack.staff_channel}:1.000001", mark="sent"))


async def test_a_form_opens_for_its_trigger_once(slack: FakeSlack, channel: Slack) -> None:
    form = Form("Reply to Anna", "reply:12", "Send", (Input("text", "Words", "Hello", multiline=True),))
    trigger = slack.trigger()
    await channel.send(to(slack, form, thread="1.2", op=Op.FORM, trigger=trigger))
    (view,) = slack.views
    assert view["title"]["text"] == "Reply to Anna"
    with pytest.raises(Undeliverable, match="exchanged_trigger_id"):
        await channel.send(to(slack, form, op=Op.FORM, trigger=trigger))
    slack.trigger_s = -1
    with pytest.raises(Undeliverable, match="expired_trigger_id"):
        await channel.send(to(slack, form, op=Op.FORM, trigger=slack.trigger()))


async def test_what_is_private_is_ephemeral_else_direct(slack: FakeSlack, channel: Slack) -> None:
    await channel.send(to(slack, "for you", private_to="T0HOME:U0ANNA"))
    (only,) = slack.ephemerals
    assert only["user"] == "U0ANNA"
    slack.rooms[slack.staff_channel].member = False
    sent = await channel.send(to(slack, "for you", private_to="T0HOME:U0ANNA", key="2"))
    assert sent.address.room_id == slack.dm("U0ANNA")
    assert slack.messages(slack.staff_channel) == []
    slack.rooms[slack.staff_channel].member = True
    await channel.send(to(slack, Image("chart", b"PNG"), private_to="T0HOME:U0ANNA", key="3"))
    assert slack.messages(slack.staff_channel) == []
    assert len(slack.messages(slack.dm("U0ANNA"))) == 2


async def test_a_private_answer_to_home_is_a_direct_message(slack: FakeSlack, channel: Slack) -> None:
    await channel.send(to(slack, "done", room="home:U0ANNA", private_to="T0HOME:U0ANNA"))
    assert slack.homes == {}
    assert len(slack.messages(slack.dm("U0ANNA"))) == 1


async def test_a_card_whose_file_is_refused_still_has_its_thread(slack: FakeSlack, channel: Slack) -> None:
    slack.scopes.discard("files:write")
    sent = await channel.send(to(slack, "card", File("a.pdf", content=b"PDF"), opens_thread=True))
    assert sent.address.thread_id
    with pytest.raises(Undeliverable, match="files:write"):
        await channel.send(to(slack, "more", File("a.pdf", content=b"PDF"), key="2"))


async def test_a_page_is_told_from_a_sign_in_page(slack: FakeSlack, channel: Slack) -> None:
    meta = slack.store_file("a.html", "text/html", b"<p>mine</p>")
    page = Attachment("a.html", "text/html", size=11, ref=meta["url_private"])
    assert await channel.fetch(page) == b"<p>mine</p>"
    slack.files.clear()
    with pytest.raises(FetchFailed, match="sign-in"):
        await channel.fetch(page)


async def test_our_token_goes_to_slack_only(slack: FakeSlack, channel: Slack) -> None:
    async with FakeSlack() as stranger:
        stranger.bot_token = slack.bot_token
        meta = stranger.store_file("a.bin", "application/x-a", b"content")
        ref = meta["url_private"].replace("127.0.0.1", "localhost")
        with pytest.raises(FetchFailed, match="sign in"):
            await channel.fetch(Attachment("a.bin", ref=ref))


async def test_a_layout_that_slack_refuses_is_said_plainly(slack: FakeSlack, channel: Slack) -> None:
    slack.fault("chat.postMessage", "error", code="invalid_blocks")
    await channel.send(to(slack, Heading("Hi"), Text(HOSTILE), Buttons((Button("Take", "t"),))))
    (message,) = slack.messages(slack.staff_channel)
    assert HOSTILE in slack.text(message)
    assert slack.buttons(message) == ["Take"]
    assert slack.rings == []


@pytest.mark.parametrize(
    "text", ["https://", "http://...", "see https://a.example/x).", "https://a.b/\u3002\u4f60"]
)
async def test_addresses_show_themselves(slack: FakeSlack, channel: Slack, text: str) -> None:
    await channel.send(to(slack, text))
    (message,) = slack.messages(slack.staff_channel)
    assert slack.text(message) == text


async def test_a_person_is_written_to_directly(slack: FakeSlack, channel: Slack) -> None:
    sent = await channel.send(to(slack, "hello", room="U0ANNA"))
    assert sent.address == Address("slack", slack.dm("U0ANNA"))


async def test_home_is_published(slack: FakeSlack, channel: Slack) -> None:
    await channel.send(to(slack, Heading("Queue"), Buttons((Button("Take", "take:1"),)), room="home:U0ANNA"))
    assert slack.homes["U0ANNA"]["blocks"][0]["text"]["text"] == "Queue"


async def test_a_profile_vouches_only_for_our_own_people(slack: FakeSlack, channel: Slack) -> None:
    slack.add_user("U0GUEST", "guest", guest=True)
    slack.add_user("U0EXT", "eve", team="T0OTHER", email="eve@other.example")
    slack.add_user("U0NEW", "new", email="new@example.com", confirmed=False)
    anna = await channel.profile("T0HOME:U0ANNA")
    assert anna is not None
    assert (anna.verified_email, anna.language, anna.may_command) == ("anna@example.com", "de-DE", True)
    for user, email, commands in (
        ("T0HOME:U0GUEST", None, False),
        ("T0OTHER:U0EXT", None, False),
        ("T0HOME:U0NEW", None, True),
    ):
        found = await channel.profile(user)
        assert found is not None
        assert (found.verified_email, found.may_command) == (email, commands)
        assert found.user_id == user
    assert await channel.profile("T0HOME:U0NOBODY") is None
    before = len(slack.calls)
    await channel.profile("T0HOME:U0ANNA")
    assert len(slack.calls) == before


async def test_a_file_is_fetched_with_the_token_and_a_sign_in_page_is_no_file(
    slack: FakeSlack, channel: Slack
) -> None:
    meta = slack.store_file("a.bin", "application/x-a", b"content")
    assert await channel.fetch(Attachment("a.bin", ref=meta["url_private"])) == b"content"
    assert await channel.fetch(Attachment("a.bin", ref=f"id:{meta['id']}")) == b"content"
    for gone in (f"{slack.root}/files-pri/F0/a.bin", "id:F0", f"{slack.root}/signin", "http://127.0.0.1:1/x"):
        with pytest.raises(FetchFailed):
            await channel.fetch(Attachment("a.bin", ref=gone))
    slack.bot_token = "xoxb-another"
    with pytest.raises(FetchFailed, match="sign in"):
        await channel.fetch(Attachment("a.bin", ref=meta["url_private"]))


async def test_doctor_names_each_missing_scope_and_room(slack: FakeSlack, channel: Slack) -> None:
    assert {c.state for c in await channel.check()} == {"ok"}
    slack.scopes -= {"im:history", "files:write"}
    slack.rooms[slack.staff_channel].member = False
    failed = {c.what: c.fix for c in await channel.check() if c.state == "fail"}
    assert set(failed) == {"scope im:history", "scope files:write", "staff_channel"}
    assert "im:history" in failed["scope im:history"]
    socket = Slack(Setup("slack", slack.settings(app_token="xapp-wrong"), b"s"))
    failed = {c.what: c.detail for c in await socket.check() if c.state == "fail"}
    await socket.close()
    assert failed["app_token"] == "invalid_auth"
    slack.token_valid = False
    (only,) = await channel.check()
    assert (only.what, only.state) == ("bot_token", "fail")


async def test_posts_at_once_are_all_delivered(slack: FakeSlack, channel: Slack) -> None:
    await asyncio.gather(*(channel.send(to(slack, f"n{i}", key=str(i))) for i in range(20)))
    assert len(slack.messages(slack.staff_channel)) == 20
