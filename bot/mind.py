"""The bot's mind: the answering engine with the articles, as one value that may travel to another process."""

from __future__ import annotations

from dataclasses import dataclass

from bot import i18n
from bot.answers.decide import AnswerSettings, Decision, Question, decide
from bot.answers.index import ArticleIndex
from bot.answers.language import detect
from channels.conversation import Inbound


@dataclass(frozen=True, slots=True)
class Mind:
    """Decides about messages. Picklable; pure; imports neither the store nor a channel."""

    index: ArticleIndex
    settings: AnswerSettings
    offered: tuple[str, ...]  # languages that customers are answered in

    def about(self, inbound: Inbound) -> Decision:
        """The decision about a customer's message; the subject counts where the text says little."""
        short = inbound.subject and len(inbound.text) <= 20
        text = f"{inbound.subject}\n{inbound.text}" if short else inbound.text
        return self.consider(text, inbound.author.language)

    def consider(self, text: str, language: str | None = None) -> Decision:
        """The decision about a text of somebody who speaks `language` where the text does not say."""
        found = detect(text, i18n.pick(language, offered=self.offered))
        question = Question(text=text, language=i18n.pick(found, offered=self.offered))
        return decide(question, self.index, self.settings)
