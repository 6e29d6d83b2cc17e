"""A text tower with known directions, and a small server that speaks the chat-completions protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

HEAD = "name: mine\nprovenance: {source: me, date: '2026', generated_by: hand}\n"
"""Two lines, so prompts of a test file start on line 3."""


class WordTower:
    """A tower whose embedding is the direction of the words: one axis for each word that it is told."""

    def __init__(self, words: Sequence[str], token_limit: int = 12) -> None:
        self.words = {word: axis for axis, word in enumerate(words)}
        self.dim = len(words) + 1
        self.digest = "words"
        self.token_limit = token_limit

    def count_tokens(self, text: str) -> int:
        return len(text.split()) + 2

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.full((len(texts), self.dim), 0.01, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[self.words.get(word.strip(".,!"), self.dim - 1)] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass(frozen=True)
class Reply:
    """What the server answers once."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True)
class Request:
    """What the server was sent; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def messages(self) -> dict[str, str]:
        return {message["role"]: message["content"] for message in self.json["messages"]}


@dataclass
class ChatServer:
    """Gives the scripted replies in their order, and keeps what it was sent."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


def completion(text: str | None, *, finish: str = "stop", model: str = "stub-1.2", **message: object) -> Reply:
    """A chat completion as OpenAI documents it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "logprobs": None,
        "finish_reason": finish,
    }
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": model,
        "choices": [choice],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
    }
    return Reply(json.dumps(answer))


def described(class_name: str, *prompts: str) -> Reply:
    """The answer that is asked for."""
    return completion(json.dumps({class_name: prompts}))


def refusal(status: int, message: str, **headers: str) -> Reply:
    """An error as OpenAI documents it; the client need not wait long before it tries again."""
    body = json.dumps({"error": {"message": message, "type": "stub", "param": None, "code": None}})
    return Reply(body, status=status, headers={"retry-after-ms": "1", **headers})


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """A server on this machine, up until the block ends."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.server = server = ChatServer(url=f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server = self.server.server
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.requests.append(Request(self.command, self.path, headers, body))
        reply = server.replies.pop(0) if server.replies else refusal(418, "the test has no reply left")
        raw = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("content-length", str(len(raw)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing goes to the tests' stderr."""
