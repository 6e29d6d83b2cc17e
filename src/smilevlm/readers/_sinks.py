"""What a writer writes to: anything with `write`, an open file or an `io` buffer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class TextSink(Protocol):
    def write(self, text: str, /) -> object: ...


@runtime_checkable
class ByteSink(Protocol):
    def write(self, data: bytes, /) -> object: ...
