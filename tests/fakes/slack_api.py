"""The Web API of the Slack on loopback: one method each, refusing as the real one does."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes import slack_rules as rules
from tests.fakes.slack_rules import Invalid, need

if TYPE_CHECKING:
    from tests.fakes.slack import FakeSlack, Room

Json = dict[str, Any]
POST_FIELDS = {
    *("channel", "text", "blocks", "attachments", "thread_ts", "reply_broadcast", "mrkdwn", "parse"),
    *("link_names", "unfurl_links", "unfurl_media", "metadata", "username", "icon_url", "user", "ts"),
    *("as_user", "token"),
}


class Api:
    """Answers /api/METHOD."""

    def __init__(self, slack: FakeSlack) -> None:
        self.slack = slack
        self.uploads: dict[str, Json] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        parameters = await self._parameters(request)
        self.slack.calls.append((method, parameters, time.monotonic()))
        after = await self._fault(request, method)
        if isinstance(after, web.StreamResponse):
            return after
        headers = {"X-OAuth-Scopes": ",".join(sorted(self.slack.scopes))}
        try:
            answer: Json = {"ok": True} | await self._answer(request, method, parameters)
        except Invalid as error:
            self.slack.refused.append((method, error.code, error.hint))
            answer = {"ok": False, "error": error.code}
            if error.code == "missing_scope":
                answer |= {"needed": error.hint, "provided": headers["X-OAuth-Scopes"]}
            elif error.hint:
                answer["response_metadata"] = {"messages": [f"[ERROR] {error.hint}"]}
        if after == "reset_after":
            return await self._abort(request)
        return web.json_response(answer, headers=headers)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        after = await self._fault(request, "upload")
        if isinstance(after, web.StreamResponse):
            return after
        entry = self.uploads.get(request.match_info["file"])
        content = await request.read()
        if content and request.content_type == "multipart/form-data":
            return web.Response(status=400, text="the fake takes raw bytes")
        if entry is None or len(content) != entry["length"]:
            return web.Response(status=400, text="length differs")
        entry["content"] = content
        return web.Response(text=f"OK - {len(content)}")

    async def download(self, request: web.Request) -> web.StreamResponse:
        """url_private: without the token, or for a file that is gone, a sign-in page with 200."""
        after = await self._fault(request, "download")
        if isinstance(after, web.StreamResponse):
            return after
        stored = self.slack.files.get(request.match_info["file"])
        if request.headers.get("Authorization") != f"Bearer {self.slack.bot_token}":
            raise web.HTTPFound("/signin?redir=file")
        if stored is None or "files:read" not in self.slack.scopes:
            return web.Response(text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
        return web.Response(body=stored["content"], content_type=stored["meta"]["mimetype"])

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html")

    # ---- plumbing

    async def _parameters(self, request: web.Request) -> Json:
        found: Json = dict(request.query)
        if request.content_type == "application/json":
            found |= await request.json()
        elif request.method == "POST":
            found |= {k: v for k, v in (await request.post()).items() if isinstance(v, str)}
        for key in ("blocks", "view", "metadata", "files"):
            if isinstance(found.get(key), str):
                found[key] = json.loads(found[key])
        return found

    async def _fault(self, request: web.Request, method: str) -> web.StreamResponse | str:
        waiting = self.slack.faults[method] or self.slack.faults["*"]
        if not waiting:
            return ""
        fault = waiting[0]
        fault.times -= 1
        if fault.times <= 0:
            waiting.popleft()
        match fault.kind:
            case "ratelimited":
                body = {"ok": False, "error": "ratelimited"}
                return web.json_response(body, status=429, headers={"Retry-After": f"{fault.after_s:g}"})
            case "500":
                return web.Response(status=503, text="upstream")
            case "html":
                return web.Response(text="<!DOCTYPE html><h1>Server Error</h1>", content_type="text/html")
            case "json":
                return web.Response(text='{"ok": tr', content_type="application/json")
            case "error":
                return web.json_response({"ok": False, "error": fault.code})
            case "reset_before":
                return await self._abort(request)
            case "hang":
                await self.slack._stopping.wait()
                return await self._abort(request)
            case "slow":
                await asyncio.sleep(fault.after_s)
        return fault.kind

    async def _abort(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _answer(self, request: web.Request, method: str, p: Json) -> Json:
        if method == "oauth.v2.access":  # the app vouches for itself, there is no token
            return self.slack.exchange(p)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") in self.slack.ended:
            raise Invalid("token_expired")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or p.get("token", "")
        need(bool(token), "", "not_authed")
        expected = self.slack.app_token if method == "apps.connections.open" else self.slack.bot_token
        if token != expected:
            known = (self.slack.app_token, self.slack.bot_token)
            raise Invalid("not_allowed_token_type" if token in known else "invalid_auth")
        need(self.slack.token_valid, "", "token_expired")
        call = getattr(self, "_" + method.replace(".", "_"), None)
        need(call is not None, "", "unknown_method")
        self._scope(method, p)
        answer: Json = await call(p)  # type: ignore[misc]
        return answer

    def _scope(self, method: str, p: Json) -> None:
        needed: tuple[str, ...] = rules.SCOPES.get(method, ())
        if method in rules.ROOM_SCOPES:
            room = self.slack.rooms.get(p.get("channel", ""))
            im = method == "conversations.open" or (room is not None and room.is_im)
            kind = "im" if im else "groups" if room is not None and room.private else "channels"
            needed = (f"{kind}:{rules.ROOM_SCOPES[method]}",)
        if needed and not self.slack.scopes.intersection(needed):
            raise Invalid("missing_scope", needed[0])

    def _room(self, p: Json, *, member: bool = True) -> Room:
        room = self.slack.rooms.get(p.get("channel", ""))
        if room is None:
            raise Invalid("channel_not_found")
        if member:
            need(room.member, "", "not_in_channel")
            need(not room.archived, "", "is_archived")
        return room

    def _message(self, room: Room, ts: Any) -> Json:
        message = room.messages.get(str(ts))
        if message is None:
            raise Invalid("message_not_found")
        return message

    # ---- methods

    async def _auth_test(self, p: Json) -> Json:
        slack = self.slack
        answer = {"url": "https://example.slack.com/", "team": "Example", "user": "wellheard"}
        answer |= {"team_id": slack.team, "user_id": slack.bot_user, "bot_id": "B0BOT"}
        return answer | {"is_enterprise_install": False}

    async def _apps_connections_open(self, p: Json) -> Json:
        ticket = f"t{time.monotonic_ns()}"
        self.slack.tickets.add(ticket)
        return {"url": self.slack.root.replace("http", "ws", 1) + f"/socket?ticket={ticket}&app_id=A0APP"}

    def _content(self, p: Json, *, text_limit: int) -> Json:
        unknown = set(p) - POST_FIELDS
        need(not unknown, f"unknown fields {unknown}", "invalid_arguments")
        text = p.get("text", "")
        need(isinstance(text, str), "text", "invalid_arguments")
        need(bool(text or p.get("blocks")), "", "no_text")
        need(len(text) <= text_limit, f"{len(text)} characters", "msg_too_long")
        content: Json = {"text": rules.posted(text)}
        if p.get("blocks"):
            rules.check_blocks(p["blocks"])
            blocks = [dict(b) for b in p["blocks"]]
            for number, block in enumerate(blocks):
                block.setdefault("block_id", f"b{number}")
            content["blocks"] = blocks
        if "metadata" in p:
            rules.check_metadata(p["metadata"])
            content["metadata"] = p["metadata"]
        if rules.RINGING.search(text) or rules.rings(p.get("blocks", [])):
            self.slack.rings.append(content)
        return content

    async def _chat_postMessage(self, p: Json) -> Json:
        room = self._room(p)
        content = self._content(p, text_limit=40_000)
        slack = self.slack
        message = {
            "type": "message",
            "user": slack.bot_user,
            "bot_id": "B0BOT",
            "app_id": "A0APP",
            "team": slack.team,
            "ts": slack.next_ts(),
            **content,
        }
        if p.get("thread_ts"):
            parent = self._message_or(room, p["thread_ts"], "thread_not_found")
            message["thread_ts"] = parent.get("thread_ts", parent["ts"])
        message["unfurls"] = [p.get("unfurl_links", True), p.get("unfurl_media", True)]
        slack.put(room, message)
        slack.spawn(self._own(room, message))
        return {"channel": room.id, "ts": message["ts"], "message": message}

    def _message_or(self, room: Room, ts: str, code: str) -> Json:
        if ts not in room.messages:
            raise Invalid(code)
        return room.messages[ts]

    async def _own(self, room: Room, message: Json) -> None:
        """Our own post comes back to us as an event."""
        event = self.slack.as_event(room, message)
        event.pop("unfurls", None)
        await self.slack.event(event)

    async def _chat_postEphemeral(self, p: Json) -> Json:
        room = self._room(p)
        need(p.get("user") in self.slack.users, "", "user_not_in_channel")
        need(not room.is_im or room.user == p["user"], "", "user_not_in_channel")
        content = self._content(p, text_limit=40_000)
        ts = self.slack.next_ts()
        message = {**content, "ts": ts, "channel": room.id, "user": p["user"], "is_ephemeral": True}
        if p.get("thread_ts"):
            message["thread_ts"] = p["thread_ts"]
        self.slack.ephemerals.append(message)
        return {"message_ts": ts}

    async def _chat_update(self, p: Json) -> Json:
        room = self._room(p)
        message = self._message(room, p.get("ts"))
        need(message.get("user") == self.slack.bot_user, "", "cant_update_message")
        content = self._content(p, text_limit=4_000)
        previous = dict(message)
        if "blocks" not in content:
            message.pop("blocks", None)
        message |= content
        message["edited"] = {"user": "B0BOT", "ts": self.slack.next_ts()}
        self.slack.spawn(self.slack.changed(room, message, previous))
        return {"channel": room.id, "ts": message["ts"], "text": message["text"]}

    async def _chat_delete(self, p: Json) -> Json:
        room = self._room(p, member=False)
        message = self._message(room, p.get("ts"))
        need(message.get("user") == self.slack.bot_user, "", "cant_delete_message")
        self.slack.spawn(self.slack.remove(room, message))
        return {"channel": room.id, "ts": message["ts"]}

    async def _reactions_add(self, p: Json) -> Json:
        room = self._room({"channel": p.get("channel")})
        self._message(room, p.get("timestamp"))
        need(bool(p.get("name")) and ":" not in p["name"], "", "invalid_name")
        people = room.reactions[p["timestamp"]].setdefault(p["name"], [])
        need(self.slack.bot_user not in people, "", "already_reacted")
        people.append(self.slack.bot_user)
        return {}

    async def _reactions_remove(self, p: Json) -> Json:
        room = self._room({"channel": p.get("channel")})
        self._message(room, p.get("timestamp"))
        people = room.reactions[p["timestamp"]].get(p.get("name", ""), [])
        need(self.slack.bot_user in people, "", "no_reaction")
        people.remove(self.slack.bot_user)
        return {}

    def _page(self, found: list[Json], p: Json) -> Json:
        start, limit = int(p.get("cursor") or 0), int(p.get("limit") or 100)
        page = [dict(m) for m in found[start : start + limit]]
        if str(p.get("include_all_metadata", "")).lower() not in ("1", "true"):
            for message in page:
                message.pop("metadata", None)
        more = start + limit < len(found)
        return {
            "messages": page,
            "has_more": more,
            "response_metadata": {"next_cursor": str(start + limit) if more else ""},
        }

    def _window(self, messages: list[Json], p: Json) -> list[Json]:
        low, high = p.get("oldest") or "0", p.get("latest") or "9999999999"
        inclusive = str(p.get("inclusive", "")).lower() in ("1", "true")

        def inside(ts: str) -> bool:
            edge = inclusive and float(ts) in (float(low), float(high))
            return edge or float(low) < float(ts) < float(high)

        return [m for m in messages if inside(m["ts"])]

    async def _conversations_history(self, p: Json) -> Json:
        room = self._room(p)
        top = [
            m
            for m in room.messages.values()
            if m.get("thread_ts", m["ts"]) == m["ts"] or m.get("subtype") == "thread_broadcast"
        ]
        return self._page(self._window(top, p)[::-1], p)

    async def _conversations_replies(self, p: Json) -> Json:
        room = self._room(p)
        parent = self._message_or(room, p.get("ts", ""), "thread_not_found")
        replies = [
            m for m in room.messages.values() if m.get("thread_ts") == parent["ts"] and m is not parent
        ]
        return self._page([parent, *self._window(replies, p)], p)

    async def _conversations_info(self, p: Json) -> Json:
        room = self._room(p, member=False)
        info = {"id": room.id, "name": room.name, "is_im": room.is_im, "is_member": room.member}
        info |= {"is_archived": room.archived, "is_private": room.private, "is_ext_shared": room.shared}
        return {"channel": info}

    async def _conversations_open(self, p: Json) -> Json:
        user = str(p.get("users", ""))
        need(user in self.slack.users, "", "user_not_found")
        need(not self.slack.users[user]["is_bot"], "", "cannot_dm_bot")
        return {"channel": {"id": self.slack.dm(user)}}

    async def _users_info(self, p: Json) -> Json:
        if p.get("user") not in self.slack.users:
            raise Invalid("user_not_found")
        user = json.loads(json.dumps(self.slack.users[p["user"]]))
        if "users:read.email" not in self.slack.scopes or user["is_stranger"]:
            user["profile"].pop("email", None)
        return {"user": user}

    async def _views_open(self, p: Json) -> Json:
        trigger = p.get("trigger_id", "")
        need(trigger in self.slack.triggers, "", "invalid_trigger_id")
        need(self.slack.triggers[trigger] != 0, "", "exchanged_trigger_id")
        need(time.monotonic() <= self.slack.triggers[trigger], "", "expired_trigger_id")
        view: Json = p.get("view") or {}
        rules.check_view(view)
        need(view["type"] == "modal", "", "invalid_arguments")
        self.slack.triggers[trigger] = 0
        stored = self._view(view)
        self.slack.views.append(stored)
        return {"view": stored}

    async def _views_publish(self, p: Json) -> Json:
        need(p.get("user_id") in self.slack.users, "", "user_not_found")
        view: Json = p.get("view") or {}
        rules.check_view(view)
        need(view["type"] == "home", "", "invalid_arguments")
        stored = self._view(view)
        self.slack.homes[p["user_id"]] = stored
        return {"view": stored}

    def _view(self, view: Json) -> Json:
        blocks = [{"block_id": f"b{n}", **b} for n, b in enumerate(view["blocks"])]
        return {**view, "blocks": blocks, "id": self.slack.view_id(), "hash": "1", "app_id": "A0APP"}

    async def _files_getUploadURLExternal(self, p: Json) -> Json:
        need(bool(p.get("filename")), "filename", "invalid_arguments")
        need(str(p.get("length", "")).isdigit() and int(p["length"]) > 0, "length", "invalid_arguments")
        ident = f"F{self.slack.view_id()}"
        self.uploads[ident] = {"name": p["filename"], "length": int(p["length"]), "content": None}
        return {"upload_url": f"{self.slack.root}/upload/{ident}", "file_id": ident}

    async def _files_completeUploadExternal(self, p: Json) -> Json:
        slack = self.slack
        metas = []
        for item in p.get("files") or ():
            entry = self.uploads.get(item.get("id", ""))
            if entry is None or entry["content"] is None:
                raise Invalid("file_not_found")
            kind = "application/octet-stream"
            meta = slack.store_file(entry["name"], kind, entry["content"], ident=item["id"])
            meta["title"] = item.get("title", entry["name"])
            metas.append(meta)
        need(bool(metas), "files", "invalid_arguments")
        if p.get("channel_id"):
            room = self._room({"channel": p["channel_id"]})
            message = {
                "type": "message",
                "subtype": "file_share",
                "user": slack.bot_user,
                "bot_id": "B0BOT",
                "text": rules.posted(p.get("initial_comment", "")),
                "files": metas,
                "ts": slack.next_ts(),
            }
            if p.get("thread_ts"):
                message["thread_ts"] = self._message_or(room, p["thread_ts"], "thread_not_found")["ts"]
            slack.put(room, message)
            slack.spawn(self._own(room, message))
        return {"files": metas}

    async def _files_info(self, p: Json) -> Json:
        if p.get("file") not in self.slack.files:
            raise Invalid("file_not_found")
        return {"file": self.slack.files[p["file"]]["meta"]}

    async def _files_delete(self, p: Json) -> Json:
        if self.slack.files.pop(p.get("file", ""), None) is None:
            raise Invalid("file_not_found")
        for room in self.slack.rooms.values():
            for ts, message in tuple(room.messages.items()):
                files = message.get("files", ())
                if any(f["id"] == p["file"] for f in files):
                    message["files"] = [f for f in files if f["id"] != p["file"]]
                    if not message["files"] and not message.get("text"):
                        del room.messages[ts]
        return {}
