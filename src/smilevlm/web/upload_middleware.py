"""Stands before the page's server: lets through what the page needs, and only as much of it as may be stored.

Gradio answers more than this page asks for: it would fetch addresses for its visitors (`file=http://...`, or an address
in place of an uploaded file) and keep any number of uploads.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smilevlm.web.rejected_sessions import RejectedSessions
from smilevlm.web.settings import MEGABYTE, WebSettings
from smilevlm.web.storage import BUSY, Storage

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


class UploadMiddleware:
    """ASGI middleware.

    Args:
        app: The page.
        settings: Bounds.
        storage: Where uploads are stored.
        rejected_sessions: Gets the sessions that the queue refuses.
    """

    def __init__(
        self, app: ASGIApp, *, settings: WebSettings, storage: Storage, rejected_sessions: RejectedSessions
    ) -> None:
        self._app, self._settings, self._storage = app, settings, storage
        self._rejected_sessions = rejected_sessions
        self._num_arriving_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))
        send = _with_headers(send)
        try:
            if method in ("GET", "HEAD") and _READ.fullmatch(path):
                await self._app(scope, receive, send)
            elif method == "POST" and path == _UPLOAD:
                await self._upload(scope, receive, send)
            elif method == "POST" and _WRITE.fullmatch(path):
                await self._write(scope, receive, send)
            else:
                raise _RefusedError(404, "not found")
        except _RefusedError as refused:
            await PlainTextResponse(refused.reason, refused.status)(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = _content_length(scope)
        if length is None:
            raise _RefusedError(411, "the length of the upload is not said")
        if length > self._settings.max_upload_mb * MEGABYTE + _FORM_BYTES:
            raise _RefusedError(413, f"the file is larger than {self._settings.max_upload_mb} MB")
        if self._num_arriving_bytes + self._storage.num_bytes + length > self._settings.max_stored_mb * MEGABYTE:
            raise _RefusedError(503, BUSY)
        self._num_arriving_bytes += length
        try:
            await self._forward_upload(scope, _BoundedBody(receive, length, self._settings.timeout_s), send)
        finally:
            self._num_arriving_bytes -= length

    async def _forward_upload(self, scope: Scope, body: _BoundedBody, send: Send) -> None:
        is_answered = False

        async def noting_send(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, body.receive, noting_send)
        except Exception:
            # Whatever Gradio makes of a body that ends amidst, its cause is known.
            if body.refusal is None or is_answered:
                raise
        if body.refusal is not None and not is_answered:
            raise body.refusal

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = _content_length(scope)
        if length is None or length > _MAX_REQUEST_BYTES:
            raise _RefusedError(413, "the request is too long")
        try:
            body = await Request(scope, _BoundedBody(receive, length, self._settings.timeout_s).receive).body()
        except ClientDisconnect:
            return
        try:
            request = json.loads(body or b"null")
            addresses = list(_addresses(request))
        except (ValueError, RecursionError):
            raise _RefusedError(400, "the request is no JSON") from None
        if addresses:
            raise _RefusedError(400, "files are sent, not named by an address")
        session = request.get("session_hash") if isinstance(request, dict) else None

        async def noting_send(message: Message) -> None:
            # Gradio tells a full queue by this status, and its page tells it from no other failure.
            if message["type"] == "http.response.start" and message["status"] == 503 and isinstance(session, str):
                self._rejected_sessions.add(session)
            await send(message)

        await self._app(scope, _replayed(body, receive), noting_send)


class _RefusedError(Exception):
    """The request is answered with a status and one sentence, and its body is not read any further."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class _BoundedBody:
    """A body that arrives: no longer than was said, and in time.

    Args:
        receive: Gives the next part.
        length: Bytes that were said.
        timeout_s: Until the last of them.
    """

    def __init__(self, receive: Receive, length: int, timeout_s: float) -> None:
        self._receive, self._left, self._timeout_s = receive, length, timeout_s
        self._deadline = asyncio.get_running_loop().time() + timeout_s
        self._is_complete = False
        self.refusal: _RefusedError | None = None

    async def receive(self) -> Message:
        """The next part.

        Raises:
            _RefusedError: The same is kept as `refusal`, for Gradio may answer it in a way of its own.
        """
        if self._is_complete:  # what follows the body is no part of it: that the visitor has gone
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.refusal = _RefusedError(408, f"the request took longer than {self._timeout_s:g} seconds to arrive")
            raise self.refusal from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.refusal = _RefusedError(413, "the request is longer than it said")
            raise self.refusal
        self._is_complete = not message.get("more_body", False)
        return message


def _content_length(scope: Scope) -> int | None:
    """Bytes of the body; None where no header tells, as of one in pieces, whatever length is said beside."""
    headers = Headers(scope=scope)
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() and "transfer-encoding" not in headers else None


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
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replaying_receive() -> Message:
        return waiting.pop() if waiting else await receive()

    return replaying_receive


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return sending
