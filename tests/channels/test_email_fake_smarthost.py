"""The fake smarthost refuses what real ones refuse, and misbehaves when told to."""

from __future__ import annotations

import pytest

from tests.fakes.mail import Dialogue, FakeSmarthost, Refused, send_mail

GOOD = b"From: a@b.test\r\nDate: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@b.test>\r\n\r\nhi\r\n"


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (GOOD.replace(b"hi\r\n", b"hi\n"), "550 5.6.11"),
        (GOOD.replace(b"hi", b"h\ri"), "550 5.6.11"),
        (GOOD.replace(b"hi", b"x" * 999), "554 5.6.0"),
        (GOOD.replace(b"hi", b"\xc3\xa4"), "554 5.6.1"),
        (GOOD.replace(b"hi", b"\0"), "554 5.6.0"),
        (b"X: \xc3\xa4\r\n" + GOOD, "554 5.6.7"),
        (b"Message-ID: <2@b.test>\r\n" + GOOD, "550 5.7.1"),
        (b"Date: x\r\n\r\n", "550 5.7.1"),
        (GOOD, "250"),
    ],
)
async def test_it_refuses_what_real_servers_refuse(raw: bytes, answer: str) -> None:
    async with FakeSmarthost() as host, Dialogue(host.port) as line:
        await line.envelope("a@b.test", "c@d.test")
        await line.send(raw + b".\r\n")
        if not raw.endswith(b"\r\n"):
            await line.send(b"\r\n.\r\n")
        assert (await line.reply()).startswith(answer)
        assert len(host.mails) == (answer == "250")


async def test_it_misbehaves_as_scripted_and_only_so_often() -> None:
    async with FakeSmarthost() as host:
        host.answer("rcpt", "450 4.7.1 greylisted", when=lambda address: address == "c@d.test")
        with pytest.raises(Refused, match="450"):
            await send_mail(host.port, "a@b.test", "c@d.test", GOOD)
        host.drop("dot")
        with pytest.raises(Refused, match="closed"):
            await send_mail(host.port, "a@b.test", "c@d.test", GOOD)
        assert len(host.mails) == 1, "the server has it, the client does not know"
        host.drop("body")
        with pytest.raises(Refused, match="closed"):
            await send_mail(host.port, "a@b.test", "c@d.test", GOOD)
        assert len(host.mails) == 1
        host.hang("data")
        with pytest.raises(TimeoutError):
            await send_mail(host.port, "a@b.test", "c@d.test", GOOD, timeout_s=0.1)
        assert (await send_mail(host.port, "a@b.test", "c@d.test", GOOD)).startswith("250")
        assert len(await host.until(2)) == 2
