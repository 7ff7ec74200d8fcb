"""One frame from a browser: checked, made durable, echoed into the room's log, then acknowledged."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from channels.base import Clock, Door, Journal
from channels.conversation import Raw
from channels.web.entries import SHOWN, dumped, keep_file, text_blocks
from channels.web.limits import Limits
from channels.web.settings import Settings

TEXT_LIMIT = 8000  # code points a message
FILES_LIMIT = 5  # files a message
VALUES_LIMIT = 40  # fields of a submitted form
ACTION_LIMIT = 60  # bytes, rich.Button
ACCEPT_S = 30  # then the browser is told to try again
CODES_PER_MINUTE = 12  # sign-in attempts from one address

CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")

log = structlog.get_logger()
Frame = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """Who is at the other end: user "v:<id>" or "s:<id>", and the network address it came from."""

    user: str
    remote: str

    @property
    def staff(self) -> bool:
        return self.user.startswith("s:")


@dataclass(frozen=True, slots=True)
class Upload:
    filename: str
    content_type: str
    content: bytes


class Refused(Exception):
    """The frame is not taken. `why` is a word the page knows; `after_s` says when to try again."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.after_s = after_s


class Frames:
    """Takes frames of one channel. `names` may look up what to call a staff person in the log."""

    def __init__(self, name: str, settings: Settings, clock: Clock, limits: Limits) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self.limits = limits
        self.names: Callable[[str], Awaitable[str]] | None = None

    async def take(
        self, door: Door, journal: Journal, person: Person, frame: Any, files: Sequence[Upload] = ()
    ) -> Frame:
        """Return the acknowledgement, or the refusal, to send back."""
        client = frame.get("id") if isinstance(frame, dict) else None
        if not isinstance(client, str) or not CLIENT_ID.fullmatch(client):
            return {"t": "no", "id": "", "why": "malformed"}
        try:
            async with asyncio.timeout(ACCEPT_S):
                event_id = await self._take(door, journal, person, frame, files)
        except Refused as refused:
            return {"t": "no", "id": client, "why": refused.why, "after_s": round(refused.after_s, 1)}
        except Exception as error:  # the store is busy or away: the browser keeps the text and tries again
            log.warning("web_not_accepted", channel=self.name, error=type(error).__name__)
            return {"t": "no", "id": client, "why": "later", "after_s": 2.0}
        return {"t": "ack", "id": client, "event": event_id}

    async def _take(
        self, door: Door, journal: Journal, person: Person, frame: Frame, files: Sequence[Upload]
    ) -> str:
        staff_room = self.settings.staff_channel
        enrolled = person.staff and await journal.may_read(staff_room, person.user)
        self._spend(person, enrolled)
        said = self._checked(person, frame, files)
        if said["room"] != person.user and not enrolled:
            raise Refused("forbidden")
        now = self.clock()
        event_id = f"{person.user}:{said['id']}"
        thread = said["thread"]
        raw = Raw(
            channel=self.name,
            event_id=event_id,
            lane=f"{said['room']}/{thread}" if thread else said["room"],
            body=dumped(said).encode(),
            received_at=now,
        )
        await door.accept(raw)
        if person.staff and not enrolled:
            return event_id  # a one-time code is nothing to keep in a log
        echo = await self._echo(journal, person, said, event_id, files)
        if echo:
            echo["at"] = now.isoformat()
            await journal.append(said["room"], event_id, dumped(echo))
        return event_id

    def _spend(self, person: Person, enrolled: bool) -> None:
        waits = [self.limits.take(f"who:{person.user}", self.settings.messages_per_minute)]
        if person.staff and not enrolled:
            waits.append(self.limits.take(f"code:{person.remote}", CODES_PER_MINUTE))
        elif not enrolled:
            waits.append(self.limits.take(f"from:{person.remote}", self.settings.address_per_minute))
        if any(waits):
            raise Refused("slow_down", max(waits))

    def _checked(self, person: Person, frame: Frame, files: Sequence[Upload]) -> Frame:
        kind = frame.get("t")
        if kind not in ({"say", "act", "edit", "delete"} if person.staff else {"say", "act", "start"}):
            raise Refused("malformed")
        text = _clean(frame.get("text"), TEXT_LIMIT)
        room, thread = person.user, ""
        if person.staff and frame.get("room") == "staff":
            room, thread = self.settings.staff_channel, _clean(frame.get("thread"), 200)
            if not room or not re.fullmatch(rf"{re.escape(room)}:\d+", thread):
                raise Refused("malformed")
        said: Frame = {"t": kind, "id": frame["id"], "user": person.user, "room": room, "thread": thread}
        language = frame.get("lang")
        if isinstance(language, str) and LANGUAGE.fullmatch(language):
            said["lang"] = language
        target = _clean(frame.get("target"), 200)
        match kind:
            case "say" | "edit":
                if not text.strip() and not files:
                    raise Refused("empty")
            case "act":
                action = frame.get("action")
                if not isinstance(action, str) or not action.isascii() or not 0 < len(action) <= ACTION_LIMIT:
                    raise Refused("malformed")
                said["action"] = action
                said["values"] = _values(frame.get("values"))
        if kind in ("edit", "delete") and not target.startswith(f"{person.user}:"):
            raise Refused("forbidden")  # only one's own words
        said |= {"text": text, "target": target}
        if files:
            said["files"] = [self._file(file) for file in files[:FILES_LIMIT]]
        return said

    def _file(self, file: Upload) -> Frame:
        if len(file.content) > self.settings.max_upload_mb * 1024 * 1024:
            raise Refused("too_big")
        return {
            "name": file.filename,
            "type": file.content_type,
            "data": base64.b64encode(file.content).decode("ascii"),
        }

    async def _echo(
        self, journal: Journal, person: Person, said: Frame, event_id: str, files: Sequence[Upload]
    ) -> Frame:
        """What the log shows of it, so that every page of the room shows the same."""
        target = said["target"]
        match said["t"]:
            case "say":
                echo: Frame = {"type": "message", "event": event_id, "from": person.user}
                echo["blocks"] = text_blocks(said["text"])
                for file in files[:FILES_LIMIT]:
                    kept = await keep_file(journal, file.filename, file.content_type, file.content)
                    picture = file.content_type in SHOWN
                    echo["blocks"].append(kept | {"b": "image" if picture else "file", "alt": file.filename})
                if said["thread"]:
                    echo["thread"] = said["thread"]
                    echo["name"] = await self.names(person.user) if self.names else ""
                return echo
            case "edit":
                return {"type": "edit", "target": target, "blocks": text_blocks(said["text"])}
            case "delete":
                return {"type": "mark", "target": target, "mark": "withdrawn"}
            case "act" if not person.staff:
                return {"type": "pressed", "target": target, "action": said["action"]}
        return {}


def _values(values: Any) -> dict[str, str]:
    if values is None:
        return {}
    if not isinstance(values, Mapping) or len(values) > VALUES_LIMIT:
        raise Refused("malformed")
    return {_clean(key, 100): _clean(value, TEXT_LIMIT) for key, value in values.items()}


def _clean(text: Any, limit: int) -> str:
    """Text that every store can keep: no NUL, no half characters. Raise Refused when it is too long."""
    if text is None:
        return ""
    if not isinstance(text, str):
        raise Refused("malformed")
    if len(text) > limit:
        raise Refused("too_long")
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
