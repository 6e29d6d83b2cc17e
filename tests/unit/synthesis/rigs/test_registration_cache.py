"""Registrations kept on disk: made once for the same inputs, anew for others and where an entry is damaged."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import builders_rigs as tiny
from smilevlm.synthesis.rigs import gnm
from smilevlm.synthesis.rigs.ict import load_ict
from smilevlm.synthesis.rigs.registration_cache import cached_arrays


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SMILEVLM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "registrations"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rig.npz"
    tiny.write_gnm_file(path)
    return path


class Maker:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return {"numbers": np.arange(5) + self.calls}


def test_arrays_are_made_once_for_the_same_inputs(cache, file):
    make = Maker()
    first, second = (cached_arrays(file, ["anny:1"], make) for _ in range(2))
    assert make.calls == 1
    np.testing.assert_array_equal(first["numbers"], second["numbers"])
    assert cached_arrays(file, ["anny:2"], make)["numbers"][0] == 2, "another donor"
    file.write_bytes(file.read_bytes() + b" ")
    assert cached_arrays(file, ["anny:1"], make)["numbers"][0] == 3, "another file"
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:40] + b"x" + data[41:], lambda _: b""])
def test_a_damaged_entry_is_made_again(cache, file, caplog, damage):
    make = Maker()
    cached_arrays(file, [], make)
    (entry,) = cache.iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    with caplog.at_level(logging.WARNING):
        cached_arrays(file, [], make)
    assert make.calls == 2
    assert "damaged cache entry" in caplog.text
    assert cached_arrays(file, [], make)["numbers"][0] == 2


def test_without_a_cache_arrays_are_made_every_time(monkeypatch, file):
    monkeypatch.setenv("SMILEVLM_CACHE_DIR", "/dev/null")
    make = Maker()
    for _ in range(2):
        cached_arrays(file, [], make)
    assert make.calls == 2


def test_a_rig_from_the_cache_has_the_heads_of_one_that_was_registered(cache, file, tmp_path, monkeypatch):
    tiny.write_ict_file(tmp_path / "ict.npz")
    donor = load_ict(tmp_path / "ict.npz")
    rigs = [gnm.load_gnm(file, [donor])]
    rigs.append(gnm.load_gnm(file, [donor], ["ict:1"]))
    monkeypatch.setattr(gnm, "register", None)
    rigs.append(gnm.load_gnm(file, [donor], ["ict:1"]))
    heads = []
    for rig in rigs:
        person = rig.draw_person(np.random.default_rng(3), sex="F")
        heads.append(np.stack(list(rig.heads(person, [{}, {"jawOpen": 1.0, "browInnerUp": 0.5}]))))
    assert rigs[0].facial_actions == rigs[2].facial_actions
    np.testing.assert_array_equal(heads[0], heads[1])
    np.testing.assert_array_equal(heads[0], heads[2])
