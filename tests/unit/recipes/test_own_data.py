"""The recipe `folder`: what it takes from the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from smilevlm.errors import SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS, MICRO_EXPRESSIONS, SPONTANEOUS_EXPRESSIONS
from smilevlm.recipes.own_data import fitted_to_store, folder
from smilevlm.store import PrepareSettings, Sample
from smilevlm.training.config_checks import find_config_problems


def store(classes, num_subjects: int, *, each: int = 1, layout: str = "folder", prepare: PrepareSettings | None = None):
    """What the recipe reads of a prepared set."""
    names = [f"p{number:02d}" for number in range(num_subjects)]
    samples = [
        Sample(
            sample_id=f"{subject}_{label}_{number}", subject=subject, expression=label, level=0, labels=(label,),
            condition="", recording=f"{subject}_{label}_{number}", first_frame=0, last_frame=0, digest="",
        )
        for subject in names for label in classes for number in range(each)
    ]  # fmt: skip
    manifest = SimpleNamespace(layout=layout, settings=prepare or folder().prepare, subjects=tuple(names))
    return SimpleNamespace(path=Path("store"), samples=tuple(samples), manifest=manifest)


@pytest.mark.parametrize(
    ("classes", "prompt_set"),
    [
        (BASIC_EXPRESSIONS, "basic_expressions"),
        (("happy", "sad"), "basic_expressions"),
        ((*BASIC_EXPRESSIONS, "neutral"), "basic_expressions_neutral"),
        (SPONTANEOUS_EXPRESSIONS, "spontaneous_expressions"),
        (MICRO_EXPRESSIONS, "micro_expressions"),
        (("wink", "tongue out"), "class_names"),
        (("happy", "wink"), "class_names"),
        (("pain", "neutral"), "class_names"),
    ],
)
def test_the_classes_decide_the_prompts(classes, prompt_set):
    assert fitted_to_store(folder(), store(classes, 6), ()).prompt_set == prompt_set


@pytest.mark.parametrize(
    ("num_subjects", "each", "num_folds", "batch_size", "epochs"),
    [(2, 1, 2, 2, 60), (2, 3, 2, 6, 60), (3, 2, 3, 8, 60), (5, 1, 5, 8, 60), (9, 10, 5, 32, 60), (100, 10, 5, 32, 8)],
)
def test_people_and_samples_decide_folds_batches_and_epochs(num_subjects, each, num_folds, batch_size, epochs):
    prepared = store(("wink", "pout"), num_subjects, each=each)
    config = fitted_to_store(folder(), prepared, ())
    assert (config.num_folds, config.optimiser.batch_size) == (num_folds, batch_size)
    assert config.optimiser.epochs == epochs
    assert not list(find_config_problems(config, prepared, range(num_folds)))


def test_views_are_taken_as_the_store_has_them():
    prepare = replace(folder().prepare, views=replace(folder().prepare.views, size=96))
    prepared = store(("wink", "pout"), 4, prepare=prepare)
    assert fitted_to_store(folder(), prepared, ()).prepare == prepare
    assert fitted_to_store(folder(), prepared, ("prepare.views.size",)).prepare == folder().prepare


@pytest.mark.parametrize("given", ["prompt_set", "num_folds", "optimiser.batch_size", "optimiser.epochs"])
def test_what_is_given_stays(given):
    def value(config):
        for name in given.split("."):
            config = getattr(config, name)
        return config

    prepared = store(("happy", "sad"), 4, each=3)
    fitted = fitted_to_store(folder(), prepared, (given,))
    assert value(fitted) == value(folder())
    assert value(fitted_to_store(folder(), prepared, ())) != value(folder())


@pytest.mark.parametrize(("classes", "num_subjects"), [(("happy",), 5), (("happy", "sad"), 1), (("happy",), 1)])
def test_one_subject_or_one_class_is_refused(classes, num_subjects):
    with pytest.raises(SettingsError, match="two subjects, one of them to be tested on, and two classes"):
        fitted_to_store(folder(), store(classes, num_subjects), ())


def test_a_store_of_another_layout_is_left_to_the_check():
    prepared = store(BASIC_EXPRESSIONS, 4, layout="bu3dfe")
    config = fitted_to_store(folder(), prepared, ())
    assert config == folder()
    first = next(find_config_problems(config, prepared, [0]))
    assert "protocol=bu3dfe_subset1" in str(first)
