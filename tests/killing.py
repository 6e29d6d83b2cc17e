"""Commands that are killed at an event, not at a time: when a file is changed for the n-th time, by whichever process.

Only what is on the disk outlives a kill, so these are the moments that differ.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT, _FOLDER, _KILL_BEFORE = "TESTS_KILL_ROOT", "TESTS_KILL_FOLDER", "TESTS_KILL_BEFORE"
# Python imports this module when it starts, in the command's workers too.
_SITECUSTOMIZE = f"""
import os, signal, sys

root, folder = os.environ["{_ROOT}"] + os.sep, os.environ["{_FOLDER}"]
kill_before = int(os.environ["{_KILL_BEFORE}"])
count = os.open(os.path.join(folder, "changes"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
try:
    with open(os.path.join(folder, "command"), "x") as file:
        file.write(str(os.getpid()))
except FileExistsError:  # a worker
    pass

def changes(event, arguments):
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")

def look(event, arguments):
    if not changes(event, arguments) or not isinstance(arguments[0], (str, os.PathLike)):
        return
    if os.path.abspath(arguments[0]).startswith(root):
        os.write(count, b".")
        if os.lseek(count, 0, os.SEEK_CUR) == kill_before:
            with open(os.path.join(folder, "command")) as file:
                os.kill(int(file.read()), signal.SIGKILL)

sys.addaudithook(look)
"""


def run_counted(arguments: Sequence[object], root: Path, notes: Path, *, kill_before: int = 0) -> int | None:
    """Run a `smilevlm` command. Its own process may be killed; its workers are not, and live on for a moment.

    Args:
        arguments: Of the command.
        root: The working folder. Opening a file below it to write, renaming, linking and removing files, making and
            removing folders count as changes, whichever process makes them.
        notes: A folder to make, for the count and what the command says.
        kill_before: The number of a change, from 1: when some process is about to make it, the command is killed. With
            0 it comes to its end.

    Returns:
        The number of changes, or None when the command was killed.
    """
    root.mkdir(parents=True, exist_ok=True)
    notes.mkdir()
    (notes / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    environment = dict(os.environ) | {
        "PYTHONPATH": os.pathsep.join([str(notes), *filter(None, [os.environ.get("PYTHONPATH")])]),
        _ROOT: str(root.resolve()), _FOLDER: str(notes), _KILL_BEFORE: str(kill_before),
    }  # fmt: skip
    command = [sys.executable, "-m", "smilevlm", *map(str, arguments)]
    with (notes / "log").open("w") as log:  # no pipe, which a worker that lives on would hold open
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=root, env=environment, check=False)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, (notes / "log").read_text()
    return (notes / "changes").stat().st_size
