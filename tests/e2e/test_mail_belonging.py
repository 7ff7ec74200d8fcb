"""Where a mail belongs, who is in it, and what comes back: with the whole service."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Connection, select

from crm_store import contacts, schema
from tests.e2e.test_story import wait
from tests.mail_desk import EVIL, MailDesk, body, mail_desk
from tests.world import ADDRESS

ANN, BOB, CAROL = "ann@good.example", "bob@friend.example", "carol@friend.example"


async def begun(desk: MailDesk) -> tuple[str, EmailMessage]:
    """A ticket of Ann's, and the agent's answer to it as it was mailed."""
    await desk.mail(f"Ann <{ANN}>", "My parcel arrived broken. This is the third time!", subject="Parcel")
    card = await desk.staff.card("third time")
    return card, await desk.answered(card, "A new parcel leaves today, we are very sorry about this.")


async def test_a_mail_finds_its_conversation_by_every_join_there_is(tmp_path: Path) -> None:
    async with mail_desk(tmp_path) as desk:
        _, answer = await begun(desk)
        ours, signed = str(answer["Message-ID"]), parseaddr(str(answer["Reply-To"]))[1]
        for n, field in enumerate(("To", "Cc", "Delivered-To", "X-Original-To", "Envelope-To")):
            text = f"by the signed address in {field}"
            more = {} if field == "To" else {field.replace("-", "_"): signed}
            to = signed if field == "To" else ADDRESS
            await desk.mail(ANN, text, subject=f"other {n}", to=to, **more)
            assert await desk.number_of(text) == 1, field
        await desk.mail(ANN, "by In-Reply-To", subject="other", In_Reply_To=ours)
        assert await desk.number_of("by In-Reply-To") == 1
        await desk.mail(ANN, "by References", subject="other", References=f"<never.seen@x.example> {ours}")
        assert await desk.number_of("by References") == 1
        await desk.mail(ANN, "sibling one", subject="new", References="<parent@unseen.example>")
        second = await desk.number_of("sibling one")
        assert second != 1
        await desk.mail(ANN, "sibling two", subject="other", References="<parent@unseen.example>")
        assert await desk.number_of("sibling two") == second
        marker = re.search(r"\[ref:[^\]]+\]", body(answer))
        assert marker is not None
        await desk.mail(ANN, f"by the marker\n\n> {marker[0]}\n", subject="other")
        assert await desk.number_of("by the marker") == 1
        await desk.mail(ANN, "by the subject", subject="Re: [Example #1] Parcel")
        assert await desk.number_of("by the subject") == 1


@pytest.mark.parametrize("how", ["marker", "subject"])
async def test_weak_joins_are_for_proved_participants_only(tmp_path: Path, how: str) -> None:
    async with mail_desk(tmp_path) as desk:
        _, answer = await begun(desk)
        found = re.search(r"\[ref:[^\]]+\]", body(answer))
        assert found is not None
        quoted = f"\n\n> {found[0]}\n" if how == "marker" else ""
        subject = "Re: [Example #1] Parcel" if how == "subject" else "other"
        await desk.mail(BOB, f"a stranger who is who he says{quoted}", subject=subject)
        assert await desk.number_of("a stranger who is") != 1
        await desk.mail(ANN, f"somebody who says to be Ann{quoted}", subject=subject, mail_from=EVIL)
        assert await desk.number_of("somebody who says") != 1


async def test_without_examination_a_forged_sender_does_not_join_by_subject(tmp_path: Path) -> None:
    async with mail_desk(tmp_path, authentication="none") as desk:
        await begun(desk)
        await desk.mail(ANN, "I say I am Ann", subject="Re: [Example #1] Parcel", mail_from=EVIL)
        assert await desk.number_of("I say I am Ann") != 1


async def test_copied_people_take_part_and_the_agent_sees_who_will_receive(tmp_path: Path) -> None:
    async with mail_desk(tmp_path) as desk:
        await desk.mail(f"Ann <{ANN}>", "Please answer both of us.", subject="Two", Cc=f"Bob <{BOB}>")
        card = await desk.staff.card("both of us")
        assert f"Ann <{ANN}>, {BOB}" in desk.staff.card_text(card)  # before anything is sent
        answer = await desk.answered(card, "This goes to you both.")
        last = next(m for m in desk.smarthost.mails if b"to you both" in m.content)
        assert set(last.rcpt_tos) == {ANN, BOB}
        assert BOB in str(answer["Cc"])

        await desk.mail(f"Carol <{CAROL}>", "I am new here.", In_Reply_To=str(answer["Message-ID"]))
        assert await desk.number_of("I am new here.") == 1
        await wait(
            lambda: f"New in this conversation: {CAROL}" in desk.staff.thread_text(card), "told who is new"
        )
        warned = "Somebody new writes in this conversation"
        await wait(lambda: warned in desk.staff.thread_text(card), "pointed out")
        await wait(lambda: CAROL in desk.staff.card_text(card), "the card names her as a recipient")

        await desk.mail("mallory@evil.example", "Let me in.", In_Reply_To=str(answer["Message-ID"]))
        await wait(lambda: "Let me in." in desk.staff.thread_text(card), "it is shown")
        await desk.answered(card, "The last word.")
        last = next(m for m in desk.smarthost.mails if b"The last word" in m.content)
        assert set(last.rcpt_tos) == {ANN, BOB, CAROL}  # who cannot prove who they are is told nothing


async def test_our_own_words_are_no_news_however_they_are_quoted(tmp_path: Path) -> None:
    async with mail_desk(tmp_path) as desk:
        card, answer = await begun(desk)
        said = "A new parcel leaves today, we are very sorry about this."
        text = f"Thank you. Which day?\n\nSupport hat am 02.03.2026 mitgeteilt:\n{said}\n"
        await desk.mail(ANN, text, In_Reply_To=str(answer["Message-ID"]))
        ticket = await desk.ticket_with("Which day?")
        assert [m["text"] for m in ticket["messages"] if "Which day?" in m["text"]] == [
            "Thank you. Which day?"
        ]
        await wait(lambda: "Which day?" in desk.staff.thread_text(card), "shown")
        assert desk.staff.thread_text(card).count(said) <= 1  # the agent's own message


FORWARDED = """Please look after her.

---------- Forwarded message ---------
From: Dora Dent <dora@elsewhere.example>
Date: Mon, 2 Mar 2026 at 09:00
Subject: Sofa
To: <tom@staff.example>

My sofa has three legs.
"""


async def test_a_forward_by_staff_is_a_ticket_of_the_original_sender(tmp_path: Path) -> None:
    async with mail_desk(tmp_path, options='staff_addresses = ["tom@staff.example"]\n') as desk:
        await desk.mail("Tom <tom@staff.example>", FORWARDED, subject="Fwd: Sofa")
        ticket = await desk.ticket_with("three legs")
        assert ticket["customer"]["name"] == "Dora Dent"
        assert ticket["customer"]["identities"][0]["user_id"] == "dora@elsewhere.example"
        assert ticket["subject"] == "Sofa"
        card = await desk.staff.card("three legs")
        await wait(lambda: "Please look after her." in desk.staff.thread_text(card), "the colleague's words")
        await desk.answered(card, "A fourth leg is on its way.")
        assert desk.smarthost.mails[-1].rcpt_tos == ("dora@elsewhere.example",)
        # somebody who only says to be staff opens a ticket of their own address
        await desk.mail(
            "Tom <tom@staff.example>",
            FORWARDED.replace("look after her", "see to it"),
            subject="Fwd: x",
            mail_from=EVIL,
        )
        ticket = await desk.ticket_with("see to it")
        assert ticket["customer"]["identities"][0]["user_id"] == "tom@staff.example"


async def test_a_contact_form_is_the_visitors_and_answers_go_to_them(tmp_path: Path) -> None:
    async with mail_desk(tmp_path) as desk:
        await desk.mail(
            "Website <no-reply@web.example>", "Do you have blue ones?", Reply_To="Eve <eve@shop.example>"
        )
        card = await desk.staff.card("blue ones")
        assert (await desk.ticket_with("blue ones"))["customer"]["name"] == "Eve"
        await desk.answered(card, "Yes, many.")
        assert [m.rcpt_tos for m in desk.smarthost.mails] == [("eve@shop.example",)]


async def test_staff_command_nothing_by_mail(tmp_path: Path) -> None:
    async with mail_desk(tmp_path, options='staff_addresses = ["tom@staff.example"]\n') as desk:
        await begun(desk)
        sent = len(desk.smarthost.mails)
        await desk.mail("Tom <tom@staff.example>", "/customer Ann", subject="command")
        await desk.mail("Tom <tom@staff.example>", "!ticket 1 close", subject="Re: [Example #1] Parcel")
        await desk.ticket_with("!ticket 1 close")
        dump = await desk.quiet()
        assert dump["tickets"][0]["status"] != "closed"
        told = [body(m) for m in desk.sent()[sent:]]
        assert not any(ANN in text for text in told)

        def refused(tx: Connection) -> int:
            audit = schema.audit
            return len(tx.execute(select(audit).where(audit.c.outcome == "refused")).all())

        assert await desk.world.store.read(refused) >= 2


def report(answer: EmailMessage, action: str, status: str) -> bytes:
    return (
        f"From: MAILER-DAEMON@mx.good.example\r\nTo: {ADDRESS}\r\nSubject: Delivery Status Notification\r\n"
        f"Message-ID: <{action}@mx.good.example>\r\nDate: Mon, 02 Mar 2026 11:00:00 +0000\r\n"
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="r"\r\n\r\n'
        "--r\r\nContent-Type: text/plain\r\n\r\nAbout your mail.\r\n"
        "--r\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.good.example\r\n\r\n"
        f"Final-Recipient: rfc822; {ANN}\r\nAction: {action}\r\nStatus: {status}\r\n"
        "--r\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"Message-ID: {answer['Message-ID']}\r\nSubject: Re: Parcel\r\n--r--\r\n"
    ).encode()


async def test_a_late_mail_has_not_failed_and_one_that_came_back_has(tmp_path: Path) -> None:
    async with mail_desk(tmp_path) as desk:
        await desk.mail(f"Ann <{ANN}>", "My parcel arrived broken. This is the third time!")
        card = await desk.staff.card("third time")
        agents = await desk.staff.browser.reply(card, "A new parcel leaves today.")
        answer = await desk.mailed("A new parcel")

        def delivery(dump: dict[str, Any]) -> Any:
            said = [m for m in dump["tickets"][0]["messages"] if "A new parcel" in m["text"]]
            return said[0]["delivery"]

        await desk.mail("", "", mail_from="", content=report(answer, "delayed", "4.4.1"))
        await wait(lambda: "is delayed" in desk.staff.thread_text(card), "the delay is told")
        assert delivery(await desk.quiet()) == "sent"
        assert desk.staff.browser.mark(agents) != "failed"

        await desk.mail("", "", mail_from="", content=report(answer, "failed", "5.1.1"))
        await wait(lambda: "came back" in desk.staff.thread_text(card), "the failure is told")
        assert delivery(await desk.quiet()) == "dead"
        await wait(lambda: desk.staff.browser.mark(agents) == "failed", "the agent's message is marked")
        identity = await desk.world.store.read(contacts.find_identity, "email", ANN)
        assert identity is not None
        assert identity.gone_at is not None


async def test_files_too_large_or_too_many_to_show_are_kept_and_named_with_a_link(tmp_path: Path) -> None:
    async with mail_desk(tmp_path) as desk:
        office = desk.world.service.office
        small = office.config.desk.model_copy(update={"show_file_mb": 1, "show_files": 2})
        office.config = replace(office.config, desk=small)
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = ANN, ADDRESS, "Pictures"
        mail["Message-ID"], mail["Date"] = "<files@good.example>", "Mon, 02 Mar 2026 10:00:00 +0000"
        mail.set_content("My parcel arrived broken, see the pictures.")
        film = os.urandom(1_500_000)
        mail.add_attachment(film, maintype="video", subtype="mp4", filename="der Film.mp4")
        for n in range(3):
            mail.add_attachment(b"picture %d" % n, maintype="image", subtype="png", filename=f"p{n}.png")
        await desk.mail(ANN, "", content=mail.as_bytes())
        card = await desk.staff.card("see the pictures")
        text = desk.staff.thread_text
        await wait(lambda: "der Film.mp4 (1.5 MB) is kept" in text(card), "the film is named")
        assert "p2.png (0.0 MB) is kept" in text(card)  # the third of two
        assert "p0.png" in text(card)
        blocks = [b for e in desk.staff.browser.in_thread(card) for b in e.get("blocks", [])]
        links = re.findall(r"http://desk\.example(/f/[^\"\s]+)", json.dumps(blocks))
        assert len(links) == 2
        async with aiohttp.ClientSession(desk.world.url) as http:
            async with http.get(links[0]) as found:
                assert (found.status, await found.read()) == (200, film)
                assert found.headers["Content-Disposition"] == "attachment; filename*=UTF-8''der%20Film.mp4"
                assert found.content_type == "application/octet-stream"
            for wrong in (links[0][:-1] + "x", "/f/1-99999999999.0", "/f/x"):
                async with http.get(wrong) as found:
                    assert found.status == 404


async def test_without_a_public_address_a_large_file_is_shown_since_no_link_leads_to_it(
    tmp_path: Path,
) -> None:
    async with mail_desk(tmp_path) as desk:
        office = desk.world.service.office
        small = office.config.desk.model_copy(update={"show_file_mb": 1})
        nowhere = office.config.http.model_copy(update={"public_url": ""})
        office.config = replace(office.config, desk=small, http=nowhere)
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = ANN, ADDRESS, "Film"
        mail["Message-ID"], mail["Date"] = "<film@good.example>", "Mon, 02 Mar 2026 10:00:00 +0000"
        mail.set_content("My parcel arrived broken, see the film.")
        mail.add_attachment(os.urandom(1_500_000), maintype="video", subtype="mp4", filename="film.mp4")
        await desk.mail(ANN, "", content=mail.as_bytes())
        card = await desk.staff.card("see the film")
        await wait(lambda: "(film.mp4)" in desk.staff.thread_text(card), "the film itself")
