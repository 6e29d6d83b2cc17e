"""A random CLIP of 23,000 parameters on disk, with a real byte-pair tokenizer; it is loaded by the real path."""

from __future__ import annotations

import os
from pathlib import Path

import torch

TINY_CLIP_IMAGE_SIZE = 32
TINY_CLIP_DIM = 12
"""Width of the joint space."""
_WORDS = ("a", "an", "the", "person", "face", "with", "expression", "of", "smiling", "happy", "sad", "angry", "fear")
_START, _END = "<|startoftext|>", "<|endoftext|>"


def build_tiny_clip(
    folder: str | os.PathLike[str], *, seed: int = 0, width: int = TINY_CLIP_DIM, **vision: object
) -> Path:
    """Write model and tokenizer files as `save_pretrained` does; the same seed gives the same bytes.

    Args:
        folder: Made where it is missing.
        seed: Of the weights; torch's global random state is left as it was.
        width: Of the joint space.
        vision: Changes to the vision configuration, such as `num_hidden_layers=3`.
    """
    from transformers import CLIPConfig, CLIPModel
    from transformers.utils import logging

    target = Path(folder)
    tokenizer = _tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "projection_dim": width,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    image = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": TINY_CLIP_IMAGE_SIZE,
        "patch_size": 8,
        "projection_dim": width,
        **vision,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=width))
    logging.disable_progress_bar()
    try:
        model.save_pretrained(target)
    finally:
        logging.enable_progress_bar()
    tokenizer.save_pretrained(target)
    return target


def _tokenizer():
    """CLIP's own kind of tokenizer: every byte, every byte that ends a word, and merges up to a few whole words."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    pieces = letters + [f"{letter}</w>" for letter in letters]
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        left = symbols[0]
        for right in symbols[1:]:
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
            if left not in pieces:
                pieces.append(left)
    vocabulary = {piece: index for index, piece in enumerate([*pieces, _START, _END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
