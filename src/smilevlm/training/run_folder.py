"""The files of a run folder: the resolved recipe, one folder per trained fold, and what a fold was trained on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.files import locked, write_atomically
from smilevlm.prompts import CAPTION_MODES
from smilevlm.results import EpochChoice, MultiViewGradient
from smilevlm.store import PreparedSet, read_json_fields
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.processes import on_rank0, process_rank
from smilevlm.training.resolve import with_current_names
from smilevlm.training.splits import FOLDS_NAME, FoldSplit, check_folds, write_folds
from smilevlm.version import __version__

CONFIG_NAME = "config.json"
RESULTS_NAME = "results.json"
ANALYSIS_NAME = "analysis.json"
PICTURES_NAME = "analysis"
TASKS_NAME = "tasks.json"
TIMING_NAME = "timing.json"
EXAMPLES_NAME = "examples"
CONTROL_NAME = "control_shuffled_prompts"

FOLD_NAME = "fold.json"
METRICS_NAME = "metrics.csv"
PRETRAINING_NAME = "pretraining"
PROPOSALS_NAME = "proposals.json"
STATE_NAME = "state.ckpt"

_KEYS = frozenset({"settings", "manifest_hash", "package_version", "git_commit"})


@dataclass(frozen=True, kw_only=True)
class FoldJob:
    """One training: a fold, or a fold of the shuffled-prompts control."""

    fold: int
    shuffled: bool = False

    @property
    def name(self) -> str:
        return f"control, fold {self.fold}" if self.shuffled else f"fold {self.fold}"

    def folder(self, run: Path) -> Path:
        base = run / CONTROL_NAME if self.shuffled else run
        return base / f"fold_{self.fold:02d}"

    def is_trained(self, run: Path) -> bool:
        return (self.folder(run) / FOLD_NAME).is_file()


def fold_jobs(config: ExperimentConfig, folds: Sequence[int] | None = None) -> list[FoldJob]:
    """What a run trains: the chosen folds, all by default, and those of them that are controls too.

    Raises:
        SettingsError: A fold is out of range.
    """
    chosen = list(range(config.num_folds)) if folds is None else sorted(set(folds))
    outside = [fold for fold in chosen if not 0 <= fold < config.num_folds]
    if outside:
        raise SettingsError(f"fold {outside[0]} is outside 0 to {config.num_folds - 1}")
    controls = [FoldJob(fold=fold, shuffled=True) for fold in chosen if fold < config.num_control_folds]
    return [*(FoldJob(fold=fold) for fold in chosen), *controls]


@contextmanager
def claimed_run(config: ExperimentConfig, prepared: PreparedSet, run: Path) -> Iterator[None]:
    """Write recipe and folds to a new run folder, or check that a run to go on with has the same.

    Where the block fails before a fold has a state to go on from, a new run folder is taken back: it would only stand
    in the way of the next attempt. Under torchrun the first process alone writes.

    Raises:
        SettingsError: The run was begun with other settings or data.
        CheckpointError: The run is damaged.
    """
    is_new = on_rank0(lambda: _claim(config, prepared, run))
    try:
        yield
    except BaseException:
        if is_new and process_rank() == 0:
            with locked(run / CONFIG_NAME):
                _take_back(run)
            with suppress(OSError):  # it is not taken back, or holds something of the user's
                run.rmdir()
        raise


def _claim(config: ExperimentConfig, prepared: PreparedSet, run: Path) -> bool:
    """Whether the run is new."""
    identity = {
        "settings": json.loads(json.dumps(asdict(config))),
        "manifest_hash": prepared.manifest.content_hash,
    }
    if config.pairing in CAPTION_MODES:  # the table of actions stands apart from what the manifest's hash covers
        identity["actions_digest"] = prepared.manifest.actions_digest
    path = run / CONFIG_NAME
    with locked(path):
        if not path.exists():
            run.mkdir(parents=True, exist_ok=True)
            # The recipe comes last: a folder that has it is a run with all it needs.
            write_folds(config, prepared, run)
            versions = {"package_version": __version__, "git_commit": git_commit()}
            write_atomically(path, json.dumps({**identity, **versions}, indent=2, sort_keys=True) + "\n")
            return True
        found = read_run_config(run)
        begun = {**identity, **{key: found[key] for key in identity.keys() & found.keys()}}
        begun["settings"] = with_current_names(found["settings"])
        if begun != identity:
            raise SettingsError(
                f"{run} was begun with other settings or data; it cannot be gone on with. Choose another"
            )
        check_folds(config, prepared, run)
    return False


def _take_back(run: Path) -> None:
    """Remove a run folder unless a fold has something to go on from, or another process works on one."""
    folds = [*run.glob("fold_*"), *run.glob(f"{CONTROL_NAME}/fold_*")]
    begun = (FOLD_NAME, STATE_NAME, PRETRAINING_NAME, f"{PRETRAINING_NAME}.running/{STATE_NAME}")
    is_begun = any((folder / name).exists() for folder in folds for name in begun)
    if is_begun or any(run.glob(".fold_*.lock")) or any(run.glob(f"{CONTROL_NAME}/.fold_*.lock")):
        return
    for folder in folds:
        shutil.rmtree(folder, ignore_errors=True)
    for name in (CONFIG_NAME, FOLDS_NAME):
        (run / name).unlink(missing_ok=True)
    with suppress(OSError):
        (run / CONTROL_NAME).rmdir()


@contextmanager
def locked_fold(run: Path, job: FoldJob) -> Iterator[None]:
    """Keep other processes out of a fold; of those that train it together the first holds the lock.

    Raises:
        SettingsError: Another process trains it.
    """
    with ExitStack() as held:

        def lock() -> None:
            try:
                held.enter_context(locked(job.folder(run), wait=False))
            except Timeout:
                raise SettingsError(
                    f"{run}: {job.name} is being trained by another process; wait until that has ended and go on with "
                    "--resume, or choose another folder"
                ) from None

        on_rank0(lock)
        yield


def read_run_config(run: Path) -> dict[str, Any]:
    """The resolved recipe of a run, as plain values.

    Raises:
        CheckpointError: The folder is no run, or its description is damaged.
    """
    path = run / CONFIG_NAME
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{run} is no run folder: {CONFIG_NAME} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(values, dict) or not values.keys() >= _KEYS:
        raise CheckpointError(f"{path} is damaged: one of {', '.join(sorted(_KEYS))} is missing")
    return values


@dataclass(frozen=True, kw_only=True)
class FoldRecord:
    """What a trained fold says of its training.

    Args:
        split: The subject assignment it was trained with.
        epoch_choice: Which epoch its weights are of; None where no validation subjects chose one.
        seconds: Training time.
        multi_view_gradient: The multi-view loss's part of the tower's gradient, where it was measured.
    """

    split: FoldSplit
    epoch_choice: EpochChoice | None
    seconds: float
    multi_view_gradient: MultiViewGradient | None = None


def write_fold_record(folder: Path, record: FoldRecord) -> None:
    """Write what a fold was trained on, which epoch its weights are of, and how many seconds that took."""
    values = asdict(record)
    values = {**values.pop("split"), **values}
    if record.multi_view_gradient is None:
        del values["multi_view_gradient"]
    write_atomically(folder / FOLD_NAME, json.dumps(values, indent=1) + "\n")


def read_fold_record(folder: Path) -> FoldRecord:
    """Read what `write_fold_record` wrote.

    Raises:
        CheckpointError: The fold is not trained, or its file is damaged.
    """
    path = folder / FOLD_NAME
    try:
        values = json.loads(path.read_text())
        # Folds of versions that did not keep the epoch's choice do not have it.
        beside = {name: values.pop(name, None) for name in ("epoch_choice", "multi_view_gradient")}
        beside["seconds"] = values.pop("seconds")
        return read_json_fields(FoldRecord, {"split": values, **beside})
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no trained fold; run `smilevlm train` (with --resume) first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def git_commit() -> str | None:
    """The commit of the source tree, with `-dirty` when it was changed; None outside a checkout."""
    here = Path(__file__).parent
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str, check: bool) -> subprocess.CompletedProcess[str]:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=check, env=environment)

    try:
        if git("ls-files", "--error-unmatch", Path(__file__).name, check=False).returncode != 0:
            return None
        return git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*", check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
