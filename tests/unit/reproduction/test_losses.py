"""The study of the losses: equal steps whatever an arm sees, wrong requests, a run that is scored and gone on with."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest

from smilevlm.errors import SettingsError
from smilevlm.recipes.loss_study import CONTRASTS, LOSS_PROFILES, LOSS_SETTINGS, PRETRAINING
from smilevlm.reporting import write_loss_report
from smilevlm.reporting.loss_study_source import load_loss_study
from smilevlm.reproduction import losses
from smilevlm.reproduction.losses import LossStudyRequest, LossUnit, plan_trainings, run_loss_study
from smilevlm.results import LOSS_STUDY_NAME, LossStudy, RobustnessResult, read_record
from smilevlm.store import PreparedSet
from smilevlm.training import HardwareConfig, read_fold_record, split_fold
from smilevlm.training.splits import num_batched_samples

OVERRIDES = (
    "protocol=bu3dfe_subset1", "prepare.normalise.crop_depth_mm=115", "prompt_set=basic_expressions", "num_folds=2",
    "optimiser.batch_size=4",
    "model.tower_settings.width=8", "model.tower_settings.grid=1",
)  # fmt: skip


def request(out, **changes) -> LossStudyRequest:
    return LossStudyRequest(profile="tiny", out=out, overrides=OVERRIDES, **changes)


def unit_of(store) -> LossUnit:
    return LossUnit(number=0, store=store, fold=0, seed=0, other_store=None)


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
        assert steps == training.num_steps == pytest.approx(LOSS_PROFILES["tiny"].num_steps, rel=0.05)
    assert len(seen) > 1, "the arms see equally many samples, so nothing was tested"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": ("class_7",)}, "no setting class_7"),
        ({"units": (10,)}, "no unit 10"),
        ({"store": "store", "other_rig": "ict=file"}, "with a prepared set"),
        ({"profile": "paper"}, "makes no faces"),
        ({"other_store": "store"}, "--other-store goes with --store"),
        ({"overrides": ("seed=3",)}, "the study decides"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path, changes, message):
    with pytest.raises(SettingsError, match=message):
        run_loss_study(replace(request(tmp_path), **changes), jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)


@contextlib.contextmanager
def no_bar(_):
    yield lambda *_: None


@pytest.mark.slow
def test_a_given_set_is_trained_scored_and_gone_on_with(store_of_four, prepared_store, tmp_path, monkeypatch):
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
    assert (study.synthetic, study.overlap, len(study.runs)) == (True, 1.0, 2 * 3)
    for run in study.runs:
        assert run.folder is not None
        scores = read_record(tmp_path / run.folder / "robustness.json", RobustnessResult)
        assert scores.fold == run.unit
        assert (scores.conditions["clean"].prompts is None) == (run.method == "untrained")
    tested = [read_fold_record(tmp_path / f"runs/unit_0{n}/class_all/full/fold_0{n}").split for n in range(2)]
    assert not set(tested[0].test_subjects) & set(tested[1].test_subjects)
    assert set(tested[0].test_subjects) | set(tested[1].test_subjects) == {
        *(sample.subject for sample in PreparedSet(store_of_four).samples)
    }
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(weights) >= 6
    # Other faces need new scores and no training.
    other = replace(asked, other_store=prepared_store)
    _, missing = run_loss_study(other, jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)
    assert missing == []
    scores = read_record(tmp_path / "runs/unit_00/class_all/full/robustness.json", RobustnessResult)
    assert "other_faces" in scores.conditions
    assert weights == {path: path.stat().st_mtime_ns for path in weights}, "a training was made again"
    changed = replace(asked, overrides=(*OVERRIDES, "optimiser.learning_rate=0.1"))
    _, missing = run_loss_study(changed, jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)
    assert len(missing) == 6
    assert all("begun with other settings" in line for line in missing), missing
    assert json.loads(path.read_text())["runs"][0]["folder"] is None


@pytest.mark.slow
def test_synthetic_people_with_captions_and_other_faces(tmp_path, monkeypatch):
    """From nothing to the report, on three people."""
    profile = replace(LOSS_PROFILES["tiny"], num_steps=2, num_units=2, num_people=6, num_other_people=2)
    monkeypatch.setitem(losses.LOSS_PROFILES, "tiny", profile)
    for name in ("class_all", "captions_all"):
        small = replace(LOSS_SETTINGS[name], methods=("full", "without_redundancy"))
        monkeypatch.setitem(losses.LOSS_SETTINGS, name, small)
    asked = LossStudyRequest(
        profile="tiny", out=tmp_path, settings=("class_all", "captions_all"), overrides=("optimiser.batch_size=8",)
    )
    path, missing = run_loss_study(asked, jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)
    assert missing == []
    study = load_loss_study(path)
    assert study.study.overlap == 0
    assert study.study.other_faces == "the built-in head model with unlike face families"
    assert all(len(study.scores[setting, "full"]) == 2 for setting in asked.settings)
    language = study.scores["captions_all", "full"][0].language
    assert language is not None
    assert language.num_subjects == 2
    part = replace(asked, units=(1,), settings=("class_all",))
    run_loss_study(part, jobs=1, hardware=HardwareConfig(), progress_bar=no_bar)
    assert len(read_record(path, LossStudy).runs) == 8, "what was not asked for this time was lost"
    page = write_loss_report(path, tmp_path / "report")
    assert "text to scan" in page.read_text().lower()
