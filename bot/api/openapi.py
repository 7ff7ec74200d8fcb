"""The description of the API, OpenAPI 3.1, made of the routes and models that serve it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from bot.api.deal_schemas import Deal
from bot.api.operations import ROUTES
from bot.api.problems import CONTENT_TYPE, ProblemBody
from bot.api.routes import PATH_TYPES, Route
from bot.api.schemas import Customer, Message, Order, Ticket
from crm_store.webhooks import EVENTS

WORDS = {
    200: "done",
    201: "made",
    304: "it is still what the given ETag says",
    400: "the request cannot be read",
    401: "no token, or one that does not count",
    403: "the token's scopes or its person's role do not allow it",
    404: "there is no such thing",
    408: "the body did not come in time",
    409: "it cannot be done as things are",
    412: "it has been changed since it was read",
    413: "the body is too large (1 MB)",
    415: "the body is not application/json",
    422: "something in it is not right; `field` says what",
    429: "too many requests; Retry-After says how long to wait",
}
TOLD: dict[str, type[BaseModel]] = {  # what the data of an event is, by the first word of its name
    "message": Message,
    "ticket": Ticket,
    "rating": Ticket,
    "customer": Customer,
    "order": Order,
    "deal": Deal,
}
EVERYWHERE = (401, 403, 429)
KEY_PATTERN = r"^[\x21-\x7e]{1,200}$"
REF = "#/components/schemas/{model}"


def describe() -> dict[str, Any]:
    """The whole document."""
    models: list[Any] = [(ProblemBody, "serialization")]
    models += [(r.answers, "serialization") for r in ROUTES]
    models += [(model, "serialization") for model in TOLD.values()]
    models += [(r.body, "validation") for r in ROUTES if r.body is not None]
    refs, shared = models_json_schema(list(dict.fromkeys(models)), ref_template=REF)
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    hooks = {
        name: {"post": _told(name, refs[(TOLD[name.partition(".")[0]], "serialization")])} for name in EVENTS
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Wellheard",
            "version": "1",
            "description": "What other systems need to keep the CRM true: customers, conversations, tickets,"
            " orders, events and articles. Times are RFC 3339 in UTC, money is minor units with its currency.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "paths": paths,
        "webhooks": hooks,
        "components": {
            "schemas": shared["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "wellheard token add"}
            },
        },
    }


def _told(event: str, data: dict[str, Any]) -> dict[str, Any]:
    """What a webhook is sent, to `[[webhooks]]` of the configuration."""
    text: dict[str, Any] = {"type": "string"}
    fields = {
        "id": {**text, "description": "the same at each repeat"},
        "type": {"const": event},
        "at": {**text, "format": "date-time"},
        "object": {**text, "description": "what the order holds for"},
        "data": {"anyOf": [data, {"type": "null"}], "description": "as it is now; null when it is gone"},
    }
    headers = [
        {"name": name, "in": "header", "required": True, "schema": text}
        for name in ("Wellheard-Event", "Wellheard-Attempt", "Wellheard-Signature")
    ]
    return {
        "summary": event,
        "parameters": headers,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": fields,
                        "required": list(fields),
                        "additionalProperties": False,
                    }
                }
            },
        },
        "responses": {"2XX": {"description": "taken; anything else, and it comes again"}},
    }


def _operation(route: Route, refs: Any) -> dict[str, Any]:
    errors = {*EVERYWHERE, *route.also}
    if route.names:
        errors.add(404)
    if route.query.model_fields or route.body is not None:
        errors |= {400, 422}
    if route.body is not None:
        errors |= {408, 413, 415}
    if route.repeatable:
        errors |= {400, 409}
    if route.conditional:
        errors |= {400, 412}
    answer: dict[str, Any] = {
        "description": WORDS[route.status],
        "content": {"application/json": {"schema": refs[(route.answers, "serialization")]}},
    }
    text: dict[str, Any] = {"schema": {"type": "string"}}
    headers = {"ETag": text} if route.single else {}
    if route.located:
        headers["Location"] = {"description": "its path", **text}
    if headers:
        answer["headers"] = headers
    responses = {str(route.status): answer}
    if route.single and not route.writes:
        responses["304"] = {"description": WORDS[304], "headers": {"ETag": text}}
    problem = {"schema": refs[(ProblemBody, "serialization")]}
    for status in sorted(errors):
        if status < 400:  # made, where it usually is there already
            responses[str(status)] = {**answer, "description": WORDS[status]}
            continue
        responses[str(status)] = {"description": WORDS[status], "content": {CONTENT_TYPE: problem}}
        if status == 401:
            responses["401"]["headers"] = {"WWW-Authenticate": text}
        if status == 429:
            header = {"description": "seconds", "schema": {"type": "integer"}}
            responses["429"]["headers"] = {"Retry-After": header}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": _description(route),
        "tags": [route.path.split("/")[1]],
        "parameters": _parameters(route),
        "responses": responses,
    }
    if route.body is not None:
        content = {"application/json": {"schema": refs[(route.body, "validation")]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": TypeAdapter(PATH_TYPES[name]).json_schema()}
        for name in route.names
    ]
    query = route.query.model_json_schema(ref_template=REF)
    for name, schema in query.get("properties", {}).items():
        if "anyOf" in schema:  # in a query nothing is null, it is left out
            some = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
            schema = {**schema, **some[0]}
        schema.pop("default", None)
        schema.pop("title", None)
        found.append({"name": name, "in": "query", "required": False, "schema": schema})
    if route.repeatable:
        said = "the same key and body again within 24 hours is answered the same, and done once"
        found.append(_header("Idempotency-Key", KEY_PATTERN, said))
    return found


def _description(route: Route) -> str:
    """The scope, and the headers that an ETag goes into. They are no parameters: every ETag that somebody makes up
    fits the type and is refused, which whoever tests by the description would call a mistake."""
    said = f"Scope: {route.scope}"
    if route.conditional:
        said += (
            ". With `If-Match` (the ETag of what the change is meant for): 412 when it has been changed since"
        )
    if route.single and not route.writes:
        said += ". With `If-None-Match` (the ETag of what is known): 304 when it is still so"
    return said


def _header(name: str, pattern: str, said: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": said, "schema": schema}
