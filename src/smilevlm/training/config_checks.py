"""Everything in which a recipe does not fit a store, looked for at once, each with the setting that would mend it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from smilevlm.datasets import PROTOCOLS, EvaluationProtocol, find_protocol
from smilevlm.errors import CheckpointError, LayoutError, PromptError, SettingsError, SmileVlmError, StoreError
from smilevlm.prompts import load_prompt_set, prompt_set_for
from smilevlm.store import PreparedSet, PrepareSettings, differing_settings
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.splits import num_batched_samples, split_folds


@dataclass(frozen=True, kw_only=True)
class ConfigProblem:
    """One thing that does not fit.

    Args:
        kind: Of error, where it is the only one.
        message: What it is.
        overrides: What would mend it, like `num_folds=2`; empty where no setting does.
        advice: What to do beside or instead.
    """

    kind: type[SmileVlmError]
    message: str
    overrides: tuple[str, ...] = ()
    advice: str = ""

    def __str__(self) -> str:
        parts = [self.message, _as_options(self.overrides), self.advice]
        return "; ".join(part for part in parts if part)


def check_config(config: ExperimentConfig, prepared: PreparedSet, folds: Sequence[int]) -> None:
    """Stop unless the recipe fits the store.

    Args:
        config: The recipe.
        prepared: Its store.
        folds: That are to be trained.

    Raises:
        SmileVlmError: Of the kind of the one thing that does not fit; `SettingsError` that lists them all where there
            are more.
    """
    found = list(find_config_problems(config, prepared, folds))
    if not found:
        return
    if len(found) == 1:
        raise found[0].kind(str(found[0]))
    listed = "; ".join(f"({number}) {problem}" for number, problem in enumerate(found, 1))
    message = f"recipe {config.name} does not fit {prepared.path} in {len(found)} things: {listed}"
    overrides = [override for problem in found for override in problem.overrides]
    if len(overrides) > 1:
        message += f". All together: {_as_options(overrides)}"
    if prepared.manifest.layout == "folder" and config.name != "folder":
        message += ". The recipe `folder` fits itself to such a store"
    raise SettingsError(message)


def find_config_problems(
    config: ExperimentConfig, prepared: PreparedSet, folds: Sequence[int]
) -> Iterator[ConfigProblem]:
    """What does not fit; where the protocol does not, the rest is held against one that would."""
    yield from _views(config.prepare, prepared)
    protocol = find_protocol(config.protocol)
    if prepared.manifest.layout != protocol.train_layout:
        fitting = _protocol_of(prepared.manifest.layout)
        yield ConfigProblem(
            kind=StoreError,
            message=f"{prepared.path} holds {prepared.manifest.layout}, the recipe's protocol needs "
            f"{protocol.train_layout}",
            overrides=() if fitting is None else (f"protocol={fitting.name}",),
        )
        if fitting is None:
            return
        protocol = fitting
    yield from _initial_models(config)
    try:
        classes = protocol.training.classes_of(prepared.samples)
        chosen = protocol.training.select(prepared.samples)
    except LayoutError as error:
        yield ConfigProblem(
            kind=LayoutError, message=str(error), advice="prepare scans of these classes or set protocol"
        )
        return
    yield from _prompts(config, classes)
    num_folds = config.num_folds
    if protocol.train_on is None:
        num_subjects = len({prepared.samples[index].subject for index in chosen})
        if num_subjects < 2:
            yield ConfigProblem(
                kind=SettingsError,
                message=f"{num_folds} folds for {num_subjects} subjects; expected 2 or more subjects, for a fold tests "
                "on people whom it was not trained on",
            )
            return
        num_folds, problems = _folds(config, protocol, prepared, num_subjects)
        yield from problems
    controls = min(config.num_control_folds, num_folds)
    tried = replace(config, protocol=protocol.name, num_folds=num_folds, num_control_folds=controls)
    yield from _batch(tried, prepared, [fold for fold in folds if fold < num_folds])


def _views(wanted: PrepareSettings, prepared: PreparedSet) -> Iterator[ConfigProblem]:
    there = prepared.manifest.settings
    if there == wanted:
        return
    overrides = [
        f"prepare.{room.name}.{setting.name}={_as_yaml(getattr(mine, setting.name))}"
        for room in fields(wanted)
        for mine, other in [(getattr(there, room.name), getattr(wanted, room.name))]
        for setting in fields(other)
        if getattr(mine, setting.name) != getattr(other, setting.name)
    ]
    yield ConfigProblem(
        kind=StoreError,
        message=f"{prepared.path} was prepared with other settings: "
        f"{differing_settings(there, wanted, 'the recipe has')}",
        overrides=tuple(overrides),
    )


def _protocol_of(layout: str) -> EvaluationProtocol | None:
    return next((each for each in PROTOCOLS.values() if each.layout == layout and each.train_on is None), None)


def _initial_models(config: ExperimentConfig) -> Iterator[ConfigProblem]:
    if config.pairing == "pseudo" and config.pseudo.teacher is None:
        yield ConfigProblem(
            kind=SettingsError,
            message="pairing 'pseudo' needs a teacher: set pseudo.teacher to a run folder or a fold folder",
            overrides=("pseudo.teacher=RUN",),
        )
    teacher = config.pseudo.teacher if config.pairing == "pseudo" else None
    for setting, given in (("pseudo.teacher", teacher), ("start_from", config.start_from)):
        if given is not None and not Path(given).is_dir():
            yield ConfigProblem(
                kind=CheckpointError,
                message=f"{setting} {given} is no folder; expected a run folder or the folder of one fold",
                overrides=(f"{setting}=RUN",),
            )


def _prompts(config: ExperimentConfig, classes: Sequence[str]) -> Iterator[ConfigProblem]:
    if config.pairing == "labels":
        return
    try:
        load_prompt_set(config.prompt_set, classes=classes)
    except PromptError as error:
        fitting = prompt_set_for(classes)
        overrides = () if fitting == config.prompt_set else (f"prompt_set={fitting}",)
        yield ConfigProblem(kind=PromptError, message=str(error), overrides=overrides)


def _folds(
    config: ExperimentConfig, protocol: EvaluationProtocol, prepared: PreparedSet, num_subjects: int
) -> tuple[int, list[ConfigProblem]]:
    """The nearest number of folds that can be, and what is wrong with the recipe's."""
    if protocol.scheme == "leave_one_subject_out":
        fitting = num_subjects
        message = f"protocol {protocol.name} has {fitting} folds on {prepared.path}; set num_folds={fitting}"
    else:
        fitting = min(max(config.num_folds, 2), num_subjects)
        message = f"{config.num_folds} folds for {num_subjects} subjects; expected 2 to {num_subjects}"
    if fitting == config.num_folds:
        return fitting, []
    return fitting, [ConfigProblem(kind=SettingsError, message=message, overrides=(f"num_folds={fitting}",))]


def _batch(config: ExperimentConfig, prepared: PreparedSet, folds: Sequence[int]) -> Iterator[ConfigProblem]:
    try:
        splits = split_folds(config, prepared)
    except (SettingsError, LayoutError) as error:
        yield ConfigProblem(kind=type(error), message=str(error))
        return
    counts = {fold: num_batched_samples(config, splits[fold], prepared.samples) for fold in folds or range(len(splits))}
    smallest = min(counts, key=counts.__getitem__)
    size, fewest = config.optimiser.batch_size, counts[smallest]
    if fewest >= size:
        return
    yield ConfigProblem(
        kind=SettingsError,
        message=f"fold {smallest} has {fewest} training samples, which do not fill one batch of {size}",
        overrides=(f"optimiser.batch_size={fewest}",) if fewest >= 2 else (),
        advice="or use more subjects",
    )


def _as_yaml(value: Any) -> str:  # noqa: ANN401
    return value if isinstance(value, str) else json.dumps(value).replace(" ", "")


def _as_options(overrides: Sequence[str]) -> str:
    return " ".join(f"--set {override}" for override in overrides)
