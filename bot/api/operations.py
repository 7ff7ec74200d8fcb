"""All operations of the API."""

from __future__ import annotations

from bot.api import customers, desk, sales, trade
from bot.api.routes import Route

ROUTES: tuple[Route, ...] = (*customers.routes, *desk.routes, *trade.routes, *sales.routes)
