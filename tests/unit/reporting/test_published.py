import re

import pytest

from smilevlm.errors import ResultError
from smilevlm.labels import MICRO_EXPRESSIONS
from smilevlm.reporting.published import PUBLISHED_PATH, load_published

PUBLISHED = load_published()
COMPARISONS = [pytest.param(each, id=f"{each.table}-{each.settings[0]}") for each in PUBLISHED.comparisons]


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_printed_gains_are_the_differences_of_the_printed_accuracies(comparison):
    ours = comparison.rows[-1]
    assert ours.method == "SMILE-VLM"
    assert ours.gain is None
    for row in comparison.rows[:-1]:
        for setting in comparison.settings:
            assert row.gain[setting] == pytest.approx(ours.accuracy[setting] - row.accuracy[setting], abs=1e-6), row


@pytest.mark.parametrize("row", PUBLISHED.micro_expressions.rows, ids=lambda row: row.profile)
def test_averages_of_table_v_are_the_means_of_the_classes(row):
    for values, average, last_digit in ((row.f1, row.average_f1, 1e-4), (row.accuracy, row.average_accuracy, 1e-2)):
        mean = sum(values[name] for name in MICRO_EXPRESSIONS) / len(MICRO_EXPRESSIONS)
        # The paper cuts some averages off instead of rounding them: 0.57786 is printed as 0.5778.
        assert average == pytest.approx(mean, abs=last_digit)


def test_every_row_is_there():
    assert [(each.table, len(each.rows)) for each in PUBLISHED.comparisons] == [
        ("II", 7), ("II", 5), ("III", 15), ("IVa", 4), ("IVb", 4)
    ]  # fmt: skip
    assert len(PUBLISHED.micro_expressions.rows) == 5
    assert PUBLISHED.arxiv_id == "2506.01203"
    assert [each.gain for each in PUBLISHED.statements if each.gain is not None] == [6.84]


def test_who_was_told_labels():
    rows = [row for comparison in PUBLISHED.comparisons for row in comparison.rows]
    unsupervised = {row.method for row in rows if row.supervision == "unsupervised"}
    assert unsupervised == {"MiFaR", "SMILE-VLM"}
    assert {row.reference for row in rows if row.method == "MiFaR"} == {48}
    assert all((row.reference is None) == (row.method == "SMILE-VLM") for row in rows)
    assert all((row.experimental_setting is None) == ("bu4dfe" not in row.accuracy) for row in rows)


def test_numbers_agree_with_one_another_across_tables():
    # The text of section IV repeats these.
    best = {s: row.accuracy[s] for c in PUBLISHED.comparisons for row in c.rows[-1:] for s in c.settings}
    assert best == {
        "bu3dfe_subset1": 89.51, "bu3dfe_subset2": 84.01, "bosphorus": 79.97,
        "bu4dfe": 96.57, "bp4d": 88.45, "bp4d_cross": 80.66,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arxiv_id:", "arxiv:", "field 'arxiv_id' is missing"),
        ("accuracy: {bp4d: 86.59}", "accuracy: {bp4d: 186.59}", r"table IVa, Yao et al. \[51\]: bp4d is 186.59"),
        ("accuracy: {bp4d: 86.59}", "accuracy: {bosphorus: 86.59}", "expected bp4d, found bosphorus"),
        ("f1: {positive: 0.5971, ", "f1: {", r"table V, Left \[56\], f1: expected positive"),
        ("average_f1: 0.5970", "average_f1: high", "average_f1: expected a valid number"),
        ("supervision: unsupervised", "supervision: none", "expected 'supervised' or 'unsupervised'"),
        ("comparisons:", "comparisons: [", "cannot be read"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path, old, new, message):
    text = PUBLISHED_PATH.read_text()
    assert old in text
    path = tmp_path / "tables.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ResultError, match=rf"tables\.yaml: .*{message}|{message}") as caught:
        load_published(path)
    assert str(path) in str(caught.value)
    assert not re.search(r"\n\n", str(caught.value))


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ResultError, match=r"none\.yaml: the published tables cannot be read"):
        load_published(tmp_path / "none.yaml")
