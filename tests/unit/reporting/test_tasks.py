import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from smilevlm.reporting.figure_theme import FigureImage, NoFigure
from smilevlm.reporting.table import Missing, to_csv, to_latex, to_markdown
from smilevlm.reporting.task_figures import task_figures, view_pair
from smilevlm.reporting.task_tables import task_tables
from smilevlm.results import (
    AntiSpoofingResult,
    AttackResult,
    IdentificationResult,
    RocPoint,
    TasksResult,
    TrueAcceptRate,
    VerificationResult,
)

ROC = tuple(
    RocPoint(false_accept_rate=f, true_accept_rate=t) for f, t in ((0, 0), (0, 0.2), (0.01, 0.5), (0.3, 0.8), (1, 1))
)
PAIRS = tuple(
    f"view {one} with view {other}" for one, other in (("-30", "-30"), ("-30", "0"), ("-30", "+30"), ("0", "0"),
                                                      ("0", "+30"), ("+30", "+30"))
)  # fmt: skip


def verification(name, features, rate=0.25, interval=(0.2, 0.3)):
    return VerificationResult(
        name=name,
        features=features,
        num_subjects=4,
        num_genuine=30,
        num_impostor=100,
        area_under_curve=0.8125,
        equal_error_rate=rate,
        equal_error_rate_interval=interval,
        true_accept_rates=(
            TrueAcceptRate(false_accept_rate=0.1, true_accept_rate=0.625),
            TrueAcceptRate(false_accept_rate=0.001, true_accept_rate=None),
        ),
        roc=ROC,
    )


def identification(features, first=0.5):
    return IdentificationResult(
        name="others against one neutral each",
        features=features,
        num_gallery=4,
        num_probes=8,
        rank_rates=(first, 0.75, 0.875, 1.0),
        rank1_interval=(0.3, 0.7),
        rank1_by_expression={"happy": (3, 4), "sad": (1, 4)},
    )


def attack(name, known, apcer):
    return AttackResult(
        name=name, known=known, num_attacks=5, num_bona_fide=6, apcer=apcer, bpcer=0.125, acer=(apcer + 0.125) / 2,
        equal_error_rate=0.0625, roc=ROC,
    )  # fmt: skip


def tasks(**changes):
    spoofing = tuple(
        AntiSpoofingResult(
            views=views,
            features="tower",
            num_train_subjects=6,
            num_test_subjects=4,
            threshold_from="equal error rate of some",
            refused={"bona_fide": (0, 9), "flat_print": (9, 9), "replay": (8, 9)},
            attacks=tuple(attack(name, known, 0.4375) for known in (True, False) for name in ("flat_print", "replay")),
        )
        for views in ("geometry", "texture")
    )
    return TasksResult(
        **{
            "recipe": "demo",
            "fold": 0,
            "layout": "bu3dfe",
            "manifest_hash": "0" * 64,
            "synthetic": True,
            "train_subjects": ("t1", "t2"),
            "test_subjects": ("a", "b", "c", "d"),
            "seed": 0,
            "package_version": "0",
            "git_commit": None,
            "verification": (
                *(verification("all pairs", features) for features in ("tower", "tower_lda", "fused")),
                *(verification(name, features) for features in ("tower", "tower_lda") for name in PAIRS),
            ),
            "identification": tuple(identification(features) for features in ("tower", "tower_lda", "fused")),
            "anti_spoofing": spoofing,
            "notes": ("Something was left out.",),
        }
        | changes
    )


@pytest.fixture(scope="module")
def figures():
    return task_figures(tasks(), "run1")


def test_every_figure_is_drawn_and_says_synthetic(figures):
    names = ["run1_verification", "run1_identification", "run1_views", "run1_attacks"]
    assert [figure.name for figure in figures] == names
    for figure in figures:
        assert "synthetic faces" in figure.title
        assert "synthetic" in figure.alt
        assert figure.caption.endswith(".")
        image = Image.open(io.BytesIO(figure.png))
        assert min(image.size) > 300
        assert np.asarray(image.convert("L")).std() > 5
        assert figure.svg_light != figure.svg_dark


def test_figures_of_real_faces_name_the_data():
    for figure in task_figures(tasks(synthetic=False), "run1"):
        assert "synthetic" not in figure.title + figure.alt + figure.caption
        assert "bu3dfe" in figure.title


def test_numbers_reach_the_texts(figures):
    roc, cmc, _, attacks = figures
    assert "25.0 per cent" in roc.alt
    assert "Tower 50.0" in cmc.alt
    assert "28.1 per cent" in attacks.alt, "the mean of 43.75 and 12.5"
    assert "no face in 17 of 18 attacks" in attacks.caption
    assert "equal error rate of some" in attacks.caption


def test_other_numbers_other_pictures(figures):
    changed = tasks(
        verification=tuple(replace(v, equal_error_rate=0.4) for v in tasks().verification),
        identification=tuple(identification(f, 0.25) for f in ("tower", "tower_lda", "fused")),
        anti_spoofing=tuple(replace(p, attacks=p.attacks[:2]) for p in tasks().anti_spoofing),
    )
    for before, after in zip(figures, task_figures(changed, "run1"), strict=True):
        assert before.png != after.png
        assert before.svg_light != after.svg_light


def test_same_numbers_same_bytes(figures):
    assert task_figures(tasks(), "run1") == figures


def test_what_was_left_out_says_why():
    found = task_figures(tasks(verification=(), identification=(), anti_spoofing=()), "run1")
    assert all(isinstance(figure, NoFigure) for figure in found)
    assert len(found) == 4
    for figure in found:
        assert "synthetic faces" in figure.title
        assert figure.reason.endswith("Something was left out.")
    assert task_tables(tasks(verification=(), identification=(), anti_spoofing=()), "run1") == []


def test_without_view_pairs_or_intervals():
    few = tasks(verification=(verification("all pairs", "tower", interval=None),))
    roc, _, views, _ = task_figures(few, "run1")
    assert isinstance(roc, FigureImage)
    assert isinstance(views, NoFigure)
    assert any(isinstance(cell, Missing) for cell in task_tables(few, "run1")[0].rows[0])


def test_view_pairs_are_read_from_the_names():
    assert [view_pair(verification(name, "tower")) for name in PAIRS[:3]] == [(-30, -30), (-30, 0), (-30, 30)]
    assert view_pair(verification("all pairs", "tower")) is None


def test_tables():
    tables = {table.name: table for table in task_tables(tasks(), "run1")}
    assert list(tables) == [
        "run1_verification", "run1_identification", "run1_identification_by_expression", "run1_anti_spoofing",
    ]  # fmt: skip
    for table in tables.values():
        assert "synthetic" in table.title
        data = [column.key for column in table.columns].index("data")
        assert all(row[data] == "synthetic faces" for row in table.rows)
        assert to_csv(table).count("synthetic faces") == len(table.rows)
        assert "synthetic" in to_latex(table)
    text = to_markdown(tables["run1_verification"])
    assert "TAR at 10 % FAR" in text
    assert "| all pairs | Tower | synthetic faces | 30 | 100 | 25.0 | 20.0–30.0 | 81.2 | 62.5 | too few pairs |" in text
    text = to_markdown(tables["run1_identification"])
    assert "| 4 | 8 | 50.0 | 100.0 | 30.0–70.0 | 25.0 |" in text
    text = to_markdown(tables["run1_identification_by_expression"])
    assert "| happy | synthetic faces | 4 | 75.0 | 75.0 | 75.0 |" in text
    text = to_markdown(tables["run1_anti_spoofing"])
    assert "| replay | kind unseen | texture | synthetic faces | 8 of 9 | 5 | 6 | 43.8 | 12.5 | 28.1 | 6.2 |" in text
