"""The files of the pages and the headers they go out with. Nothing comes from another server."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from aiohttp import web

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Static:
    """The package's static files, read once."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        for file in files("channels.web").joinpath("static").iterdir():
            if file.is_file():
                self._files[file.name] = file.read_bytes()

    def response(self, request: web.Request, name: str) -> web.Response:
        """A stylesheet, script or picture; pages are not served this way."""
        content = self._files.get(name)
        content_type = TYPES.get("." + name.rpartition(".")[2])
        if content is None or content_type is None or name.endswith(".html"):
            raise web.HTTPNotFound
        tag = hashlib.sha256(content).hexdigest()[:20]
        headers = {**SAFE, "Cache-Control": "no-cache", "ETag": f'"{tag}"'}
        if request.headers.get("If-None-Match", "").strip('W/"') == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, content_type=content_type, charset="utf-8", headers=headers)

    def page(self, name: str, base: str, config: Mapping[str, Any], policy: str) -> web.Response:
        """A page with its configuration in a meta element, where no script has to be inline."""
        text = self._files[name].decode()
        text = text.replace("{{base}}", html.escape(base, quote=True))
        text = text.replace("{{title}}", html.escape(str(config.get("title", ""))))
        text = text.replace("{{config}}", html.escape(json.dumps(config, ensure_ascii=False), quote=True))
        headers = {**SAFE, "Content-Security-Policy": policy, "Cache-Control": "no-store"}
        return web.Response(text=text, content_type="text/html", headers=headers)


def policy(*, framed_by: str, frames: bool = False) -> str:
    """What a page of ours may load: our own files, nothing inline; `framed_by` may show it in a frame."""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            "connect-src 'self'",
            "media-src 'self' blob:",
            "frame-src 'self'" if frames else "frame-src 'none'",
            f"frame-ancestors {framed_by}",
            "base-uri 'none'",
            "form-action 'self'",
        ]
    )


FILE_POLICY = "default-src 'none'; sandbox"
MAIL_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox allow-popups; "
    "frame-ancestors 'self'"
)


def theme(accent: str) -> str:
    """The stylesheet that carries the configured colour, with a text colour that can be read on it."""
    red, green, blue = (int(accent[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2, relative luminance
    on = "#ffffff" if 1.05 / (luminance + 0.05) >= 4.5 else "#111418"
    return f":root{{--accent:{accent};--on-accent:{on}}}\n"
