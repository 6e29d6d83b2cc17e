"""What the gate lets through to Gradio."""

from __future__ import annotations

import asyncio
import json

import pytest

from smilevlm.web.gate import Gate
from smilevlm.web.settings import WebSettings


class Stored:
    num_bytes = 0


async def inner(scope, receive, send) -> None:
    """Answers with what it was sent."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message.get("body", b"")})


def ask(method: str, path: str, body: bytes = b"", *, length: int | None = -1, stored: int = 0, root: str = ""):
    """Status, body and headers that the gate answers with."""
    storage = Stored()
    storage.num_bytes = stored
    gate = Gate(inner, settings=WebSettings(max_upload_mb=1, max_stored_mb=2), storage=storage)
    headers = [] if length is None else [(b"content-length", str(len(body) if length < 0 else length).encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "root_path": root}
    sent = []
    pieces = [body[:7], body[7:]]

    async def receive():
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    asyncio.run(gate(scope, receive, send))
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
