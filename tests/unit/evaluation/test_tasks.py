import json
import shutil

import numpy as np
import pytest

from smilevlm.errors import CheckpointError, LayoutError, LeakError, SettingsError, StoreError
from smilevlm.evaluation import run_tasks
from smilevlm.results import TasksResult, read_record
from smilevlm.store import PreparedSet
from smilevlm.synthesis.spoofs import ATTACKS, BONA_FIDE
from smilevlm.training.run import train_run
from smilevlm.training.run_folder import FOLD_NAME, TASKS_NAME

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_of_four(store_of_four, make_tiny_config, tmp_path_factory):
    """Two folds of two training and two test subjects. Read only but for `tasks.json`."""
    run = tmp_path_factory.mktemp("tasks") / "run"
    train_run(make_tiny_config("num_control_folds=0", "optimiser.epochs=1"), store_of_four, run)
    return run


@pytest.fixture(scope="module")
def result(run_of_four, store_of_four, faces_of_four):
    steps = []
    found = run_tasks(
        run_of_four, store_of_four, faces=faces_of_four, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(n + 1, 10) for n in range(10)], "two sets of embeddings, two scans of four subjects"
    return found


def test_written_file_is_the_result(result, run_of_four):
    assert read_record(run_of_four / TASKS_NAME, TasksResult) == result


def test_only_the_folds_test_subjects_are_compared(result, run_of_four):
    split = json.loads((run_of_four / "fold_00" / FOLD_NAME).read_text())
    assert list(result.test_subjects) == split["test_subjects"]
    assert list(result.train_subjects) == split["train_subjects"]
    assert not set(result.test_subjects) & set(result.train_subjects)
    assert (result.fold, result.synthetic, result.layout) == (0, True, "bu3dfe")


def test_every_scan_counts_also_those_that_the_protocol_leaves_out(result):
    """The protocol takes levels 3 and 4; neutral scans are the gallery all the same."""
    whole = next(r for r in result.verification if r.name == "neutral with expressions" and r.features == "fused")
    assert (whole.num_genuine, whole.num_impostor) == (2 * 6, 2 * 6)
    assert {r.features for r in result.identification} == {"tower", "tower_lda", "fused"}
    assert all((r.num_gallery, r.num_probes) == (2, 12) for r in result.identification)


def test_attacks_by_kind_of_view(result):
    assert [part.views for part in result.anti_spoofing] == ["geometry", "texture"]
    for part in result.anti_spoofing:
        assert {(a.name, a.known) for a in part.attacks} == {(kind, known) for kind in ATTACKS for known in (0, 1)}
        assert all((a.num_attacks, a.num_bona_fide) == (4, 4) for a in part.attacks)
        assert part.refused == {BONA_FIDE: (0, 8)} | dict.fromkeys(ATTACKS, (8, 8))
    # Even a tower of a few thousand weights, fitted on one person, sees that a flat sheet has no relief.
    flat = [a for a in result.anti_spoofing[0].attacks if a.known and a.name in ("flat_print", "replay")]
    assert [a.equal_error_rate <= 0.25 for a in flat] == [True, True]
    assert any("finds no face in 24 of 24 attacks" in note for note in result.notes)
    assert any("never seen any of kind texture" in note for note in result.notes)


def test_same_again_bit_for_bit(result, run_of_four, store_of_four, faces_of_four, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_of_four, copy)
    before = (copy / TASKS_NAME).read_bytes()
    (copy / TASKS_NAME).unlink()
    assert run_tasks(copy, store_of_four, faces=faces_of_four) == result
    assert (copy / TASKS_NAME).read_bytes() == before


def test_another_fold_and_no_faces(run_of_four, store_of_four, result, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_of_four, copy)
    other = run_tasks(copy, store_of_four, fold=1)
    assert other.fold == 1
    assert set(other.test_subjects) == set(result.train_subjects)
    assert other.anti_spoofing == ()
    assert "Anti-spoofing was left out" in other.notes[-1]


def test_one_test_subject_leaves_nothing_to_compare(trained_run, prepared_store, synthetic_faces, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(trained_run, copy)
    found = run_tasks(copy, prepared_store, faces=synthetic_faces)
    assert (found.verification, found.identification, found.anti_spoofing) == ((), (), ())
    assert "need two test subjects" in found.notes[0]
    assert "two training subjects" in found.notes[1]


def test_another_store_is_refused(run_of_four, prepared_store):
    with pytest.raises(StoreError, match="manifest hashes differ"):
        run_tasks(run_of_four, prepared_store)


def test_untrained_folds_are_refused(run_of_four, store_of_four, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_of_four, copy)
    shutil.rmtree(copy / "fold_00")
    assert run_tasks(copy, store_of_four).fold == 1, "the first that is trained"
    with pytest.raises(CheckpointError, match="no trained fold 0"):
        run_tasks(copy, store_of_four, fold=0)
    shutil.rmtree(copy / "fold_01")
    with pytest.raises(CheckpointError, match="no trained fold"):
        run_tasks(copy, store_of_four)
    with pytest.raises(SettingsError, match="outside 0 to 1"):
        run_tasks(copy, store_of_four, fold=2)


def test_a_split_with_a_leak_is_refused(run_of_four, store_of_four, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_of_four, copy)
    path = copy / "fold_00" / FOLD_NAME
    split = json.loads(path.read_text())
    split["train_subjects"], split["test_subjects"] = split["test_subjects"], split["train_subjects"]
    path.write_text(json.dumps(split))
    (copy / TASKS_NAME).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="another split"):
        run_tasks(copy, store_of_four)
    assert not (copy / TASKS_NAME).exists()


def test_a_model_that_knows_the_test_people_is_refused(run_of_four, store_of_four, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_of_four, copy)
    path = copy / "fold_00" / "bundle.json"
    description = json.loads(path.read_text())
    split = json.loads((copy / "fold_00" / FOLD_NAME).read_text())
    description["trained_on"]["subjects"] += split["test_subjects"][:1]
    path.write_text(json.dumps(description))
    with pytest.raises(LeakError, match="trained on test subjects"):
        run_tasks(copy, store_of_four)


def test_a_neutral_scan_known_under_another_name_is_refused(run_of_four, store_of_four, tmp_path):
    """The protocol never tests a neutral scan, so its own leak check would not look at it; the tasks compare it."""
    copy = tmp_path / "run"
    shutil.copytree(run_of_four, copy)
    split = json.loads((copy / "fold_00" / FOLD_NAME).read_text())
    neutral = next(
        s for s in PreparedSet(store_of_four).samples if s.subject in split["test_subjects"] and s.level == 0
    )
    path = copy / "fold_00" / "bundle.json"
    description = json.loads(path.read_text())
    description["trained_on"]["digests"].append(neutral.digest[:16])
    path.write_text(json.dumps(description))
    with pytest.raises(LeakError, match="scans of 1 test samples"):
        run_tasks(copy, store_of_four)


def test_other_peoples_scans_are_refused(run_of_four, store_of_four, synthetic_faces, faces_of_four, tmp_path):
    with pytest.raises(StoreError, match=r"has no scan|is not the one"):
        run_tasks(run_of_four, store_of_four, faces=synthetic_faces)
    with pytest.raises(LayoutError):
        run_tasks(run_of_four, store_of_four, faces=tmp_path)
    changed = tmp_path / "faces"
    shutil.copytree(faces_of_four, changed)
    for scan in changed.rglob("*_NE00*_F3D.wrl"):
        scan.write_text(scan.read_text() + "\n")
    with pytest.raises(StoreError, match="is not the one"):
        run_tasks(run_of_four, store_of_four, faces=changed)


def test_few_training_subjects_are_attacked(run_of_four, store_of_four, faces_of_four, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_of_four, copy)
    found = run_tasks(copy, store_of_four, faces=faces_of_four, num_spoof_subjects=1)
    assert found.anti_spoofing == ()
    assert "two training subjects" in found.notes[-1]


def test_interval_and_rates_are_shares(result):
    for row in result.verification:
        assert 0 <= row.equal_error_rate <= 1
        assert np.isfinite(row.area_under_curve)
        assert len(row.roc) <= 200
        assert row.true_accept_rates[-1].true_accept_rate is None, "1 in 1000 needs a thousand impostors"
