"""What of a study needs no work, what must not be taken for done, and what a failure leaves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from smilevlm.recipes.studies import targets_of
from smilevlm.reproduction.data import make_replica
from smilevlm.reproduction.jobs import execute
from smilevlm.reproduction.plan import PlannedRun, StudyRequest, plan_runs
from smilevlm.reproduction.study import _read_current
from smilevlm.results import TasksResult, read_results
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.run import train_run


@pytest.fixture(scope="module")
def study(prepared_store, tiny_overrides, tmp_path_factory):
    """One trained and scored run of BU-3DFE Subset I, and what it was made with. Read only."""
    out = tmp_path_factory.mktemp("study")
    request = StudyRequest(
        targets=targets_of("fig2"), profile="tiny", out=out, seeds=(0,), overrides=(*tiny_overrides, "num_folds=2")
    )
    run = plan_runs(request)[0]
    assert (run.setting, run.method) == ("bu3dfe_subset1", "full")
    (outcome,) = go(run, prepared_store)
    assert outcome.result is not None
    return run


def go(run: PlannedRun, store: Path):
    return execute([run], {"bu3dfe": store}, jobs=1, hardware=HardwareConfig(), progress=lambda *_: None)


@pytest.fixture
def run(study, tmp_path) -> PlannedRun:
    """The same run in a folder to change."""
    return replace(study, folder=Path(shutil.copytree(study.folder, tmp_path / "seed_0")))


def test_a_run_that_is_done_is_left_alone(run, prepared_store, monkeypatch):
    monkeypatch.setattr("smilevlm.reproduction.jobs.train_run", None)
    (outcome,) = go(run, prepared_store)
    assert outcome.result == read_results(run.folder / "results.json")


def test_results_of_other_data_are_not_taken(run, store_of_four):
    (outcome,) = go(run, store_of_four)
    assert outcome.result is None
    assert "other settings or data" in str(outcome.reason)


def test_a_damaged_result_is_made_again(run, prepared_store):
    before = (run.folder / "results.json").read_bytes()
    (run.folder / "results.json").write_text("{")
    (outcome,) = go(run, prepared_store)
    assert outcome.reason is None
    assert (run.folder / "results.json").read_bytes() == before


def test_a_set_that_was_not_given_is_the_reason(run):
    (outcome,) = execute([run], {}, jobs=1, hardware=HardwareConfig(), progress=lambda *_: None)
    assert outcome.reason == "no prepared set of bu3dfe was given"


def test_a_failure_is_told_and_the_others_go_on(run, prepared_store, tmp_path):
    broken = replace(run, method="broken", folder=tmp_path / "broken", config=replace(run.config, prompt_set="nowhere"))
    calls = []
    outcomes = execute(
        [broken, run],
        {"bu3dfe": prepared_store},
        jobs=1,
        hardware=HardwareConfig(),
        progress=lambda *each: calls.append(each),
    )
    assert "nowhere" in str(outcomes[0].reason)
    assert outcomes[1].result is not None
    assert sorted(done for _, done, _, _ in calls) == [1, 2]


def test_as_many_folds_as_subjects_where_one_is_left_out(run, prepared_store, tmp_path, monkeypatch):
    seen = {}

    def record(config, store, folder, *, folds, **_):
        seen.update(num_folds=config.num_folds, folds=folds)
        return train_run(replace(config, protocol="nothing"), store, folder, folds=folds)

    from smilevlm.datasets import PROTOCOLS

    protocol = replace(PROTOCOLS["bu3dfe_subset1"], name="left_out", scheme="leave_one_subject_out")
    monkeypatch.setitem(PROTOCOLS, "left_out", protocol)
    monkeypatch.setattr("smilevlm.reproduction.jobs.train_run", record)
    config = replace(run.config, protocol="left_out", num_folds=41)
    (outcome,) = go(replace(run, config=config, folder=tmp_path / "other"), prepared_store)
    assert outcome.reason is not None
    assert seen == {"num_folds": 2, "folds": (0, 1)}


def test_a_look_at_another_fold_is_not_taken(run, tmp_path):
    from smilevlm.results import write_record

    result = read_results(run.folder / "results.json")
    fold = result.folds[0]
    tasks = TasksResult(
        recipe=result.recipe, fold=0, layout="bu3dfe", manifest_hash=result.manifest_hash, synthetic=True,
        train_subjects=fold.train_subjects, test_subjects=fold.test_subjects, seed=0, package_version="0",
        git_commit=None, verification=(), identification=(), anti_spoofing=(),
    )  # fmt: skip
    path = tmp_path / "tasks.json"
    assert _read_current(path, TasksResult, result) is None
    write_record(path, tasks)
    assert _read_current(path, TasksResult, result) == tasks
    for change in ({"fold": 1}, {"manifest_hash": "other"}, {"recipe": "other"}, {"test_subjects": ("F0009",)}):
        write_record(path, replace(tasks, **change))
        assert _read_current(path, TasksResult, result) is None
    path.write_text(json.dumps({"schema_version": 0}))
    assert _read_current(path, TasksResult, result) is None


def test_a_folder_with_another_set_is_no_replica(prepared_store, tmp_path):
    from smilevlm.errors import StoreError

    shutil.copytree(prepared_store, tmp_path / "data/bosphorus/store")
    with pytest.raises(StoreError, match="holds no synthetic bosphorus"):
        make_replica("bosphorus", tmp_path, 1, lambda *_: None)
