"""Routes as records: what serves a request is what describes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy import Connection

from bot import access, masking
from bot.access import Member
from bot.api.problems import Problem, not_allowed
from bot.api.schemas import ArticleKey, Id, Language, OrderNumber
from bot.office import Turn
from crm_store.scope import Scope

M = TypeVar("M", bound=BaseModel)
SCOPES = (
    "customers:read",
    "customers:write",
    "conversations:read",
    "messages:write",
    "tickets:read",
    "tickets:write",
    "orders:read",
    "orders:write",
    "events:read",
    "events:write",
    "articles:read",
    "articles:write",
    "deals:read",
    "deals:write",
)
PATH_TYPES: dict[str, Any] = {  # what stands in a path, by the name it has there
    "id": Id,
    "ticket": Id,
    "deal": Id,
    "order": OrderNumber,
    "key": ArticleKey,
    "language": Language,
}
_ADAPTERS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(kind) for name, kind in PATH_TYPES.items()}


class NoQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(slots=True)
class Ask:
    """A request, understood: what a handler decides with. `saw` is whose data the answer shows."""

    turn: Turn
    member: Member
    token: str
    path: dict[str, Any]
    query: Any
    body: Any
    if_match: str = ""
    saw: set[int] = field(default_factory=set)
    object: str = ""

    @property
    def tx(self) -> Connection:
        return self.turn.tx

    @property
    def scope(self) -> Scope | None:
        """Whose rows the staff member sees whom the token acts as."""
        return access.scope_of(self.turn, self.member)

    def sees_contact(self, contact_id: int) -> bool:
        return access.sees_contact(self.turn, self.member, contact_id)

    def sees_ticket(self, row: Any) -> bool:
        return access.sees_ticket(self.turn, self.member, row)

    def shown(self, body: M) -> M:
        """An answer as they may see it."""
        office = self.turn.office
        if not office.access.masks(self.member.role):
            return body
        return masking.model(body, office.config.desk.country)

    def must_match(self, current: BaseModel) -> None:
        """Refuse a change of something that is not any more what the caller read. Raise Problem."""
        wanted = [tag.strip() for tag in self.if_match.split(",")]
        if self.if_match and "*" not in wanted and etag(self.shown(current)) not in wanted:
            raise Problem(412, "it has been changed since it was read: read it again")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler gives back where it is more than a body."""

    body: BaseModel
    status: int = 200
    location: str = ""


Handler = Callable[[Ask], BaseModel | Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `single` answers one resource with its ETag; `writes` runs in a write transaction."""

    method: str
    path: str
    scope: str
    handler: Handler
    answers: Any
    status: int = 200
    also: tuple[int, ...] = ()
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    single: bool = False
    conditional: bool = False

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip().split("\n")[0]

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def repeatable(self) -> bool:
        """Whether an Idempotency-Key makes it safe to repeat; PUT and PATCH are so by themselves."""
        return self.method == "POST"

    @property
    def located(self) -> bool:
        """Whether the answer says at which path the thing is that was made."""
        return self.single and self.status == 201

    @property
    def names(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)


class Routes(list[Route]):
    """The operations of a module, each added by the decorator of its handler."""

    def add(
        self, method: str, path: str, scope: str, answers: Any, **more: Any
    ) -> Callable[[Handler], Handler]:
        def serve(handler: Handler) -> Handler:
            self.append(Route(method, path, scope, handler, answers, **more))
            return handler

        return serve


def etag(body: BaseModel) -> str:
    return f'"{hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:16]}"'


def match(routes: Iterable[Route], method: str, raw_path: str) -> tuple[Route, dict[str, Any]]:
    """The route of a request below /api/v1 and what stands in its path. Raise Problem 404 or 405."""
    segments = [unquote(part) for part in raw_path.strip("/").split("/")]
    allowed: dict[str, tuple[Route, dict[str, Any]]] = {}
    for one in routes:
        values = _values(one.path.strip("/").split("/"), segments)
        if values is not None:
            allowed.setdefault(one.method, (one, values))
    if method in allowed:
        one, values = allowed[method]
        return one, {name: _typed(name, value) for name, value in values.items()}
    if allowed:
        raise not_allowed(method, list(allowed))
    raise Problem(404, "there is nothing at this path; /api/v1/openapi.json lists what there is")


def _values(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    values = {}
    for part, segment in zip(pattern, segments, strict=True):
        if part.startswith("{"):
            values[part[1:-1]] = segment
        elif part != segment:
            return None
    return values


def _typed(name: str, value: str) -> Any:
    given: Any = int(value) if PATH_TYPES[name] is Id and re.fullmatch(r"[1-9][0-9]{0,9}", value) else value
    try:
        return _ADAPTERS[name].validate_python(given, strict=True)
    except ValidationError:
        raise Problem(404, f"there is nothing at this path: {name} is not like that", field=name) from None
