"""Deals as the API takes and shows them."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from bot.api.schemas import (
    LARGEST_AMOUNT,
    WHOLE,
    Amount,
    In,
    Moment,
    MoneyOut,
    Name,
    OrderLineOut,
    Out,
    Whose,
    Word,
)


def _day(value: Any) -> date:
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("must be a day such as 2026-03-31")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"there is no such day: {error}") from error


Day = Annotated[
    date,
    BeforeValidator(_day),
    PlainSerializer(lambda value: value.isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date"}),
]
DealStage = Annotated[str, Field(pattern=r"^\w[\w-]{0,39}$", examples=["offer", "won", "lost"])]


class DealProduct(In):
    """`amount_minor` is of all of them, in the deal's currency."""

    sku: Word = ""
    name: Name
    quantity: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] = 1
    amount_minor: Amount = 0


class PositiveMoney(In):
    amount_minor: Annotated[int, Field(ge=0, le=LARGEST_AMOUNT), WHOLE]
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])


class DealChange(In):
    """What is given replaces what was there. `lost_reason` counts where the deal is lost."""

    title: Name = ""
    stage: DealStage = ""
    amount: PositiveMoney = PositiveMoney(amount_minor=0, currency="EUR")
    owner: Name | None = Field(default=None, description="a staff member's name")
    expected_on: Day | None = None
    lost_reason: Word = ""
    products: list[DealProduct] = Field(default=[], max_length=200)


class NewDeal(In):
    customer: Whose
    title: Name
    amount: PositiveMoney
    stage: DealStage | None = Field(default=None, description="the first one when it is left out")
    owner: Name | None = Field(default=None, description="a staff member's name")
    expected_on: Day | None = None
    lost_reason: Word = ""
    products: list[DealProduct] = Field(default=[], max_length=200)


class Deal(Out):
    number: int
    customer_id: int
    title: str
    stage: str
    amount: MoneyOut
    owner: str | None
    expected_on: Day | None
    lost_reason: str
    products: list[OrderLineOut]
    created_at: Moment
    updated_at: Moment
    closed_at: Moment | None
