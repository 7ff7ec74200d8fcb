"""Arrivals: what was received and understood, on its way into the transaction that takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from bot import commands
from bot.answers.decide import Decision
from channels.conversation import Inbound, Kind
from crm_store.inbox import Waiting


@dataclass(frozen=True, slots=True)
class Prepared:
    """What arrived, with everything that could be worked out outside the transaction."""

    inbound: Inbound
    decision: Decision | None = None
    performed: commands.Performed | None = None


def when(one: tuple[Waiting, list[Prepared]]) -> datetime:
    """The platform's own time of a row, for platforms whose posts overtake each other on their way to us."""
    row, prepared = one
    return prepared[0].inbound.sent_at if prepared else row.received_at


def joined(ready: list[tuple[Waiting, list[Prepared]]]) -> list[tuple[Waiting, list[Prepared]]]:
    """The pictures of an album that wait together become one message: the first one's."""
    firsts: dict[str, tuple[int, int]] = {}
    out: list[tuple[Waiting, list[Prepared]]] = []
    for row, prepared in ready:
        kept: list[Prepared] = []
        for one in prepared:
            album = one.inbound.album
            if album and album in firsts and one.inbound.kind is Kind.MESSAGE:
                i, j = firsts[album]
                head = out[i][1][j]
                text = "\n".join(t for t in (head.inbound.text, one.inbound.text) if t)
                joined = replace(
                    head.inbound, text=text, attachments=(*head.inbound.attachments, *one.inbound.attachments)
                )
                out[i][1][j] = replace(head, inbound=joined, decision=head.decision or one.decision)
                continue
            if album:
                firsts[album] = (len(out), len(kept))
            kept.append(one)
        out.append((row, kept))
    return out
