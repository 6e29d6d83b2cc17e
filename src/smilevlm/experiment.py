"""Training and evaluation from Python: what `smilevlm train` and `smilevlm evaluate` do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.errors import SettingsError
from smilevlm.extras import explained_imports

if TYPE_CHECKING:
    from smilevlm.results import ExperimentResult
    from smilevlm.training import ExperimentConfig, HardwareConfig


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A run folder and the prepared set it was trained on.

    Args:
        folder: For `smilevlm.load`, `smilevlm report` and `smilevlm predict --model`.
        store: The prepared set.
    """

    folder: Path
    store: Path


def train(
    recipe: str | ExperimentConfig,
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    settings: Sequence[str] = (),
    folds: Sequence[int] | None = None,
    jobs: int = 1,
    resume: bool = False,
    hardware: HardwareConfig | None = None,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> TrainedRun:
    """Train a recipe on a prepared set.

    Args:
        recipe: A recipe's name, such as `demo`, or a complete configuration.
        store: The folder that `smilevlm prepare` wrote.
        out: Run folder to write.
        settings: Changes to the recipe, such as `optimiser.epochs=5`.
        folds: Which folds; all by default.
        jobs: Folds trained at the same time.
        resume: Go on with a run folder that is there.
        hardware: Where to train; a GPU where there is one.
        progress: Called after every epoch with (name of the fold, epochs done, epochs in all, loss).

    Raises:
        SmileVlmError: See `smilevlm.training.train_run`.
    """
    with explained_imports():
        from smilevlm.recipes import recipe_for_store
        from smilevlm.training import by_current_names, train_run, with_overrides

    store, out, settings = Path(store), Path(out), by_current_names(settings)
    config = with_overrides(recipe_for_store(recipe, store, settings) if isinstance(recipe, str) else recipe, settings)
    train_run(config, store, out, folds=folds, jobs=jobs, resume=resume, hardware=hardware, progress=progress)
    return TrainedRun(folder=out, store=store)


def evaluate(
    run: TrainedRun | str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    *,
    test_store: str | os.PathLike[str] | None = None,
    faces: str | os.PathLike[str] | None = None,
) -> ExperimentResult:
    """Score the trained folds of a run on the subjects that each was not trained on.

    Args:
        run: From `train`, or a run folder.
        store: The prepared set it was trained on; needed with a run folder.
        test_store: The set to test on, where the protocol tests on another data set.
        faces: Synthetic faces of layout `4dme` that the set was prepared from, for the oracle of their true movement.

    Returns:
        What is also written to `results.json` of the run folder.

    Raises:
        SmileVlmError: See `smilevlm.evaluation.evaluate_run`.
    """
    with explained_imports():
        from smilevlm.evaluation import evaluate_run

    if isinstance(run, TrainedRun):
        run, store = run.folder, run.store if store is None else store
    if store is None:
        raise SettingsError("store is missing: name the prepared set that the run was trained on")
    return evaluate_run(
        Path(run),
        Path(store),
        test_store=None if test_store is None else Path(test_store),
        faces=None if faces is None else Path(faces),
    )
