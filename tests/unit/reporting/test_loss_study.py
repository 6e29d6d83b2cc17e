"""The report of a study of the losses: effects that were put in are found, and sentences follow from the numbers."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from smilevlm.errors import ResultError
from smilevlm.recipes import METHODS
from smilevlm.recipes.loss_study import CONTRASTS, LOSS_SETTINGS, MARGIN, PRETRAINING, PRIMARY
from smilevlm.reporting import write_loss_report, write_study_report
from smilevlm.reporting.loss_study_findings import loss_findings
from smilevlm.reporting.loss_study_fusion import fusion_effects
from smilevlm.reporting.loss_study_source import load_loss_study, loss_effects
from smilevlm.results import (
    CONDITIONS,
    ConditionScores,
    LossRun,
    LossStudy,
    ProbeScore,
    PromptScores,
    RobustnessResult,
    StudyMethod,
    write_record,
)

UNITS, SETTINGS = 10, ("class_all", "class_6")
EFFECTS = {"without_multi_view": 0.08, "without_redundancy": 0.0, "without_alignment": -0.2}
"""What is taken from the accuracy without a loss, and from the probe without alignment."""


def robustness(accuracy, rng, *, aligned) -> RobustnessResult:
    def scores(condition):
        noise = rng.normal(0, 0.01)
        fused = float(np.clip(accuracy + noise, 0, 1))
        frontal = fused - 0.02 + float(rng.normal(0, 0.005))
        views = {-30.0: fused - 0.1, 0.0: frontal, 30.0: fused - 0.1}
        one = condition == "one_view_degraded"
        prompts = PromptScores(
            fused=fused,
            mean_fusion=fused - 0.01 + float(rng.normal(0, 0.002)),
            single_views=views,
            fused_with_view=dict.fromkeys(views, fused),
            matched=fused,
            matched_chance=0.2,
            degraded_view_weight=0.2 if one else None,
        )
        return ConditionScores(
            num_samples=100,
            prompts=prompts if aligned else None,
            linear_probe=None if condition == "one_view_missing" else fused,
        )

    return RobustnessResult(
        recipe="tiny_losses", layout="folder", manifest_hash="0" * 64, package_version="1", git_commit=None, fold=0,
        seed=0,
        other_manifest_hash=None,
        view_angles_deg=(-30.0, 0.0, 30.0), conditions={name: scores(name) for name in CONDITIONS},
        probes=(ProbeScore(num_subjects=6, accuracy=0.4), ProbeScore(num_subjects=48, accuracy=accuracy)),
        same_person_nearest=0.5 + float(rng.normal(0, 0.003)), chance_same_person=0.04,
    )  # fmt: skip


@pytest.fixture(scope="module")
def study_path(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("losses"), np.random.default_rng(0)
    runs = []
    settings = tuple(LOSS_SETTINGS[name] for name in SETTINGS)
    for setting in settings:
        for method in setting.methods:
            for unit in range(UNITS):
                place = f"runs/{setting.name}/{method}/{unit}"
                aligned = method not in ("untrained", "multi_view_alone")
                result = robustness(0.6 - EFFECTS.get(method, 0.0), rng, aligned=aligned)
                write_record(folder / place / "robustness.json", result)
                runs.append(LossRun(setting=setting.name, method=method, unit=unit, num_steps=400, folder=place))
    runs[-1] = LossRun(
        setting="class_6", method="pretrained", unit=9, num_steps=400, folder=None, reason="the disk was full"
    )
    names = dict.fromkeys(run.method for run in runs)
    study = LossStudy(
        profile="tiny", synthetic=True, data="72 synthetic people per unit", other_faces="ict",
        overlap=0.0, primary=PRIMARY, command="smilevlm reproduce losses", num_steps=400, batch_size=32, margin=MARGIN,
        contrasts=(*CONTRASTS, PRETRAINING), settings=settings,
        methods=tuple(StudyMethod(name=n, title=METHODS[n].title, supervision=METHODS[n].supervision) for n in names),
        runs=tuple(runs), package_version="1", git_commit=None,
    )  # fmt: skip
    write_record(folder / "losses.json", study)
    return folder / "losses.json"


def test_effects_that_were_put_in_are_found(study_path):
    effects = loss_effects(load_loss_study(study_path))
    clean = {(e.contrast.method, e.setting): e for e in effects if e.outcome.key == "clean" and e.contrast in CONTRASTS}
    assert clean["without_multi_view", "class_all"].test.mean == pytest.approx(0.08, abs=0.01)
    assert clean["without_multi_view", "class_all"].verdict == "higher"
    assert clean["without_redundancy", "class_all"].verdict == "equal"
    assert clean["without_alignment", "class_all"].test.mean == pytest.approx(-0.2, abs=0.01)
    assert clean["without_alignment", "class_all"].verdict == "lower"
    assert clean["without_redundancy", "class_6"].test.num_units == UNITS
    assert ("without_alignment", "class_6") not in clean
    (pretraining,) = (e for e in effects if e.contrast == PRETRAINING and e.outcome.key == "clean")
    assert (pretraining.setting, pretraining.test.num_units) == ("class_6", UNITS - 1)
    assert pretraining.test.mean == pytest.approx(0.08, abs=0.01)
    # No probe where a view is missing.
    keys = {e.outcome.key for e in effects if e.contrast.method == "without_alignment"}
    assert keys == {"clean", "all_views_degraded", "one_view_degraded", "other_faces", "same_person"}
    primary = [e for e in effects if e.is_primary]
    assert len(primary) == 5
    assert {e.outcome.key for e in primary} == {"clean"}
    # Holm's first step divides the level by the size of the family.
    assert primary[0].detectable == primary[0].test.detectable(0.05 / 5)
    assert min(e.p_value for e in primary) == pytest.approx(5 * min(e.test.p_value for e in primary))


def test_sentences_follow_from_the_numbers(study_path):
    study = load_loss_study(study_path)
    sentences = loss_findings(study, loss_effects(study), fusion_effects(study))
    assert len([each for each in sentences if each.startswith("Primary test")]) == 5
    assert any(
        each.startswith("Primary test, redundancy minimisation") and each.endswith("equal.") for each in sentences
    )
    multi_view = next(each for each in sentences if each.startswith("Multi-view Barlow Twins, accuracy"))
    assert "higher with it in 8 of 8" in multi_view
    assert "class prompts, labels of 6 people, degraded scans: +" in multi_view
    leakage = next(each for each in sentences if each.startswith("Multi-view Barlow Twins, identity"))
    assert "equal in 2 of 2" in leakage
    missing = next(each for each in sentences if each.startswith("Learned fusion, one view missing"))
    assert "against the best single view +" in missing
    assert "above in 2 of 2 settings" in missing
    assert "Prompts dealt out at random, 10 shuffles" in sentences[-1]


def test_the_page_its_tables_and_its_figure(study_path):
    page = write_loss_report(study_path, study_path.parent / "report")
    text = page.read_text()
    assert "The effect of each of the three losses, on <em>synthetic</em> faces" in text
    assert "class_6, pretrained, unit 9: the disk was full." in text
    tables = page.parent / "tables"
    for path in tables.glob("*.csv"):
        rows = list(csv.reader(path.read_text().splitlines()))
        assert len(rows) > 1, path
        assert all(cell.strip() for row in rows for cell in row), path
    fusion = list(csv.DictReader((tables / "loss_fusion.csv").read_text().splitlines()))
    assert {row["against"] for row in fusion} == {"best single view (0°)", "plain mean"}
    expected = {"best single view (0°)": 0.02, "plain mean": 0.01}
    assert len(fusion) == 2 * 2 * len(CONDITIONS)
    for row in fusion:
        assert float(row["difference"]) == pytest.approx(expected[row["against"]], abs=0.005)
    with Image.open(page.parent / "figures/loss_effects.png") as image:
        assert np.asarray(image.convert("L")).std() > 1
    before = page.read_bytes()
    write_loss_report(study_path, study_path.parent / "report")
    assert page.read_bytes() == before


@pytest.mark.slow
def test_a_report_of_the_paper_in_the_same_folder_has_the_effects(study_path, fake_study, tmp_path):
    path = fake_study.write(("bu3dfe_subset1",))
    plain = write_study_report(path, tmp_path / "plain").read_text()
    shutil.copytree(study_path.parent, path.parent, dirs_exist_ok=True)
    both = write_study_report(path, tmp_path / "both").read_text()
    assert 'id="losses"' in both
    assert 'id="losses"' not in plain
    assert "Multi-view Barlow Twins, accuracy: higher with it in 8 of 8" in both
    assert (tmp_path / "both/figures/loss_effects.png").stat().st_size


def test_a_run_of_no_setting_is_refused(study_path, tmp_path):
    text = study_path.read_text().replace('"setting": "class_6"', '"setting": "class_7"')
    (tmp_path / "losses.json").write_text(text)
    with pytest.raises(ResultError, match="class_7"):
        load_loss_study(tmp_path / "losses.json")
