"""What the bot does with a message: answer, offer a choice, ask for an order number, or fetch a person.

A wrong answer costs more than a handover, so the bot answers at once only where nineteen of twenty such
answers were right when the knowledge base was tried on itself; it offers up to three articles where the
right one is probably among them; everything else is a person's. Complaints and wishes for a person never
wait for the bot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from bot.answers.index import ArticleIndex, Hit
from bot.answers.intent import ORDER_PATTERN, URGENT, Intent, Kind, recognise, substance
from bot.answers.language import detect


class AnswerSettings(BaseModel):
    """How bold the bot is. The defaults keep wrong answers near one in twenty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: float = Field(
        default=0.95, ge=0.5, le=1.0
    )  # share of answers given at once that should be right
    answer_from: float = Field(default=0.6, ge=0.0, le=1.0)  # least confidence, whatever the calibration says
    choices_from: float = Field(
        default=0.35, ge=0.0, le=1.0
    )  # probability that one of those offered is right
    choice_from: float = Field(default=0.06, ge=0.0, le=1.0)  # least confidence of each of them
    most_choices: int = Field(default=3, ge=1, le=5)
    order_pattern: str = ORDER_PATTERN
    default_language: str = "en"
    languages: tuple[str, ...] = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Question:
    """A customer's message with what its conversation says about it. `language` "" is detected."""

    text: str
    language: str = ""
    bot_muted: bool = False  # a person has taken over
    asked_if_helped: bool = False  # the bot's last words were "did this help?"
    customer_language: str = ""  # what the customer spoke before: kept where the text says nothing


class Action(StrEnum):
    ANSWER = "answer"
    CHOICES = "choices"
    HANDOVER = "handover"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do.

    ANSWER with an article_id shows the article; without one it is an order's state (intent order_status, with
    order_number) or a courtesy (thanks, greeting, closing, yes) to be returned in kind. CHOICES offers
    articles. FORM asks for the order number. HANDOVER is a person's, with the intent as the ticket's kind.
    `why` is for staff.
    """

    kind: Action
    confidence: float
    article_id: int | None
    intent: Intent
    choices: tuple[tuple[int, str], ...]
    order_number: str | None
    language: str
    why: tuple[str, ...]


def decide(question: Question, index: ArticleIndex, settings: AnswerSettings) -> Decision:
    """Decide on one message. Pure; a few milliseconds at 10,000 articles."""
    language = question.language or detect(
        question.text, question.customer_language or settings.default_language, settings.languages
    )
    intent = recognise(question.text, language, settings.order_pattern)

    def decision(
        kind: Action,
        why: str,
        *,
        confidence: float = intent.confidence,
        article_id: int | None = None,
        choices: tuple[tuple[int, str], ...] = (),
        more: tuple[str, ...] = (),
    ) -> Decision:
        reasons = (why, f"intent: {intent.kind} {intent.confidence:.2f}", *intent.why, *more)
        return Decision(kind, confidence, article_id, intent, choices, intent.order_number, language, reasons)

    if question.bot_muted:
        return decision(Action.HANDOVER, "a person has this conversation", confidence=1.0)
    if not question.text.strip():
        return decision(Action.HANDOVER, "nothing to read", confidence=1.0)
    exact = index.exact(question.text, language)
    if exact is not None and intent.kind not in URGENT:
        return decision(Action.ANSWER, "exactly a phrasing of the article", confidence=1.0, article_id=exact)
    match intent.kind:
        case Kind.WANTS_PERSON | Kind.COMPLAINT | Kind.FEEDBACK:
            return decision(Action.HANDOVER, f"{intent.kind} is for a person")
        case Kind.YES | Kind.NO if question.asked_if_helped:
            kind = Action.ANSWER if intent.kind is Kind.YES else Action.HANDOVER
            return decision(kind, "reply to whether it helped")
        case Kind.YES | Kind.NO:
            return decision(Action.HANDOVER, "an answer to a question the bot did not ask")
        case Kind.THANKS | Kind.GREETING | Kind.CLOSING:
            return decision(Action.ANSWER, "a courtesy")
        case Kind.ORDER_STATUS if intent.order_number:
            return decision(Action.ANSWER, "state of an order")
        case Kind.ORDER_STATUS | Kind.QUESTION:
            pass
    hits = index.search(substance(question.text), language, limit=max(settings.most_choices, 1))
    bar = max(settings.answer_from, index.threshold(language, settings.precision))
    more = hits[0].why if hits else ()
    if hits and hits[0].confidence >= bar:
        why = f"confidence {hits[0].confidence:.2f} from {bar:.2f}"
        return decision(
            Action.ANSWER, why, confidence=hits[0].confidence, article_id=hits[0].article_id, more=more
        )
    if intent.kind is Kind.ORDER_STATUS:
        return decision(Action.FORM, "an order's state without its number", more=more)
    offered = [hit for hit in hits[: settings.most_choices] if hit.confidence >= settings.choice_from]
    total = min(1.0, sum(hit.confidence for hit in offered))
    if offered and total >= settings.choices_from:
        why = f"one of {len(offered)} with probability {total:.2f}, the first alone below {bar:.2f}"
        return decision(Action.CHOICES, why, confidence=total, choices=_titles(index, offered), more=more)
    return decision(
        Action.HANDOVER, f"no article is near enough: {total:.2f}", confidence=1 - total, more=more
    )


def _titles(index: ArticleIndex, hits: list[Hit]) -> tuple[tuple[int, str], ...]:
    return tuple((hit.article_id, index.articles[hit.article_id].title) for hit in hits)
