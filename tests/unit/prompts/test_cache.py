"""Cached embeddings: encoded once, told apart by tower and text, computed again when damaged."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from smilevlm.caches import cache_folder
from smilevlm.prompts import CachedTextTower, MiniLmTextTower, TextTower


@pytest.fixture
def cached(tower, tmp_path):
    return CachedTextTower(tower, tmp_path / "prompts")


def test_second_time_does_not_ask_the_tower(cached, tower, tmp_path, make_tower):
    texts = ["a", "b", "a", "ü ñ 笑"]
    first = cached.encode(texts)
    assert tower.asked == ["a", "b", "ü ñ 笑"]
    np.testing.assert_array_equal(first, make_tower().encode(texts))
    fresh = make_tower()
    np.testing.assert_array_equal(CachedTextTower(fresh, tmp_path / "prompts").encode(texts), first)
    assert fresh.asked == []
    assert first.dtype == np.float32


def test_it_is_a_text_tower(cached):
    assert isinstance(cached, TextTower)
    assert (cached.dim, cached.digest) == (8, "fake")
    assert cached.encode([]).shape == (0, 8)


def test_another_tower_has_entries_of_its_own(cached, tmp_path, make_tower):
    first = cached.encode(["a"])
    other = CachedTextTower(make_tower(digest="other"), tmp_path / "prompts")
    assert not np.array_equal(other.encode(["a"]), first)
    np.testing.assert_array_equal(cached.encode(["a"]), first)


def flip_last_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def swap_embedding(path):
    embedding = load_file(path)["embedding"]
    save_file({"embedding": -embedding}, path, metadata={"sha256": "0" * 64})


@pytest.mark.parametrize(
    "damage",
    [
        flip_last_byte,
        swap_embedding,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a cache entry at all"),
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: save_file({"other": np.zeros(8, np.float32)}, path),
        lambda path: save_file({"embedding": np.zeros(9, np.float32)}, path),
        lambda path: save_file({"embedding": np.zeros(8, np.float64)}, path),
        lambda path: save_file({"embedding": np.zeros(8, np.float32)}, path),
    ],
)
def test_damaged_entry_is_computed_again(cached, tower, damage):
    expected = cached.encode(["a", "b"])
    damage(cached.path_of("a"))
    tower.asked.clear()
    with pytest.warns(UserWarning, match="damaged cache entry, computed again"):
        np.testing.assert_array_equal(cached.encode(["a", "b"]), expected)
    assert tower.asked == ["a"]
    cached.encode(["a", "b"])
    assert tower.asked == ["a"]


def test_an_entry_of_another_text_is_noticed(cached):
    expected = cached.encode(["a", "b"])
    cached.path_of("a").write_bytes(cached.path_of("b").read_bytes())
    with pytest.warns(UserWarning, match="checksum"):
        np.testing.assert_array_equal(cached.encode(["a"])[0], expected[0])


def test_no_temporary_files_stay(cached):
    cached.encode(["a", "b"])
    assert {path.suffix for path in cached.folder.iterdir()} == {".safetensors"}


def test_a_folder_that_cannot_be_written_costs_a_warning(tower, tmp_path):
    (tmp_path / "file").write_text("in the way")
    cached = CachedTextTower(tower, tmp_path / "file" / "prompts")
    with pytest.warns(UserWarning, match="not cached") as caught:
        assert cached.encode(["a", "b"]).shape == (2, 8)
    assert len(caught) == 1
    assert cached.encode(["c"]).shape == (1, 8)


def test_folder_from_the_environment(monkeypatch, tmp_path, tower):
    monkeypatch.setenv("SMILEVLM_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    assert CachedTextTower(tower).folder == tmp_path / "prompts"
    monkeypatch.delenv("SMILEVLM_CACHE_DIR")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(cache_folder()) == "/home/someone/.cache/smilevlm"


def test_many_texts_are_one_entry(tmp_path):
    minilm = MiniLmTextTower()
    texts = ("a smile", "the brows are raised", "a closed mouth", "the jaw is dropped and the eyes are wide")
    tower = CachedTextTower(minilm, tmp_path)
    found = tower.encode_many(texts)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    np.testing.assert_allclose(found, minilm.encode(texts), atol=1e-5)
    np.testing.assert_array_equal(tower.encode_many(texts), found)
    assert tower.encode_many(()).shape == (0, minilm.dim)
