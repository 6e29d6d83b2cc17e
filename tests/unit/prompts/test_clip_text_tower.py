"""The text half of a CLIP from a folder: the reference's embeddings, one per text whatever stands beside it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from builders_clip import TINY_CLIP_DIM, build_tiny_clip
from smilevlm.errors import CheckpointError, PromptError
from smilevlm.prompts import CachedTextTower, ClipTextTower, MiniLmTextTower, TextTower, load_text_tower

TEXTS = ["a happy face", "A face with disgust expression, naïve!", "sad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def tower(folder) -> ClipTextTower:
    return ClipTextTower(str(folder))


def test_is_a_text_tower(tower):
    assert isinstance(tower, TextTower)
    assert tower.dim == TINY_CLIP_DIM
    assert tower.token_limit == 77
    assert tower.encode([]).shape == (0, TINY_CLIP_DIM)


def test_equals_transformers_on_a_padded_batch(tower, folder):
    from transformers import CLIPModel, CLIPTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = CLIPModel.from_pretrained(folder).eval()
    finally:
        logging.enable_progress_bar()
    tokens = CLIPTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.get_text_features(**tokens).pooler_output, dim=1).numpy()
    embedded = tower.encode(TEXTS)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, rtol=1e-6)


def test_independent_of_the_neighbours(tower, folder):
    together = tower.encode(TEXTS)
    fresh = ClipTextTower(str(folder))
    for text, row in zip(reversed(TEXTS), together[::-1], strict=True):
        np.testing.assert_array_equal(fresh.encode([text])[0], row)


def test_threads_random_numbers_autocast_and_output_are_left_alone(folder, capfd):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    expected = ClipTextTower(str(folder)).encode(TEXTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(ClipTextTower(str(folder)).encode(TEXTS), expected)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")


def test_tokens_are_counted_with_their_marks(tower):
    assert tower.count_tokens("a happy face") == 5
    assert tower.count_tokens("") == 2
    assert CachedTextTower(tower).count_tokens("a happy face") == 5
    assert CachedTextTower(tower).token_limit == 77


def test_a_prompt_past_the_limit_is_refused_by_name(tower, capfd):
    fits, too_long = " ".join(["happy"] * 75), " ".join(["happy"] * 76)
    assert tower.count_tokens(too_long) == 78
    assert np.isfinite(tower.encode([fits])).all()
    with pytest.raises(PromptError, match=r"happy happy.*78 tokens.*reads 77"):
        tower.encode([fits, too_long])
    assert capfd.readouterr() == ("", "")


def test_the_digest_is_that_of_the_model_not_of_its_place(tower, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert ClipTextTower(str(copy)).digest == tower.digest
    assert len(tower.digest) == 64


def test_other_weights_words_or_settings_are_another_tower(tower, folder, tmp_path):
    other = build_tiny_clip(tmp_path / "other", seed=1)
    assert ClipTextTower(str(other)).digest != tower.digest
    words = shutil.copytree(folder, tmp_path / "words")
    tokenizer = json.loads((words / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["happy</w>"], vocabulary["sad</w>"] = vocabulary["sad</w>"], vocabulary["happy</w>"]
    (words / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = shutil.copytree(folder, tmp_path / "settings")
    config = (settings / "config.json").read_text()
    (settings / "config.json").write_text(config.replace('"quick_gelu"', '"gelu"'))
    digests = {tower.digest, *(ClipTextTower(str(path)).digest for path in (other, words, settings))}
    assert len(digests) == 4


def test_loaded_by_name(folder):
    assert isinstance(load_text_tower("minilm"), MiniLmTextTower)
    assert isinstance(load_text_tower(str(folder)), ClipTextTower)
    with pytest.raises(CheckpointError, match="minilmm"):
        load_text_tower("minilmm")
