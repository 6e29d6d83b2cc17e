"""Stands before the page's server: lets through what the page needs, and only as much of it as may be stored.

Gradio answers more than this page asks for: it would fetch addresses for its visitors (`file=http://...`, or an address
in place of an uploaded file) and keep any number of uploads.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from smilevlm.web.settings import MEGABYTE, WebSettings
from smilevlm.web.storage import BUSY, Storage
from smilevlm.web.turned_away import TurnedAway

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


class Gate:
    """ASGI middleware.

    Args:
        app: The page.
        settings: Bounds.
        storage: Where uploads are stored.
        turned_away: Whom the queue refused.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        settings: WebSettings,
        storage: Storage,
        turned_away: TurnedAway,
    ) -> None:
        self._app, self._settings, self._storage, self._turned_away = app, settings, storage, turned_away
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
        if length is None or _is_open_ended(scope):
            await _refuse(send, 411, "the length of the upload is not said")
        elif length > largest + _FORM_BYTES:
            await _refuse(send, 413, f"the file is larger than {self._settings.max_upload_mb} MB")
        elif self._arriving + self._storage.num_bytes + length > self._settings.max_stored_mb * MEGABYTE:
            await _refuse(send, 503, BUSY)
        else:
            self._arriving += length
            try:
                await self._let_arrive(scope, receive, send, length)
            finally:
                self._arriving -= length

    async def _let_arrive(self, scope: Scope, receive: Receive, send: Send, length: int) -> None:
        arrival = _Arrival(receive, length, self._settings.timeout_s)
        started = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, arrival.receive, _with_headers(sending))
        except Exception:
            # Whatever Gradio makes of a body that ends amidst, its cause is known.
            if arrival.refusal is None or started:
                raise
        if arrival.refusal is not None and not started:
            await _refuse(send, *arrival.refusal)

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = _content_length(scope)
        if length is None or length > _MAX_REQUEST_BYTES or _is_open_ended(scope):
            await _refuse(send, 413, "the request is too long")
            return
        body, arrival = b"", _Arrival(receive, length, self._settings.timeout_s)
        while len(body) < length:
            try:
                message = await arrival.receive()
            except _Refused:
                assert arrival.refusal is not None, "that is why"
                await _refuse(send, *arrival.refusal)
                return
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        try:
            asked = json.loads(body or b"null")
            addresses = list(_addresses(asked))
        except (ValueError, RecursionError):
            await _refuse(send, 400, "the request is no JSON")
            return
        if addresses:
            await _refuse(send, 400, "files are sent, not named by an address")
            return
        session = asked.get("session_hash") if isinstance(asked, dict) else None

        async def watching(message: MutableMapping[str, Any]) -> None:
            # Gradio tells a full queue by this status, and its page tells it from no other failure.
            if message["type"] == "http.response.start" and message["status"] == 503 and isinstance(session, str):
                self._turned_away.note(session)
            await send(message)

        await self._app(scope, _replayed(body, receive), _with_headers(watching))


class _Refused(Exception):
    """The body of a request is not read any further."""


class _Arrival:
    """A body that arrives: no longer than was said, and in time.

    Args:
        receive: Gives the next part.
        length: Bytes that were said.
        timeout_s: Until the last of them.
    """

    def __init__(self, receive: Receive, length: int, timeout_s: float) -> None:
        self._receive, self._left, self._timeout_s = receive, length, timeout_s
        self._deadline = asyncio.get_running_loop().time() + timeout_s
        self._is_over = False
        self.refusal: tuple[int, str] | None = None

    async def receive(self) -> MutableMapping[str, Any]:
        """The next part.

        Raises:
            _Refused: See `refusal`.
        """
        if self._is_over:  # what follows the body is no part of it: that the visitor has gone
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.refusal = 408, f"the request took longer than {self._timeout_s:g} seconds to arrive"
            raise _Refused from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.refusal = 413, "the request is longer than it said"
            raise _Refused
        self._is_over = not message.get("more_body", False)
        return message


def _is_open_ended(scope: Scope) -> bool:
    """Whether the body comes in pieces, whose sum no header tells: whatever length is said beside is not kept."""
    return any(name == b"transfer-encoding" for name, _ in scope["headers"])


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
