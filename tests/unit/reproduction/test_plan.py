"""Which trainings a study consists of, and in which order they can be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from smilevlm.errors import SettingsError
from smilevlm.recipes.studies import NEEDED, PROFILES, SETTINGS, SIX_SETTINGS, targets_of
from smilevlm.reproduction.jobs import _waves
from smilevlm.reproduction.plan import StudyRequest, needed_data, plan_runs, run_folder

OUT = Path("study")


def request(name="all", profile="tiny", **changes) -> StudyRequest:
    return StudyRequest(targets=targets_of(name), profile=profile, out=OUT, **changes)


def planned(*arguments, **changes):
    return {(run.setting, run.method, run.seed): run for run in plan_runs(request(*arguments, **changes))}


def test_every_run_once_with_three_seeds_and_the_first_fold():
    runs = plan_runs(request())
    assert len({run.folder for run in runs}) == len(runs)
    found = {(run.setting, run.method): set() for run in runs}
    for run in runs:
        found[run.setting, run.method].add(run.seed)
    assert set(found) == {(s, m) for needed in NEEDED.values() for s, methods in needed.items() for m in methods}
    for (setting, method), seeds in found.items():
        one = method in PROFILES["tiny"].one_seed or setting == "4dme_loso"
        assert seeds == ({0} if one else {0, 1, 2})
    assert {run.folds for run in runs if run.setting in SIX_SETTINGS and run.config} == {(0,)}


def test_the_paper_runs_all_ten_folds():
    runs = planned("table3", "paper")
    assert runs["bu4dfe", "full", 0].folds == tuple(range(10))
    assert {seed for _, _, seed in runs} == {0}
    # Its recipes name a CLIP, so the raw one can be had too.
    assert runs["bu4dfe", "raw_clip", 0].config is not None


def test_a_clip_that_was_not_given_is_the_reason():
    run = planned("table3")["bu4dfe", "raw_clip", 0]
    assert (run.config, run.folds) == (None, ())
    assert "--clip" in str(run.reason)
    given = planned("table3", clip="somewhere/clip")["bu4dfe", "raw_clip", 0].config
    assert given is not None
    assert given.text_tower == given.model.tower_settings.name == "somewhere/clip"


@pytest.mark.parametrize("method", ["full", "supervised", "shuffled_prompts"])
def test_micro_expressions_begin_with_the_same_method_and_seed(method):
    run = planned("table5")["4dme", method, 0]
    assert run.config is not None
    assert run.config.start_from == str(run_folder(OUT, "bu4dfe", method, 0))
    assert ("bu4dfe", method, 0) in planned("table5")


def test_overrides_reach_every_recipe_but_one_fold_stays_one():
    runs = planned("table4", overrides=("num_folds=3", "optimiser.epochs=1"))
    assert {run.config.optimiser.epochs for run in runs.values() if run.config and run.method != "untrained"} == {1}
    folds = {(run.setting, run.config.num_folds) for run in runs.values() if run.config}
    assert folds == {("bp4d", 3), ("bp4d_cross", 1)}


def test_overrides_do_not_train_what_is_there_to_be_untrained():
    config = planned("table3", overrides=("optimiser.epochs=3", "loss.beta=2"))["bu4dfe", "untrained", 0].config
    assert config is not None
    assert config.optimiser.epochs == 0
    alone = planned("table3", overrides=("loss.beta=2",))["bu4dfe", "multi_view_alone", 0].config
    assert alone is not None
    assert alone.loss.beta == 0


def test_a_mistaken_override_names_the_run():
    with pytest.raises(SettingsError, match=r"bu4dfe, full: .*optimiser\.epoch=1"):
        plan_runs(request("table3", overrides=("optimiser.epoch=1",)))


def test_the_data_that_a_table_needs():
    assert needed_data(plan_runs(request("table4"))) == ("bp4d", "bu4dfe")
    assert set(needed_data(plan_runs(request()))) == {"bu3dfe", "bosphorus", "bu4dfe", "bp4d", "4dme"}


def test_what_others_begin_with_is_run_before_them():
    runs = [run for run in plan_runs(request("table5")) if run.config is not None]
    waves = _waves(runs)
    assert sum(len(wave) for wave in waves) == len(runs)
    before = set()
    for wave in waves:
        for run in wave:
            assert run.config is not None
            if run.config.start_from is not None:
                assert Path(run.config.start_from) in before, run.name
        before |= {run.folder for run in wave}
    # A run of many folds has the machine for itself.
    assert all(len(wave) == 1 for wave in waves if any(len(run.folds) > 1 for run in wave))


def test_words_that_are_no_target():
    with pytest.raises(SettingsError, match="no table or figure 'table1'"):
        targets_of("table1")


def test_every_setting_has_a_recipe_in_both_profiles():
    from smilevlm.recipes import RECIPES

    for setting in SETTINGS:
        assert {f"tiny_{setting}", f"paper_{setting}"} <= set(RECIPES)
