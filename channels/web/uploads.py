"""Bodies that browsers post: bounded in size, time and number."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import BodyPartReader, web

from channels.web import entries
from channels.web.frames import FILES_LIMIT, Frame, Refused, Upload

FRAME_BYTES = 256 * 1024
UPLOAD_S = 120
MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,80}")
UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")  # in a filename


async def frame_and_files(request: web.Request, file_bytes: int) -> tuple[Frame | None, list[Upload]]:
    """Read a frame sent as JSON, or as the form field "frame" with files. Raise Refused."""
    async with asyncio.timeout(UPLOAD_S):
        if request.content_type == "multipart/form-data":
            return await _form(request, file_bytes)
        return parsed((await _body(request.content.read, FRAME_BYTES)).decode("utf-8", "replace")), []


def parsed(text: str) -> Frame | None:
    """A frame from JSON, None when it is not one."""
    try:
        frame = entries.loaded(text)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) else None


async def _form(request: web.Request, file_bytes: int) -> tuple[Frame | None, list[Upload]]:
    frame: Frame | None = None
    files: list[Upload] = []
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise Refused("malformed")
            if part.name == "frame":
                frame = parsed((await _body(part.read_chunk, FRAME_BYTES)).decode("utf-8", "replace"))
                continue
            if len(files) >= FILES_LIMIT:
                raise Refused("too_many_files")
            content = await _body(part.read_chunk, file_bytes)
            declared = part.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            content_type = declared if MEDIA_TYPE.fullmatch(declared) else "application/octet-stream"
            files.append(Upload(UNSAFE.sub("_", part.filename or "file")[:150], content_type, content))
    except ValueError as error:  # a form that is cut off or not one
        raise Refused("malformed") from error
    return frame, files


async def _body(read: Any, limit: int) -> bytes:
    content = bytearray()
    while chunk := await read(64 * 1024):
        content += chunk
        if len(content) > limit:
            raise Refused("too_big")
    return bytes(content)
