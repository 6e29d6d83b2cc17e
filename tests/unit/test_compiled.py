"""The word while loops compile, and processes of their own whose package or caches cannot be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import smilevlm
from smilevlm.compiled import CompilingNotice

KERNELS = """
import numpy as np
from smilevlm.compiled import announce_compiling
import smilevlm.compiled
smilevlm.compiled._SILENT_SECONDS = 0.0
announce_compiling()
from smilevlm.geometry import fit_kernels, kernels, search_kernels
from smilevlm.readers import _kernels
from smilevlm.views import kernels as views
assert _kernels.is_delimiter(32)
"""
ANYWHERE = "/proc/none"


@pytest.fixture(scope="module")
def locked_package(tmp_path_factory) -> Path:
    """A copy of the package in which no `__pycache__` can be made, not even by root: a file has the name."""
    root = tmp_path_factory.mktemp("locked")
    shutil.copytree(
        Path(smilevlm.__file__).parent, root / "smilevlm", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    for folder in [root / "smilevlm", *(root / "smilevlm").rglob("*")]:
        if folder.is_dir():
            (folder / "__pycache__").write_text("")
    return root


@pytest.fixture
def run_locked(locked_package, tmp_path):
    """Run code with the copy, its caches nowhere but where the arguments say; gives stderr."""

    def run(code: str = KERNELS, **environment: str) -> str:
        (tmp_path / "temporary").mkdir(exist_ok=True)
        values = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(locked_package), "HOME": ANYWHERE,
            "XDG_CACHE_HOME": ANYWHERE, "TMPDIR": str(tmp_path / "temporary"), **environment,
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], env=values, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


def compiled_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*is_delimiter*.nbc"))


def test_without_a_home_compiled_code_lies_in_a_temporary_folder_and_is_found_again(run_locked, tmp_path):
    moved, compiling = run_locked().splitlines()
    assert "/proc/none/smilevlm cannot be written to" in moved
    assert compiling == "smilevlm: compiling, once: this takes up to a minute"
    assert len(compiled_files(tmp_path / "temporary" / f"smilevlm-{os.getuid()}" / "numba")) == 1
    assert run_locked().splitlines() == [moved]


@pytest.mark.parametrize(
    ("variable", "below"),
    [("NUMBA_CACHE_DIR", ""), ("SMILEVLM_CACHE_DIR", "numba"), ("XDG_CACHE_HOME", "smilevlm/numba"),
     ("HOME", ".cache/smilevlm/numba")],
)  # fmt: skip
def test_the_cache_that_the_user_chose_is_used(run_locked, tmp_path, variable, below):
    chosen = {variable: str(tmp_path / "chosen")}
    if variable == "HOME":
        chosen["XDG_CACHE_HOME"] = ""
    (line,) = run_locked(**chosen).splitlines()
    assert "compiling" in line
    assert len(compiled_files(tmp_path / "chosen" / below)) == 1


def test_without_any_folder_code_is_compiled_and_not_kept(run_locked, tmp_path):
    locked = tmp_path / "temporary" / f"smilevlm-{os.getuid()}"
    locked.parent.mkdir()
    locked.write_text("in the way")
    said, compiling = run_locked().splitlines()
    assert "nothing is cached" in said
    assert "once" not in compiling
    assert not list(tmp_path.rglob("*.nbc"))


def test_a_cache_folder_of_numba_that_cannot_be_written_to_is_passed_over(run_locked, tmp_path):
    chosen = {"NUMBA_CACHE_DIR": ANYWHERE, "SMILEVLM_CACHE_DIR": str(tmp_path / "own")}
    (line,) = run_locked(**chosen).splitlines()
    assert "compiling" in line
    assert len(compiled_files(tmp_path / "own" / "numba")) == 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "said"),
    [([], False), ([0.9], False), ([1.5], True), ([0.4, 0.4, 0.4], True), ([0.3, 0.3], False), ([5.0, 5.0], True)],
)
def test_compiling_is_said_once_when_it_is_long(capsys, monkeypatch, seconds, said):
    monkeypatch.setattr("smilevlm.compiled._SILENT_SECONDS", 1.0)
    clock = Clock()
    notice = CompilingNotice(clock)
    for each in seconds:
        notice.begin()
        notice.begin()  # a loop that calls another
        clock.now += each
        notice.end()
        notice.end()
        clock.now += 100  # work between two compilations
    assert capsys.readouterr().err.count("compiling") == said
