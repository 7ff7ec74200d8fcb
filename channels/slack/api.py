"""Calls to Slack's Web API: no hidden retries, Retry-After kept, every failure one of ours."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from channels.base import RetryLater, Undeliverable

QUIET = logging.getLogger("slack_sdk.quiet")  # the SDK's own logger writes what is said at DEBUG
QUIET.setLevel(logging.WARNING)

CALL_TIMEOUT_S = 20.0
UPLOAD_TIMEOUT_S = 120.0
AUTH_RETRY_S = 60.0  # a token is exchanged by a person
AUTH_ERRORS = frozenset(
    (
        "invalid_auth",
        "not_authed",
        "token_revoked",
        "token_expired",
        "account_inactive",
        "no_permission",
        "org_login_required",
        "ekm_access_denied",
        "not_allowed_token_type",
        "enterprise_is_restricted",
    )
)
PASSING_ERRORS = frozenset(
    (
        "ratelimited",
        "rate_limited",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "rollup_error",
        "message_limit_exceeded",
        "accesslimited",
    )
)
FORM_METHODS = frozenset(  # read methods take no JSON body
    (
        "auth.test",
        "conversations.history",
        "conversations.replies",
        "conversations.info",
        "users.info",
        "files.info",
        "files.getUploadURLExternal",
    )
)
WHAT_TO_DO = {
    "channel_not_found": "the channel does not exist or the app is not in it: invite the app to it",
    "not_in_channel": "the app is not in the channel: invite it with /invite",
    "is_archived": "the channel is archived: unarchive it or choose another one",
    "restricted_action": "the workspace does not let apps post there: ask its administrator",
    "missing_scope": "the app lacks a scope: add it and install the app again",
    "user_not_found": "the person is not in this workspace any more",
    "cannot_dm_bot": "an app cannot be written to",
    "user_disabled": "the person's account is deactivated",
    "message_not_found": "the message was deleted",
    "thread_not_found": "the thread was deleted",
    "edit_window_closed": "the workspace does not allow editing that late",
    "cant_update_message": "the message was not written by the app",
    "cant_delete_message": "the message was not written by the app",
    "expired_trigger_id": "the form was asked for more than three seconds ago: press the button again",
    "invalid_trigger_id": "the form cannot be opened from there: press the button again",
    "exchanged_trigger_id": "the form was opened already",
    "trigger_expired": "the form was asked for more than three seconds ago: press the button again",
    "trigger_exchanged": "the form was opened already",
    "msg_too_long": "the message is too long for Slack",
    "msg_blocks_too_long": "the message is too long for Slack",
    "invalid_blocks": "Slack refuses the layout of the message",
}
GONE = frozenset(("user_not_found", "user_disabled", "account_inactive", "cannot_dm_bot"))

Json = dict[str, Any]


class Refused(Undeliverable):
    """Slack answered with an error code that repeating will not change."""

    def __init__(self, code: str, hint: str = "") -> None:
        todo = WHAT_TO_DO.get(code, "")
        parts = [code, f"({hint})" if hint else "", f"- {todo}" if todo else ""]
        super().__init__(" ".join(p for p in parts if p), gone=code in GONE)
        self.code = code


class TokenRefused(RetryLater):
    """Slack does not take our token (now): somebody must exchange it."""

    def __init__(self, code: str) -> None:
        super().__init__(code, after_s=AUTH_RETRY_S)
        self.code = code


class Tokens(Protocol):
    """Bot tokens that end."""

    async def current(self) -> str: ...

    async def renewed(self, used: str) -> str: ...


class Limiter(Protocol):
    """Spaces posts: returns how many seconds to wait before the next one to this room may go out."""

    def reserve(self, room: str) -> float: ...


class PostLimiter:
    """About one post a second a room with a burst, as Slack wants it. A token bucket a room."""

    def __init__(
        self, per_s: float = 1.0, burst: int = 5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._gap_s = 1 / per_s
        self._slack_s = self._gap_s * (burst - 1)
        self._clock = clock
        self._next: dict[str, float] = {}

    def reserve(self, room: str) -> float:
        now = self._clock()
        if len(self._next) > 10_000:
            self._next = {r: t for r, t in self._next.items() if t > now}
        at = max(self._next.get(room, 0.0), now - self._slack_s)
        wait_s = max(0.0, at - now)
        if wait_s <= MOST_WAIT_S:
            self._next[room] = at + self._gap_s
        return wait_s


MOST_WAIT_S = 5.0  # longer is left to the outbox


class Api:
    """The Web API under one bot token. `on_auth` is told what is wrong with the token, None when it works."""

    def __init__(
        self,
        token: str,
        base_url: str,
        *,
        app_token: str = "",
        limiter: Limiter | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
        on_auth: Callable[[str | None], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token
        self._app_token = app_token
        self._base_url = base_url
        self._limiter = limiter or PostLimiter()
        self._timeout_s = timeout_s
        self._on_auth = on_auth
        self._clock = clock
        self._not_before: dict[str, float] = defaultdict(float)  # method -> when Slack wants us back
        self.tokens: Tokens | None = None  # set where they rotate
        self._session: aiohttp.ClientSession | None = None
        self._client: AsyncWebClient | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The one HTTP session, made inside the running loop. Proxies as the environment says."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(trust_env=True)
        return self._session

    async def token(self) -> str:
        """The bot token to use now."""
        if self.tokens is not None:
            self._use(await self.tokens.current())
        return self._token

    def _use(self, token: str) -> None:
        if token != self._token:
            self._token, self._client = token, None

    async def exchange(self, client_id: str, client_secret: str, refresh: str) -> tuple[str, str, float]:
        """Get the next bot token: (token, refresh token, seconds it lives)."""
        data = {"grant_type": "refresh_token", "refresh_token": refresh}
        data |= {"client_id": client_id, "client_secret": client_secret}
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self.session.post(f"{self._base_url}oauth.v2.access", data=data) as answer:
                    status, headers = answer.status, answer.headers
                    found = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise RetryLater(f"oauth.v2.access: {type(error).__name__}") from error
        if status == 429:
            raise RetryLater("oauth.v2.access: rate limited", after_s=retry_after(headers))
        if not isinstance(found, dict) or not found.get("ok"):
            code = str(found.get("error", "")) if isinstance(found, dict) else ""
            if not code or code in PASSING_ERRORS or status >= 500:
                raise RetryLater(f"oauth.v2.access: {code or status}")
            self._on_auth(f"Slack refuses refresh_token: {code}")
            raise TokenRefused(code)
        return (
            str(found["access_token"]),
            str(found["refresh_token"]),
            float(found.get("expires_in") or 43200),
        )

    def _web_client(self) -> AsyncWebClient:
        if self._client is None or self._client.session is not self.session:
            self._client = AsyncWebClient(
                token=self._token,
                base_url=self._base_url,
                session=self.session,
                retry_handlers=[],  # the default repeats a call whose connection was reset: a double post
                logger=QUIET,
            )
            # the SDK takes HTTPS_PROXY even for loopback; the session knows NO_PROXY
            self._client.proxy = None
        return self._client

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = self._client = None

    async def space(self, room: str) -> None:
        """Wait for the room's turn, or raise RetryLater when that is far away."""
        wait_s = self._limiter.reserve(room)
        if wait_s > MOST_WAIT_S:
            raise RetryLater("too many posts to one room", after_s=wait_s)
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def call(self, method: str, *, writes: bool = False, **parameters: Any) -> Json:
        """Call a method. `writes`: when no answer came it may have happened all the same.

        Raise RetryLater, TokenRefused or Refused.
        """
        answer, _ = await self.call_with_headers(method, writes=writes, **parameters)
        return answer

    async def call_with_headers(
        self, method: str, *, writes: bool = False, **parameters: Any
    ) -> tuple[Json, Mapping[str, str]]:
        used = await self.token()
        try:
            return await self._call(method, writes, parameters)
        except TokenRefused as error:
            if self.tokens is None or error.code != "token_expired" or method == "apps.connections.open":
                raise
            self._use(await self.tokens.renewed(used))
        return await self._call(method, writes, parameters)

    async def _call(
        self, method: str, writes: bool, parameters: Mapping[str, Any]
    ) -> tuple[Json, Mapping[str, str]]:
        wait_s = self._not_before[method] - self._clock()
        if wait_s > 0:
            raise RetryLater(f"{method}: rate limited", after_s=wait_s)
        given = {k: v for k, v in parameters.items() if v is not None}
        if method == "apps.connections.open":
            request: Json = {"params": {"token": self._app_token}}
        elif method in FORM_METHODS:
            request = {"data": {k: _flag(v) for k, v in given.items()}}
        else:
            request = {"json": given}
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._web_client().api_call(method, **request)
        except SlackApiError as error:
            raise self._failure(method, error, writes) from error
        except aiohttp.ClientConnectorError as error:
            raise RetryLater(f"{method}: cannot connect") from error
        except (aiohttp.ClientError, TimeoutError, OSError, SlackClientError, ValueError) as error:
            raise RetryLater(f"{method}: {type(error).__name__}", maybe_sent=writes) from error
        if method != "apps.connections.open":
            self._on_auth(None)
        data = response.data
        return (data if isinstance(data, dict) else {}), response.headers

    def _failure(self, method: str, error: SlackApiError, writes: bool) -> Exception:
        response: Any = error.response
        data = getattr(response, "data", None)
        code = str(data.get("error", "")) if isinstance(data, dict) else ""
        status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
        headers: Mapping[str, str] = getattr(response, "headers", None) or {}
        if status == 429 or code in ("ratelimited", "rate_limited"):
            after_s = retry_after(headers)
            self._not_before[method] = self._clock() + after_s
            return RetryLater(f"{method}: rate limited", after_s=after_s)
        if not code or status >= 500:
            return RetryLater(f"{method}: answered {status} without sense", maybe_sent=writes)
        if code in AUTH_ERRORS:
            renewable = self.tokens is not None and code == "token_expired"
            if method != "apps.connections.open" and not renewable:  # that one takes another token
                self._on_auth(f"Slack refuses bot_token: {code}")
            return TokenRefused(code)
        if code in PASSING_ERRORS:
            return RetryLater(f"{method}: {code}", maybe_sent=writes)
        return Refused(code, _hint(data))

    async def put(self, url: str, content: bytes) -> None:
        """Upload a file's bytes to the address Slack gave. No answer does no harm: nothing is shared yet."""
        try:
            async with asyncio.timeout(UPLOAD_TIMEOUT_S):
                async with self.session.post(url, data=io.BytesIO(content)) as answer:  # read piece by piece
                    await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RetryLater(f"upload: {type(error).__name__}") from error
        if answer.status == 429:
            raise RetryLater("upload: rate limited", after_s=retry_after(answer.headers))
        if answer.status >= 500:
            raise RetryLater(f"upload: answered {answer.status}")
        if answer.status != 200:
            raise Refused(f"upload_{answer.status}")


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of Retry-After; 30 where it is missing or no number."""
    for name, value in headers.items():
        if name.lower() == "retry-after":
            try:
                return max(0.0, float(value))
            except ValueError:
                break
    return 30.0


def _hint(data: Any) -> str:
    """Field names and limits that Slack points out; never what was sent."""
    needed = data.get("needed")
    if isinstance(needed, str) and needed:
        return needed
    found = data.get("response_metadata")
    messages = found.get("messages") if isinstance(found, dict) else None
    return str(messages[0])[:200] if isinstance(messages, list) and messages else ""


def _flag(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value
