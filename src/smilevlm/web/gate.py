"""Stands before the page's server: lets through what the page needs, and only as much of it as may be stored.

Gradio answers more than this page asks for: it would fetch addresses for its visitors (`file=http://...`, or an address
in place of an uploaded file) and keep any number of uploads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from smilevlm.web.settings import MEGABYTE, WebSettings
from smilevlm.web.storage import Storage

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/pwa_icon(/\d+)?|/(assets|static|svelte)/.*"
    r"|/gradio_api/(info/?|startup-events|app_id/?|theme\.css|queue/data|upload_progress|heartbeat/[\w-]+|call/.*)"
    r"|/gradio_api/file=(?!https?:|//).*"
)
_WRITE = re.compile(r"/gradio_api/(queue/join|run/[\w-]+/?|call/[\w-]+/?|cancel|reset/?)")
_UPLOAD = "/gradio_api/upload"
_MAX_REQUEST_BYTES = 2**18
_FORM_BYTES = 2**14
"""What a form writes around a file."""
_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
     b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
     b"connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)  # fmt: skip
_BUSY = "busy, try again in a minute"


class Gate:
    """ASGI middleware.

    Args:
        app: The page.
        settings: Bounds.
        storage: Where uploads are stored.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], *, settings: WebSettings, storage: Storage) -> None:
        self._app, self._settings, self._storage = app, settings, storage
        self._arriving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))
        if method in ("GET", "HEAD") and _READ.fullmatch(path):
            await self._app(scope, receive, _with_headers(send))
        elif method == "POST" and path == _UPLOAD:
            await self._upload(scope, receive, send)
        elif method == "POST" and _WRITE.fullmatch(path):
            await self._write(scope, receive, send)
        else:
            await _refuse(send, 404, "not found")

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = _content_length(scope)
        largest = self._settings.max_upload_mb * MEGABYTE
        if length is None:
            await _refuse(send, 411, "the length of the upload is not said")
        elif length > largest + _FORM_BYTES:
            await _refuse(send, 413, f"the file is larger than {self._settings.max_upload_mb} MB")
        elif self._arriving + self._storage.num_bytes + length > self._settings.max_stored_mb * MEGABYTE:
            await _refuse(send, 503, _BUSY)
        else:
            self._arriving += length
            try:
                await self._app(scope, receive, _with_headers(send))
            finally:
                self._arriving -= length

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = _content_length(scope)
        if length is None or length > _MAX_REQUEST_BYTES:
            await _refuse(send, 413, "the request is too long")
            return
        body = b""
        while len(body) < length:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        try:
            addresses = list(_addresses(json.loads(body or b"null")))
        except (ValueError, RecursionError):
            await _refuse(send, 400, "the request is no JSON")
            return
        if addresses:
            await _refuse(send, 400, "files are sent, not named by an address")
            return
        await self._app(scope, _replayed(body, receive), _with_headers(send))


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def _addresses(value: object) -> Iterator[str]:
    """Addresses where Gradio would take the path of a file."""
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and "://" in path:
            yield path
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _addresses(each)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A request whose body was read already."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return again


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return sending


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
