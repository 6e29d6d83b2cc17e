"""A server that speaks OpenAI's chat-completions protocol, hosted or local; its failures as one-line errors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from smilevlm.errors import EndpointError, MissingExtraError, SettingsError

if TYPE_CHECKING:
    from openai import APIStatusError

HOSTED = "https://api.openai.com/v1"
URL_VARIABLE = "OPENAI_BASE_URL"
KEY_VARIABLE = "OPENAI_API_KEY"
_NO_KEY = "no-key"
"""What a server is sent that wants none: the protocol's header cannot be left out."""
_SHOWN_CHARACTERS = 300


def resolve_url(given: str | None) -> str:
    """The address to ask: the one given, or the environment's `OPENAI_BASE_URL`, or OpenAI's own.

    Raises:
        SettingsError: Not an http address.
    """
    url = given or os.environ.get(URL_VARIABLE) or HOSTED
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise SettingsError(f"the endpoint is no address like http://localhost:8000/v1: {url!r}")
    return url


def read_key(variable: str) -> str | None:
    """The key that an environment variable holds, None where it holds none.

    Raises:
        SettingsError: It holds something that cannot be sent. The message does not show it.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SettingsError(f"{variable} holds characters that no key has")
    return key or None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One answer.

    Args:
        text: What the model wrote.
        model: The name that the server gives for the model; empty where it gives none.
    """

    text: str
    model: str


class ChatEndpoint:
    """Asks one server. Answers of 429 and 5xx, and lost connections, are tried again with growing pauses.

    A context manager: leaving it closes the connections.

    Args:
        url: Address up to and with `/v1`; see `resolve_url`.
        key: Sent as the bearer token; None for a server that wants none. Never stored, and cut out of all messages.
        timeout_s: For one answer, seconds.
        num_retries: How often a request is sent again.

    Raises:
        MissingExtraError: The library `openai` is not installed.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 300.0, num_retries: int = 4) -> None:
        try:
            import openai
        except ImportError:
            raise MissingExtraError("asking a language model needs openai: install smilevlm[prompts]") from None
        self.url = _public(url)
        self._key = key
        self._client = openai.OpenAI(base_url=url, api_key=key or _NO_KEY, timeout=timeout_s, max_retries=num_retries)

    def __enter__(self) -> ChatEndpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def models(self) -> list[str]:
        """The names of the models that the server offers.

        Raises:
            EndpointError: It cannot be reached, refuses, or answers with something else.
        """
        with self._plain_errors("the list of models"):
            body = self._client.models.with_raw_response.list().http_response.text
        data = _json_object(body).get("data")
        names = [item.get("id") for item in data if isinstance(item, Mapping)] if isinstance(data, list) else None
        if names is None or not all(isinstance(name, str) for name in names):
            raise EndpointError(f"{self.url}: the list of models is not what the protocol asks for; give --model")
        return [name for name in names if isinstance(name, str)]

    def ask(
        self, *, model: str, system: str, user: str, temperature: float | None = None, seed: int | None = None
    ) -> str:
        """Ask once.

        Args:
            model: A name that the server knows.
            system: The system message.
            user: The user message.
            temperature: None leaves it to the server, as some models take none.
            seed: None sends none.

        Returns:
            The body of the answer, whatever it is, without the key; `read_completion` understands it.

        Raises:
            EndpointError: The server cannot be reached, refuses the key, does not know the model, or fails again and
                again.
        """
        chosen: dict[str, Any] = {"temperature": temperature, "seed": seed}
        with self._plain_errors(f"model {model!r}"):
            response = self._client.chat.completions.with_raw_response.create(
                model=model,
                messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                **{name: value for name, value in chosen.items() if value is not None},
            )
        return self._without_key(response.http_response.text)

    @contextmanager
    def _plain_errors(self, asked_for: str) -> Iterator[None]:
        import openai

        reasons = {
            openai.AuthenticationError: "the key was refused"
            if self._key
            else f"a key is wanted and none was given; set {KEY_VARIABLE}",
            openai.PermissionDeniedError: f"this key may not use {asked_for}",
            openai.NotFoundError: f"{asked_for} or this address is not known there",
            openai.RateLimitError: "too many requests or no credit left, tried again in vain",
            openai.InternalServerError: "the server fails, tried again in vain",
            openai.APIStatusError: "the request was refused",
        }
        try:
            yield
        except openai.APIStatusError as error:
            reason = next(reason for kind, reason in reasons.items() if isinstance(error, kind))
            raise self._error(f"{reason}: {_status_line(error)}") from None
        except openai.APITimeoutError:
            raise self._error("no answer in time") from None
        except openai.APIConnectionError as error:
            raise self._error(f"cannot be reached: {error.__cause__ or error}") from None
        except openai.OpenAIError as error:
            raise self._error(_short(str(error))) from None

    def _error(self, message: str) -> EndpointError:
        return EndpointError(self._without_key(f"{self.url}: {message}"))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def read_completion(body: str) -> Completion:
    """What the model wrote, out of the body of a chat completion.

    Raises:
        EndpointError: Not a chat completion, or the model was cut off or declined.
    """
    answer = _json_object(body)
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise EndpointError("the answer is no chat completion")
    if choice.get("finish_reason") == "length":
        raise EndpointError("the answer was cut off at the server's length limit")
    if choice.get("finish_reason") == "content_filter":
        raise EndpointError("the server's content filter held the answer back")
    if refusal := message.get("refusal"):
        raise EndpointError(f"the model declined: {_short(str(refusal))}")
    text, model = message.get("content"), answer.get("model")
    if not isinstance(text, str):
        raise EndpointError("the answer has no text")
    return Completion(text=text, model=model if isinstance(model, str) else "")


def _json_object(body: str) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise EndpointError(f"the server answered with something else than a JSON object: {_short(body)!r}")
    return value


def _status_line(error: APIStatusError) -> str:
    """The status and the server's own words, on one line."""
    body = error.body
    words = body.get("message") if isinstance(body, Mapping) else body
    return f"{error.status_code} {_short(words if isinstance(words, str) else error.message)}"


def _short(text: str) -> str:
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."


def _public(url: str) -> str:
    """The address without user, password and query, which may hold keys."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
