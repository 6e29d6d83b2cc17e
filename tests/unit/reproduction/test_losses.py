"""The study of the losses: equal steps whatever an arm sees, wrong requests, a run that is scored and gone on with."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest

from smilevlm.errors import SettingsError
from smilevlm.recipes.loss_study import CONTRASTS, LOSS_PROFILES, LOSS_SETTINGS, PRETRAINING
from smilevlm.reproduction import losses
from smilevlm.reproduction.losses import LOSS_STUDY_NAME, LossStudyRequest, LossUnit, plan_trainings, run_loss_study
from smilevlm.results import LossStudy, RobustnessResult, read_record
from smilevlm.store import PreparedSet
from smilevlm.training import HardwareConfig, split_fold
from smilevlm.training.splits import num_batched_samples

OVERRIDES = (
    "protocol=bu3dfe_subset1", "prepare.normalise.crop_depth_mm=115", "prompt_set=basic_expressions", "num_folds=2",
    "optimiser.batch_size=4",
    "model.tower_settings.width=8", "model.tower_settings.grid=1",
)  # fmt: skip


def request(out, **changes) -> LossStudyRequest:
    return LossStudyRequest(profile="tiny", out=out, overrides=OVERRIDES, **changes)


def unit_of(store) -> LossUnit:
    return LossUnit(number=0, store=store, fold=0, other_store=None)


def test_every_contrast_has_both_sides():
    for contrast in (*CONTRASTS, PRETRAINING):
        assert any({contrast.first, contrast.method} <= set(setting.methods) for setting in LOSS_SETTINGS.values())


def test_all_trainings_have_equally_many_steps(store_of_four, tmp_path, monkeypatch):
    settings = {name: replace(each, num_labelled=each.num_labelled and 1) for name, each in LOSS_SETTINGS.items()}
    monkeypatch.setattr(losses, "LOSS_SETTINGS", settings)
    store = PreparedSet(store_of_four)
    seen = set()
    for training in plan_trainings(request(tmp_path, settings=("class_all", "class_6")), unit_of(store_of_four)):
        config = training.config
        if training.method == "untrained":
            assert config.optimiser.epochs == 0
            continue
        size = num_batched_samples(config, split_fold(config, store, 0), store.samples)
        seen.add(size)
        steps = (config.pretraining_epochs + config.optimiser.epochs) * (size // config.optimiser.batch_size)
        assert steps == pytest.approx(LOSS_PROFILES["tiny"].num_steps, rel=0.05)
    assert len(seen) > 1, "the arms see equally many samples, so nothing was tested"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": ("class_7",)}, "no setting class_7"),
        ({"units": (10,)}, "no unit 10"),
        ({"store": "store", "other_rig": "ict=file"}, "with a prepared set"),
        ({"profile": "paper"}, "makes no faces"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path, changes, message):
    asked = replace(request(tmp_path), **changes)
    with pytest.raises(SettingsError, match=message):
        run_loss_study(asked, jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)


@contextlib.contextmanager
def no_bar(_):
    yield lambda *_: None


@pytest.mark.slow
def test_a_given_set_is_trained_scored_and_gone_on_with(store_of_four, tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "FEW_LABELS", (1,))
    profile = replace(LOSS_PROFILES["tiny"], num_steps=2)
    monkeypatch.setitem(losses.LOSS_PROFILES, "tiny", profile)
    small = replace(LOSS_SETTINGS["class_all"], methods=("full", "without_multi_view", "untrained"))
    monkeypatch.setitem(losses.LOSS_SETTINGS, "class_all", small)
    asked = request(tmp_path, store=store_of_four, settings=("class_all",))
    path, missing = run_loss_study(asked, jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)
    assert missing == []
    assert path == tmp_path / LOSS_STUDY_NAME
    study = read_record(path, LossStudy)
    assert (study.synthetic, study.independent_units, len(study.runs)) == (True, False, 2 * 3)
    for run in study.runs:
        assert run.folder is not None
        scores = read_record(tmp_path / run.folder / "robustness.json", RobustnessResult)
        assert scores.fold == run.unit
        assert (scores.conditions["clean"].fused is None) == (run.method == "untrained")
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(weights) >= 6
    run_loss_study(asked, jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)
    assert weights == {path: path.stat().st_mtime_ns for path in weights}, "a training was made again"
    changed = replace(asked, overrides=(*OVERRIDES, "optimiser.learning_rate=0.1"))
    _, missing = run_loss_study(changed, jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)
    assert len(missing) == 6
    assert all("begun with other settings" in line for line in missing), missing
    assert json.loads(path.read_text())["runs"][0]["folder"] is None
