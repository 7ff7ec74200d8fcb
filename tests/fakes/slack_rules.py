"""What Slack refuses: Block Kit, views, metadata, scopes. Each function answers with Slack's error code."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

SCOPES: dict[str, tuple[str, ...]] = {  # method -> any one of these
    "chat.postMessage": ("chat:write",),
    "chat.postEphemeral": ("chat:write",),
    "chat.update": ("chat:write",),
    "chat.delete": ("chat:write",),
    "reactions.add": ("reactions:write",),
    "reactions.remove": ("reactions:write",),
    "users.info": ("users:read",),
    "files.getUploadURLExternal": ("files:write",),
    "files.completeUploadExternal": ("files:write",),
    "files.delete": ("files:write",),
    "files.info": ("files:read",),
}
ROOM_SCOPES = {  # method -> prefix; the ending depends on the kind of room
    "conversations.history": "history",
    "conversations.replies": "history",
    "conversations.info": "read",
    "conversations.members": "read",
    "conversations.open": "write",
}
ALL_SCOPES = (
    "app_mentions:read,channels:history,channels:read,chat:write,commands,files:read,files:write,"
    "groups:history,groups:read,im:history,im:read,im:write,mpim:history,mpim:read,reactions:read,"
    "reactions:write,users:read,users:read.email"
)
RINGING = re.compile(r"<!(?:channel|here|everyone|subteam)\b[^>]*>")

TOKENS = re.compile(
    r"<(?:@[UW][A-Z0-9]+|#[CG][A-Z0-9]+(?:\|[^<>]*)?|![a-z]+|https?://[^<>\s\0]+|mailto:[^<>\s\0]+)>"
)


class Invalid(Exception):
    """A request that Slack would refuse: its error code and a hint for the test's reader."""

    def __init__(self, code: str, hint: str = "") -> None:
        super().__init__(f"{code}: {hint}")
        self.code = code
        self.hint = hint


def need(condition: bool, hint: str, code: str = "invalid_blocks") -> None:
    if not condition:
        raise Invalid(code, hint)


def check_blocks(blocks: Any, surface: str = "message") -> None:
    """Refuse what Block Kit refuses on this surface: message, modal or home."""
    need(isinstance(blocks, list), "blocks is no list", "invalid_blocks_format")
    limit = 50 if surface == "message" else 100
    need(len(blocks) <= limit, f"more than {limit} blocks")
    ids: set[str] = set()
    total = 0
    for block in blocks:
        need(isinstance(block, dict), "a block is no object", "invalid_blocks_format")
        kind = block.get("type")
        need(kind in KINDS, f"unknown block type {kind}")
        allowed, check = KINDS[kind]
        unknown = set(block) - allowed - {"type", "block_id"}
        need(not unknown, f"{kind} has unknown fields {sorted(unknown)}")
        need(kind != "input" or surface != "home", "input on the wrong surface")
        if "block_id" in block:
            need(0 < len(block["block_id"]) <= 255, "block_id length")
            need(block["block_id"] not in ids, "block_id twice")
            ids.add(block["block_id"])
        check(block)
        total += len(repr_text(block))
    need(surface != "message" or total <= 13_200, f"{total} characters in blocks", "msg_blocks_too_long")


def repr_text(node: Any) -> str:
    """All text in a block, for limits and for looking."""
    if isinstance(node, dict):
        if node.get("type") == "user":
            return f"<@{node['user_id']}>"
        if node.get("type") == "emoji":
            return f":{node['name']}:"
        own = node["text"] if isinstance(node.get("text"), str) else ""
        return own + "".join(repr_text(v) for k, v in node.items() if not isinstance(v, str))
    if isinstance(node, list):
        return "".join(repr_text(n) for n in node)
    return ""


def visible(node: Any) -> str:
    """What a person reads of blocks: a line for each block, field and button."""
    if isinstance(node, list):
        return "\n".join(part for part in map(visible, node) if part)
    if not isinstance(node, dict):
        return ""
    kind = node.get("type", "")
    if kind in ("plain_text", "mrkdwn"):
        return str(node["text"])
    if kind in ("rich_text_section", "rich_text_quote", "rich_text_preformatted"):
        return "".join(_inline_text(n) for n in node["elements"])
    return visible([v for v in node.values() if isinstance(v, dict | list)])


def _inline_text(node: dict[str, Any]) -> str:
    named = {"user": "@{user_id}", "emoji": ":{name}:", "channel": "#{channel_id}", "broadcast": "@{range}"}
    if node["type"] in named:
        return named[node["type"]].format_map(node)
    return str(node.get("text") or node.get("url", ""))


def rings(node: Any, *, mrkdwn: bool = False) -> bool:
    """Whether a message's blocks would notify a whole channel."""
    if isinstance(node, dict):
        if node.get("type") == "broadcast":
            return True
        if node.get("type") == "mrkdwn" and RINGING.search(node.get("text", "")):
            return True
        return any(rings(v) for v in node.values())
    return any(rings(n) for n in node) if isinstance(node, list) else False


def check_text(node: Any, low: int, high: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")) -> None:
    need(isinstance(node, dict) and node.get("type") in kinds, f"text object must be one of {kinds}")
    extra = {"type", "text", "emoji"} if node["type"] == "plain_text" else {"type", "text", "verbatim"}
    need(set(node) <= extra, f"text object with unknown fields {set(node) - extra}")
    need(isinstance(node.get("text"), str), "text is no string")
    need(low <= len(node["text"]) <= high, f"text of {len(node['text'])}, allowed {low} to {high}")


def _section(block: dict[str, Any]) -> None:
    need("text" in block or "fields" in block, "section without text")
    if "text" in block:
        check_text(block["text"], 1, 3000)
    if "fields" in block:
        need(1 <= len(block["fields"]) <= 10, "section fields 1 to 10")
        for text in block["fields"]:
            check_text(text, 1, 2000)
    if "accessory" in block:
        _element(block["accessory"], set())


def _header(block: dict[str, Any]) -> None:
    check_text(block.get("text"), 1, 150, ("plain_text",))


def _actions(block: dict[str, Any]) -> None:
    need(1 <= len(block.get("elements", ())) <= 25, "1 to 25 elements")
    seen: set[str] = set()
    for element in block["elements"]:
        _element(element, seen)


def _element(element: dict[str, Any], seen: set[str]) -> None:
    kind = element.get("type")
    need(kind in ("button", "static_select", "plain_text_input"), f"unknown element {kind}")
    action_id = element.get("action_id", "")
    need(isinstance(action_id, str) and len(action_id) <= 255, "action_id length")
    need(not action_id or action_id not in seen, f"action_id {action_id} twice")
    seen.add(action_id)
    if kind == "button":
        unknown = set(element) - {"type", "text", "action_id", "url", "value", "style", "confirm"}
        need(not unknown, f"button with unknown fields {unknown}")
        check_text(element.get("text"), 1, 75, ("plain_text",))
        need(len(element.get("value", "")) <= 2000, "button value over 2000")
        need(element.get("style", "primary") in ("primary", "danger"), "button style")
        url = element.get("url", "https://x")
        need(len(url) <= 3000 and re.match(r"[a-z][a-z0-9+.-]*://|mailto:", url) is not None, "button url")
    elif kind == "plain_text_input":
        unknown = set(element) - {
            "type",
            "action_id",
            "initial_value",
            "multiline",
            "max_length",
            "placeholder",
        }
        need(not unknown, f"input with unknown fields {unknown}")
        need(0 < len(element.get("initial_value", "x")) <= 3000, "initial_value length")
        need(1 <= element.get("max_length", 1) <= 3000, "max_length")
        room = element.get("max_length", 3000)
        need(len(element.get("initial_value", "")) <= room, "initial_value over max_length")
    else:
        unknown = set(element) - {"type", "action_id", "options", "initial_option", "placeholder"}
        need(not unknown, f"select with unknown fields {unknown}")
        need(1 <= len(element.get("options", ())) <= 100, "1 to 100 options")
        for option in element["options"]:
            check_text(option.get("text"), 1, 75, ("plain_text",))
            need(0 < len(option.get("value", "")) <= 150, "option value")
        if "initial_option" in element:
            need(element["initial_option"] in element["options"], "initial_option is none of the options")


def _context(block: dict[str, Any]) -> None:
    need(1 <= len(block.get("elements", ())) <= 10, "1 to 10 elements")
    for element in block["elements"]:
        check_text(element, 1, 3000)


def _image(block: dict[str, Any]) -> None:
    need("image_url" in block or "slack_file" in block, "image without source")
    need(0 < len(block.get("alt_text", "")) <= 2000, "alt_text")


def _input(block: dict[str, Any]) -> None:
    check_text(block.get("label"), 1, 2000, ("plain_text",))
    need(isinstance(block.get("element"), dict), "input without element")
    need(block["element"].get("type") in ("plain_text_input", "static_select"), "input element")
    _element(block["element"], set())


_RICH = {
    "rich_text_section": {"type", "elements"},
    "rich_text_quote": {"type", "elements", "border"},
    "rich_text_preformatted": {"type", "elements", "border"},
    "rich_text_list": {"type", "elements", "style", "indent", "border", "offset"},
}
_INLINE = {
    "text": {"type", "text", "style"},
    "link": {"type", "url", "text", "unsafe", "style"},
    "emoji": {"type", "name", "unicode", "style"},
    "user": {"type", "user_id", "style"},
    "channel": {"type", "channel_id", "style"},
    "broadcast": {"type", "range", "style"},
}


def _rich_text(block: dict[str, Any]) -> None:
    need(bool(block.get("elements")), "rich_text without elements")
    for part in block["elements"]:
        kind = part.get("type")
        need(kind in _RICH and set(part) <= _RICH[kind], f"rich_text element {kind}")
        inner = part.get("elements")
        need(isinstance(inner, list), "rich_text element without elements")
        for node in inner:
            if kind == "rich_text_list":
                need(node.get("type") == "rich_text_section", "list items are sections")
                continue
            name = node.get("type")
            need(name in _INLINE and set(node) <= _INLINE[name], f"rich text node {name}")
            need(name != "text" or bool(node.get("text")), "empty text in rich text")
            need(name != "link" or re.match(r"https?://\w", node["url"]) is not None, "link url")
            need(kind != "rich_text_preformatted" or name in ("text", "link"), f"{name} in preformatted")
            style = node.get("style", {})
            need(set(style) <= {"bold", "italic", "strike", "code"}, "style of rich text")


KINDS: dict[str, tuple[set[str], Callable[[dict[str, Any]], None]]] = {
    "section": ({"text", "fields", "accessory", "expand"}, _section),
    "header": ({"text"}, _header),
    "divider": (set(), lambda _: None),
    "actions": ({"elements"}, _actions),
    "context": ({"elements"}, _context),
    "image": ({"image_url", "slack_file", "alt_text", "title"}, _image),
    "input": ({"label", "element", "hint", "optional", "dispatch_action"}, _input),
    "rich_text": ({"elements"}, _rich_text),
}


def check_view(view: Any) -> None:
    need(isinstance(view, dict), "view is no object", "invalid_arguments")
    kind = view.get("type")
    need(kind in ("modal", "home"), "view type", "invalid_arguments")
    allowed = {"type", "blocks", "private_metadata", "callback_id", "external_id"}
    if kind == "modal":
        allowed |= {"title", "submit", "close", "clear_on_close", "notify_on_close", "submit_disabled"}
        try:
            check_text(view.get("title"), 1, 24, ("plain_text",))
            for key in ("submit", "close"):
                if key in view:
                    check_text(view[key], 1, 24, ("plain_text",))
        except Invalid as error:
            raise Invalid("invalid_arguments", error.hint) from None
    need(set(view) <= allowed, f"view with unknown fields {set(view) - allowed}", "invalid_arguments")
    need(len(view.get("private_metadata", "")) <= 3000, "private_metadata over 3000", "invalid_arguments")
    need(len(view.get("callback_id", "")) <= 255, "callback_id over 255", "invalid_arguments")
    try:
        check_blocks(view.get("blocks"), kind)
    except Invalid as error:
        raise Invalid("invalid_arguments", error.hint) from None
    if kind == "modal" and any(b["type"] == "input" for b in view["blocks"]):
        need("submit" in view, "a modal with inputs needs submit", "invalid_arguments")


def check_metadata(value: Any) -> None:
    ok = isinstance(value, dict) and isinstance(value.get("event_type"), str)
    ok = ok and isinstance(value.get("event_payload"), dict) and len(repr(value)) < 8000
    ok = ok and all(isinstance(v, str | int | float | bool) for v in value["event_payload"].values())
    need(ok, "metadata", "invalid_metadata_format")


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def typed(text: str) -> str:
    """What Slack stores of typed text: & < > escaped, its own tokens kept."""
    parts, end = [], 0
    for token in TOKENS.finditer(text):
        parts += [escape(text[end : token.start()]), token.group()]
        end = token.end()
    return "".join([*parts, escape(text[end:])])


def posted(text: str) -> str:
    """What Slack stores of text posted by an app: entities are kept, bare & < > escaped."""
    return typed(text.replace("&lt;", "\0<").replace("&gt;", "\0>").replace("&amp;", "\0&")).replace("\0", "")
