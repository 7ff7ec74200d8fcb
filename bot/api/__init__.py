"""The API for other systems: /api/v1, described at /api/v1/openapi.json by the records that serve it."""

from bot.api.server import Api

__all__ = ["Api"]
