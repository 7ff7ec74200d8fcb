"""A Slack on loopback: Web API, Socket Mode, signed HTTP events, people who write, press and submit.

It refuses what Slack refuses (slack_rules.py) and fails on demand. Example:

    async with FakeSlack() as slack:
        ts = await slack.says("U0ANNA", slack.staff_channel, "hello")
        await slack.until(lambda: slack.messages(slack.staff_channel, thread_ts=ts))
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from aiohttp import web

from tests.fakes import slack_rules as rules
from tests.fakes.slack_api import Api
from tests.fakes.slack_wire import BOT_USER, TEAM, Json, Wire

BOT_ID = "B0BOT"


@dataclass
class Room:
    id: str
    name: str = ""
    user: str = ""  # the person, when this is a direct message
    member: bool = True  # whether the bot is in it
    archived: bool = False
    private: bool = False
    shared: bool = False
    messages: dict[str, Json] = field(default_factory=dict)  # ts -> message, in order
    reactions: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def is_im(self) -> bool:
        return bool(self.user)

    @property
    def channel_type(self) -> str:
        return "im" if self.is_im else "group" if self.private else "channel"


@dataclass
class Fault:
    kind: Literal[
        "ratelimited", "500", "html", "json", "reset_before", "reset_after", "hang", "slow", "error"
    ]
    times: int = 1
    after_s: float = 1.0  # Retry-After, or how long "slow" takes
    code: str = ""  # of "error"


class FakeSlack(Wire):
    """The far side of `channels.slack`. `mode` says how events reach the app: "socket" or "http"."""

    def __init__(self, mode: Literal["socket", "http"] = "socket", *, ack_s: float = 3.0) -> None:
        super().__init__(mode, ack_s)
        self.bot_token = "xoxb-fake-bot"
        self.app_token = "xapp-fake-app"
        self.team = TEAM
        self.bot_user = BOT_USER
        self.staff_channel = "C0STAFF"
        self.scopes: set[str] = set(rules.ALL_SCOPES.split(","))
        self.rooms: dict[str, Room] = {}
        self.users: dict[str, Json] = {}
        self.files: dict[str, Json] = {}
        self.views: list[Json] = []  # modals opened, newest last
        self.homes: dict[str, Json] = {}  # user -> published view
        self.ephemerals: list[Json] = []
        self.rings: list[Json] = []  # messages of the bot that would have notified a whole channel
        self.calls: list[tuple[str, Json, float]] = []  # method, parameters, time.monotonic()
        self.refused: list[tuple[str, str, str]] = []  # method, error code, hint
        self.triggers: dict[str, float] = {}  # trigger_id -> time.monotonic() at which it ends
        self.trigger_s = 3.0
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.token_valid = True
        self.refresh_token = ""  # set where tokens rotate: it works once
        self.client = ("1234.5678", "client-secret")
        self.exchanges = 0
        self.ended: set[str] = set()
        self.url = ""
        self._count = itertools.count(1)
        self._stopping = asyncio.Event()
        self.add_user(BOT_USER, "wellheard", bot=True)
        self.add_room(self.staff_channel, "support")

    async def __aenter__(self) -> FakeSlack:
        app = web.Application(client_max_size=64 * 2**20)
        api = Api(self)
        app.router.add_route("*", "/api/{method}", api.handle)
        app.router.add_route("*", "/upload/{file}", api.upload)
        app.router.add_get("/files-pri/{file}/{name}", api.download)
        app.router.add_get("/signin", api.sign_in)
        app.router.add_get("/socket", self._socket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/api/"
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for socket in tuple(self.sockets):
            await socket.close()
        await self._http.close()
        await self._runner.cleanup()

    # ---- set-up

    def settings(self, **more: Any) -> Json:
        """A `[channels.NAME]` table that reaches this server."""
        table: Json = {
            "kind": "slack",
            "bot_token": self.bot_token,
            "signing_secret": self.signing_secret,
            "api_base": self.url,
            "staff_channel": self.staff_channel,
        }
        if self.mode == "socket":
            table["app_token"] = self.app_token
        return table | more

    def rotates(self) -> Json:
        """Tokens end from now on. What an app must know for the exchange."""
        self.bot_token, self.refresh_token = "xoxe.xoxb-1-first", "xoxe-1-first"
        client_id, client_secret = self.client
        return {"refresh_token": self.refresh_token, "client_id": client_id, "client_secret": client_secret}

    def exchange(self, p: Json) -> Json:
        """oauth.v2.access with a refresh token."""
        client_id, client_secret = self.client
        if p.get("client_id") != client_id:
            raise rules.Invalid("invalid_client_id")
        if p.get("client_secret") != client_secret:
            raise rules.Invalid("bad_client_secret")
        if p.get("grant_type") != "refresh_token":
            raise rules.Invalid("invalid_grant_type")
        if not self.refresh_token or p.get("refresh_token") != self.refresh_token:
            raise rules.Invalid("invalid_refresh_token")
        self.exchanges += 1
        self.ended.add(self.bot_token)
        self.bot_token = f"xoxe.xoxb-1-{self.exchanges}"
        self.refresh_token = f"xoxe-1-{self.exchanges}"
        self.token_valid = True
        found = {"access_token": self.bot_token, "refresh_token": self.refresh_token, "expires_in": 43200}
        return found | {"token_type": "bot", "bot_user_id": self.bot_user, "app_id": "A0APP"}

    def add_user(
        self,
        user: str,
        name: str = "",
        *,
        team: str = TEAM,
        email: str = "",
        confirmed: bool = True,
        guest: bool = False,
        deleted: bool = False,
        bot: bool = False,
        locale: str = "",
    ) -> str:
        name = name or user.lower()
        self.users[user] = {
            "id": user,
            "team_id": team,
            "name": name,
            "deleted": deleted,
            "real_name": name.title(),
            "is_bot": bot,
            "is_restricted": guest,
            "is_ultra_restricted": False,
            "is_stranger": team != TEAM,
            "is_email_confirmed": confirmed,
            "locale": locale,
            "profile": {"real_name": name.title(), "display_name": name, "email": email, "team": team},
        }
        return user

    def add_room(self, room: str, name: str = "", **more: Any) -> str:
        self.rooms[room] = Room(room, name or room.lower(), **more)
        return room

    def dm(self, user: str) -> str:
        """The direct-message room of a person with the bot."""
        self._user(user)
        room = "D" + user[1:]
        if room not in self.rooms:
            self.rooms[room] = Room(room, user=user)
        return room

    def fault(self, method: str, kind: Any, times: int = 1, *, after_s: float = 1.0, code: str = "") -> None:
        """Let the next calls of a method ("*" for any, "upload" for file bytes) fail."""
        self.faults[method].append(Fault(kind, times, after_s, code))

    def calls_of(self, method: str) -> list[Json]:
        return [parameters for name, parameters, _ in self.calls if name == method]

    # ---- what people do

    def mention(self, user: str = BOT_USER) -> str:
        return f"<@{user}>"

    async def says(
        self,
        user: str,
        channel: str,
        text: str,
        thread_ts: str | None = None,
        *,
        files: Sequence[tuple[str, str, bytes]] = (),
        broadcast: bool = False,
        deliver: bool = True,
    ) -> str:
        """Write a message as a person; `channel` "" is the direct message to the bot. Returns its ts."""
        who = self._user(user)
        room = self.rooms[channel or self.dm(user)]
        message: Json = {
            "type": "message",
            "user": user,
            "text": rules.typed(text),
            "ts": self._ts(),
            "client_msg_id": str(uuid.uuid4()),
            "team": who["team_id"],
        }
        if who["team_id"] != TEAM:
            message |= {
                "user_team": who["team_id"],
                "source_team": who["team_id"],
                "user_profile": who["profile"],
            }
        if thread_ts:
            message["thread_ts"] = thread_ts
        if files:
            message["subtype"] = "file_share"
            message["files"] = [self.store_file(*f, user=user) for f in files]
        if broadcast:
            message["subtype"] = "thread_broadcast"
        self.put(room, message)
        if deliver:
            await self.event(self.as_event(room, message))
            if f"<@{BOT_USER}>" in message["text"] and not room.is_im:
                await self.event({**self.as_event(room, message), "type": "app_mention"})
        return str(message["ts"])

    async def edits(self, user: str, ts: str, text: str) -> None:
        room, message = self._find(ts)
        previous = dict(message)
        message["text"] = rules.typed(text)
        message["edited"] = {"user": user, "ts": self._ts()}
        await self.changed(room, message, previous)

    async def unfurls(self, ts: str) -> None:
        """Slack attaches a preview: message_changed without a new `edited`."""
        room, message = self._find(ts)
        previous = dict(message)
        message["attachments"] = [{"id": 1, "title": "A page", "from_url": "https://example.com/"}]
        await self.changed(room, message, previous)

    async def deletes(self, user: str, ts: str) -> None:
        room, message = self._find(ts)
        del user
        await self.remove(room, message)

    async def reacts(self, user: str, ts: str, name: str, *, take_back: bool = False) -> None:
        room, message = self._find(ts)
        people = room.reactions[ts].setdefault(name, [])
        if take_back:
            people.remove(user)
        else:
            people.append(user)
        await self.event(self.reaction(room, message, user, name, take_back))

    async def press(self, user: str, message: Json | str, label: str) -> Json:
        """Press the button with this label under a message (ts or message) or in a view."""
        room: Room | None
        if isinstance(message, str):
            room, message = self._find(message)
        else:
            room = self.rooms.get(message.get("channel", "")) or self._room_of(message)
        block, button = self.button(message, label)
        payload = self._interaction(user, "block_actions")
        if room is not None:
            payload["channel"] = {"id": room.id, "name": "directmessage" if room.is_im else room.name}
            payload["message"] = {k: v for k, v in message.items() if k not in ("metadata", "channel")}
            payload["container"] = {
                "type": "message",
                "message_ts": message["ts"],
                "channel_id": room.id,
                "is_ephemeral": bool(message.get("is_ephemeral")),
            }
            if "thread_ts" in message:
                payload["container"]["thread_ts"] = message["thread_ts"]
        else:
            payload["view"] = message
            payload["container"] = {"type": "view", "view_id": message["id"]}
        action = {"block_id": block["block_id"], "type": "button", "action_ts": self._ts()}
        action |= {k: button[k] for k in ("action_id", "text", "value", "style", "url") if k in button}
        payload["actions"] = [action]
        payload["state"] = {"values": {}}
        await self._deliver("interactive", payload)
        return payload

    async def submits(self, user: str, view: Json, values: dict[str, str]) -> None:
        """Submit a modal; values by action_id, block_id or label."""
        state: Json = {}
        unused = dict(values)
        for block in view["blocks"]:
            if block["type"] != "input":
                continue
            element = block["element"]
            keys = (element["action_id"], block["block_id"], block["label"]["text"])
            value = next((unused.pop(k) for k in keys if k in unused), None)
            if element["type"] == "static_select":
                chosen = [o for o in element["options"] if value in (o["value"], o["text"]["text"])]
                entry: Json = {"type": "static_select", "selected_option": chosen[0] if chosen else None}
                if not chosen:
                    entry["selected_option"] = element.get("initial_option")
            else:
                entry = {"type": "plain_text_input", "value": value or element.get("initial_value")}
            state[block["block_id"]] = {element["action_id"]: entry}
        assert not unused, f"the view has no inputs {sorted(unused)}"
        payload = self._interaction(user, "view_submission")
        payload["view"] = {**view, "state": {"values": state}}
        await self._deliver("interactive", payload)

    async def slash(self, user: str, channel: str, command: str, text: str = "") -> Json:
        who = self._user(user)
        room = self.rooms[channel or self.dm(user)]
        payload = {
            "token": "legacy",
            "team_id": who["team_id"],
            "team_domain": "example",
            "channel_id": room.id,
            "channel_name": "directmessage" if room.is_im else room.name,
            "user_id": user,
            "user_name": who["name"],
            "command": command,
            "text": rules.typed(text),
            "api_app_id": "A0APP",
            "is_enterprise_install": "false",
            "response_url": f"{self.root}/response",
            "trigger_id": self.trigger(),
        }
        await self._deliver("slash_commands", payload)
        return payload

    async def shortcut(self, user: str, ts: str, callback_id: str) -> None:
        """Choose a message shortcut."""
        room, message = self._find(ts)
        payload = self._interaction(user, "message_action")
        payload |= {
            "callback_id": callback_id,
            "action_ts": self._ts(),
            "message_ts": ts,
            "channel": {"id": room.id, "name": room.name},
            "message": dict(message),
            "response_url": f"{self.root}/response",
        }
        await self._deliver("interactive", payload)

    async def opens_home(self, user: str) -> None:
        self._user(user)
        room = self.dm(user)
        ts = self._ts()
        await self.event(
            {"type": "app_home_opened", "user": user, "channel": room, "tab": "home", "event_ts": ts}
        )

    # ---- what the far side shows

    def messages(self, channel: str, thread_ts: str | None = None) -> list[Json]:
        """Messages of a channel's top level, or of a thread without its parent; oldest first."""
        found = self.rooms[channel].messages.values()
        if thread_ts:
            return [m for m in found if m.get("thread_ts") == thread_ts and m["ts"] != thread_ts]
        return [m for m in found if m.get("thread_ts", m["ts"]) == m["ts"]]

    def text(self, message: Json) -> str:
        """Everything a person sees of a message or view."""
        files = " ".join(f["name"] for f in message.get("files", ()))
        blocks = rules.visible(message.get("blocks", []))
        return "\n".join(p for p in (blocks or message.get("text", ""), files) if p)

    def contents(self, message: Json) -> list[bytes]:
        """The files of a message."""
        return [self.files[f["id"]]["content"] for f in message.get("files", ())]

    def reactions(self, channel: str, ts: str) -> list[str]:
        return [name for name, people in self.rooms[channel].reactions[ts].items() if people]

    def button(self, message: Json, label: str) -> tuple[Json, Json]:
        for block in message.get("blocks", ()):
            for element in block.get("elements", ()) if block["type"] == "actions" else ():
                if element["text"]["text"] == label:
                    return block, element
        raise AssertionError(f"no button {label!r}: {[self.text(message)]}")

    def buttons(self, message: Json) -> list[str]:
        return [
            e["text"]["text"]
            for b in message.get("blocks", ())
            if b["type"] == "actions"
            for e in b["elements"]
        ]

    # ---- shared with the Web API

    def put(self, room: Room, message: Json) -> None:
        room.messages[message["ts"]] = message
        parent = room.messages.get(message.get("thread_ts", ""))
        if parent is not None and parent is not message:
            parent["thread_ts"] = parent["ts"]
            parent["reply_count"] = parent.get("reply_count", 0) + 1
            parent["latest_reply"] = message["ts"]

    def as_event(self, room: Room, message: Json) -> Json:
        hidden = ("metadata", "reply_count", "latest_reply")
        event = {k: v for k, v in message.items() if k not in hidden}
        return event | {"channel": room.id, "channel_type": room.channel_type, "event_ts": message["ts"]}

    async def changed(self, room: Room, message: Json, previous: Json) -> None:
        await self.event(
            {
                "type": "message",
                "subtype": "message_changed",
                "hidden": True,
                "channel": room.id,
                "channel_type": room.channel_type,
                "ts": self._ts(),
                "message": {k: v for k, v in message.items() if k != "metadata"} | {"source_team": TEAM},
                "previous_message": previous,
                "event_ts": self._ts(),
            }
        )

    async def remove(self, room: Room, message: Json) -> None:
        ts = message["ts"]
        previous = dict(message)
        if self.messages(room.id, ts):  # Slack leaves a tombstone over a thread
            message.clear()
            message |= {
                "type": "message",
                "subtype": "tombstone",
                "hidden": True,
                "text": "This message was deleted.",
                "user": "USLACKBOT",
                "ts": ts,
                "thread_ts": ts,
            }
            await self.changed(room, message, previous)
            return
        del room.messages[ts]
        event = {"type": "message", "subtype": "message_deleted", "hidden": True, "channel": room.id}
        event |= {"channel_type": room.channel_type, "ts": self._ts(), "deleted_ts": ts}
        await self.event(event | {"previous_message": previous, "event_ts": self._ts()})

    def reaction(self, room: Room, message: Json, user: str, name: str, take_back: bool) -> Json:
        return {
            "type": "reaction_removed" if take_back else "reaction_added",
            "user": user,
            "reaction": name,
            "item": {"type": "message", "channel": room.id, "ts": message["ts"]},
            "item_user": message.get("user", ""),
            "event_ts": self._ts(),
        }

    def store_file(
        self, name: str, content_type: str, content: bytes, *, user: str = BOT_USER, ident: str = ""
    ) -> Json:
        ident = ident or f"F{next(self._ids):08d}"
        url = f"{self.root}/files-pri/{ident}/{name}"
        meta = {
            "id": ident,
            "name": name,
            "title": name,
            "mimetype": content_type,
            "filetype": name.rpartition(".")[2],
            "user": user,
            "size": len(content),
            "mode": "hosted",
            "url_private": url,
            "url_private_download": url,
            "file_access": "visible",
        }
        self.files[ident] = {"meta": meta, "content": content}
        return meta

    def trigger(self) -> str:
        ident = f"{next(self._ids)}.{uuid.uuid4().hex[:12]}"
        self.triggers[ident] = time.monotonic() + self.trigger_s
        return ident

    def view_id(self) -> str:
        return f"V{next(self._ids):08d}"

    def _ts(self) -> str:
        """A message id: seconds and a counter, as unique and as sortable as Slack's."""
        return f"{int(time.time())}.{next(self._count):06d}"

    next_ts = _ts

    def _user(self, user: str) -> Json:
        if user not in self.users:
            self.add_user(user)
        return self.users[user]

    def _find(self, ts: str) -> tuple[Room, Json]:
        for room in self.rooms.values():
            if ts in room.messages:
                return room, room.messages[ts]
        raise AssertionError(f"no message {ts}")

    def _room_of(self, message: Json) -> Room | None:
        return next(
            (r for r in self.rooms.values() if r.messages.get(message.get("ts", "")) is message), None
        )

    def _interaction(self, user: str, kind: str) -> Json:
        who = self._user(user)
        return {
            "type": kind,
            "user": {"id": user, "username": who["name"], "name": who["name"], "team_id": who["team_id"]},
            "api_app_id": "A0APP",
            "token": "legacy",
            "team": {"id": TEAM, "domain": "example"},
            "enterprise": None,
            "is_enterprise_install": False,
            "trigger_id": self.trigger(),
        }
