"""A browser without a screen: a visitor and a staff person of the web chat, over its real HTTP and WebSocket.

async with Visitor("http://127.0.0.1:8080") as visitor:
    await visitor.says("where is my parcel?")
    await visitor.until(lambda: "ticket" in visitor.text)

async with StaffBrowser("http://127.0.0.1:8080") as agent:
    await agent.sign_in(code)
    thread = await agent.thread("parcel")
    await agent.reply(thread, "On its way.")
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

Entry = dict[str, Any]
WAIT_S = 20.0


class Refused(AssertionError):
    """The server refused a frame; `why` is its word for it."""

    def __init__(self, why: str, after_s: float) -> None:
        super().__init__(why)
        self.why = why
        self.after_s = after_s


def plain(entry: Entry) -> str:
    """The words of an entry, as a person reads them on the page."""
    parts: list[str] = []
    for block in entry.get("blocks", []):
        match block["b"]:
            case "text" | "heading":
                parts.append(block["text"])
            case "fields":
                parts += [f"{label}: {value}" for label, value in block["pairs"]]
            case "table":
                parts += [" | ".join(row) for row in [block["header"], *block["rows"]]]
            case "buttons":
                parts += [f"[{button['label']}]" for button in block["buttons"]]
            case "image":
                parts.append(f"({block['alt']})")
            case "file":
                parts.append(f"({block['name']})")
    return "\n".join(parts)


def buttons(entry: Entry) -> list[Entry]:
    return [b for block in entry.get("blocks", []) if block["b"] == "buttons" for b in block["buttons"]]


@dataclass
class Shown:
    """A room as the page shows it: messages in order, with edits, marks and pressed buttons applied."""

    entries: list[Entry] = field(default_factory=list)
    forms: list[Entry] = field(default_factory=list)

    def apply(self, entry: Entry) -> None:
        target = next((e for e in self.entries if e["id"] == entry.get("target")), None)
        match entry["type"]:
            case "message":
                if all(e["id"] != entry["id"] for e in self.entries):
                    self.entries.append(entry)
            case "form":
                self.forms.append(entry)
            case "edit" if target:
                target["blocks"] = entry["blocks"]
            case "delete" if target:
                self.entries.remove(target)
            case "mark" if target and not (
                entry["mark"] == "withdrawn" and target.get("mark") in ("sent", "unknown")
            ):
                target["mark"] = entry["mark"]
            case "pressed" if target:
                target["pressed"] = entry["action"]


class Browser:
    """One tab. `rooms["self"]` is its own room, `rooms["staff"]` the staff's."""

    page = "/chat"

    def __init__(
        self, base_url: str, *, language: str = "en", timeout_s: float = WAIT_S, patient: bool = False
    ) -> None:
        """`patient`: what is refused for now is sent again by itself, as the page does."""
        self.base_url = base_url.rstrip("/")
        self.language = language
        self.timeout_s = timeout_s
        self.patient = patient
        self.rooms = {"self": Shown(), "staff": Shown()}
        self.cursors = {"self": 0, "staff": 0}
        self.access = False
        self.user = ""
        self.acknowledged: list[str] = []
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[str, asyncio.Future[Entry]] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def origin(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    async def open(self) -> None:
        """Load the page (for its cookie) and join the line; again after `drop` it is the same browser."""
        if self._http is None:
            self._http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        async with self._http.get(self.base_url + self.page) as response:
            assert response.status == 200, response.status
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        self._socket = await self._http.ws_connect(
            f"{self.base_url}{self.page}/ws", headers={"Origin": self.origin}
        )
        await self._socket.send_json({"t": "hello", "lang": self.language, **self.cursors})
        welcome = await self._socket.receive_json(timeout=self.timeout_s)
        assert welcome["t"] == "welcome", welcome
        self.user = welcome["you"]
        self._reading = asyncio.create_task(self._read(self._socket))

    @property
    def alive(self) -> bool:
        """Whether the line is up."""
        return self._reading is not None and not self._reading.done()

    async def drop(self) -> None:
        """Lose the connection, as in a tunnel; the browser keeps its cookie."""
        if self._socket is not None:
            await self._socket.close()
        if self._reading is not None:
            await self._reading
        self._socket = self._reading = None

    async def close(self) -> None:
        await self.drop()
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            frame = json.loads(message.data)
            match frame["t"]:
                case "entries":
                    self.cursors[frame["room"]] = frame["n"]
                    for entry in frame["entries"]:
                        self.rooms[frame["room"]].apply(entry)
                case "access":
                    self.access = frame["staff"]
                case "ack" | "no":
                    if answer := self._answers.get(frame["id"]):
                        answer.set_result(frame)
            self._changed.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the line dropped before it was acknowledged"))

    async def send(self, kind: str, *, id: str = "", **more: Any) -> str:
        """Send a frame and wait for its acknowledgement: the event id. The same `id` again is a resend."""
        assert self._socket is not None, "open it first"
        client = id or uuid.uuid4().hex
        answer = self._answers[client] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send_json({"t": kind, "id": client, "lang": self.language, **more})
            async with asyncio.timeout(self.timeout_s):
                frame = await answer
        finally:
            del self._answers[client]
        if frame["t"] == "no":
            if self.patient and frame["why"] in ("later", "slow_down"):
                await asyncio.sleep(frame["after_s"])
                return await self.send(kind, id=client, **more)
            raise Refused(frame["why"], frame.get("after_s", 0.0))
        self.acknowledged.append(frame["event"])
        return str(frame["event"])

    async def upload(self, text: str, *files: tuple[str, str, bytes], id: str = "") -> str:
        """Post a message with files (name, type, content), as the page does."""
        assert self._http is not None, "open it first"
        form = aiohttp.FormData(quote_fields=False)
        client = id or uuid.uuid4().hex
        frame = {"t": "say", "id": client, "text": text, "lang": self.language}
        form.add_field("frame", json.dumps(frame))
        for name, content_type, content in files:
            form.add_field("file", content, filename=name, content_type=content_type)
        url = f"{self.base_url}{self.page}/say"
        async with self._http.post(url, data=form, headers={"Origin": self.origin}) as response:
            assert response.status == 200, (response.status, await response.text())
            answer = await response.json()
        if answer["t"] == "no":
            raise Refused(answer["why"], answer.get("after_s", 0.0))
        self.acknowledged.append(answer["event"])
        return str(answer["event"])

    async def download(self, url: str) -> bytes:
        assert self._http is not None, "open it first"
        async with self._http.get(self.base_url + url) as response:
            assert response.status == 200, response.status
            return await response.read()

    async def until(self, condition: Callable[[], Any], timeout_s: float | None = None) -> Any:
        """Wait until the condition holds and return what it gave; looked at whenever something arrives."""
        try:
            async with asyncio.timeout(timeout_s or self.timeout_s):
                while not (found := condition()):
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(0.05):
                            await self._changed.wait()
                    except TimeoutError:
                        continue
                return found
        except TimeoutError:
            shown = {label: [plain(e) for e in room.entries] for label, room in self.rooms.items()}
            raise AssertionError(f"waited in vain; the page shows {shown}") from None

    async def _press(self, candidates: Sequence[Entry], label: str, **more: Any) -> str:
        """Press the newest button whose label contains the words."""
        for entry in reversed(candidates):
            for button in buttons(entry):
                if label.lower() in button["label"].lower() and button.get("action"):
                    return await self.send("act", action=button["action"], target=entry["id"], **more)
        raise AssertionError(
            f"no button {label!r}; there are {[b['label'] for e in candidates for b in buttons(e)]}"
        )


class Visitor(Browser):
    """A customer on the website."""

    @property
    def entries(self) -> list[Entry]:
        return self.rooms["self"].entries

    @property
    def answers(self) -> list[str]:
        """What others than the visitor said."""
        return [plain(e) for e in self.entries if e["from"] != self.user]

    @property
    def text(self) -> str:
        """Everything on the page."""
        return "\n\n".join(plain(e) for e in self.entries)

    async def starts(self, payload: str = "") -> str:
        """What the page sends when the chat is opened for the first time."""
        return await self.send("start", id="start", text=payload)

    async def says(self, text: str, *, id: str = "") -> str:
        return await self.send("say", text=text, id=id)

    async def press(self, label: str) -> str:
        return await self._press(self.entries, label)


class StaffBrowser(Browser):
    """A staff person: signs in with a one-time code, works in threads, asks in the command box."""

    page = "/staff"

    async def sign_in(self, code: str) -> None:
        await self.send("say", text=code)
        await self.until(lambda: self.access)

    @property
    def threads(self) -> dict[str, Entry]:
        """The cards by thread id, oldest first."""
        return {e["id"]: e for e in self.rooms["staff"].entries if e.get("card")}

    async def thread(self, words: str) -> str:
        """The newest thread that contains the words (pattern, case ignored); wait for it."""

        def found() -> str:
            for thread in reversed(self.threads):
                if re.search(words, self.text(thread), re.IGNORECASE):
                    return thread
            return ""

        return str(await self.until(found))

    def in_thread(self, thread: str) -> list[Entry]:
        """The card and everything said in its thread, private answers too."""
        rooms = [*self.rooms["staff"].entries, *self.rooms["self"].entries]
        return [e for e in rooms if e["id"] == thread or e.get("thread") == thread]

    def text(self, thread: str) -> str:
        return "\n\n".join(plain(e) for e in self.in_thread(thread))

    def mark(self, event_id: str) -> str:
        """The delivery state shown on a reply of one's own."""
        return next((e.get("mark", "") for e in self.rooms["staff"].entries if e["id"] == event_id), "")

    @property
    def answers(self) -> list[str]:
        """What the command box was answered, oldest first."""
        return [plain(e) for e in self.rooms["self"].entries if e["from"] != self.user]

    async def reply(self, thread: str, text: str) -> str:
        """Type in a thread: a reply, a note (//…) or a command; the event id is returned."""
        return await self.send("say", room="staff", thread=thread, text=text)

    async def edit(self, thread: str, event_id: str, text: str) -> str:
        return await self.send("edit", room="staff", thread=thread, target=event_id, text=text)

    async def undo(self, thread: str, event_id: str) -> str:
        return await self.send("delete", room="staff", thread=thread, target=event_id)

    async def press(self, thread: str, label: str, values: dict[str, str] | None = None) -> str:
        entries = self.in_thread(thread)
        return await self._press(entries, label, room="staff", thread=thread, values=values or {})

    async def fill(self, values: dict[str, str], *, thread: str = "") -> str:
        """Submit the form that was opened last."""
        form = await self.until(lambda: self.rooms["self"].forms[-1:])
        block = next(b for b in form[0]["blocks"] if b["b"] == "form")
        thread = thread or form[0].get("thread", "")
        where = {"room": "staff", "thread": thread} if thread else {}
        return await self.send("act", action=block["action"], values=values, **where)

    async def command(self, text: str) -> str:
        """Ask in the command box and return the answer's words."""
        before = len(self.answers)
        await self.send("say", text=text)
        await self.until(lambda: len(self.answers) > before)
        return self.answers[-1]
