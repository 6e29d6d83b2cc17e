"""Run the slow tests that cover what changed, in a bounded time.

Command: python tools/slow_tests.py [--base REVISION] [--minutes 8] [--jobs 2] [--list]

File by file, in an order drawn by the commit, until the time is over; files that were not begun are listed and are no
failure, so that a change of everything does not hold up CI. `make test-slow` runs all.

What changed is the difference between the working tree and the merge base with main; on main itself, to where main was
a day before its last commit. Where that cannot be told (no git history) or a changed file is in neither table below,
all slow tests run.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAINS = ("origin/main", "main")
_SRC = "src/smilevlm/"
_TRAINING = ("training/", "models/", "losses/", "augment/", "distributed.py", "threads.py", "files.py")
_SYNTHESIS = ("synthesis/", "geometry/", "files.py", "parallel.py", "store/engine.py")

COVERS: dict[str, tuple[str, ...]] = {
    "tests/integration/test_kill.py": ("store/", "files.py", "cli/prepare.py"),
    "tests/integration/test_reproduce.py": (
        "reproduction/", "recipes/", "training/", "augment/", "evaluation/", "reporting/", "results/", "files.py",
        "cli/reproduce.py",
    ),
    "tests/integration/test_web.py": ("web/", "cli/serve.py"),
    "tests/unit/cli/test_tasks.py": ("cli/tasks.py", "evaluation/"),
    "tests/unit/datasets/test_synthetic_store.py": ("datasets/synthetic_store.py", "synthesis/", "store/"),
    "tests/unit/evaluation/test_analysis.py": ("evaluation/", "models/", "training/"),
    "tests/unit/evaluation/test_tasks.py": ("evaluation/", "models/", "synthesis/spoofs.py"),
    "tests/unit/reporting/test_loss_study.py": ("reporting/",),
    "tests/unit/cli/test_export.py": ("predict/", "models/", "evaluation/", "cli/export.py"),
    "tests/unit/datasets/test_check.py": ("datasets/", "readers/", "labels/", "parallel.py"),
    "tests/unit/losses/test_processes.py": ("losses/", "distributed.py"),
    "tests/unit/predict/test_export.py": ("predict/", "models/", "evaluation/"),
    "tests/unit/readers/test_archives.py": ("readers/",),
    "tests/unit/readers/test_broken_files.py": ("readers/", "geometry/"),
    "tests/unit/readers/test_broken_labels.py": ("readers/",),
    "tests/unit/reproduction/test_losses.py": (
        "reproduction/losses.py", "recipes/loss_study.py", "evaluation/robustness.py", "training/",
    ),
    "tests/unit/store/test_engine.py": ("store/",),
    "tests/unit/store/test_store.py": ("store/",),
    "tests/unit/synthesis/test_bosphorus_layout.py": _SYNTHESIS,
    "tests/unit/synthesis/test_bu3dfe_layout.py": _SYNTHESIS,
    "tests/unit/synthesis/test_bu4dfe_layout.py": _SYNTHESIS,
    "tests/unit/synthesis/test_varied.py": _SYNTHESIS,
    "tests/unit/training/test_processes.py": _TRAINING,
    "tests/unit/training/test_resume.py": _TRAINING,
    "tests/unit/training/test_run.py": _TRAINING,
    "tests/unit/training/test_module.py": _TRAINING,
}  # fmt: skip
"""Every file with slow tests, and the beginnings of the paths in `src/smilevlm` that those tests cover."""

QUICK_TESTS_ALONE = (
    "src/smilevlm/__init__.py", "src/smilevlm/__main__.py", "src/smilevlm/caches.py", "src/smilevlm/cli/",
    "src/smilevlm/compiled.py", "src/smilevlm/data.py", "src/smilevlm/deprecation.py", "src/smilevlm/dynamics/",
    "src/smilevlm/experiment.py", "src/smilevlm/extras.py", "src/smilevlm/lazy.py",
    "src/smilevlm/errors.py", "src/smilevlm/pretrained.py", "src/smilevlm/prompts/", "src/smilevlm/typing.py",
    "src/smilevlm/version.py", "src/smilevlm/views/", "tests/unit/", "tests/integration/", "tests/golden/",
    "benchmarks/", "docs/", "tools/", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md",
    "mkdocs.yml", ".gitignore", ".pre-commit-config.yaml",
)  # fmt: skip
"""Beginnings of paths that no slow test covers beyond what `make test` does. All that stands in neither table, such as
`pyproject.toml`, `constraints.txt` and the modules that tests share, is taken to change every test."""
EVERYTHING = ("tools/slow_tests.py",)
DAY_S = 24 * 60 * 60
FILE_MINUTES = 15
"""The most that one file may take."""


@dataclass
class Selection:
    """Files with slow tests to run.

    Args:
        reasons: File with slow tests to what it is run for.
        because: How the changes were found, or why all are run.
    """

    because: str
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def add(self, files: Iterable[str], reason: str) -> None:
        for file in files:
            self.reasons.setdefault(file, []).append(reason)


def select(changed: Sequence[str], because: str) -> Selection:
    """The files with slow tests that cover the changed files, which are named from the repository's root."""
    selection = Selection(because)
    for path in changed:
        covering = [
            file
            for file, parts in COVERS.items()
            if path == file or path.startswith(tuple(_SRC + part for part in parts))
        ]
        if covering:
            selection.add(covering, path)
        elif path in EVERYTHING or not path.startswith(QUICK_TESTS_ALONE):
            selection.add(COVERS, f"{path}, which may change any test")
    return selection


def everything(because: str) -> Selection:
    """All files with slow tests."""
    selection = Selection(f"all, since {because}")
    selection.add(COVERS, "all are run")
    return selection


def selection_of(root: Path, base: str | None) -> Selection:
    """What the difference to `base`, or to the merge base with main, selects; everything where there is none."""
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return everything("this is no git checkout with a commit")
    if base is None:
        known = [name for name in MAINS if _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")]
        if not known:
            return everything(f"there is neither {' nor '.join(MAINS)} to compare with")
        base = known[0]
    start = _git(root, "merge-base", base, "HEAD")
    if start is None:
        return everything(f"{base} and this commit have no known commit in common")
    if start == head:
        # A clone of main, as CI has it: compare with where main was a day before its last commit.
        last = _git(root, "show", "--no-patch", "--format=%ct", "HEAD")
        start = last and _git(root, "rev-list", "--max-count=1", f"--before={int(last) - DAY_S}", "HEAD")
        if not start:
            return everything(f"this commit is part of {base}, which has no commit of a day before")
        base = f"{base} a day before this commit"
    differing = _git(root, "diff", "--name-only", "--no-renames", "-z", start)
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    if differing is None or untracked is None:
        return everything("git could not compare")
    changed = sorted({name for name in (differing + "\0" + untracked).split("\0") if name})
    return select(changed, f"{len(changed)} files changed since {start[:9]}, {base}")


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, or None where it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def told(selection: Selection) -> str:
    """One line for each file and each reason."""
    lines = [f"slow tests: {len(selection.reasons)} of {len(COVERS)} files ({selection.because})"]
    for file, reasons in sorted(selection.reasons.items()):
        more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        lines.append(f"  {file}: {reasons[0]}{more}")
    return "\n".join(lines)


def run_bounded(command: Sequence[str], minutes: float) -> int:
    """Run a command and end it, with the processes it started, when its time is over.

    Returns:
        Its exit status; 124 when its time was over.
    """
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        return process.wait(60 * minutes)
    except subprocess.TimeoutExpired:
        print(f"slow tests: FAILED, not done after {minutes:g} minutes, the most they may take", file=sys.stderr)
        return 124
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", help="compare with where this left that revision (default: main)")
    parser.add_argument("--minutes", type=float, default=8, help="no further file begins after these")
    parser.add_argument("--jobs", default="2", help="processes")
    parser.add_argument("--list", action="store_true", help="only say what would run")
    given = parser.parse_args(arguments)
    selection = selection_of(ROOT, given.base)
    print(told(selection), flush=True)
    if given.list or not selection.reasons:
        return 0
    files = sorted(selection.reasons)
    random.Random(_git(ROOT, "rev-parse", "HEAD") or "").shuffle(files)
    status, start = 0, time.monotonic()
    for number, file in enumerate(files):
        if time.monotonic() - start > 60 * given.minutes:
            print(f"slow tests: not begun in {given.minutes:g} minutes: {', '.join(files[number:])}")
            break
        # The skipped ones with their reason: what did not run is not green.
        options = ["-m", "slow", "-n", given.jobs, "-rs", "--durations=3"]
        status = run_bounded([sys.executable, "-m", "pytest", *options, file], FILE_MINUTES) or status
    return status


if __name__ == "__main__":
    sys.exit(main())
