"""What keeps one test from deciding how another one ends: an order that can be drawn, and a process left as it was."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest


def shuffled(items: list[pytest.Item], seed: int) -> list[pytest.Item]:
    """Files in an order drawn from a seed, and the tests of each; a file's own fixtures are still made once."""
    draw = random.Random(seed)
    by_file: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        by_file[item.path].append(item)
    files = list(by_file.values())
    draw.shuffle(files)
    for tests in files:
        draw.shuffle(tests)
    return [item for tests in files for item in tests]


def seed_all(seed: int) -> None:
    """Set the random numbers that belong to the whole process, so that a test draws the same wherever it stands."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


_VARIABLES = (
    "SMILEVLM_", "HOME", "PATH", "PYTHON", "TMPDIR", "COLUMNS", "NO_COLOR", "LANG", "LC_", "NO_PROXY", "OPENAI_", "HF_",
    "XDG_", "NUMBA_", "OMP_", "RANK", "LOCAL_", "WORLD_SIZE", "TORCHELASTIC_", "GRADIO_",
)  # fmt: skip
"""How the environment variables begin that decide what the code under test does. Others are set for good by libraries
when they are loaded, by whichever test does so first."""


def process_state() -> dict[str, object]:
    """What belongs to the whole process and changes how code behaves, by a name for messages."""
    state: dict[str, object] = {
        f"environment variable {name}": value for name, value in os.environ.items() if name.startswith(_VARIABLES)
    }
    state["working folder"] = Path.cwd()
    state["search path of modules"] = tuple(sys.path)
    state["SIGINT"], state["SIGTERM"] = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    state["NumPy's error handling"] = tuple(np.geterr().items())
    state["switched off logging"] = logging.root.manager.disable
    if torch := sys.modules.get("torch"):
        state["threads of torch"] = torch.get_num_threads()
        state["torch's number type"] = torch.get_default_dtype()
        state["torch's determinism"] = torch.are_deterministic_algorithms_enabled()
        state["torch's gradients"] = torch.is_grad_enabled()
    if matplotlib := sys.modules.get("matplotlib"):
        state |= {f"matplotlib's {name}": repr(value) for name, value in dict.items(matplotlib.rcParams)}
    return state


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """One line for each entry that is another one; what was only loaded since is none."""
    loaded = tuple(
        prefix
        for prefix in ("torch's", "threads of torch", "matplotlib's")
        if not any(n.startswith(prefix) for n in before)
    )
    return [
        f"{name}: {before.get(name)!r} became {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and not name.startswith(loaded or ("\0",))
    ]
