"""Calls to the Bot API: aiogram's typed methods, sent and judged by ourselves.

aiogram's own session raises ClientDecodeError after a send that took effect when the answer does not fit
its models, and does not tell a request that never left from one whose answer was lost. Both decide whether
a message is sent twice; so requests are made here, and answers stay plain JSON.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

import aiohttp
from aiogram.client.default import Default
from aiogram.methods import TelegramMethod
from aiogram.types import BufferedInputFile, InputFile

from channels.base import RetryLater

DOWNLOAD_LIMIT = 20 << 20  # getFile
UNTOLD_WAIT_S = 1.0  # after a 429 that does not say how long


class Refused(Exception):
    """Telegram answered ok=false with a status that repeating does not mend."""

    def __init__(self, status: int, description: str, migrate_to: str = "") -> None:
        super().__init__(f"{status} {description}")
        self.status = status
        self.description = description
        self.migrate_to = migrate_to

    def says(self, *words: str) -> bool:
        """Whether the description holds one of the words, whatever their case."""
        return any(w.lower() in self.description.lower() for w in words)


class TooMany(RetryLater):
    """429: nothing happened, and nothing may be tried for `after_s`."""


class Api:
    """One bot's connection. The client session opens at the first call, inside the running loop."""

    def __init__(self, token: str, base: str, timeout_s: float) -> None:
        self._token = token
        self._base = base
        self._timeout_s = timeout_s
        self._http: aiohttp.ClientSession | None = None

    async def call(self, method: TelegramMethod[Any]) -> Any:
        """Make the call and return `result` as JSON. Raise Refused or RetryLater."""
        return await self.post(method.__api_method__, *form(method))

    async def post(
        self,
        method: str,
        params: Mapping[str, str],
        files: Mapping[str, BufferedInputFile] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        body = aiohttp.FormData(dict(params))
        for key, file in (files or {}).items():
            content = io.BytesIO(file.data)  # bytes are written in one piece, which holds up everybody else
            body.add_field(key, content, filename=file.filename, content_type="application/octet-stream")
        total_s = timeout_s or self._timeout_s + sum(len(f.data) for f in (files or {}).values()) / 250_000
        try:
            async with asyncio.timeout(total_s):
                async with self._session().post(self._url(method), data=body) as answer:
                    raw = await answer.read()
                status = answer.status
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RetryLater(f"Telegram cannot be reached: {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = f"no answer from Telegram: {type(error).__name__}"
            raise RetryLater(reason, maybe_sent=True) from error
        return judge(status, raw)

    async def download(self, path: str) -> bytes:
        """Fetch a file's content. Raise Refused or RetryLater."""
        content = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout_s * 6),
                self._session().get(f"{self._base}/file/bot{self._token}/{path}") as answer,
            ):
                if answer.status == 429 or answer.status >= 500:
                    raise RetryLater(f"Telegram's file server answered {answer.status}")
                if answer.status != 200:
                    raise Refused(answer.status, "file not available")
                async for chunk in answer.content.iter_chunked(1 << 16):
                    content += chunk
                    if len(content) > DOWNLOAD_LIMIT:
                        raise Refused(413, "file is too big")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RetryLater(f"no file from Telegram: {type(error).__name__}") from error
        return bytes(content)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _url(self, method: str) -> str:
        return f"{self._base}/bot{self._token}/{method}"

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                auto_decompress=True,
            )
        return self._http


def judge(status: int, raw: bytes) -> Any:
    """What an answer means: its result, or Refused, or RetryLater."""
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) and status == 429:
        raise TooMany("Telegram asks to wait", after_s=UNTOLD_WAIT_S)
    if not isinstance(answer, dict):
        # A page of some proxy. With 200 or 504 nobody knows what happened behind it.
        raise RetryLater(f"Telegram answered {status} without JSON", maybe_sent=status in (200, 504))
    if answer.get("ok") is True and status < 300:
        return answer.get("result")
    code: float = status if status >= 300 else _number(answer.get("error_code")) or 500
    description = str(answer.get("description") or "")
    parameters = answer.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    if code == 429:
        after_s = _number(parameters.get("retry_after")) or UNTOLD_WAIT_S
        raise TooMany("Telegram asks to wait", after_s=after_s)
    if code >= 500:
        raise RetryLater(f"Telegram answered {code}", maybe_sent=code == 504)
    moved = str(parameters.get("migrate_to_chat_id") or "")
    raise Refused(int(code), description or f"status {code}", moved)


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and value > 0 else 0


def form(method: TelegramMethod[Any]) -> tuple[dict[str, str], dict[str, BufferedInputFile]]:
    """A method's parameters as form fields, and its files by the names the fields refer to."""
    files: dict[str, BufferedInputFile] = {}
    fields = {}
    for key, value in method.model_dump(warnings=False).items():
        plain = _plain(value, files)
        if plain is not None:
            fields[key] = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    return fields, files


def _plain(value: Any, files: dict[str, BufferedInputFile]) -> Any:
    if value is None or isinstance(value, Default):
        return None
    if isinstance(value, InputFile):
        if not isinstance(value, BufferedInputFile):
            raise TypeError("only content in memory is uploaded")
        files[name := f"file{len(files)}"] = value
        return f"attach://{name}"
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        plain = {k: _plain(v, files) for k, v in value.items()}
        return {k: v for k, v in plain.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v, files) for v in value]
    return value
