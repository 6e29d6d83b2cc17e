"""`prepare` killed without warning, many times: the finished store has the same bytes as one made in peace."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NUM_KILLS = 20
NUM_SUBJECTS = 10


def content(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def start(root: Path, store: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "smilevlm",
        "prepare",
        "bu3dfe",
        str(root),
        str(store),
        "--size",
        "96",
        "--jobs",
        "2",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


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
    peaceful = tmp_path / "peaceful"
    began = time.monotonic()
    with start(faces, peaceful) as process:
        assert process.wait() == 0
    seconds = time.monotonic() - began
    store = tmp_path / "store"
    moments = random.Random(7)
    killed = 0
    while killed < NUM_KILLS:
        with start(faces, store) as process:
            try:
                process.wait(timeout=moments.uniform(0.3, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                # The parent alone: its workers live on for a moment and may get in the way of the next run.
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                continue
            assert process.returncode == 0, process.stderr.read()
        assert content(store) == content(peaceful)
        shutil.rmtree(store)
    with start(faces, store) as process:
        assert process.wait() == 0, process.stderr.read()
    assert content(store) == content(peaceful)
