"""The Slack channel: receiving, sending, files and people, put together."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import aiohttp
import structlog
from aiohttp import web
from pydantic import ValidationError
from yarl import URL

from channels.base import (
    Capabilities,
    Check,
    ConfigError,
    Door,
    FetchFailed,
    RetryLater,
    Setup,
    Undeliverable,
    forever,
)
from channels.conversation import Attachment, Author, Inbound, Outbound, Raw, Sent
from channels.slack import doctor
from channels.slack.api import Api, Limiter, PostLimiter, Refused, TokenRefused
from channels.slack.backfill import Backfill
from channels.slack.decode import decode
from channels.slack.envelope import as_dict
from channels.slack.receive import Receiver
from channels.slack.send import Sender
from channels.slack.settings import Settings
from channels.slack.socketmode import SocketMode
from channels.slack.tokens import Rotation

log = structlog.get_logger()

FETCH_TIMEOUT_S = 60.0
FILE_LIMIT = 64 * 2**20  # bytes of one file that we take
PROFILE_S = 600.0  # how long a profile is believed
PROFILES = 5000
START_WAIT_S = 30.0


class Slack:
    """One Slack app in one workspace."""

    kind: ClassVar[str] = "slack"

    def __init__(self, setup: Setup, *, limiter: Limiter | None = None) -> None:
        self.name = setup.name
        self.caps = Capabilities(
            attests=True,
            threads=True,
            buttons=True,
            forms=True,
            edit=True,
            delete=True,
            marks=True,
            files_out=True,
            private=True,
            commands=True,
            safe_repeat=True,
            text_limit=3000,
            shared_rooms=r"[CG].*",
        )
        try:
            self._settings = Settings.model_validate(dict(setup.settings))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(["channels", setup.name, *(str(p) for p in first["loc"])])
            raise ConfigError(f"{where}: {first['msg']}") from None
        self._door: Door | None = None
        self._auth_problem: str | None = None
        self._socket_problem: str | None = "starting"
        settings = self._settings
        self.overtakes = not settings.app_token  # HTTP posts are parallel: Slack's own times say the order
        self.exclusive = bool(settings.app_token)  # one process reads the socket and fills its gaps
        self._api = Api(
            settings.bot_token,
            settings.api_base,
            app_token=settings.app_token,
            limiter=limiter or PostLimiter(settings.posts_per_s),
            timeout_s=settings.call_timeout_s,
            on_auth=self._on_auth,
        )
        if settings.refresh_token and setup.vault is not None:
            exchange = partial(self._api.exchange, settings.client_id, settings.client_secret)
            self._api.tokens = Rotation(
                settings.bot_token, settings.refresh_token, setup.vault, setup.clock, exchange
            )
        self._sender = Sender(setup.name, self._api, setup.clock)
        self._receiver = Receiver(
            setup.name,
            settings.signing_secret,
            setup.clock,
            cursor_after=self._cursor_after,
            on_failure=self._on_failure,
            on_lost=self._on_auth,
        )
        rooms = (*settings.staff_rooms, *settings.customer_channels)
        self._backfill = Backfill(setup.name, self._api, self._receiver, setup.clock, rooms)
        self._profiles: OrderedDict[str, tuple[float, Author]] = OrderedDict()

    # ---- receiving

    async def run(self, door: Door) -> None:
        """Receive until cancelled. A token that Slack does not know is a ConfigError."""
        self._door = door
        known = await self._who_are_we()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._backfill.run(door))
            if not known:
                group.create_task(self._ask_again())
            if self._settings.app_token:
                socket = SocketMode(
                    self.name, self._api, self._receiver.receive, self._on_socket, self._backfill.want
                )
                await socket.run(door)
            else:
                self._on_socket(None)
                self._backfill.want()
                await forever()

    async def _who_are_we(self) -> bool:
        try:
            answer = await self._api.call("auth.test")
        except TokenRefused as error:
            if error.code == "token_expired":  # it may be exchanged while we run
                return False
            raise ConfigError(f"channels.{self.name}.bot_token: Slack says {error.code}") from error
        except (RetryLater, Undeliverable) as error:
            log.warning("start_call_failed", channel=self.name, method="auth.test", error=error.reason)
            return False
        self._receiver.bot_user_id = str(answer.get("user_id", ""))
        self._receiver.team_id = str(answer.get("team_id", ""))
        return True

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(START_WAIT_S)
            try:
                if await self._who_are_we():
                    return
            except ConfigError as error:
                log.warning("token_refused", channel=self.name, error=str(error))

    def routes(self, door: Door) -> Sequence[web.RouteDef]:
        """POST /slack/events, and /slack/NAME for when several Slack apps are configured."""
        if not self._settings.signing_secret or self._settings.app_token:
            return ()

        async def events(request: web.Request) -> web.Response:
            return await self._receiver.http(request, door)

        paths = dict.fromkeys(("/slack/events", f"/slack/{self.name}"))
        return [web.post(path, events) for path in paths]

    def decode(self, raw: Raw) -> Sequence[Inbound]:
        return decode(raw)

    def _cursor_after(self, payload: Any) -> str | None:
        return self._backfill.cursor_after(payload)

    def _on_failure(self, payload: Any) -> None:
        self._backfill.not_stored(payload)

    def _on_auth(self, problem: str | None) -> None:
        if problem != self._auth_problem:
            self._auth_problem = problem
            self._report()

    def _on_socket(self, problem: str | None) -> None:
        self._socket_problem = problem
        self._report()

    def _report(self) -> None:
        if self._door is not None:
            self._door.report(self._auth_problem or self._socket_problem)

    # ---- sending

    async def send(self, message: Outbound) -> Sent:
        return await self._sender.send(message)

    # ---- files and people

    async def fetch(self, attachment: Attachment) -> bytes:
        """Get a private file with our token. A sign-in page means that we may not have it."""
        ref = attachment.ref
        if ref.startswith("id:"):
            ref = await self._address_of(ref.removeprefix("id:"))
        if not ref:
            raise FetchFailed("no address", final=True)
        try:
            headers = {"Authorization": f"Bearer {await self._api.token()}"} if self._is_slack(ref) else {}
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                async with self._api.session.get(ref, headers=headers, allow_redirects=False) as answer:
                    return await self._content(answer, attachment)
        except RetryLater as error:
            raise FetchFailed(error.reason) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise FetchFailed(type(error).__name__) from error

    def _is_slack(self, ref: str) -> bool:
        """Our token goes to Slack only, whatever an event names as the address of a file."""
        host, api = URL(ref).host or "", URL(self._settings.api_base).host
        return host == api or (
            URL(ref).scheme == "https" and host.endswith((".slack.com", ".slack-files.com"))
        )

    async def _content(self, answer: aiohttp.ClientResponse, attachment: Attachment) -> bytes:
        if 300 <= answer.status < 400:
            raise FetchFailed("redirected to sign in", final=True)
        if answer.status == 429 or answer.status >= 500:
            raise FetchFailed(f"answered {answer.status}")
        if answer.status != 200:
            raise FetchFailed(f"answered {answer.status}", final=True)
        is_page = answer.content_type == "text/html"
        if is_page and attachment.content_type != "text/html":
            raise FetchFailed("a sign-in page instead of the file", final=True)
        chunks: list[bytes] = []
        taken = 0
        async for chunk in answer.content.iter_chunked(2**16):
            taken += len(chunk)
            if taken > FILE_LIMIT:
                raise FetchFailed("too large", final=True)
            chunks.append(chunk)
        if is_page and attachment.size is not None and taken != attachment.size:
            raise FetchFailed("a sign-in page instead of the file", final=True)
        return b"".join(chunks)

    async def _address_of(self, file_id: str) -> str:
        try:
            answer = await self._api.call("files.info", file=file_id)
        except Refused as error:
            raise FetchFailed(error.code, final=True) from error
        except (RetryLater, Undeliverable) as error:
            raise FetchFailed(error.reason) from error
        entry = as_dict(answer.get("file"))
        return str(entry.get("url_private_download") or entry.get("url_private") or "")

    async def profile(self, user_id: str) -> Author | None:
        """A person's name and rights, believed for ten minutes; None for whom Slack does not know."""
        team, _, user = user_id.rpartition(":")
        kept = self._profiles.get(user_id)
        if kept is not None and time.monotonic() - kept[0] < PROFILE_S:
            return kept[1]
        try:
            answer = await self._api.call("users.info", user=user, include_locale=True)
        except Refused:
            return None
        except RetryLater:
            return kept[1] if kept else None
        author = _author(as_dict(answer.get("user")), team, self._receiver.team_id or team)
        self._profiles[user_id] = (time.monotonic(), author)
        while len(self._profiles) > PROFILES:
            self._profiles.popitem(last=False)
        return author

    async def check(self) -> Sequence[Check]:
        return await doctor.check(self._settings, self._api)

    async def close(self) -> None:
        await self._api.close()


def _author(user: Any, team: str, own_team: str) -> Author:
    profile = as_dict(user.get("profile"))
    ours = str(user.get("team_id") or team) == own_team and not user.get("is_stranger")
    email = str(profile.get("email") or "").lower()
    limited = ("is_restricted", "is_ultra_restricted", "deleted", "is_stranger", "is_bot")
    return Author(
        user_id=f"{user.get('team_id') or team}:{user.get('id', '')}",
        name=str(profile.get("real_name") or user.get("real_name") or profile.get("display_name") or ""),
        handle=str(profile.get("display_name") or user.get("name") or ""),
        verified_email=email or None if ours and user.get("is_email_confirmed") else None,
        language=str(user.get("locale") or "") or None,
        is_bot=bool(user.get("is_bot")),
        may_command=ours and not any(user.get(k) for k in limited),
    )
