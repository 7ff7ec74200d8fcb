"""The app manifest to paste into Slack: exactly the scopes and events that the adapter uses.

https://docs.slack.dev/reference/app-manifest
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SCOPES: dict[str, str] = {  # scope -> what needs it
    "app_mentions:read": "app_mention",
    "channels:history": "message.channels, conversations.history, conversations.replies",
    "channels:read": "conversations.info, channel_id_changed",
    "chat:write": "chat.postMessage, chat.postEphemeral, chat.update, chat.delete",
    "commands": "slash commands, message shortcuts",
    "files:read": "url_private, files.info",
    "files:write": "files.getUploadURLExternal, files.completeUploadExternal",
    "groups:history": "message.groups, conversations.history, conversations.replies",
    "groups:read": "conversations.info",
    "im:history": "message.im, conversations.history, conversations.replies",
    "im:write": "conversations.open",
    "mpim:history": "message.mpim",
    "reactions:read": "reaction_added, reaction_removed",
    "reactions:write": "reactions.add, reactions.remove",
    "users:read": "users.info",
    "users:read.email": "users.info",
}
EVENTS = (
    "app_home_opened",
    "app_mention",
    "app_uninstalled",
    "channel_id_changed",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "reaction_added",
    "reaction_removed",
    "tokens_revoked",
)
NAME_LIMIT = 35  # display_information.name
BOT_NAME_LIMIT = 80
COMMANDS_LIMIT = 50  # features.slash_commands
COMMAND_LIMIT = 32
DESCRIPTION_LIMIT = 2000
SHORTCUT_LIMIT = 24
SHORTCUTS_LIMIT = 10
SHORTCUT_TEXT_LIMIT = 150


def manifest(
    commands: Mapping[str, Mapping[str, str]],
    *,
    name: str = "Wellheard",
    language: str = "en",
    shortcuts: Sequence[tuple[str, str, str]] = (),
    socket_mode: bool = True,
    public_url: str = "",
    path: str = "/slack/events",
) -> dict[str, Any]:
    """Build the manifest of one app.

    `commands` are descriptions by language and name, as in Setup; `shortcuts` are message shortcuts as
    (callback_id, name, description). Without `socket_mode` every address is `public_url` + `path`.
    """
    texts = commands.get(language) or next(iter(commands.values()), {})
    where = {} if socket_mode else {"request_url": public_url.rstrip("/") + path}
    address = {} if socket_mode else {"url": where["request_url"]}
    slash = [
        {
            "command": f"/{command}"[:COMMAND_LIMIT],
            **address,
            "description": (text or command)[:DESCRIPTION_LIMIT],
            "should_escape": True,
        }
        for command, text in sorted(texts.items())[:COMMANDS_LIMIT]
    ]
    features: dict[str, Any] = {
        "app_home": {
            "home_tab_enabled": True,
            "messages_tab_enabled": True,
            "messages_tab_read_only_enabled": False,
        },
        "bot_user": {"display_name": name[:BOT_NAME_LIMIT], "always_online": True},
    }
    if shortcuts:
        features["shortcuts"] = [
            {
                "name": label[:SHORTCUT_LIMIT],
                "type": "message",
                "callback_id": callback_id,
                "description": text[:SHORTCUT_TEXT_LIMIT],
            }
            for callback_id, label, text in shortcuts[:SHORTCUTS_LIMIT]
        ]
    if slash:
        features["slash_commands"] = slash
    return {
        "display_information": {"name": name[:NAME_LIMIT]},
        "features": features,
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**where, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **where},
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
    }
