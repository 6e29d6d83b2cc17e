"""Embedded prompts: one mean for all, unit length, the same for prompts typed later."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.errors import PromptError
from smilevlm.prompts import (
    PromptEmbeddings,
    PromptSet,
    Provenance,
    centre_and_normalise,
    embed_prompts,
    load_prompt_set,
)


def test_hand_computed():
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    centred = centre_and_normalise(embeddings, np.array([0.5, 0.5], np.float32))
    half = 0.5**0.5
    np.testing.assert_allclose(centred, [[half, -half], [-half, half]], rtol=1e-6)
    assert centred.dtype == np.float32


def test_set_is_embedded_in_its_order(tower):
    prompt_set = load_prompt_set("basic_expressions_neutral")
    embeddings = embed_prompts(prompt_set, tower)
    assert embeddings.texts == prompt_set.texts
    assert embeddings.classes == prompt_set.text_classes
    assert embeddings.class_names == prompt_set.classes
    np.testing.assert_array_equal(embeddings.raw, tower.encode(prompt_set.texts))
    np.testing.assert_allclose(embeddings.mean, embeddings.raw.mean(0), atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(embeddings.centred, axis=1), 1, rtol=1e-6)


def test_prompts_typed_later_are_centred_alike(tower):
    embeddings = embed_prompts(load_prompt_set("basic_expressions"), tower)
    np.testing.assert_array_equal(embeddings.embed([embeddings.texts[4]], tower)[0], embeddings.centred[4])
    typed = embeddings.embed(["a face in pain"], tower)
    np.testing.assert_array_equal(typed, centre_and_normalise(tower.encode(["a face in pain"]), embeddings.mean))


def test_a_tower_of_another_width_is_refused(tower, make_tower):
    embeddings = embed_prompts(load_prompt_set("basic_expressions"), tower)
    with pytest.raises(PromptError, match="9 wide"):
        embeddings.embed(["x"], make_tower(dim=9))


def test_a_single_prompt_has_no_direction(tower):
    provenance = Provenance(source="a", date="b", generated_by="c")
    alone = embed_prompts(PromptSet(name="x", provenance=provenance, prompts={"a": ("b",)}), tower)
    with pytest.raises(PromptError, match="equals the mean"):
        _ = alone.centred


def test_lengths_must_fit():
    with pytest.raises(PromptError, match="2 prompts, 1 classes of prompts and 2 embeddings"):
        PromptEmbeddings(
            texts=("a", "b"), classes=("x",), raw=np.eye(2, dtype=np.float32), mean=np.zeros(2, np.float32)
        )
