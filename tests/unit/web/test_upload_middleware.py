"""What the middleware lets through to Gradio."""

from __future__ import annotations

import asyncio
import json

import pytest

from smilevlm.web.rejected_sessions import RejectedSessions
from smilevlm.web.settings import WebSettings

pytest.importorskip("starlette")
from smilevlm.web.upload_middleware import UploadMiddleware


class Stored:
    num_bytes = 0


async def inner(scope, receive, send) -> None:
    """Answers with what it was sent."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message.get("body", b"")})


def ask(method: str, path: str, body: bytes = b"", *, length: int | None = -1, stored: int = 0, root: str = ""):
    """Status, body and headers that the middleware answers with."""
    storage = Stored()
    storage.num_bytes = stored
    settings = WebSettings(max_upload_mb=1, max_stored_mb=2)
    middleware = UploadMiddleware(inner, settings=settings, storage=storage, rejected_sessions=RejectedSessions())
    headers = [] if length is None else [(b"content-length", str(len(body) if length < 0 else length).encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "root_path": root}
    sent = []
    pieces = [body[:7], body[7:]]

    async def receive():
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    asyncio.run(middleware(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/theme.css", "/assets/index.js", "/gradio_api/queue/data", "/gradio_api/heartbeat/abc",
     "/gradio_api/file=/tmp/smilevlm-web-x/session-a/b/face.glb", "/gradio_api/info"],
)  # fmt: skip
def test_what_the_page_needs_passes(path):
    assert ask("GET", path)[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file=http://example.com/x"),
        ("GET", "/gradio_api/file=https://example.com/x"),
        ("GET", "/gradio_api/file=//example.com/x"),
        ("GET", "/gradio_api/proxy=http://example.com"),
        ("GET", "/monitoring"),
        ("GET", "/gradio_api/run-history/records"),
        ("GET", "/docs"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit/"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/login"),
        ("PUT", "/"),
        ("DELETE", "/gradio_api/upload"),
    ],
)
def test_what_the_page_does_not_need_is_not_there(method, path):
    assert ask(method, path)[0] == 404


def test_a_request_passes_whole():
    body = json.dumps({"data": [{"path": "/tmp/a", "url": "http://127.0.0.1/x"}, "http://words"]}).encode()
    status, answer, headers = ask("POST", "/gradio_api/queue/join", body)
    assert (status, answer) == (200, body)
    assert b"default-src 'self'" in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"path": "http://10.0.0.1/secret", "meta": {"_type": "gradio.FileData"}}]},
        {"data": [[[{"x": {"path": "https://example.com"}}]]]},
        {"data": [{"path": "file:///etc/passwd"}]},
    ],
)
def test_the_server_is_nobody_s_browser(body):
    assert ask("POST", "/gradio_api/run/predict", json.dumps(body).encode())[0] == 400


def test_what_is_no_request():
    assert ask("POST", "/gradio_api/queue/join", b"{")[0] == 400
    assert ask("POST", "/gradio_api/queue/join", b"[" * 100_000)[0] == 400
    assert ask("POST", "/gradio_api/queue/join", b"{}", length=10**6)[0] == 413
    assert ask("POST", "/gradio_api/queue/join", b"{}", length=None)[0] == 413


def test_uploads_are_bounded():
    path = "/gradio_api/upload"
    assert ask("POST", path, b"form")[0] == 200
    assert ask("POST", path, b"form", length=1_500_000)[0] == 413
    assert ask("POST", path, b"form", length=None)[0] == 411
    status, said, _ = ask("POST", path, b"form", length=900_000, stored=1_500_000)
    assert (status, said) == (503, b"busy, try again in a minute")


def test_behind_a_proxy():
    assert ask("GET", "/faces/config", root="/faces")[0] == 200
    assert ask("GET", "/config", root="/faces")[0] == 200


UPLOAD = "/gradio_api/upload"


class Gradio:
    """Reads the whole body, as a form is read."""

    def __init__(self) -> None:
        self.num_bytes = 0

    async def __call__(self, scope, receive, send) -> None:
        more = True
        while more:
            message = await receive()
            self.num_bytes += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def stream(
    middleware: UploadMiddleware, parts, *, length: int, path: str = UPLOAD, headers=(), ends: bool = True
) -> tuple[int, str]:
    """Send a body part by part, to an end or not; what the middleware answers."""
    said = [(b"content-length", str(length).encode()), *headers]
    scope = {"type": "http", "method": "POST", "path": path, "headers": said}
    waiting, sent = list(parts), []

    async def receive():
        if not waiting:
            if not ends:
                await never()
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": True}

    async def send(message):
        sent.append(message)

    asyncio.run(middleware(scope, receive, send))
    return sent[0]["status"], sent[1]["body"].decode()


async def never() -> None:
    await asyncio.get_running_loop().create_future()


def make_middleware(app, **changes) -> UploadMiddleware:
    settings = WebSettings(**{"max_upload_mb": 1, "max_stored_mb": 2} | changes)
    return UploadMiddleware(app, settings=settings, storage=Stored(), rejected_sessions=RejectedSessions())


def test_a_body_in_pieces_is_no_way_around_the_bound():
    app = Gradio()
    middleware = make_middleware(app)
    chunked = [(b"transfer-encoding", b"chunked")]
    assert stream(middleware, [bytes(10**6)] * 10, length=10, headers=chunked)[0] == 411
    assert stream(middleware, [bytes(10)], length=10, path="/gradio_api/queue/join", headers=chunked)[0] == 413
    assert app.num_bytes == 0


def test_what_arrives_is_counted():
    app = Gradio()
    middleware = make_middleware(app)
    status, said = stream(middleware, [bytes(10**6)] * 10, length=10)
    assert (status, said) == (413, "the request is longer than it said")
    assert app.num_bytes == 0
    assert stream(middleware, [bytes(5), bytes(5)], length=10)[0] == 200
    assert middleware._num_arriving_bytes == 0


@pytest.mark.parametrize("path", [UPLOAD, "/gradio_api/queue/join"])
def test_an_upload_that_never_ends_is_ended(path):
    middleware = make_middleware(Gradio(), timeout_s=1)
    status, said = stream(middleware, [bytes(5)], length=10, path=path, ends=False)
    assert (status, said) == (408, "the request took longer than 1 seconds to arrive")
    assert middleware._num_arriving_bytes == 0


def test_idle_uploads_hold_their_share_until_the_deadline_alone():
    middleware = make_middleware(Gradio(), timeout_s=1)
    length = 900_000

    async def idle():
        await never()

    async def ask():
        sent = []

        async def send(message):
            sent.append(message)

        headers = [(b"content-length", str(length).encode())]
        await middleware({"type": "http", "method": "POST", "path": UPLOAD, "headers": headers}, idle, send)
        return sent[0]["status"]

    async def everyone():
        return await asyncio.gather(*(ask() for _ in range(3)))

    assert sorted(asyncio.run(everyone())) == [408, 408, 503]
    assert stream(middleware, [bytes(length)], length=length)[0] == 200


def test_an_upload_that_gradio_stumbles_over_is_gradio_s_failure():
    async def broken(scope, receive, send):
        raise RuntimeError("own")

    middleware = make_middleware(broken)
    with pytest.raises(RuntimeError, match="own"):
        stream(middleware, [], length=10)
    assert middleware._num_arriving_bytes == 0


@pytest.mark.parametrize(("status", "is_noted"), [(503, True), (400, False), (200, False)])
def test_whom_the_queue_refused_is_noted(status, is_noted):
    async def answering(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    middleware = make_middleware(answering)
    body = json.dumps({"data": [], "session_hash": "abc"}).encode()
    assert stream(middleware, [body], length=len(body), path="/gradio_api/queue/join")[0] == status
    assert middleware._rejected_sessions.pop("abc") == is_noted
    assert not middleware._rejected_sessions.pop("abc"), "once"
    assert not middleware._rejected_sessions.pop("other")


def test_the_oldest_rejected_sessions_are_forgotten():
    rejected_sessions = RejectedSessions()
    for number in range(1500):
        rejected_sessions.add(str(number))
    assert not rejected_sessions.pop("3")
    assert rejected_sessions.pop("1400")
