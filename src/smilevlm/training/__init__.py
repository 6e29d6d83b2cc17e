"""Training: the complete configuration of an experiment, and the folds of a run trained and kept.

`train_run` trains what a configuration says on a prepared set. Settings out of range raise `SettingsError`, a damaged
run or model `CheckpointError`, a store that does not fit `StoreError`, test data in training `LeakError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smilevlm.lazy import lazy_attributes

if TYPE_CHECKING:
    from smilevlm.training.captions import described_captions
    from smilevlm.training.config import ExperimentConfig, OptimiserSettings, ValidationSettings
    from smilevlm.training.data import to_channels_first, which_are_dynamic
    from smilevlm.training.fold_data import check_store
    from smilevlm.training.hardware import HardwareConfig
    from smilevlm.training.initial_weights import check_initial_weights, load_initial_weights
    from smilevlm.training.leak_checks import check_chosen_prompts, check_known_test_people, check_same_prompts
    from smilevlm.training.processes import launch, process_rank, under_launcher
    from smilevlm.training.pseudo import PseudoSettings, read_pairing_teacher
    from smilevlm.training.resolve import by_current_names, config_from, with_clip_width, with_overrides
    from smilevlm.training.run import train_run
    from smilevlm.training.run_folder import (
        ANALYSIS_NAME,
        EXAMPLES_NAME,
        METRICS_NAME,
        PICTURES_NAME,
        PRETRAINING_NAME,
        PROPOSALS_NAME,
        RESULTS_NAME,
        TASKS_NAME,
        TIMING_NAME,
        FoldJob,
        FoldRecord,
        fold_jobs,
        git_commit,
        read_fold_record,
        read_run_config,
    )
    from smilevlm.training.sampling import SamplerSettings
    from smilevlm.training.splits import (
        FoldSplit,
        check_folds,
        check_split_leaks,
        fold_seed,
        split_fold,
        split_folds,
    )

_EXPORTS = {
    "captions": ("described_captions",),
    "config": ("ExperimentConfig", "OptimiserSettings", "ValidationSettings"),
    "data": ("to_channels_first", "which_are_dynamic"),
    "fold_data": ("check_store",),
    "hardware": ("HardwareConfig",),
    "initial_weights": ("check_initial_weights", "load_initial_weights",),
    "leak_checks": ("check_chosen_prompts", "check_known_test_people", "check_same_prompts"),
    "processes": ("launch", "process_rank", "under_launcher"),
    "pseudo": ("PseudoSettings", "read_pairing_teacher"),
    "resolve": ("by_current_names", "config_from", "with_clip_width", "with_overrides"),
    "run": ("train_run",),
    "run_folder": (
        "ANALYSIS_NAME", "EXAMPLES_NAME", "METRICS_NAME", "PICTURES_NAME", "PRETRAINING_NAME", "PROPOSALS_NAME",
        "RESULTS_NAME", "TASKS_NAME", "TIMING_NAME", "FoldJob", "FoldRecord", "fold_jobs",
        "git_commit", "read_fold_record", "read_run_config",
    ),
    "sampling": ("SamplerSettings",),
    "splits": ("FoldSplit", "check_folds", "check_split_leaks", "fold_seed", "split_fold", "split_folds"),
}  # fmt: skip
"""Names by module: the command line asks for the process's rank without loading torch or Lightning."""
_LAZY_IMPORTS = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "ANALYSIS_NAME",
    "EXAMPLES_NAME",
    "METRICS_NAME",
    "PICTURES_NAME",
    "PRETRAINING_NAME",
    "PROPOSALS_NAME",
    "RESULTS_NAME",
    "TASKS_NAME",
    "TIMING_NAME",
    "ExperimentConfig",
    "FoldJob",
    "FoldRecord",
    "FoldSplit",
    "HardwareConfig",
    "OptimiserSettings",
    "PseudoSettings",
    "SamplerSettings",
    "ValidationSettings",
    "by_current_names",
    "check_chosen_prompts",
    "check_folds",
    "check_initial_weights",
    "check_known_test_people",
    "check_same_prompts",
    "check_split_leaks",
    "check_store",
    "config_from",
    "described_captions",
    "fold_jobs",
    "fold_seed",
    "git_commit",
    "launch",
    "load_initial_weights",
    "process_rank",
    "read_fold_record",
    "read_pairing_teacher",
    "read_run_config",
    "split_fold",
    "split_folds",
    "to_channels_first",
    "train_run",
    "under_launcher",
    "which_are_dynamic",
    "with_clip_width",
    "with_overrides",
]

__getattr__ = lazy_attributes(__name__, _LAZY_IMPORTS)
