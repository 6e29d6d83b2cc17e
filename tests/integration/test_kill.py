"""`prepare` killed without warning, many times: the finished store has the same bytes as one made in peace."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

import pytest

from killing import run_counted

NUM_KILLS = 20
NUM_SUBJECTS = 10


def content(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


@pytest.fixture
def faces(synthetic_faces, tmp_path) -> Path:
    """Ten people, all with the scans of the first."""
    root = tmp_path / "faces"
    for number in range(1, NUM_SUBJECTS + 1):
        name = f"F{number:04d}"
        (root / name).mkdir(parents=True)
        for path in (synthetic_faces / "F0001").glob("*F3D.wrl"):
            shutil.copy(path, root / name / path.name.replace("F0001", name))
    return root


@pytest.mark.slow
def test_killed_twenty_times(faces, tmp_path):
    store, runs = tmp_path / "stores" / "killed", itertools.count()

    def prepare(name: str, kill_before: int = 0) -> int | None:
        # Two at a time: the workers of a killed command live on for a moment and may get in the way of the next one.
        arguments = ["prepare", "bu3dfe", faces, name, "--size", "96", "--jobs", "2"]
        return run_counted(arguments, store.parent, tmp_path / f"run{next(runs)}", kill_before=kill_before)

    num_changes = prepare("peaceful")
    peaceful = content(store.parent / "peaceful")
    draw = random.Random(7)
    killed = 0
    while killed < NUM_KILLS:
        if prepare("killed", draw.randint(1, num_changes)) is None:
            killed += 1
            continue
        # The earlier attempts had done so much that fewer changes were left.
        assert content(store) == peaceful
        shutil.rmtree(store)
    assert prepare("killed") is not None
    assert content(store) == peaceful
