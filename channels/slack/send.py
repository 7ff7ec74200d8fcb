"""Deliver outbound values: posts, edits, marks, forms, files. A repeated key is looked for first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, assert_never

import structlog

from channels.base import Clock, RetryLater, Undeliverable
from channels.conversation import Address, Op, Outbound, Sent
from channels.rich import Form
from channels.slack import render
from channels.slack.api import Api, Json, Refused
from channels.slack.envelope import as_dict, is_direct

log = structlog.get_logger()

MARKS = {
    "held": "hourglass_flowing_sand",
    "sent": "white_check_mark",
    "failed": "x",
    "unknown": "question",
    "withdrawn": "no_entry_sign",
}
EVENT_TYPE = "wellheard"  # of the metadata that carries the key
LOOK_BACK = timedelta(days=2)  # how far a repeat is searched for
PAGE = 200
PAGES = 10
REMEMBERED = 2000
LAYOUT_ERRORS = frozenset(("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"))
CLOCKS_APART_S = 5.0  # ours and Slack's
NOT_THERE = frozenset(["user_not_in_channel", "channel_not_found", "not_in_channel", "is_archived"])


class Sender:
    """Sends for one configured channel."""

    def __init__(self, name: str, api: Api, clock: Clock) -> None:
        self._name = name
        self._api = api
        self._clock = clock
        self._direct: dict[str, str] = {}  # user -> room
        self._marks: OrderedDict[str, set[str]] = OrderedDict()  # message -> our reactions on it
        self._begun: OrderedDict[str, float] = OrderedDict()  # key -> when this process first tried

    async def send(self, message: Outbound) -> Sent:
        match message.op:
            case Op.SEND:
                return await self._send(message)
            case Op.EDIT:
                return await self._edit(message)
            case Op.DELETE:
                return await self._delete(message)
            case Op.MARK:
                return await self._mark(message)
            case Op.FORM:
                return await self._form(message)
            case Op.TYPING | Op.MENU:
                raise Undeliverable(f"Slack has no {message.op} for apps")
            case _:
                assert_never(message.op)

    # ---- posts

    async def _send(self, message: Outbound) -> Sent:
        at_home = message.address.room_id.startswith("home:")
        if at_home and not message.private_to:
            return await self._home(message)
        self._remember(message.key)
        rendered = render.message(message.reply)
        if not rendered.blocks and not rendered.uploads:
            raise Undeliverable("nothing to show")
        if message.private_to and not is_direct(message.address.room_id):
            return await self._privately(message, rendered)
        room = await self._room(message.address.room_id)
        return await self._post(message, rendered, room, message.address.thread_id)

    async def _post(self, message: Outbound, rendered: render.Rendered, room: str, thread: str) -> Sent:
        """Post the text, then its files below it. What an earlier attempt did is found and not done again."""
        ids: list[str] = []
        done: list[Json] = []
        ts = ""
        if message.attempt > 1:
            done = await self._read_back(room, thread)
        if rendered.blocks:
            ts = next((str(m["ts"]) for m in done if _key(m) == message.key), "")
            if not ts:
                ts = await self._post_blocks(message, rendered, room, thread)
                done = []
            ids.append(f"{room}:{ts}")
        below = thread or (ts if message.opens_thread or (rendered.uploads and not is_direct(room)) else "")
        if rendered.uploads:
            since = float(ts) if ts else self._begun.get(message.key, time.time()) - CLOCKS_APART_S
            if message.attempt > 1 and below != thread and done:
                done = await self._read_back(room, below)
            try:
                ids += await self._upload(rendered.uploads, room, below, done, since)
            except Undeliverable as error:
                if not (message.opens_thread and ts):
                    raise
                log.warning("files_refused", channel=self._name, error=error.reason)  # the thread is there
        first = ids[0] if ids else f"{room}:{thread}"
        opened = ts if message.opens_thread and not thread else thread
        return Sent(first, Address(self._name, room, opened), tuple(ids))

    async def _post_blocks(self, message: Outbound, rendered: render.Rendered, room: str, thread: str) -> str:
        try:
            return await self._post_once(message, rendered, room, thread)
        except Refused as error:
            if error.code not in LAYOUT_ERRORS:
                raise
            log.warning("layout_refused", channel=self._name, key=message.key, error=error.code)
        return await self._post_once(message, render.plainly(message.reply), room, thread)

    async def _post_once(self, message: Outbound, rendered: render.Rendered, room: str, thread: str) -> str:
        await self._api.space(room)
        answer = await self._api.call(
            "chat.postMessage",
            writes=True,
            channel=room,
            thread_ts=thread or None,
            text=rendered.text,
            blocks=rendered.blocks,
            unfurl_links=False,
            unfurl_media=False,
            mrkdwn=False,
            metadata={"event_type": EVENT_TYPE, "event_payload": {"key": message.key}},
        )
        return _of(answer, "ts")

    async def _privately(self, message: Outbound, rendered: render.Rendered) -> Sent:
        """Only for one person: ephemeral where they are, else a direct message. Files always go direct."""
        user = message.private_to.rpartition(":")[2]
        room, thread = message.address.room_id, message.address.thread_id
        if not rendered.uploads and not room.startswith("home:"):
            try:
                await self._api.space(room)
                answer = await self._api.call(
                    "chat.postEphemeral",
                    writes=True,
                    channel=room,
                    user=user,
                    thread_ts=thread or None,
                    text=rendered.text,
                    blocks=rendered.blocks,
                )
            except Refused as error:
                if error.code not in NOT_THERE:
                    raise
                log.info("ephemeral_refused", channel=self._name, error=error.code)
            else:
                return Sent(f"{room}:{answer.get('message_ts', '')}", message.address)
        return await self._post(message, rendered, await self._open(user), "")

    async def _upload(
        self, uploads: Sequence[render.Upload], room: str, thread: str, done: Sequence[Json], since: float
    ) -> list[str]:
        """The three steps of an upload, for those files that are not there yet: several are one message."""
        there = [
            (f.get("title"), f.get("size"))
            for m in done
            if m.get("bot_id") and _after(m, since)
            for f in m.get("files") or ()
        ]
        stored: list[Json] = []
        for upload in uploads:
            title = upload.alt or upload.filename
            if (title, len(upload.content)) in there:
                there.remove((title, len(upload.content)))
                continue
            place = await self._api.call(
                "files.getUploadURLExternal",
                filename=upload.filename or "file",
                length=len(upload.content),
                alt_txt=upload.alt[:1000] or None,
            )
            file_id = _of(place, "file_id")
            await self._api.put(_of(place, "upload_url"), upload.content)
            stored.append({"id": file_id, "title": title})
        if not stored:
            return []
        await self._api.space(room)
        answer = await self._api.call(
            "files.completeUploadExternal",
            writes=True,
            files=stored,
            channel_id=room,
            thread_ts=thread or None,
        )
        return list(dict.fromkeys(_shared_as(answer, room)))

    async def _read_back(self, room: str, thread: str) -> list[Json]:
        """Our own recent messages of a room or thread. If that fails, the repeat waits."""
        oldest = f"{(self._clock() - LOOK_BACK).timestamp():.6f}"
        found: list[Json] = []
        cursor: str | None = None
        for _ in range(PAGES):
            try:
                answer = await self._api.call(
                    "conversations.replies" if thread else "conversations.history",
                    channel=room,
                    ts=thread or None,
                    oldest=oldest,
                    limit=PAGE,
                    cursor=cursor,
                    include_all_metadata=True,
                )
            except Refused as error:
                if error.code in ("thread_not_found", "channel_not_found", "not_in_channel"):
                    raise
                raise RetryLater(f"cannot read back: {error.code}", maybe_sent=True) from error
            except RetryLater as error:
                raise RetryLater(error.reason, after_s=error.after_s, maybe_sent=True) from error
            found += [m for m in answer.get("messages") or () if isinstance(m, dict)]
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                break
        return found

    async def _home(self, message: Outbound) -> Sent:
        user = message.address.room_id.partition(":")[2].rpartition(":")[2]
        answer = await self._api.call("views.publish", user_id=user, view=render.home(message.reply))
        return Sent(str((answer.get("view") or {}).get("id", "")), message.address)

    # ---- the others

    async def _edit(self, message: Outbound) -> Sent:
        room, ts = self._target(message)
        rendered = render.message(message.reply)
        await self._api.space(room)
        text = rendered.text or "\u2013"
        await self._api.call("chat.update", channel=room, ts=ts, text=text, blocks=rendered.blocks)
        folded = [u for u in rendered.uploads if u.folded]
        if folded and message.attempt == 1:
            await self._upload(folded, room, message.address.thread_id or ts, (), 0.0)
        return Sent(message.target_id, message.address)

    async def _delete(self, message: Outbound) -> Sent:
        room, ts = self._target(message)
        try:
            if ts.startswith("F"):  # a file whose message Slack did not name
                await self._api.call("files.delete", file=ts)
            else:
                await self._api.call("chat.delete", channel=room, ts=ts)
        except Refused as error:
            if error.code not in ("message_not_found", "file_not_found", "file_deleted"):
                raise
        return Sent(message.target_id, message.address)

    async def _mark(self, message: Outbound) -> Sent:
        """Replace our reaction on a message. What was deleted meanwhile needs no mark."""
        room, ts = self._target(message)
        name = MARKS.get(message.mark, "")
        ours = self._marks.get(message.target_id)
        stale = set(MARKS.values()) if ours is None else set(ours)
        try:
            if name:
                await self._api.call("reactions.add", channel=room, timestamp=ts, name=name)
        except Refused as error:
            if error.code not in ("already_reacted", "message_not_found"):
                raise
            if error.code == "message_not_found":
                return Sent(message.target_id, message.address)
        if ours is None and message.attempt == 1 and message.mark == "held":
            stale = set()  # the first mark a message gets: nothing to take off
        for old in sorted(stale - {name}):
            try:
                await self._api.call("reactions.remove", channel=room, timestamp=ts, name=old)
            except Refused as error:
                if error.code not in ("no_reaction", "message_not_found"):
                    raise
        self._marks[message.target_id] = {name} if name else set()
        while len(self._marks) > REMEMBERED:
            self._marks.popitem(last=False)
        return Sent(message.target_id, message.address)

    async def _form(self, message: Outbound) -> Sent:
        form = next((b for b in message.reply.blocks if isinstance(b, Form)), None)
        if form is None or not message.trigger:
            raise Undeliverable("a form needs a trigger")
        try:
            view = render.view(form, message.address)
        except ValueError as error:
            raise Undeliverable(str(error)) from error
        try:
            answer = await self._api.call("views.open", trigger_id=message.trigger, view=view)
        except RetryLater as error:  # a trigger lives three seconds: there is no later
            raise Undeliverable(error.reason) from error
        return Sent(str((answer.get("view") or {}).get("id", "")), message.address)

    # ---- rooms and targets

    def _target(self, message: Outbound) -> tuple[str, str]:
        room, _, ts = message.target_id.rpartition(":")
        if not room or not ts:
            raise Undeliverable("no message to work on")
        return room, ts

    async def _room(self, room_id: str) -> str:
        """A room to post to; a person's id becomes the direct message with them."""
        user = room_id.rpartition(":")[2]
        return await self._open(user) if user[:1] in ("U", "W") else room_id

    async def _open(self, user: str) -> str:
        if user not in self._direct:
            answer = await self._api.call("conversations.open", users=user)
            self._direct[user] = _of(as_dict(answer.get("channel")), "id")
        return self._direct[user]

    def _remember(self, key: str) -> None:
        self._begun.setdefault(key, time.time())
        while len(self._begun) > REMEMBERED:
            self._begun.popitem(last=False)


def _of(answer: Mapping[str, Any], name: str) -> str:
    """A part of an answer that cannot be done without."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise RetryLater(f"an answer without {name}", maybe_sent=True)
    return value


def _key(message: Mapping[str, Any]) -> str:
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != EVENT_TYPE:
        return ""
    payload = metadata.get("event_payload")
    return str(payload.get("key", "")) if isinstance(payload, dict) else ""


def _after(message: Mapping[str, Any], since: float) -> bool:
    try:
        return float(message.get("ts", 0)) >= since
    except ValueError:
        return False


def _shared_as(answer: Json, room: str) -> list[str]:
    """The messages that a file was shared by, where Slack tells: it often shares after it has answered."""
    found: list[str] = []
    for entry in answer.get("files") or ():
        shares = entry.get("shares") or {}
        there = [s["ts"] for rooms in shares.values() for s in rooms.get(room) or () if s.get("ts")]
        found += [f"{room}:{ts}" for ts in there or [entry.get("id", "")]]
    return found
