import csv
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from fake_results import fake_result, taught, write_companions
from smilevlm.errors import ResultError
from smilevlm.reporting import write_report
from smilevlm.reporting.figure_theme import LIGHT
from smilevlm.reporting.run_figures import draw_losses
from smilevlm.reporting.run_tables import folds_table, methods_table, overview_table
from smilevlm.reporting.source import VALIDATION_COLUMNS, load_runs
from smilevlm.reporting.study_statistics import UNSEEN_WORDINGS, reading_title
from smilevlm.reporting.table import to_csv, to_markdown
from smilevlm.results import EpochChoice, read_results, summarise_folds, write_results, write_timing


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs and their report: a synthetic one with everything, and one fold of another with nothing beside it."""
    folder = tmp_path_factory.mktemp("report")
    full = fake_result(num_examples=3)
    write_companions(folder / "a", full)
    write_results(folder / "a/results.json", full)
    bare = fake_result(
        num_folds=10, folds_run=1, recipe="4dme_<b>&_1", synthetic=False, control=False, num_examples=0, log=False
    )
    write_results(folder / "b/results.json", bare)
    write_timing(folder / "b/timing.json", {"fold 0": 83.2})
    write_report([folder / "a/results.json", folder / "b/results.json"], folder / "out")
    write_report([folder / "a/results.json"], folder / "one")
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "out/index.html").read_text(encoding="utf-8")


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags, self.images, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "link", "img", "source", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.links.append(value)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_one_file(page):
    parser = Links()
    parser.feed(page)
    assert parser.open == []
    assert parser.links
    assert all(link.startswith(("data:", "#")) for link in parser.links)
    assert not {"script", "iframe", "object", "embed", "form"} & set(parser.tags)
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert all(image["alt"] for image in parser.images)


def test_names_are_escaped(page):
    assert "4dme_&lt;b&gt;&amp;_1" in page
    assert "<b>&_1" not in page


def test_an_example_says_what_the_face_does_where_that_is_recorded(page):
    assert re.findall(r"Facial actions: (.*?)</p>", page) == [
        '<span title="AU12">lip corner puller</span> 75.0 %, <span title="AU6">cheek raiser</span> 25.0 %'
    ]


def test_synthetic_in_headline_and_every_row(folder):
    page = (folder / "one/index.html").read_text(encoding="utf-8")
    assert "synthetic" in re.search(r"<h1.*?</h1>", page, re.S).group()
    assert "Synthetic" in re.search(r"<title>.*?</title>", page, re.S).group()
    tables = re.findall(r'<figure class="table".*?</figure>', page, re.S)
    assert len(tables) == 5
    for table in tables:
        rows = re.findall(r"<tr>.*?</tr>", table.split("<tbody>")[1], re.S)
        assert rows
        assert all("synthetic" in row for row in rows)
    for path in (folder / "one/tables").iterdir():
        if "settings" in path.name:
            continue
        lines = path.read_text().splitlines()
        if path.suffix == ".csv":
            rows = lines[1:]
        elif path.suffix == ".md":
            rows = [line for line in lines if line.startswith("|")][2:]
        else:
            rows = [line for line in lines if line.endswith(r"\\")][1:]
        assert rows
        assert all("synthetic" in row for row in rows), path


def test_real_faces_are_not_called_synthetic(folder):
    write_report([folder / "b/results.json"], folder / "real")
    assert "ynthetic" not in (folder / "real/index.html").read_text()


def test_pairing_name_beside_each_result(folder):
    for table in ("overview", "bu3dfe_subset_1_methods"):
        rows = list(csv.DictReader((folder / f"out/tables/{table}.csv").read_text().splitlines()))
        assert rows
        assert all(row["pairing"] == "weakly supervised" for row in rows)


def test_the_teacher_is_named_beside_each_result(tmp_path):
    write_results(tmp_path / "results.json", taught(fake_result(control=False, num_examples=0, log=False)))
    write_report([tmp_path / "results.json"], tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    name = "label-free, teacher demo/fold_00 (01234567, trained on synthetic faces)"
    assert page.count(name) >= 3
    assert "manifest 5a11" in page
    assert "67 % of 900 samples have one: happy 100 of 150" in page
    row = next(csv.DictReader((tmp_path / "out/tables/bu3dfe_subset_1_methods.csv").read_text().splitlines()))
    assert row["pairing"] == name


def test_files_are_there(folder):
    names = {path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*") if path.is_file()}
    for run in ("bu3dfe_subset_1", "4dme_b_1"):
        for ending in ("csv", "md", "tex"):
            assert {f"tables/{run}_{t}.{ending}" for t in ("methods", "folds", "classes", "settings")} <= names
        for ending in ("svg", "png"):
            figures = {f"figures/{run}_{f}.{ending}" for f in ("methods", "confusion", "class_f1", "view_weights")}
            assert figures <= names
    assert "figures/bu3dfe_subset_1_training.svg" in names
    assert "figures/4dme_b_1_training.svg" not in names
    with Image.open(folder / "out/figures/bu3dfe_subset_1_confusion.png") as image:
        image.verify()
    assert "<svg" in (folder / "out/figures/bu3dfe_subset_1_confusion.svg").read_text()


def test_what_is_missing_is_said(page):
    for reason in (
        "The result file names no training log.",
        "The result file holds no examples.",
        "not recorded (no timing.json",
        "not run",
        "one fold",
        "of 10; the others were not run",
        "one fold cannot say whether that is chance",
    ):
        assert reason in page


def test_no_cell_is_empty(folder):
    for path in (folder / "out/tables").glob("*.csv"):
        for row in csv.reader(path.read_text().splitlines()):
            assert all(cell.strip() for cell in row), path


def test_csv_holds_full_precision(folder):
    result = fake_result(num_examples=3)
    rows = list(csv.DictReader((folder / "out/tables/overview.csv").read_text().splitlines()))
    assert float(rows[0]["accuracy"]) == result.summary.accuracy.mean
    assert float(rows[0]["accuracy_interval_low"]) == result.summary.accuracy.interval[0]
    assert rows[1]["control_shuffled prompts"] == "not run"


def test_same_input_same_bytes(folder):
    write_report([folder / "a/results.json"], folder / "again")
    files = [path for path in (folder / "one").rglob("*") if path.is_file()]
    assert len(files) == 32
    for path in files:
        assert path.read_bytes() == (folder / "again" / path.relative_to(folder / "one")).read_bytes(), path


def test_timing_is_shown(page):
    assert "fold 0 83 s" in page


def test_runs_of_one_recipe_are_told_apart(folder, tmp_path):
    shutil.copytree(folder / "b", tmp_path / "c")
    shutil.copytree(folder / "b", tmp_path / "d/c")
    runs = load_runs([folder / "b/results.json", tmp_path / "c/results.json", tmp_path / "d/c/results.json"])
    assert [run.label for run in runs] == ["4dme_<b>&_1 [b]", "4dme_<b>&_1 [c] #1", "4dme_<b>&_1 [c] #2"]
    assert len({run.slug for run in runs}) == 3


def test_refusals_write_nothing(folder, tmp_path):
    result = fake_result(num_examples=1)
    path, out = tmp_path / "results.json", tmp_path / "out"
    write_results(path, result)
    with pytest.raises(ResultError, match=r"metrics\.csv: the training log cannot be read"):
        write_report([path], out)
    write_companions(tmp_path, result)
    image = tmp_path / result.examples[0].images[0.0]
    image.write_bytes(b"no image")
    with pytest.raises(ResultError, match=r"the example image cannot be read"):
        write_report([path], out)
    image.unlink()
    with pytest.raises(ResultError, match=r"the example image cannot be read"):
        write_report([path], out)
    with pytest.raises(ResultError, match="given twice"):
        write_report([folder / "a/results.json"] * 2, out)
    with pytest.raises(ResultError, match="at least one"):
        write_report([], out)
    assert not out.exists()


def test_a_class_that_was_not_tested_is_not_zero_per_cent(folder, tmp_path):
    from fake_results import FakeFold, fold_result
    from smilevlm.evaluation import summarise_folds

    data = FakeFold(0, subjects_per_fold=3, samples_per_class=1, noise=0.3, seed=0)
    kept = [i for i, name in enumerate(data.truth) if name != "fear"]
    data.z_views, data.z_fused, data.weights = data.z_views[kept], data.z_fused[kept], data.weights[kept]
    data.truth, data.subjects = [data.truth[i] for i in kept], [data.subjects[i] for i in kept]
    fold = fold_result(data, 0, 3, log=False)
    result = replace(fake_result(control=False, num_examples=0), folds=(fold,), summary=summarise_folds([fold]))
    write_results(tmp_path / "results.json", result)
    write_report([tmp_path / "results.json"], tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out/tables/bu3dfe_subset_1_classes.csv").read_text().splitlines()))
    assert rows[-1]["recall"] == "not tested"


@pytest.mark.parametrize(("num_folds", "verdict"), [(2, False), (3, True)])
def test_two_folds_are_no_verdict_however_well_they_agree(tmp_path, num_folds, verdict):
    result = fake_result(num_folds=num_folds)
    write_results(tmp_path / "results.json", result)
    write_companions(tmp_path, result)
    page = write_report([tmp_path / "results.json"], tmp_path / "report").read_text()
    assert ("too few to call it a difference" in page) != verdict
    assert ("beyond the spread" in page) == verdict


@pytest.mark.parametrize(
    ("monitor", "value", "column", "cell"),
    [
        ("accuracy", 0.875, "validation_accuracy", "0.875"),
        ("accuracy", 1.0, "validation_accuracy", "1.0"),
        ("loss", 0.0, "validation_loss", "0"),
        ("loss", 12.3456, "validation_loss", "12.35"),
        ("loss", -1.5, "validation_loss", "-1.5"),
    ],
)
def test_the_chosen_epoch_is_in_the_table_of_folds(tmp_path, monitor, value, column, cell):
    result = fake_result(num_examples=0, log=False)
    choice = EpochChoice(epoch=12, num_epochs=20, monitor=monitor, value=value)
    chosen = replace(result.folds[0], epoch_choice=choice)
    write_results(tmp_path / "results.json", replace(result, folds=(chosen, *result.folds[1:])))
    (run,) = load_runs([tmp_path / "results.json"])
    rows = list(csv.DictReader(to_csv(folds_table(run)).splitlines()))
    assert [rows[0][key] for key in ("kept_epoch", "epochs", column)] == ["13", "20", cell]
    assert [rows[1][key] for key in ("kept_epoch", "epochs", column)] == ["the last"] * 3
    assert "Kept epoch" in to_markdown(folds_table(run))


def test_without_validation_subjects_no_column_speaks_of_epochs(folder):
    assert "epoch" not in to_csv(folds_table(load_runs([folder / "a/results.json"])[0])).splitlines()[0]


@pytest.mark.parametrize("column", ["validation_accuracy", "validation_loss"])
def test_the_validation_curve_is_drawn_from_the_log(tmp_path, column):
    result = fake_result(num_examples=0)
    write_companions(tmp_path, result)
    for fold in result.folds:
        log = tmp_path / fold.metrics_csv
        log.write_text(log.read_text().replace("validation_accuracy", column))
    write_results(tmp_path / "results.json", result)
    (run,) = load_runs([tmp_path / "results.json"])
    titles = [axes.get_title(loc="left") for axes in draw_losses(run, LIGHT).axes]
    assert VALIDATION_COLUMNS[column] in titles


def test_unseen_wordings_and_classes_have_rows_that_say_zero_shot(tmp_path):
    result = fake_result(control=False, num_examples=0, log=False)
    never = result.classes[0]
    folds = tuple(
        replace(fold, unseen_wordings=fold.readouts["late_fusion"], unseen_classes=(never,)) for fold in result.folds
    )
    result = replace(result, folds=folds, summary=summarise_folds(folds), unseen_prompt_set="other_words")
    write_results(tmp_path / "results.json", result)
    (run,) = load_runs([tmp_path / "results.json"])
    rows = {row[0]: row for row in methods_table(run).rows}
    named = {name for name in rows if "zero-shot" in str(name)}
    wordings, classes = (
        "All views, unseen wordings (zero-shot): other_words",
        f"Classes never trained (zero-shot): {never}",
    )
    assert named == {wordings, classes}
    mean = sum(fold.readouts["late_fusion"].accuracy for fold in folds) / len(folds)
    assert rows[wordings][3] == pytest.approx(mean)
    hits, tested = (sum(count(fold.confusion_matrix[0]) for fold in folds) for count in (lambda row: row[0], sum))
    assert rows[classes][3] == pytest.approx(hits / tested)
    table = overview_table([run])
    column = [column.key for column in table.columns].index("unseen_wordings")
    assert table.rows[0][column] == pytest.approx(mean)
    assert "zero-shot" in reading_title(UNSEEN_WORDINGS)
    assert "zero-shot" not in reading_title("fused")


def test_pooled_scores_stand_with_their_intervals(folder):
    lines = (folder / "one/tables/bu3dfe_subset_1_pooled.csv").read_text().splitlines()
    model, oracle, majority = csv.DictReader(lines)
    pooled = read_results(folder / "a/results.json").summary.pooled
    assert float(model["unweighted_f1"]) == pooled.unweighted_f1
    ends = [float(model[f"unweighted_f1_interval_{end}"]) for end in ("low", "high")]
    assert tuple(ends) == pooled.unweighted_f1_interval
    assert oracle["unweighted_f1"] == "not scored"
    assert float(majority["unweighted_average_recall"]) == pytest.approx(1 / 6)
