"""An agent's words: what goes out, what stays inside, and what the hold allows."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.test_bad_input import PERSON, listening, mail, settled
from tests.e2e.test_story import wait
from tests.fakes.mail import send_mail
from tests.fakes.web import StaffBrowser, Visitor
from tests.world import ADDRESS, FORUM, World, running


async def in_slack(world: World, visitor: Visitor) -> str:
    """A ticket of a visitor, with Tom and Mei signed in to Slack. The thread's ts."""
    slack = world.slack
    assert slack
    for user, name in (("U0TOM", "Tom"), ("U0MEI", "Mei")):
        slack.add_user(user, name=name.lower())
        dm = slack.dm(user)
        await slack.says(user, dm, await world.code(name))
        await wait(
            lambda dm=dm, name=name: any(name in slack.text(m) for m in slack.messages(dm)[1:]), "signed in"
        )
    await visitor.says(PERSON)
    room = slack.staff_channel
    card = await wait(
        lambda: next((m for m in slack.messages(room) if "talk to a person" in slack.text(m)), None), "a card"
    )
    await settled(world)
    return str(card["ts"])


async def test_what_is_a_reply_and_what_stays_inside(tmp_path: Path) -> None:
    async with running(tmp_path, slack=True, articles=False) as world, Visitor(world.url) as visitor:
        slack = world.slack
        assert slack
        thread = await in_slack(world, visitor)
        inside = ["// ones", "note: twos", "NOTE：threes", "备注：fours", "note : fives"]
        inside.append(f"{slack.mention('U0MEI')} sixes, look?")
        for text in inside:
            await slack.says("U0TOM", slack.staff_channel, text, thread_ts=thread)
        await slack.says(
            "U0TOM", slack.staff_channel, "To you: https://a.example // and more", thread_ts=thread
        )
        await wait(lambda: "To you" in visitor.text, "the reply")
        found = await settled(world)
        assert "https://a.example // and more" in visitor.text
        assert not any(w in visitor.text for w in ("ones", "twos", "threes", "fours", "fives", "sixes"))
        kinds = [m["kind"] for m in found["tickets"][0]["messages"] if m["author"] == "Tom"]
        assert kinds == ["note"] * 6 + ["out"]


async def test_explicit_sends_only_what_says_so(tmp_path: Path) -> None:
    async with (
        running(tmp_path, slack=True, articles=False, reply_mode="explicit") as world,
        Visitor(world.url) as visitor,
    ):
        slack = world.slack
        assert slack
        thread = await in_slack(world, visitor)
        room = slack.staff_channel
        card = next(m for m in slack.messages(room) if m["ts"] == thread)
        assert "Only !reply" in slack.text(card)
        for text in ("inside talk", "// a note", "!reply out by command", "> out by quote", "and > inside"):
            await slack.says("U0TOM", room, text, thread_ts=thread)
        await slack.press("U0TOM", thread, "Reply")
        view = await wait(lambda: slack.views, "the form")
        assert "web" in slack.text(view[-1])
        await slack.submits("U0TOM", view[-1], {"Your reply": "out by form"})
        for words in ("out by command", "out by quote", "out by form"):
            await wait(lambda words=words: words in visitor.text, words)
        await settled(world)
        assert not any(w in visitor.text for w in ("inside", "a note", ">"))


async def test_the_hold_in_slack_changes_and_withdraws(tmp_path: Path) -> None:
    async with (
        running(tmp_path, slack=True, articles=False, hold_s=3.0) as world,
        Visitor(world.url) as visitor,
    ):
        slack = world.slack
        assert slack
        thread = await in_slack(world, visitor)
        room = slack.staff_channel
        first = await slack.says("U0TOM", room, "You owe us 1000", thread_ts=thread)
        second = await slack.says("U0TOM", room, "You are a fool", thread_ts=thread)
        third = await slack.says("U0TOM", room, "Secret thing", thread_ts=thread)
        await wait(lambda: slack.reactions(room, first), "held")
        await slack.edits("U0TOM", first, "You owe us 10")
        await slack.deletes("U0TOM", second)
        await slack.edits("U0TOM", third, "// secret thing")
        await wait(lambda: "You owe us 10" in visitor.text, "the changed reply")
        await settled(world)
        assert not any(w in visitor.text for w in ("1000", "fool", "ecret thing"))
        assert "Withdrawn" in "\n".join(slack.text(m) for m in slack.messages(room, thread))
        await slack.edits("U0TOM", first, "You owe us nothing")  # the web chat can change what it showed
        await wait(
            lambda: "owe us nothing" in visitor.text and "owe us 10" not in visitor.text, "changed there"
        )


async def test_the_hold_on_the_web_changes_and_withdraws(tmp_path: Path) -> None:
    async with (
        running(tmp_path, telegram=True, articles=False, hold_s=3.0) as world,
        StaffBrowser(world.url) as tom,
    ):
        tg = world.telegram
        assert tg
        await tom.sign_in(await world.code("Tom"))
        tg.user_says(7, PERSON)
        thread = await tom.thread("talk to a person")
        first = await tom.reply(thread, "You owe us 1000")
        second = await tom.reply(thread, "You are a fool")
        await wait(lambda: tom.mark(first) == "held", "held")
        await tom.edit(thread, first, "You owe us 10")
        await tom.undo(thread, second)
        await tg.until(lambda: any("You owe us 10" in t for t in tg.texts(7)))
        await settled(world)
        assert not any("1000" in t or "fool" in t for t in tg.texts(7))
        assert tom.mark(first) == "sent"


async def test_mail_that_is_sent_cannot_be_taken_back_and_that_is_said(tmp_path: Path) -> None:
    async with running(tmp_path, mail=True, articles=False) as world, StaffBrowser(world.url) as tom:
        smarthost = world.smarthost
        assert smarthost
        await tom.sign_in(await world.code("Tom"))
        await listening(world)
        await send_mail(world.smtp_port, "li@customer.example", ADDRESS, mail(PERSON))
        thread = await tom.thread("talk to a person")
        event = await tom.reply(thread, "You owe us 1000")
        await wait(lambda: any(b"1000" in m.content for m in smarthost.mails), "the mail")
        await settled(world)
        await tom.edit(thread, event, "You owe us 10")
        await wait(lambda: "Already sent" in tom.text(thread), "said so")
        await tom.undo(thread, event)
        await settled(world)
        assert sum(b"You owe" in m.content for m in smarthost.mails) == 1


async def test_the_hold_in_telegram_is_for_commands_and_answered_questions_too(tmp_path: Path) -> None:
    how = {"hold_s": 4.0, "reply_mode": "explicit"}
    async with (
        running(tmp_path, telegram=True, telegram_staff=True, articles=False, **how) as world,
        Visitor(world.url) as visitor,
    ):
        tg = world.telegram
        assert tg
        tg.user_says(9001, await world.code("Tom"), name="Tom")
        await visitor.says(PERSON)
        card = await wait(lambda: next((m for m in tg.sent(FORUM) if "#1" in m.text), None), "a card")
        await settled(world)
        where = {"chat_id": FORUM, "thread_id": card.thread_id}
        tg.press(9001, card, "Reply")
        asked = await wait(lambda: [m for m in tg.sent(FORUM) if "Your reply" in m.text], "the question")
        said = {
            "command": tg.user_says(9001, "/reply You owe us 1000", **where),
            "withdrawn": tg.user_says(9001, "/reply You are a fool", **where),
            "answer": tg.user_says(9001, "It cost 2000", reply_to=asked[0], **where),
            "inside": tg.user_says(9001, "Nobody knows", reply_to=asked[0], **where),
            "private": tg.user_says(9001, "/reply 1 Come at noon"),
            "by another": tg.user_says(9001, "/reply Yours, Tom", **where),
        }
        await world.until(lambda d: d["outbox"]["pending"] >= 5)
        tg.edits(said["command"], "/reply You owe us 10")
        tg.edits(said["withdrawn"], "/note they are a fool")
        tg.edits(said["answer"], "It cost 20")
        tg.edits(said["inside"], "// nobody knows")
        tg.edits(said["private"], "/reply 1 Come at one")
        for words in ("You owe us 10", "It cost 20", "Come at one", "Yours, Tom"):
            await wait(lambda words=words: words in visitor.text, words)
        await settled(world)
        assert not any(w in visitor.text for w in ("1000", "2000", "fool", "obody knows", "noon"))
        tg.edits(said["private"], "/reply 1 Come at two")  # after it was sent: where the customer reads it
        await wait(lambda: "Come at two" in visitor.text and "Come at one" not in visitor.text, "changed")
