"""Writing files so that a crash leaves either the old content or the new one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write beside the target, flush to disk, then rename over it. Parent folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(target: Path, *, wait: bool = True) -> Iterator[None]:
    """Let one process at a time work on `target`, a file or folder that need not be there yet.

    The lock is held on the file `.<name>.lock` beside it. The system frees it when its holder is killed.

    Args:
        target: What is worked on.
        wait: Whether to wait until another holder is done.

    Raises:
        filelock.Timeout: It is held, and `wait` is false.
    """
    lock = _lock(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=-1 if wait else 0):
        try:
            yield
        finally:
            # While it is held: who waits for it then finds that the file is gone, and makes a new one.
            lock.unlink(missing_ok=True)


@contextmanager
def folder_in_one_piece(target: Path) -> Iterator[Path]:
    """A scratch folder beside `target` that becomes `target` when the block ends without an error.

    Raises:
        OSError: At the end, when `target` is there already and holds something.
    """
    with scratch_folder(target) as scratch:
        yield scratch
        scratch.replace(target)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, which need not be there, that is removed when the block ends.

    One process at a time works on a target, others wait. What an interrupted run left behind under the scratch name is
    removed first.
    """
    scratch = _scratch(target)
    with locked(target):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def remove_in_one_piece(folder: Path) -> None:
    """Remove a folder so that a crash leaves all of it, or what `remove_leftovers` takes away."""
    shutil.rmtree(folder.replace(_scratch(folder)))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left of `folder_in_one_piece` and `scratch_folder`.

    What a living process works on stays.
    """
    for lock in folder.glob(".*.lock"):
        with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
            shutil.rmtree(lock.with_suffix(".part"), ignore_errors=True)
            lock.unlink(missing_ok=True)
    for scratch in folder.glob(".*.part"):
        if scratch.is_dir() and not scratch.with_suffix(".lock").exists():
            shutil.rmtree(scratch, ignore_errors=True)


def _scratch(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _lock(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")
