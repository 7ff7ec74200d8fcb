"""A case: a customer's message on its way to an answer, with what is known of it by then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.answers.decide import Decision
from bot.office import Turn
from channels.conversation import Inbound


@dataclass(frozen=True, slots=True)
class Case:
    """A customer's message on its way to an answer."""

    turn: Turn
    inbound: Inbound
    conversation: Any  # its row as it was before the message
    contact_id: int
    message_id: int
    decision: Decision | None
    new: bool = False  # the contact came into being with this message
    opened: bool = False  # and so did the conversation: nothing is in it but this
    joined: tuple[str, ...] = ()  # who came into the conversation with this message

    @property
    def lang(self) -> str:
        return str(self.conversation.language)

    @property
    def intent(self) -> str:
        """What the message is recognised as, "" when nobody looked."""
        return str(self.decision.intent.kind) if self.decision is not None else ""
