"""MiniLM: the published weights or none, one embedding per text whatever stands beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from processes import run_python
from smilevlm.errors import CheckpointError
from smilevlm.prompts import CachedTextTower, MiniLmTextTower, TextTower, embed_prompts, load_prompt_set
from smilevlm.prompts.text_tower import MINILM_SHA256


@pytest.fixture(scope="module")
def minilm() -> MiniLmTextTower:
    return MiniLmTextTower()


def test_is_a_text_tower(minilm):
    assert isinstance(minilm, TextTower)
    assert minilm.dim == 384
    assert len(minilm.digest) == 64
    assert minilm.encode([]).shape == (0, 384)


def test_unit_length_and_independent_of_the_neighbours(minilm):
    texts = ["a person smiling happily", "a much longer sentence about a face that is sad and looks down", "joy"]
    together = minilm.encode(texts)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)
    fresh = MiniLmTextTower()
    fresh.encode(["something else"])
    for text, row in zip(reversed(texts), together[::-1], strict=True):
        np.testing.assert_array_equal(fresh.encode([text])[0], row)


def test_threads_random_numbers_and_autocast_are_left_alone():
    tower = MiniLmTextTower()
    expected = tower.encode(["a sad expression"])
    tower = MiniLmTextTower()
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(tower.encode(["a sad expression"]), expected)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_equals_masked_mean_over_the_tokens_by_the_plain_route(minilm):
    """A padded batch, so a wrong mask or a lost token would show."""
    from transformers import BertModel, BertTokenizer

    texts = ["a face showing sorrow", "joy", "A FACE with disgust expression, naïve!"]
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = BertModel.from_pretrained(minilm.folder, local_files_only=True).eval()
    finally:
        logging.enable_progress_bar()
    tokens = BertTokenizer.from_pretrained(minilm.folder, local_files_only=True)(
        texts, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(mean, dim=1).numpy()
    np.testing.assert_allclose(minilm.encode(texts), expected, atol=1e-6)


def test_a_sentence_of_another_length_than_the_limit_is_cut(minilm):
    assert np.isfinite(minilm.encode(["happy " * 1000])).all()


def test_paraphrases_go_to_their_class(minilm):
    """What the tiny profile rests on: after centring, unseen words for an emotion are nearest to its own prompts."""
    embeddings = embed_prompts(load_prompt_set("basic_expressions"), minilm)
    unseen = {
        "happy": "a cheerful smiling face",
        "sad": "an unhappy person with tears",
        "surprise": "an astonished look",
        "angry": "a furious face",
        "disgust": "a revolted look",
        "fear": "a terrified person",
    }
    similarity = embeddings.embed(list(unseen.values()), minilm) @ embeddings.centred.T
    per_class = np.stack(
        [similarity[:, np.array(embeddings.classes) == name].mean(1) for name in embeddings.class_names], axis=1
    )
    right = [embeddings.class_names[row.argmax()] == name for row, name in zip(per_class, unseen, strict=True)]
    assert sum(right) >= 5


def test_a_cached_prompt_needs_no_model(minilm, tmp_path):
    expected = CachedTextTower(minilm, tmp_path).encode(["a sad expression"])
    fresh = MiniLmTextTower()
    np.testing.assert_array_equal(CachedTextTower(fresh, tmp_path).encode(["a sad expression"]), expected)
    assert fresh._model is None


@pytest.fixture
def copied(minilm, tmp_path):
    for path in minilm.folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def replace(path, data: bytes):
    path.unlink()
    path.write_bytes(data)


def test_a_copy_is_the_same_tower(copied, minilm):
    assert MiniLmTextTower(copied).digest == minilm.digest


def test_tampered_weights_are_refused(copied):
    path = copied / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    replace(path, bytes(data))
    with pytest.raises(CheckpointError, match=f"expected {MINILM_SHA256}"):
        MiniLmTextTower(copied)


def test_another_tokenizer_is_another_tower(copied, minilm):
    path = copied / "tokenizer.json"
    replace(path, path.read_bytes() + b" ")
    assert MiniLmTextTower(copied).digest != minilm.digest


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        MiniLmTextTower(copied)


def test_package_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("smilevlm.prompts.text_tower.MINILM_PACKAGE", "no_such_package_at_all")
    with pytest.raises(CheckpointError, match="not installed"):
        MiniLmTextTower()


def test_prompts_and_tower_import_neither_torch_nor_sentence_transformers():
    program = (
        "import sys; from smilevlm.prompts import MiniLmTextTower, load_prompt_set;"
        "load_prompt_set('basic_expressions'); MiniLmTextTower();"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    assert run_python("-c", program).stdout.strip() == "[]"


def test_tokens_are_counted_with_their_marks_and_without_the_model():
    fresh = MiniLmTextTower()
    assert fresh.count_tokens("a happy face") == 5
    assert fresh.count_tokens("happy " * 300) == 302 > fresh.token_limit == 256
    assert fresh._model is None
