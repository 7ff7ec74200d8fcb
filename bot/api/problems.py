"""What the API says when it says no: problem+json (RFC 9457), one sentence that names what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from pydantic import BaseModel, ValidationError

CONTENT_TYPE = "application/problem+json"


class ProblemBody(BaseModel):
    """Why a request was not done. `field` is the path of what is wrong, where one field is."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    field: str | None = None


class Problem(Exception):
    """A request that is not done; undoes what its transaction wrote."""

    def __init__(
        self, status: int, detail: str, *, field: str | None = None, headers: Mapping[str, str] = {}
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = dict(headers)

    def body(self) -> str:
        title = HTTPStatus(self.status).phrase
        said = ProblemBody(title=title, status=self.status, detail=self.detail, field=self.field)
        return said.model_dump_json(exclude_none=True)


def not_found(what: str, which: object, *, field: str | None = None) -> Problem:
    return Problem(404, f"there is no {what} {which}", field=field)


def not_allowed(method: str, allowed: Sequence[str]) -> Problem:
    """What may be asked with GET may be asked with HEAD."""
    said = ", ".join(sorted({*allowed, "HEAD"} if "GET" in allowed else allowed))
    return Problem(405, f"{method} is not possible here, only {said}", headers={"Allow": said})


def _path(place: Sequence[str | int]) -> list[str]:
    """The path of a field as the caller wrote it: without the names of alternatives, which pydantic adds."""
    parts = [str(part) for part in place]
    return [
        part for n, part in enumerate(parts) if n == 0 or parts[n - 1] != "customer" or n == len(parts) - 1
    ]


def of_validation(error: ValidationError, where: str, patterns: Mapping[str, str] = {}) -> Problem:
    """The first thing that is wrong with a body or with parameters, in a sentence; `patterns` in words."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(_path(first["loc"]))
    if first["type"] in ("json_invalid", "json_type"):
        return Problem(400, f"the {where} is not JSON: {first['msg']}")
    if first["type"] == "extra_forbidden":
        return Problem(422, f"{path}: there is no such field in the {where}", field=path)
    said = first["msg"].removeprefix("Value error, ")
    said = patterns.get(first.get("ctx", {}).get("pattern", ""), said)
    return Problem(422, f"{path or where}: {said[0].lower()}{said[1:]}", field=path or None)
