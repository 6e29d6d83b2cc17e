"""Language evaluation: exact answers where the similarities are known, and the whole way on a tiny model."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smilevlm.cli import language as command
from smilevlm.errors import LeakError, SettingsError, StoreError
from smilevlm.evaluation import evaluate_language
from smilevlm.evaluation.language_scores import (
    ComparedFaces,
    first_places,
    order_intensities,
    retrieval_captions,
    retrieve,
    tell_classes_apart,
    tell_opposites_apart,
    tell_statements_apart,
)
from smilevlm.evaluation.resampled import People
from smilevlm.labels import ActionIntensities
from smilevlm.prompts import language_statements
from smilevlm.readers import ACTIONS_NAME
from smilevlm.results import LanguageResult, read_record
from smilevlm.store import PreparedSet, Sample, prepare
from smilevlm.training.run import train_run

STATEMENTS = language_statements()
CODES = STATEMENTS.choices["16"]


def face(number: int, actions: ActionIntensities | None, unjudged: tuple[str, ...] = ()) -> Sample:
    return Sample(
        sample_id=f"s{number}",
        subject=f"p{number % 8}",
        expression="unlabelled",
        level=0,
        actions=actions,
        unjudged_actions=unjudged,
    )


def compared(samples: list[Sample], known: dict[str, np.ndarray], extra: tuple[str, ...] = ()) -> ComparedFaces:
    """Similarities to the texts in `known`, zero to all others."""
    texts = {text: column for column, text in enumerate(dict.fromkeys((*STATEMENTS.texts, *extra)))}
    similarity = np.zeros((len(samples), len(texts)))
    for text, values in known.items():
        similarity[:, texts[text]] = values
    people = People([sample.subject for sample in samples], seed=0)
    return ComparedFaces(samples=tuple(samples), texts=texts, similarity=similarity, people=people)


def single_actions() -> list[Sample]:
    """Eight faces of each action, of rising intensity."""
    levels = np.linspace(0.3, 1, 8).tolist()
    shown = [{code: (level, level)} for code in CODES for level in levels]
    return [face(number, actions) for number, actions in enumerate(shown)]


def told_perfectly(samples: list[Sample], sign: float = 1.0) -> ComparedFaces:
    """Every sentence of an action is as near as the action is strong."""
    known = {}
    for code, texts in STATEMENTS.actions.items():
        strength = np.array([max((sample.actions or {}).get(code, (0.0, 0.0))) for sample in samples])
        known |= dict.fromkeys(texts, sign * strength)
    return compared(samples, known)


def test_statements_of_a_model_that_knows_and_of_one_that_has_it_the_wrong_way_round():
    samples = single_actions()
    for sign, area in ((1.0, 1.0), (-1.0, 0.0)):
        rows, mean, _ = tell_statements_apart(told_perfectly(samples, sign), STATEMENTS)
        assert {row.name for row in rows} == set(CODES)
        assert {(row.num_present, row.num_absent, row.area.value) for row in rows} == {(8, 120, area)}
        assert mean is not None
        assert (mean.value, mean.interval) == (area, (area, area))


def test_weak_and_unjudged_actions_are_neither_there_nor_absent():
    samples = [*single_actions(), face(0, {CODES[0]: (0.2, 0.2)}), face(1, {}, unjudged=(CODES[0],))]
    rows, _, _ = tell_statements_apart(told_perfectly(samples), STATEMENTS)
    (row,) = [row for row in rows if row.name == CODES[0]]
    assert (row.num_present, row.num_absent) == (8, 120)


def test_too_few_faces_say_nothing():
    assert tell_statements_apart(told_perfectly(single_actions()[:4]), STATEMENTS) == ((), None, None)


def test_gaze_counts_in_one_of_the_two_mean_areas():
    samples = [*single_actions(), *(face(number, {"AU61": (0.8, 0.8)}) for number in range(8))]
    faces = told_perfectly(samples)
    # As if the shape of a face did not show where it looks.
    for text in STATEMENTS.actions["AU61"]:
        faces.similarity[:, faces.texts[text]] = 0.0
    rows, mean, shape_mean = tell_statements_apart(faces, STATEMENTS)
    assert (rows[-1].name, rows[-1].area.value) == ("AD34", 1.0)
    assert mean is not None
    assert shape_mean is not None
    assert (mean.value, shape_mean.value) == (pytest.approx((len(CODES) + 0.5) / (len(CODES) + 1)), 1.0)


def test_first_places_count_clear_faces_alone():
    samples = [
        *single_actions(),
        face(0, {"AU1": (0.9, 0.9), "AU12": (0.4, 0.4)}),  # two actions
        face(1, {"AU61": (1.0, 1.0)}),  # not among those compared
        face(2, {"AU26": (0.6, 0.6), "AU25": (0.9, 0.9), "AU27": (0.7, 0.7)}),  # an open jaw parts the lips
        face(3, {}),
    ]
    sixteen, twenty_seven = first_places(told_perfectly(samples), STATEMENTS)
    assert (sixteen.num_statements, sixteen.num_faces, sixteen.share.value) == (16, 16 * 6 + 1, 1.0)
    assert (twenty_seven.num_statements, twenty_seven.share.value) == (27, 1.0)
    assert sixteen.area is not None
    assert sixteen.area.value == 1.0
    wrong = first_places(told_perfectly(samples, -1.0), STATEMENTS)[0]
    assert wrong.area is not None
    assert (wrong.share.value, wrong.area.value) == (0.0, 0.0)


def test_the_area_of_clear_faces_leaves_out_what_several_actions_mix_up():
    mixed = [face(number, {"AU1": (0.9, 0.9), "AU12": (0.9, 0.9)}) for number in range(8)]
    faces = told_perfectly([*single_actions(), *mixed])
    # Nothing of the faces with two actions is understood.
    faces.similarity[-8:] = 0.0
    _, mean, _ = tell_statements_apart(faces, STATEMENTS)
    (sixteen, _) = first_places(faces, STATEMENTS)
    assert mean is not None
    assert sixteen.area is not None
    assert mean.value < 1.0
    assert sixteen.area.value == 1.0


def test_recall_of_a_known_order():
    samples = single_actions()[:20]
    captions = {row: f"caption {row}" for row in range(20)}
    near = np.eye(20)
    near[:10] = np.roll(near[:10], 1, axis=1)  # half of the scans are nearest to another caption
    faces = compared(samples, {text: near[:, row] for row, text in captions.items()}, tuple(captions.values()))
    to_scan, to_text = retrieve(faces, captions)
    assert (to_scan.direction, to_text.direction, to_text.num_scans) == ("text_to_scan", "scan_to_text", 20)
    assert to_text.recalls[0].share.value == 0.5
    assert [recall.num_first for recall in to_text.recalls] == [1, 5, 10]


def test_equal_similarities_are_no_success():
    captions = {row: f"caption {row}" for row in range(20)}
    faces = compared(single_actions()[:20], {}, tuple(captions.values()))
    for found in retrieve(faces, captions):
        assert [recall.share.value for recall in found.recalls] == [0.0, 0.0, 1.0]


def test_captions_for_retrieval_are_held_out_and_differ():
    samples = [*single_actions(), face(0, {}), face(1, None), face(2, {"AU12": (1.0, 0.0), "AU4": (0.5, 0.5)})]
    captions = retrieval_captions(samples, STATEMENTS, num_scans=30, seed=0)
    assert len(set(captions.values())) == len(captions) == 30
    assert captions == retrieval_captions(samples, STATEMENTS, num_scans=30, seed=0)
    assert captions != retrieval_captions(samples, STATEMENTS, num_scans=30, seed=1)
    everything = retrieval_captions(samples, STATEMENTS, num_scans=1000, seed=0)
    assert not {len(samples) - 3, len(samples) - 2} & everything.keys()
    grin, brow = everything[len(samples) - 1].split(", ", 1)
    assert grin == STATEMENTS.one_sided["AU12"][0]
    assert brow in STATEMENTS.actions["AU4"]


def test_unseen_classes_follow_their_rules():
    wink = [face(n, {"AU43": (1.0, 0.0)}) for n in range(6)]
    blink = [face(n, {"AU43": (1.0, 1.0)}) for n in range(6)]
    weak = [face(n, {"AU43": (0.4, 0.0)}) for n in range(3)]
    unjudged = [face(n, {}, unjudged=("AU43",)) for n in range(3)]
    samples = [*wink, *blink, *weak, *unjudged]
    near = np.array([1.0] * 6 + [0.0] * 12)
    faces = compared(samples, dict.fromkeys(STATEMENTS.unseen_classes["wink"].descriptions, near))
    (found,) = [row for row in tell_classes_apart(faces, STATEMENTS.unseen_classes) if row.name == "wink"]
    assert (found.num_present, found.num_absent, found.area.value) == (6, 6, 1.0)


def test_opposites():
    samples = single_actions()
    rows, mean = tell_opposites_apart(told_perfectly(samples), STATEMENTS)
    pair = next(pair for pair in STATEMENTS.opposites if pair.opposite_action is None and pair.action == "AU26")
    shut = np.array([0.0 if (s.actions or {}).get("AU26") else 1.0 for s in samples])
    faces = compared(samples, {pair.text: 1 - shut, pair.opposite: shut})
    found = next(row for row in tell_opposites_apart(faces, STATEMENTS)[0] if row.text == pair.text)
    assert (found.num_text, found.num_opposite, found.accuracy.value) == (8, 120, 1.0)
    assert mean is not None
    assert len(rows) > 2
    # A model that finds everything alike is at chance, however unlike the numbers of faces.
    indifferent = tell_opposites_apart(compared(samples, {}), STATEMENTS)[1]
    assert indifferent is not None
    assert indifferent.value == 0.5


def test_intensities_in_order():
    samples = single_actions()
    strength = {c: np.array([max((s.actions or {}).get(c, (0.0, 0.0))) for s in samples]) for c in CODES}
    known = {STATEMENTS.intensity[code][2]: strength[code] for code in CODES if code in STATEMENTS.intensity}
    rows, mean = order_intensities(compared(samples, known), STATEMENTS)
    assert {row.action for row in rows} == CODES_WITH_STRENGTHS
    assert {(row.num_faces, row.pair_accuracy.value) for row in rows} == {(8, 1.0)}
    assert all(row.spearman == pytest.approx(1.0) for row in rows)
    assert mean is not None
    assert mean.value == 1.0
    backwards = {text: -values for text, values in known.items()}
    assert order_intensities(compared(samples, backwards), STATEMENTS)[0][0].spearman == pytest.approx(-1.0)


CODES_WITH_STRENGTHS = {code for code in CODES if code in STATEMENTS.intensity}


@pytest.fixture(scope="module")
def run_of_four(store_of_four, make_tiny_config, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("language") / "run"
    train_run(make_tiny_config("num_control_folds=0", "optimiser.epochs=1"), store_of_four, run)
    return run


def parse(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_a_run_is_tested_on_everybody_once(run_of_four, store_of_four, capsys):
    command.run(parse(run_of_four, "--store", store_of_four, "--retrieve", 20))
    result = read_record(run_of_four / "language.json", LanguageResult)
    prepared = PreparedSet(store_of_four)
    assert result.folds == (0, 1)
    assert (result.num_samples, result.num_subjects) == (len(prepared), 4)
    assert (result.action_source, result.synthetic, result.model_digest) == ("by construction", True, None)
    assert result.actions_digest == prepared.manifest.actions_digest
    assert result.statements
    assert [retrieval.num_scans for retrieval in result.retrieval] == [20, 20]
    assert any("2 folds" in note for note in result.notes)
    out = capsys.readouterr().out
    assert "synthetic faces" in out
    assert out.splitlines()[-1] == str(run_of_four / "language.json")
    assert result.mean_area is not None
    assert f"{result.mean_area.value:.1%}" in out
    again = evaluate_language(run_of_four, store_of_four, num_retrieved=20)
    assert again == result


def test_a_bundle_may_not_know_the_people(run_of_four, store_of_four):
    with pytest.raises(LeakError, match="the model was trained on test subjects"):
        evaluate_language(run_of_four / "fold_00", store_of_four)


def test_a_store_without_actions(run_of_four, store_of_four, faces_of_four, tmp_path):
    from smilevlm.datasets import index_data_set

    prepared = PreparedSet(store_of_four)
    wanted = {sample.sample_id for sample in prepared.samples[:1]}
    recordings = [r for r in index_data_set("bu3dfe", faces_of_four).recordings if r.sample_id in wanted]
    bare = [replace(recording, actions=None) for recording in recordings]
    prepare(bare, tmp_path / "bare", prepared.manifest.settings, layout="bu3dfe", synthetic=True)
    assert not (tmp_path / "bare" / ACTIONS_NAME).exists()
    with pytest.raises(StoreError, match="no facial actions"):
        evaluate_language(run_of_four, tmp_path / "bare")


def test_a_negative_seed(tmp_path):
    with pytest.raises(SettingsError, match="seed is -1; expected 0 or more"):
        evaluate_language(tmp_path, tmp_path, seed=-1)


def test_arguments():
    parsed = parse("default", "--store", "store")
    assert (parsed.model, parsed.retrieve, parsed.seed, parsed.out) == ("default", 200, 0, None)
    parse(*command.EXAMPLE.split()[2:])
    with pytest.raises(SystemExit):
        parse("default", "--store", "store", "--retrieve", "0")
