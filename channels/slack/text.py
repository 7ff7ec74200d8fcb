"""Slack's escaping, both ways: `<@U1>`, `<url|label>` and `&amp;` in; literal text out."""

from __future__ import annotations

import re
from dataclasses import dataclass

TOKEN = re.compile(r"<([^<>]*)>")
ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))  # in this order: &amp;lt; is the text &lt;


@dataclass(frozen=True, slots=True)
class Understood:
    """What a Slack text says. `to_us` is true when it names our bot; `mentions` are the other user ids."""

    text: str
    mentions: tuple[str, ...] = ()
    to_us: bool = False


def understand(source: str, bot_user_id: str = "") -> Understood:
    """Turn Slack's mrkdwn into plain text. A mention of our bot at the start is taken off.

    >>> understand("<@U0BOT> is <https://a.example|this> a &lt; b, <@U2>?", "U0BOT")
    Understood(text='is this (https://a.example) a < b, @U2?', mentions=('U2',), to_us=True)
    """
    mentions: list[str] = []
    to_us = False
    parts: list[str] = []
    end = 0
    for match in TOKEN.finditer(source):
        parts.append(unescape(source[end : match.start()]))
        end = match.end()
        inner, _, label = match.group(1).partition("|")
        if inner.startswith("@"):
            user = inner[1:]
            if bot_user_id and user == bot_user_id:
                to_us = True
                if not "".join(parts).strip():
                    parts = []
                    continue
            elif user not in mentions:
                mentions.append(user)
        parts.append(_token(inner, unescape(label)))
    parts.append(unescape(source[end:]))
    text = "".join(parts)
    return Understood(text.lstrip(" :,\u00a0") if to_us and _leads(source, bot_user_id) else text,
                      tuple(mentions), to_us)  # fmt: skip


def _leads(source: str, bot_user_id: str) -> bool:
    return source.lstrip().startswith((f"<@{bot_user_id}>", f"<@{bot_user_id}|"))


def _token(inner: str, label: str) -> str:
    match inner[:1]:
        case "@":
            return f"@{label or inner[1:]}"
        case "#":
            return f"#{label or inner[1:]}"
        case "!":
            return _special(inner[1:], label)
    url = unescape(inner)
    bare = url.removeprefix("mailto:").removeprefix("tel:")
    if (
        not label
        or label in (url, bare)
        or url in (f"http://{label}", f"https://{label}", f"http://{label}/")
    ):
        return label or bare
    return f"{label} ({bare})"


def _special(name: str, label: str) -> str:
    if name.startswith("date^"):
        return label or name.split("^")[1]
    if name.startswith("subteam^"):
        return label if label.startswith("@") else f"@{label or name.removeprefix('subteam^')}"
    return label if label.startswith("@") else f"@{label or name}"


def unescape(text: str) -> str:
    for entity, plain in ENTITIES:
        text = text.replace(entity, plain)
    return text


def escape(text: str) -> str:
    """Make text literal wherever Slack reads mrkdwn tokens: no `<!channel>`, no disguised link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
