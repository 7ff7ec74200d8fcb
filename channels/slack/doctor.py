"""For doctor: try the token, every scope by name, the rooms and the socket for real."""

from __future__ import annotations

from collections.abc import Sequence

from channels.base import Check, RetryLater, Undeliverable
from channels.slack.api import Api, TokenRefused
from channels.slack.manifest import SCOPES
from channels.slack.settings import Settings

APP_PAGE = "https://api.slack.com/apps"


async def check(settings: Settings, api: Api) -> Sequence[Check]:
    """Each finding says what was tried, how it went and what to do."""
    found: list[Check] = []
    try:
        answer, headers = await api.call_with_headers("auth.test")
    except TokenRefused as error:
        if error.code == "token_expired" and settings.refresh_token:
            fix = "it is exchanged when the service starts"
            return [Check("bot_token", "warn", "the configured one has ended", fix)]
        fix = f"copy the Bot User OAuth Token (xoxb-) from {APP_PAGE}, OAuth & Permissions"
        return [Check("bot_token", "fail", error.code, fix)]
    except (RetryLater, Undeliverable) as error:
        return [Check("bot_token", "fail", error.reason, f"is {settings.api_base} reachable from here?")]
    found.append(Check("bot_token", "ok", f"{answer.get('team_id', '')} {answer.get('user_id', '')}"))
    found += _scopes({name.lower(): value for name, value in headers.items()}.get("x-oauth-scopes"))
    for what, room in (
        *(("staff_channel" if r == settings.staff_channel else "routes", r) for r in settings.staff_rooms),
        *(("customer_channels", r) for r in settings.customer_channels),
    ):
        if room:
            found.append(await _room(api, what, room))
    found.append(await _transport(settings, api))
    return found


def _scopes(header: str | None) -> list[Check]:
    if header is None:
        return [Check("scopes", "warn", "Slack did not say which scopes the token has")]
    has = {s.strip() for s in header.split(",")}
    missing = [s for s in SCOPES if s not in has]
    if not missing:
        return [Check("scopes", "ok", f"{len(SCOPES)} of {len(SCOPES)}")]
    return [
        Check(
            f"scope {scope}",
            "fail",
            f"missing; needed by {SCOPES[scope]}",
            f"add {scope} at {APP_PAGE}, OAuth & Permissions, then install the app again",
        )
        for scope in missing
    ]


async def _room(api: Api, what: str, room: str) -> Check:
    try:
        answer = await api.call("conversations.info", channel=room)
    except (RetryLater, Undeliverable) as error:
        return Check(what, "fail", f"{room}: {error.reason}", "take the id (C…) from the channel's details")
    info = answer.get("channel") or {}
    if info.get("is_archived"):
        return Check(what, "fail", f"{room} is archived", "unarchive it or choose another channel")
    if not info.get("is_member") and not info.get("is_im"):
        return Check(what, "fail", f"the app is not in {room}", "write /invite and the app's name there")
    if what != "customer_channels" and info.get("is_ext_shared"):
        detail = f"{room} is shared with another company"
        return Check(what, "warn", detail, "choose a channel only staff can read")
    return Check(what, "ok", room)


async def _transport(settings: Settings, api: Api) -> Check:
    if not settings.app_token:
        return Check("signing_secret", "ok", "events come by HTTP to /slack/events")
    try:
        await api.call("apps.connections.open")
    except (RetryLater, Undeliverable) as error:
        fix = f"create an App-Level Token (xapp-) with connections:write at {APP_PAGE}; switch Socket Mode on"
        return Check("app_token", "fail", getattr(error, "code", error.reason), fix)
    return Check("app_token", "ok", "Socket Mode")
