"""Jobs: what falls due without anybody writing. Time is a column; each tick sweeps what is past it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, func, select

from bot.answers.index import ArticleIndex
from bot.decisions import all_articles
from bot.office import Office, Turn
from bot.service import menus, snooze, waiting
from crm_store import api_tokens, schema, upkeep, webhooks
from crm_store.db import Store

log = structlog.get_logger()
EVERY_S = 30.0


class Jobs:
    """Sweeps until cancelled."""

    def __init__(self, store: Store, office: Office, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._office = office
        self._clock = clock
        self._articles: object = None  # what tells one state of the articles from another

    async def run(self) -> None:
        while True:
            try:
                await self.tick()
            except Exception:
                log.exception("jobs_failed")
            await asyncio.sleep(EVERY_S)

    async def tick(self) -> None:
        """Forget expired questions and the raw bodies of what was processed long ago; learn new articles."""
        await self._store.write(self._sweep)
        await self._learn()

    async def _learn(self) -> None:
        """Build the index anew when articles were imported; half a second of CPU, so not on the loop."""
        state = await self._store.read(_state_of_articles)
        if self._articles is not None and state != self._articles:
            articles = await self._store.read(all_articles)
            self._office.index = await asyncio.to_thread(ArticleIndex.build, articles)
            log.info("articles_learnt", articles=len(articles))
        self._articles = state

    def _sweep(self, tx: Connection) -> None:
        now = self._clock()
        snooze.wake_due(Turn(tx, self._office, now))
        waiting.sweep(Turn(tx, self._office, now))
        menus.sync(Turn(tx, self._office, now))
        upkeep.forget_expectations(tx, now)
        upkeep.forget_counters(tx, now - timedelta(days=1))
        upkeep.forget_posts(tx, now - timedelta(days=self._office.config.line.keep_raw_days))
        api_tokens.forget_answers(tx, now)
        webhooks.forget(tx, now - timedelta(days=self._office.config.line.keep_raw_days))
        upkeep.forget_raw(tx, now - timedelta(days=self._office.config.line.keep_raw_days))


def _state_of_articles(tx: Connection) -> tuple[object, ...]:
    table = schema.article
    found = tx.execute(
        select(func.count(), func.max(table.c.id), func.max(table.c.updated_at)).select_from(table)
    )
    return tuple(found.one())
