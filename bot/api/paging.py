"""Paging by an opaque cursor: the place after a row, so that what is added meanwhile neither repeats nor hides
anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from bot.api.schemas import Page

T = TypeVar("T")
MOST = 100
USUAL = 50


class Paging(BaseModel):
    """The parameters of every list."""

    model_config = ConfigDict(extra="forbid", strict=True)

    limit: Annotated[int, Field(ge=1, le=MOST, description="how many at most")] = USUAL
    cursor: Annotated[
        str | None,
        Field(
            pattern=r"^c[0-7]?[0-9a-f]{1,7}$",
            description="next_cursor of the page before; nothing to be made up",
        ),
    ] = None

    @property
    def after(self) -> int:
        return int(self.cursor[1:], 16) if self.cursor else 0


def page(rows: Sequence[Any], paging: Paging, show: Callable[[Any], T]) -> Page[T]:
    """The rows, of which one more than `limit` was asked for, as a page."""
    shown = rows[: paging.limit]
    more = len(rows) > paging.limit
    return Page(items=[show(row) for row in shown], next_cursor=f"c{shown[-1].id:x}" if more else None)
