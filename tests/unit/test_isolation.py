"""The tests' own means against one test deciding how another one ends."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch

from isolation import changes, process_state, seed_all, shuffled


def test_an_order_keeps_each_file_together_and_is_drawn_again_from_its_seed():
    items = [SimpleNamespace(path=Path(f"test_{file}.py"), name=number) for file in range(6) for number in range(8)]
    first = shuffled(items, 1)
    assert first == shuffled(items, 1)
    assert first != shuffled(items, 2)
    assert sorted(map(id, first)) == sorted(map(id, items))
    files = [item.path for item in first]
    assert [path for path, before in zip(files, [None, *files], strict=False) if path != before] == list(
        dict.fromkeys(files)
    )
    assert [item.name for item in first[:8]] != list(range(8))


@pytest.mark.parametrize("draw", [random.random, lambda: np.random.random(), lambda: torch.rand(1).item()])  # noqa: NPY002
def test_random_numbers_begin_anew(draw):
    seed_all(0)
    first = draw()
    assert draw() != first
    seed_all(0)
    assert draw() == first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda patch, folder: patch.setenv("SMILEVLM_X", "1"), "environment variable SMILEVLM_X: None became '1'"),
        (lambda patch, folder: patch.delenv("PATH"), "environment variable PATH"),
        (lambda patch, folder: patch.chdir(folder), "working folder"),
        (lambda patch, folder: patch.syspath_prepend(folder), "search path of modules"),
        (lambda patch, folder: patch.setitem(matplotlib.rcParams, "font.size", 3), "matplotlib's font.size"),
    ],
)
def test_a_change_of_the_process_is_told(monkeypatch, tmp_path, change, said):
    before = process_state()
    change(monkeypatch, tmp_path)
    (line,) = changes(before, process_state())
    assert line.startswith(said)
    monkeypatch.undo()
    assert changes(before, process_state()) == []


def test_threads_of_torch_that_stay_changed_are_told_and_loading_torch_is_not():
    before, threads = process_state(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert changes(before, process_state()) == [f"threads of torch: {threads} became {threads + 1}"]
    finally:
        torch.set_num_threads(threads)
    without_torch = {name: value for name, value in before.items() if "torch" not in name}
    assert changes(without_torch, before) == []
