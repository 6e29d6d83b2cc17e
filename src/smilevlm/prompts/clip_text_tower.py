"""The frozen text half of a CLIP, in the joint space of image and text."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import PromptError
from smilevlm.pretrained import load_clip_text, load_clip_tokenizer
from smilevlm.prompts.text_tower import FrozenTextTower

_SETTINGS_IN_DIGEST = ("num_attention_heads", "hidden_act", "layer_norm_eps", "eos_token_id")


class ClipTextTower(FrozenTextTower):
    """A CLIP's text transformer and projection.

    Weights and tokenizer are loaded when the tower is made. A text with more tokens than it reads is a PromptError.

    Args:
        name: Hub id or local folder of a CLIP in the format of transformers.

    Raises:
        CheckpointError: There is no CLIP of this name, or it lacks a tokenizer.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._model = load_clip_text(name).requires_grad_(False)
        config = self._model.config
        self._tokenizer = load_clip_tokenizer(name, config.vocab_size)
        self.dim = self._model.text_projection.out_features
        self.token_limit = config.max_position_embeddings
        self.digest = self._digest()

    def _tokens(self, text: str) -> list[int]:
        return self._tokenizer(text, truncation=False, verbose=False)["input_ids"]

    def _embed_tokens(self, text: str) -> Float32[np.ndarray, " dim"]:
        """Raises:
        PromptError: The text has more tokens than `token_limit`; its end would not be read.
        """
        import torch

        tokens = self._tokens(text)
        if len(tokens) > self.token_limit:
            raise PromptError(f"{text!r} has {len(tokens)} tokens, {self.name} reads {self.token_limit}: shorten it")
        return self._model(input_ids=torch.tensor([tokens])).text_embeds[0].numpy()

    def _digest(self) -> str:
        """Of weights and words, not of files: the same model in another file format is the same tower."""
        weights = self._model.state_dict().values()
        # Sorted, since names of weights change between versions of transformers.
        parts = sorted(
            hashlib.sha256(f"{tuple(weight.shape)}".encode() + weight.contiguous().numpy().tobytes()).hexdigest()
            for weight in weights
        )
        words = json.loads(self._tokenizer.backend_tokenizer.to_str())["model"]
        special = self._tokenizer.all_special_ids
        settings = [getattr(self._model.config, name) for name in _SETTINGS_IN_DIGEST]
        described = [parts, sorted(words["vocab"].items()), words["merges"], special, settings, self.token_limit]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()
