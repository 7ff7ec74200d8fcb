"""What the bot would do with a message: the answering engine, fed from the office's articles."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.answers.decide import Decision
from bot.answers.index import Article, ArticleIndex
from bot.office import Office
from channels.conversation import Inbound
from crm_store import articles


def all_articles(tx: Connection) -> list[Article]:
    """All articles there are, as the index takes them."""
    return [
        Article(
            id=row.id,
            key=row.key,
            language=row.language,
            title=row.title,
            body=row.body,
            phrasings=tuple(row.phrasings),
        )
        for row in articles.listing(tx)
    ]


def load_index(tx: Connection) -> ArticleIndex:
    """Build the index of all articles there are."""
    return ArticleIndex.build(all_articles(tx))


def warm(office: Office) -> None:
    """Load what the first decision needs: 0.3 s, which the first message and all behind it would wait for."""
    consider(office, "?")


def decide_for(office: Office, inbound: Inbound) -> Decision | None:
    """The bot's decision about a customer's message, or None when there is nothing to decide with."""
    mind = office.mind
    return mind.about(inbound) if mind is not None else None


def consider(office: Office, text: str, language: str | None = None) -> Decision | None:
    """The bot's decision about a text."""
    mind = office.mind
    return mind.consider(text, language) if mind is not None else None
