import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from smilevlm.errors import ResultError
from smilevlm.reporting.pooled import ORACLE
from smilevlm.reporting.published import PUBLISHED_DATA, load_published
from smilevlm.reporting.setting_figures import pooled_bins, pooled_levels
from smilevlm.reporting.study import write_study_report
from smilevlm.reporting.study_comparisons import ablation_comparisons, view_comparisons
from smilevlm.reporting.study_findings import findings
from smilevlm.reporting.study_source import load_study
from smilevlm.reporting.study_statistics import FUSED, NOT_ALIGNED, chance, difference, pooled, unit_scores
from smilevlm.reporting.study_tables import comparison_table
from smilevlm.reporting.table import cell_text, to_csv
from smilevlm.results import (
    AnalysisResult,
    EffectiveRank,
    OracleResult,
    Study,
    StudyFile,
    TasksResult,
    pooled_confusion,
    pooled_score,
    read_record,
    read_results,
    write_record,
)

SETTINGS = ("bu3dfe_subset1", "bp4d_cross", "4dme_multi_label")
MISSING = (
    *((setting, "raw_clip", None) for setting in SETTINGS),
    ("bp4d_cross", "without_alignment", 1),
    ("bp4d_cross", "without_redundancy", None),
)
FILES = (StudyFile(kind="tasks", setting="bu3dfe_subset1", path=None, reason="the tasks were not asked for"),)


@pytest.fixture(scope="module")
def study_path(fake_study_once):
    return fake_study_once.write(SETTINGS, missing=MISSING, files=FILES)


@pytest.fixture(scope="module")
def study(study_path):
    return load_study(study_path)


@pytest.fixture(scope="module")
def out(study_path):
    write_study_report(study_path, study_path.parent / "report")
    return study_path.parent / "report"


@pytest.fixture(scope="module")
def page(out):
    return (out / "index.html").read_text(encoding="utf-8")


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_every_table_and_figure_is_there(out):
    for table in (
        "table2_subset1", "table2_subset2_bosphorus", "table3", "table4_recognition", "table4_cross_dataset",
        "table5_f1", "table5_accuracy", "ablation", "ablation_linear_probe", "single_views", "baselines",
        "calibration", "missing", "provenance", "settings_bu3dfe_subset1",
    ):  # fmt: skip
        assert all((out / f"tables/{table}.{ending}").stat().st_size for ending in ("csv", "md", "tex")), table
    for figure in (
        "fig2_ablation", "fig3_gains", "single_views", "reliability", "intensity", "view_weights",
        "confusion_bp4d_cross",
    ):  # fmt: skip
        assert "<svg" in (out / f"figures/{figure}.svg").read_text()
        with Image.open(out / f"figures/{figure}.png") as image:
            assert np.asarray(image.convert("L")).std() > 1, f"{figure} is blank"


def test_no_cell_is_empty(out):
    for path in (out / "tables").glob("*.csv"):
        for row in csv.reader(path.read_text().splitlines()):
            assert all(cell.strip() for cell in row), path


def test_every_row_is_published_or_says_synthetic(out):
    checked = 0
    for path in sorted((out / "tables").glob("*.csv")):
        if path.stem == "missing" or path.stem.startswith("settings_"):
            continue
        for row in rows_of(path):
            assert (row["data"] == PUBLISHED_DATA) != ("synthetic" in row["data"]), (path, row)
            checked += 1
    assert checked > 150
    for path in (out / "tables").glob("settings_*.md"):
        assert "synthetic" in path.read_text()


def test_published_rows_stand_first_and_as_printed(out):
    rows = rows_of(out / "tables/table2_subset1.csv")
    assert [float(row["accuracy"]) for row in rows[:7]] == [0.845, 0.848, 0.8632, 0.8686, 0.8931, 0.8853, 0.8951]
    assert rows[5]["method"] == "MiFaR [48]"
    assert {row["data"] for row in rows[:7]} == {PUBLISHED_DATA}
    assert rows[7]["method"].startswith("Method full")
    assert "| MiFaR \\[48\\] | unsupervised |" in (out / "tables/table2_subset1.md").read_text()
    assert "| 89.51 |" in (out / "tables/table2_subset1.md").read_text()
    f1 = rows_of(out / "tables/table5_f1.csv")
    assert (f1[4]["repression"], f1[4]["average"]) == ("0.8093", "0.8023")


def test_own_rows_are_the_means_of_the_results(out, study_path):
    rows = {row["method"]: row for row in rows_of(out / "tables/table2_subset1.csv")}
    results = [
        read_results(study_path.parent / f"runs/bu3dfe_subset1/full/seed_{seed}/results.json") for seed in range(3)
    ]
    values = [result.folds[0].accuracy for result in results]
    row = rows["Method full: prompts, all views fused"]
    assert float(row["accuracy"]) == pytest.approx(np.mean(values))
    assert float(row["std"]) == pytest.approx(np.std(values, ddof=1))
    half = 4.302653 * np.std(values, ddof=1) / np.sqrt(3)
    assert float(row["interval_low"]) == pytest.approx(np.mean(values) - half, abs=1e-6)
    people = {name for result in results for name in result.folds[0].test_subjects}
    assert row["subjects"] == str(len(people))
    probe = rows["Method full: linear probe on frozen features"]
    assert float(probe["accuracy"]) == pytest.approx(
        np.mean([result.folds[0].readouts["linear_probe"].accuracy for result in results])
    )
    assert float(rows["chance"]["accuracy"]) == pytest.approx(1 / 6)
    assert float(rows["always the most frequent training class"]["accuracy"]) == pytest.approx(1 / 6)


def test_supervision_is_that_of_the_result(out):
    told = {row["method"]: row["supervision"] for row in rows_of(out / "tables/table2_subset1.csv")}
    assert told["Method full: prompts, all views fused"] == "weakly supervised"
    assert told["Method full: linear probe on frozen features"] == "weakly supervised; readout fitted on labels"
    assert told["Method supervised: all views fused"] == "supervised"
    # Pairing is by class there too, but no prompt, or none of the sample's own, had a say.
    assert told["Method multi_view_alone: linear probe on frozen features"].startswith("told to multi_view_alone")
    assert told["Method shuffled_prompts"] == "told to shuffled_prompts"


def test_what_is_missing_says_why(out, page):
    rows = {row["method"]: row for row in rows_of(out / "tables/table4_cross_dataset.csv")}
    assert rows["Method raw_clip: prompts, all views fused"]["accuracy"] == "no CLIP given"
    own = [row for row in rows_of(out / "tables/table3.csv") if row["data"] != PUBLISHED_DATA]
    assert {row["accuracy"] for row in own[:-1]} == {"not part of this study"}
    ablation = rows_of(out / "tables/ablation.csv")
    alone = [row for row in ablation if row["method"] == "Method multi_view_alone"]
    assert {row["accuracy"] for row in alone} == {NOT_ALIGNED.reason}
    reasons = {(row["setting"], row["what"]): row["reason"] for row in rows_of(out / "tables/missing.csv")}
    assert reasons["Title of bp4d_cross", "Method without_alignment, seed 1"] == "no CLIP given"
    assert reasons["Title of bu3dfe_subset1", "other tasks"] == "the tasks were not asked for"
    assert "the tasks were not asked for" in page
    assert "The study has no file of this kind." in page


def test_a_missing_seed_leaves_the_others_paired(study):
    each = next(
        each
        for each in ablation_comparisons(study, FUSED)
        if (each.setting, each.second[0]) == ("bp4d_cross", "without_alignment")
    )
    assert each.gain.num_units == 2
    assert study.group("bp4d_cross", "without_alignment").seeds_text == "2 of 3"


def test_table_v_counts_are_pooled_over_units(out, study):
    rows = [row for row in rows_of(out / "tables/table5_f1.csv") if row["setting"] == "Title of 4dme_multi_label"]
    assert [row["scoring"] for row in rows] == ["single label"] * 6 + ["multi-label"] * 5
    folds = [result.folds[0] for result in study.group("4dme_multi_label", "full").results]
    left = rows[6]
    assert left["profile"] == "Left, −30°"
    counts = [fold.multi_label.by_view[-30.0]["positive"] for fold in folds]
    hits, missed, wrong = (
        sum(getattr(each, name) for each in counts) for name in ("true_positive", "false_negative", "false_positive")
    )
    assert float(left["positive"]) == pytest.approx(2 * hits / (2 * hits + missed + wrong))
    pooled_confusion = np.sum([fold.confusion_matrix for fold in folds], axis=0)
    recall = (np.diag(pooled_confusion) / pooled_confusion.sum(axis=1)).mean()
    assert float(rows[3]["unweighted_average_recall"]) == pytest.approx(recall)
    assert [float(rows[10][name]) for name in ("positive", "average", "unweighted_average_recall")] == [0.0, 0.0, 0.0]
    people = {}
    for fold in folds:
        for name, matrix in fold.subject_confusion.items():
            people[name] = tuple(map(tuple, (np.asarray(matrix) + people.get(name, 0)).tolist()))
    low, high = pooled_score(people).unweighted_f1_interval
    assert (float(rows[3]["average_interval_low"]), float(rows[3]["average_interval_high"])) == (low, high)
    assert {rows[at]["average_interval_low"] for at in (0, 1, 2, 6, 10)} == {"not scored by person"}
    assert rows[4]["average_interval_low"] != "not scored by person"
    # Without the true movement the oracle says that it is missing.
    assert (rows[5]["profile"], rows[5]["average"]) == (ORACLE, "the result has no oracle")
    # A setting that the study has not is there with its reason.
    assert any(row["average"] == "not part of this study" for row in rows_of(out / "tables/table5_f1.csv"))


def test_the_oracle_stands_beside_the_model(fake_study):
    def with_oracle(result):
        people = pooled_confusion(result.folds)
        perfect = {name: tuple(map(tuple, np.diag(np.sum(m, axis=1)).tolist())) for name, m in people.items()}
        return replace(result, oracle=OracleResult(subject_confusion=perfect, pooled=pooled_score(perfect)))

    path = fake_study.write(("4dme_loso",), seeds=(0,), folds=(0, 1), change=with_oracle, targets=("table5",))
    out = fake_study.folder / "report"
    write_study_report(path, out)
    rows = [row for row in rows_of(out / "tables/table5_f1.csv") if row["setting"] == "Title of 4dme_loso"]
    model, majority, oracle = rows[3], rows[4], rows[5]
    assert oracle["profile"] == ORACLE
    assert [float(oracle[name]) for name in ("average", "average_interval_low", "average_interval_high")] == [1.0] * 3
    low, value, high = (float(model[name]) for name in ("average_interval_low", "average", "average_interval_high"))
    assert float(majority["average"]) < low <= value <= high < 1


def test_page_says_what_was_measured_and_is_one_file(page, study):
    assert "All own numbers here are from synthetic faces" in page
    assert "Synthetic" in re.search(r"<title>.*?</title>", page, re.S).group()
    assert "synthetic" in re.search(r"<h1.*?</h1>", page, re.S).group()
    links = re.findall(r'(?:src|href|srcset)="([^"]*)"', page)
    assert len(links) > 20
    assert all(link.startswith(("data:", "#")) for link in links)
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert all(f'id="{anchor}"' in page for anchor in anchors)
    identifiers = re.findall(r'id="([^"]*)"', page)
    assert len(identifiers) == len(set(identifiers)), "two places of the page have one name"
    assert "smilevlm reproduce all --profile tiny" in page
    num_people = len({name for r in study.group("bu3dfe_subset1", "full").results for name in r.folds[0].test_subjects})
    assert f"in all {num_people} different test people and 216 test scans" in page


def test_findings_follow_from_the_numbers(study):
    views, ablations = view_comparisons(study), ablation_comparisons(study, FUSED)
    text = " ".join(findings(study, views, ablations, ablation_comparisons(study, "linear_probe")))
    scores = pooled(unit_scores(study.group("bu3dfe_subset1", "full"), FUSED))
    assert f"Title of bu3dfe_subset1 {100 * scores.mean:.1f} %" in text
    better = 0
    for setting in SETTINGS:
        folds = [result.folds[0] for result in study.group(setting, "full").results]
        fused = np.mean([fold.accuracy for fold in folds])
        better += all(fused > np.mean([f.single_view_accuracy[a] for f in folds]) for a in (-30.0, 0.0, 30.0))
    assert f"better than every single view in {better} of 3 settings" in text
    gains = [e.gain.mean for e in ablations if e.second[0] == "without_alignment"]
    lower = sum(gain > 0 for gain in gains)
    assert f"“Method without_alignment” against the full method, accuracy with prompts: lower in {lower}" in text
    assert "“Method multi_view_alone” against the full method, accuracy of a linear probe" in text


def test_same_study_same_bytes(fake_study):
    path = fake_study.write(("bp4d_cross",), methods=("full", "without_alignment"), seeds=(0, 1))
    write_study_report(path, path.parent / "one")
    write_study_report(path, path.parent / "two")
    files = [file for file in (path.parent / "one").rglob("*") if file.is_file()]
    assert len(files) > 40
    for file in files:
        assert file.read_bytes() == (path.parent / "two" / file.relative_to(path.parent / "one")).read_bytes(), file


def test_real_faces_are_not_called_synthetic(fake_study):
    path = fake_study.write(
        ("bosphorus", "bu3dfe_subset2"), methods=("full",), seeds=(0,), synthetic=False, profile="paper",
        folds=(0, 1, 2), num_folds=3, targets=("table2",),
    )  # fmt: skip
    study = load_study(path)
    table = to_csv(comparison_table(study, load_published(), "t", ("bu3dfe_subset2", "bosphorus")))
    assert "synthetic" not in table
    assert "bu3dfe and bosphorus (measured here)" in table
    assert pooled(unit_scores(study.group("bosphorus", "full"), FUSED)).num_units == 3


def test_only_what_was_asked_for(fake_study):
    elsewhere = (StudyFile(kind="tasks", setting="bu3dfe_subset1", path=None, reason="its model was not trained"),)
    path = fake_study.write(("bp4d_cross",), methods=("full",), seeds=(0,), targets=("table4",), files=elsewhere)
    page = write_study_report(path, path.parent / "out").read_text()
    names = {file.stem for file in (path.parent / "out").rglob("*") if file.is_file()}
    assert "table4_cross_dataset" in names
    assert not {"table2_subset1", "table3", "table5_f1", "fig2_ablation", "fig3_gains"} & names
    assert "The study was not asked for table2, table3, table5, fig2, fig3." in page
    assert "smilevlm reproduce table4 --profile tiny" in page
    assert "its model was not trained" in page
    assert "The study was not asked for any ablation." in page
    assert "ablation" not in names


def test_a_study_without_a_single_run_is_still_reported(fake_study):
    path = fake_study.write(("bu3dfe_subset1",), methods=("full",), missing=[("bu3dfe_subset1", "full", None)])
    page = write_study_report(path, path.parent / "out").read_text()
    assert "no CLIP given" in page
    assert "there is nothing to say" in page
    for table in (path.parent / "out/tables").glob("*.csv"):
        assert all(cell.strip() for row in csv.reader(table.read_text().splitlines()) for cell in row), table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, protocol="bu3dfe_subset2"), "protocol: the study expects .* found 'bu3dfe_subset2'"),
        (lambda r: replace(r, method="supervised"), "method: the study expects 'full', found 'supervised'"),
        (lambda r: replace(r, seeds={"folds": 7}), r"seeds: the study expects \{0\}, found \{7\}"),
        (
            lambda r: replace(r, manifest_hash=f"sha256:{r.seeds['folds']}"),
            "manifest_hash: the study expects 'sha256:0', found 'sha256:1'",
        ),
        (lambda r: replace(r, synthetic=r.seeds["folds"] == 0), "synthetic: the study expects True, found False"),
    ],
)
def test_results_of_something_else_are_refused(fake_study, change, message):
    path = fake_study.write(("bu3dfe_subset1",), methods=("full",), seeds=(0, 1), change=change)
    with pytest.raises(ResultError, match=rf"results\.json: {message}"):
        write_study_report(path, path.parent / "out")
    assert not (path.parent / "out").exists()


def test_a_study_that_contradicts_itself_is_refused(fake_study):
    path = fake_study.write(("bu3dfe_subset1",), methods=("full",), seeds=(0, 1))
    study = read_record(path, Study)
    first = study.runs[0]
    for runs, message in (
        ((first, first), r"runs\[1\]: bu3dfe_subset1, full, seed 0 is there twice"),
        ((replace(first, method="other"),), r"runs\[0\]: bu3dfe_subset1, other is none of the study's"),
        ((replace(first, results=None),), "expected either results or a reason"),
        ((replace(first, reason="lost"),), "expected either results or a reason"),
        ((replace(first, results="gone.json"),), r"gone\.json: there is no such result file"),
    ):
        write_record(path, replace(study, runs=runs))
        with pytest.raises(ResultError, match=message):
            load_study(path)
    write_record(path, replace(study, settings=(*study.settings, *study.settings)))
    with pytest.raises(ResultError, match="setting 'bu3dfe_subset1' is there twice"):
        load_study(path)
    write_record(path, replace(study, files=(StudyFile(kind="tasks", setting="bu3dfe_subset1", path=None),)))
    with pytest.raises(ResultError, match=r"files\[0\]: expected either a path or a reason"):
        load_study(path)


def test_bins_and_levels_are_pooled_by_their_counts(study):
    folds = [result.folds[0] for result in study.group("bu3dfe_subset1", "full").results]
    bins = pooled_bins(folds)
    assert sum(each.count for each in bins) == sum(fold.num_test_samples for fold in folds)
    right = sum(each.count * each.accuracy for each in bins)
    assert right == pytest.approx(sum(hit for fold in folds for hit, _ in fold.subject_counts.values()))
    levels = pooled_levels(folds)
    assert list(levels) == [3, 4]
    assert sum(tested for _, tested in levels.values()) == sum(fold.num_test_samples for fold in folds)


def test_equal_units_give_no_interval(study):
    units = unit_scores(study.group("bu3dfe_subset1", "full"), "majority")
    scores = pooled(units)
    assert scores.std == pytest.approx(0.0)
    assert scores.interval is None
    with pytest.raises(ResultError, match="no units"):
        pooled([])


def test_chance_is_of_the_setting(study):
    assert chance(study.results("bp4d_cross")) == 0.5
    assert chance(study.results("4dme_multi_label")) == 0.2


def test_numbers_of_studies_for_people():
    assert cell_text(0.8951, "percent_fine") == "89.51"
    assert cell_text(0.57, "fraction") == "0.5700"
    assert [cell_text(p, "p_value") for p in (0.0004, 0.04321, 1.0)] == ["< 0.001", "0.043", "1.000"]


def test_tasks_and_analysis_are_shown_in_their_sections(fake_study):
    common = {
        "recipe": "tiny_bp4d_cross", "fold": 0, "layout": "bp4d", "manifest_hash": "sha256:bp4d", "synthetic": True,
        "test_subjects": ("P01", "P02"), "seed": 0, "package_version": "0.1.0", "git_commit": None,
    }  # fmt: skip
    tasks = TasksResult(
        **common, train_subjects=("P03",), verification=(), identification=(), anti_spoofing=(), notes=("No neutral.",)
    )
    rank = EffectiveRank(what="fused", stage="after", width=64, num_samples=40, effective_rank=17.25)
    analysis = AnalysisResult(
        **common, protocol="bp4d_cross", classes=("happy", "disgust"), view_angles_deg=(0.0,), maps=(),
        correlations=(), effective_ranks=(rank,), yaw=(), relevance=(),
    )  # fmt: skip
    write_record(fake_study.folder / "tasks.json", tasks)
    write_record(fake_study.folder / "analysis.json", analysis)
    files = (
        StudyFile(kind="tasks", setting="bp4d_cross", path="tasks.json"),
        StudyFile(kind="analysis", setting="bp4d_cross", path="analysis.json"),
    )
    path = fake_study.write(("bp4d_cross",), methods=("full",), seeds=(0,), targets=("table4",), files=files)
    page = write_study_report(path, path.parent / "out").read_text()
    assert "Title of bp4d_cross: No neutral." in page
    assert any(
        "17.2" in table.read_text() or "17.3" in table.read_text()
        for table in (path.parent / "out/tables").glob("analysis_bp4d_cross*.md")
    )
    (path.parent / "tasks.json").write_text("{}")
    with pytest.raises(ResultError, match=r"tasks\.json"):
        write_study_report(path, path.parent / "other")
    assert not (path.parent / "other").exists()


def test_methods_with_fewer_seeds_are_compared_on_common_units(fake_study):
    few = [("bosphorus", "untrained", 1), ("bosphorus", "untrained", 2)]
    path = fake_study.write(("bosphorus",), methods=("full", "untrained"), missing=few)
    study = load_study(path)
    full, fresh = (study.group("bosphorus", name).results[0].folds[0] for name in ("full", "untrained"))
    gain = difference(study.group("bosphorus", "full"), FUSED, study.group("bosphorus", "untrained"), "linear_probe")
    assert gain.num_units == 1
    assert gain.mean == pytest.approx(full.accuracy - fresh.readouts["linear_probe"].accuracy)
