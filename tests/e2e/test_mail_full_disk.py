"""A full disk under the whole service: mail is put off, nothing that was acknowledged is lost, and it heals."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from tests.fakes.mail import Refused
from tests.mail_desk import mail_desk

ROOM = 150  # pages of 4 KiB that are left


def _limit(tx: Connection, more: int) -> None:
    """The same answer from SQLite as on a disk without room, for the writer's own connection."""
    pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
    tx.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")


async def test_on_a_full_disk_mail_is_put_off_and_what_was_accepted_is_there(tmp_path: Path) -> None:
    async with mail_desk(tmp_path) as desk:
        await desk.mail("ann@good.example", "before it was full")
        await desk.ticket_with("before it was full")
        await desk.world.store.write(_limit, ROOM)
        accepted, refused = [], []
        for number in range(60):
            try:
                await desk.mail("ann@good.example", f"mail {number} " + "x" * 30_000, subject=f"s{number}")
                accepted.append(number)
            except Refused as error:
                refused.append(error)
                if len(refused) == 3:
                    break
        assert refused, "the disk was never full"
        assert {error.code for error in refused} == {452}
        await desk.world.store.write(_limit, 100_000)
        for number in accepted:
            await desk.ticket_with(f"mail {number} x")
        await desk.mail("ann@good.example", "there is room again")
        await desk.ticket_with("there is room again")
