"""Prompt embeddings kept on disk, so that a prompt that was embedded once needs no text tower again."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from smilevlm.caches import cache_folder, writable_cache
from smilevlm.files import write_atomically
from smilevlm.prompts.text_tower import FrozenTextTower, TextTower

_SHOWN = 1000
"""Characters of its text that an entry shows; its name and checksum are of all of it."""


class CachedTextTower:
    """A text tower that looks on disk before it encodes.

    An entry is one file per text, or per `encode_many`, named by the digest of tower and text, so another tower or
    version never meets it. An entry that is damaged is computed again, with a warning; a folder that cannot be written
    to costs a warning and the saved time, nothing else.

    Args:
        tower: The tower that encodes what is not in the cache.
        folder: Where the entries lie; None for `prompts` in the user's cache, see `smilevlm.caches`.
    """

    def __init__(self, tower: TextTower, folder: str | os.PathLike[str] | None = None) -> None:
        self.tower = tower
        self.folder = Path(folder or writable_cache("prompts") or cache_folder() / "prompts")
        self._may_write = True

    @property
    def dim(self) -> int:
        return self.tower.dim

    @property
    def digest(self) -> str:
        return self.tower.digest

    @property
    def token_limit(self) -> int:
        return self.tower.token_limit

    def count_tokens(self, text: str) -> int:
        return self.tower.count_tokens(text)

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """One embedding of unit length per text, bit-equal to the tower's own."""
        found: dict[str, np.ndarray] = {}
        for text in dict.fromkeys(texts):
            cached = self._read(text, (self.dim,))
            if cached is None:
                cached = self.tower.encode([text])[0]
                self._write(text, cached)
            found[text] = cached
        return np.stack([found[text] for text in texts]) if texts else np.zeros((0, self.dim), np.float32)

    def encode_many(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """The same of thousands of texts, kept as one entry: other texts, or another order, are computed anew."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        joined = "\n".join(texts)
        cached = self._read(joined, (len(texts), self.dim))
        if cached is None:
            tower = self.tower
            cached = tower.encode_many(texts) if isinstance(tower, FrozenTextTower) else tower.encode(texts)
            self._write(joined, cached)
        return cached

    def path_of(self, text: str) -> Path:
        """The file of a text's embedding, there or not."""
        key = hashlib.sha256(f"{self.tower.digest}\n{text}".encode()).hexdigest()
        return self.folder / f"{key}.safetensors"

    def _read(self, text: str, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."] | None:
        path = self.path_of(text)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                embedding, metadata = file.get_tensor("embedding"), file.metadata() or {}
        except (SafetensorError, OSError) as error:
            return _damaged(path, str(error))
        is_whole = metadata.get("sha256") == _checksum(text, embedding)
        if not is_whole or embedding.shape != shape or embedding.dtype != np.float32:
            return _damaged(path, "shape, type or checksum do not fit")
        return embedding

    def _write(self, text: str, embedding: Float32[np.ndarray, "..."]) -> None:
        if not self._may_write:
            return
        metadata = {"text": text[:_SHOWN], "sha256": _checksum(text, embedding)}
        try:
            data = save({"embedding": np.ascontiguousarray(embedding)}, metadata=metadata)
            write_atomically(self.path_of(text), data)
        except OSError as error:
            self._may_write = False
            warnings.warn(f"{self.folder}: prompt embeddings are not cached: {error.strerror}", stacklevel=3)


def _checksum(text: str, embedding: np.ndarray) -> str:
    return hashlib.sha256(text.encode() + b"\n" + embedding.tobytes()).hexdigest()


def _damaged(path: Path, reason: str) -> None:
    warnings.warn(f"{path}: damaged cache entry, computed again: {reason}", stacklevel=4)
