"""What goes in and out of the API, as pydantic models: they check requests, make answers and describe both.

Bodies are strict: an unknown field, a number in quotes or a time without its zone is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
)

T = TypeVar("T")
LARGEST_ID = 2**31 - 1  # PostgreSQL's integer
LARGEST_AMOUNT = 10**15  # in minor units; exact in every JSON reader
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time such as 2026-03-02T12:00:00Z (RFC 3339)")
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.upper())).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"there is no such time: {error}") from error


def _said(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(_said, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)  # 3.0 is an integer to JSON Schema, and to some who write JSON
Id = Annotated[int, Field(ge=1, le=LARGEST_ID, examples=[1]), WHOLE]
Amount = Annotated[int, Field(ge=-LARGEST_AMOUNT, le=LARGEST_AMOUNT), WHOLE]
# Text without NUL, which PostgreSQL cannot keep.
NO_NUL = r"^[^\x00]*$"
NOT_BLANK = r"^[^\x00]*[^\x00-\x20][^\x00]*$"
SAYS_SOMETHING = r"^[^\x00]*[^\x00-\x20\x7f-\xa0][^\x00]*$"
PATTERNS = {  # in words, where they are about no form of the text
    NO_NUL: "must not hold NUL",
    NOT_BLANK: "must not be blank, nor hold NUL",
    SAYS_SOMETHING: "must not be blank, nor hold NUL",
}
Word = Annotated[str, Field(max_length=200, pattern=NO_NUL)]
Name = Annotated[str, Field(max_length=200, pattern=NOT_BLANK)]
Said = Annotated[
    str,
    # The limit stands in words: a pattern and a large number are a second's work for a validator that joins them.
    Field(
        max_length=20_000,
        pattern=SAYS_SOMETHING,
        description="20,000 characters at most",
        json_schema_extra=lambda schema: schema.pop("maxLength", None),
    ),
]
Email = Annotated[
    str,
    Field(
        max_length=254,
        # RFC 5321's atoms, o'neil@example.com too
        pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{0,63}"
        r"@[A-Za-z0-9][A-Za-z0-9.-]{0,120}\.[A-Za-z]{2,24}$",
        examples=["zhang.san@example.com"],
    ),
]
Phone = Annotated[
    str, Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164", examples=["+8613800138000"])
]
OrderNumber = Annotated[str, Field(pattern=r"^[A-Za-z0-9#][A-Za-z0-9._#-]{0,63}$", examples=["A-1001"])]
ArticleKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$", examples=["returns"])]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$", examples=["en", "zh"])]
Country = Annotated[str, Field(pattern=r"^([A-Z]{2})?$", description="two letters, ISO 3166")]
TimeZone = Annotated[
    str, Field(pattern=r"^[A-Z][A-Za-z_]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$", examples=["Asia/Shanghai"])
]
EventKind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,39}$", examples=["visit", "view", "like"])]
Key = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
FieldName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00]+$")]
Fields = Annotated[
    dict[FieldName, Annotated[str, Field(max_length=2000, pattern=NO_NUL)]],
    # a name of another pattern is none
    Field(max_length=100, json_schema_extra={"additionalProperties": False}),
]
Tags = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00]+$")]], Field(max_length=50)
]
TicketStatus = Literal["new", "open", "pending", "closed"]
Priority = Literal["low", "normal", "high", "urgent"]
TicketKind = Literal["enquiry", "complaint", "feedback"]


class In(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Out(BaseModel):
    """An answer. All its fields are always there."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


class Page(Out, Generic[T]):
    """A page. `next_cursor` asks for the following one; null at the end."""

    items: list[T]
    next_cursor: str | None


# --- money --------------------------------------------------------------------------------------------------


class Money(In):
    """An amount in the currency's minor unit: 12.34 EUR is 1234."""

    amount_minor: Amount
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])


class MoneyOut(Out):
    amount_minor: int
    currency: str


# --- customers ----------------------------------------------------------------------------------------------


class Identity(Out):
    """A customer on a channel: `channel` is its kind, or "phone", or "ref" for another system's own id."""

    channel: str
    user_id: str
    name: str
    verified: bool
    reachable: bool


class Customer(Out):
    id: int
    name: str
    company: str
    country: str
    city: str
    language: str | None
    timezone: str | None
    tags: list[str]
    fields: dict[str, Any]
    source: str
    merged_ids: list[int] = Field(description="ids of customers who are part of this one by now")
    identities: list[Identity]
    created_at: Moment
    updated_at: Moment


class CustomerChange(In):
    """What is given replaces what was there; `fields` as a whole, too."""

    name: Word = ""
    company: Word = ""
    country: Country = ""
    city: Word = ""
    language: Language | None = None
    timezone: TimeZone | None = None
    tags: Tags = []
    fields: Fields = {}


class NewCustomer(CustomerChange):
    """A customer. Each address, number and reference may be of one customer only."""

    emails: list[Email] = Field(default=[], max_length=20)
    phones: list[Phone] = Field(default=[], max_length=20)
    ref: Key | None = Field(default=None, description="the id that the other system has for them")


class ById(In):
    id: Id


class ByEmail(In):
    email: Email
    name: Word = ""


class ByPhone(In):
    phone: Phone
    name: Word = ""


class ByRef(In):
    ref: Key
    name: Word = ""


def _named_by(value: Any) -> str | None:
    given = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return next((key for key in ("id", "email", "phone", "ref") if key in given), None)


Whose = Annotated[
    Annotated[ById, Tag("id")]
    | Annotated[ByEmail, Tag("email")]
    | Annotated[ByPhone, Tag("phone")]
    | Annotated[ByRef, Tag("ref")],
    Discriminator(
        _named_by,
        custom_error_type="whose",
        custom_error_message="must name the customer by id, email, phone or ref",
    ),
    Field(description="Which customer; one who is not known by e-mail, phone or ref is created."),
]


# --- conversations ------------------------------------------------------------------------------------------


class Conversation(Out):
    id: int
    customer_id: int
    channel: str
    subject: str
    language: str
    created_at: Moment
    last_in_at: Moment | None
    last_out_at: Moment | None


class Attachment(Out):
    filename: str
    content_type: str
    size: int | None


class Message(Out):
    """`kind`: in (from the customer), out (to them), note (staff only). `delivery` of what went out."""

    id: int
    conversation_id: int
    ticket: int | None = Field(description="its number")
    kind: Literal["in", "out", "note"]
    channel: str
    author: str
    author_kind: Literal["customer", "staff", "bot"]
    text: str
    subject: str
    attachments: list[Attachment]
    delivery: Literal["pending", "sending", "sent", "unknown", "dead", "withdrawn"] | None
    sent_at: Moment
    edited_at: Moment | None
    deleted_at: Moment | None


class NewMessage(In):
    """A public reply: the customer reads it where they wrote."""

    text: Said


class NewNote(In):
    """A note: staff read it, the customer never does."""

    text: Said


# --- tickets ------------------------------------------------------------------------------------------------


class Ticket(Out):
    number: int
    status: TicketStatus
    kind: TicketKind
    priority: Priority
    subject: str
    channel: str
    customer_id: int
    conversation_id: int
    assignee: str | None
    linked_to: int | None
    opened_at: Moment
    first_response_at: Moment | None
    closed_at: Moment | None
    snoozed_until: Moment | None
    reopened: int
    rating: int | None
    rating_comment: str


class TicketChange(In):
    """`assignee` is a staff member's name; null takes the ticket from whoever has it."""

    status: Literal["open", "pending", "closed"] = "open"
    priority: Priority = "normal"
    assignee: Name | None = None


# --- orders -------------------------------------------------------------------------------------------------


class OrderLine(In):
    sku: Word = ""
    name: Name
    quantity: Annotated[int, Field(ge=1, le=1_000_000), WHOLE]
    amount_minor: Amount = Field(description="in the order's currency")


class PutOrder(In):
    customer: Whose
    ordered_at: Moment
    status: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        examples=[
            "pending",
            "paid",
            "processing",
            "shipped",
            "delivered",
            "cancelled",
            "returned",
            "refunded",
        ],
    )
    amount: Money
    tracking: Word = ""
    lines: list[OrderLine] = Field(default=[], max_length=500)


class OrderLineOut(Out):
    sku: str
    name: str
    quantity: int
    amount_minor: int


class Order(Out):
    number: str
    customer_id: int
    ordered_at: Moment
    status: str
    amount: MoneyOut
    tracking: str
    lines: list[OrderLineOut]
    updated_at: Moment


# --- events -------------------------------------------------------------------------------------------------


class NewEvent(In):
    """Something a customer did. `key` is the sender's id of it: told twice, it is kept once."""

    customer: Whose
    kind: EventKind
    at: Moment
    subject: Word = Field(default="", description="of what: a page, a product")
    key: Key | None = None
    fields: Fields = {}


class NewEvents(In):
    events: list[NewEvent] = Field(min_length=1, max_length=500)


class Noted(Out):
    """How many were new, and how many were there already."""

    noted: int
    repeated: int


class Event(Out):
    id: int
    customer_id: int
    kind: str
    at: Moment
    subject: str
    key: str | None
    fields: dict[str, Any]
    created_at: Moment


# --- articles -----------------------------------------------------------------------------------------------


class PutArticle(In):
    title: Name
    body: Said
    phrasings: list[Name] = Field(default=[], max_length=200, description="ways customers ask for it")


class Article(Out):
    key: str
    language: str
    title: str
    body: str
    phrasings: list[str]
    helped: int
    not_helped: int
    updated_at: Moment
