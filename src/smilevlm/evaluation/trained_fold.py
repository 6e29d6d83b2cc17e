"""One trained fold of a run, opened for a closer look after everything that evaluation refuses was looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smilevlm.datasets import find_protocol
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.evaluation.run import open_evaluation_data
from smilevlm.evaluation.scoring import EvaluationData, checked_fold
from smilevlm.models import ModelBundle
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.resolve import config_from
from smilevlm.training.run_folder import fold_jobs, read_run_config
from smilevlm.training.splits import FoldSplit

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True, kw_only=True)
class OpenedFold:
    """A trained fold with everything that a closer look needs.

    Args:
        folder: Of the fold.
        described: What the run says of itself, as `read_run_config` gives it.
        config: The run's recipe.
        tested: Its store.
        split: Who is where.
        bundle: The trained model.
    """

    folder: Path
    described: dict[str, Any]
    config: ExperimentConfig
    tested: EvaluationData
    split: FoldSplit
    bundle: ModelBundle


def open_trained_fold(run: Path, store: Path, fold: int | None) -> OpenedFold:
    """Open a run as evaluation does.

    Args:
        run: A run folder.
        store: The prepared set it was trained on.
        fold: Which; None for the first that is trained.

    Raises:
        CheckpointError: The fold is not trained, or the fold file, its split or its model is not the recipe's.
        StoreError: The store is not the run's.
        SettingsError: The run tests on another data set than it trained on, or the fold is out of range.
        LeakError: A test subject or test sample was in training or had a part in a choice.
        PromptError: The prompts were changed since training.
    """
    described = read_run_config(run)
    config = config_from(described["settings"])
    if find_protocol(config.protocol).train_on is not None:
        raise SettingsError(
            f"protocol {config.protocol} tests on another data set than it trains on; a closer look at such a run is "
            "not there yet"
        )
    tested = open_evaluation_data(config, described["manifest_hash"], store, None, run)
    jobs = [job for job in fold_jobs(config, None if fold is None else [fold]) if not job.shuffled]
    trained = [job for job in jobs if job.is_trained(run)]
    if not trained:
        what = "no trained fold" if fold is None else f"no trained fold {fold}"
        raise CheckpointError(f"{run} has {what}; run `smilevlm train` first")
    folder = trained[0].folder(run)
    split, bundle = checked_fold(config, tested, folder, trained[0].fold)
    return OpenedFold(folder=folder, described=described, config=config, tested=tested, split=split, bundle=bundle)


class Steps:
    """Counts steps for a progress bar.

    Args:
        total: How many there will be.
        progress: Told of each; None for nobody.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def done(self) -> None:
        """One more step."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)
