from dataclasses import replace

import numpy as np
import pytest

from smilevlm.errors import CheckpointError, LeakError, SettingsError
from smilevlm.evaluation.identity import fit_discriminants, identity_results
from smilevlm.models import Embedded
from smilevlm.store import Sample

ANGLES = (-30.0, 0.0, 30.0)
EXPRESSIONS = ("neutral", "happy", "sad", "surprise")


def people(names, *, expressions=EXPRESSIONS, seed=0, identity=1.0, dim=8, views=3):
    """Embeddings that hold an identity in the first half of their columns and an expression in the other."""
    generator = np.random.default_rng(seed)
    samples, features = [], []
    who = generator.normal(size=(len(names), dim // 2)) * identity
    # Expressions and views look alike on all people.
    shared = np.random.default_rng(99)
    what = shared.normal(size=(len(expressions), dim // 2)) * 2
    turn = shared.normal(size=(views, dim)) * 0.2
    for person, name in enumerate(names):
        for shown, expression in enumerate(expressions):
            name_of_scan, level = f"{name}_{expression}", int(expression != "neutral")
            samples.append(
                Sample(sample_id=name_of_scan, subject=name, expression=expression, level=level, recording=name_of_scan)
            )
            features.append(np.concatenate([who[person], what[shown]]) + turn + generator.normal(0, 0.1, (views, dim)))
    return samples, np.array(features, np.float32)


def embedded(features):
    count, views, _ = features.shape
    return Embedded(
        features=features,
        z_views=features,
        z_fused=features.mean(axis=1),
        view_weights=np.full((count, views), 1 / views, np.float32),
    )


def compare(test_names=("a", "b", "c", "d", "e"), **changes):
    test_samples, test = people(test_names, seed=1)
    train_samples, train = people([f"t{n}" for n in range(20)], seed=2)
    arguments = {
        "test": embedded(test),
        "test_samples": test_samples,
        "train_features": train,
        "train_samples": train_samples,
        "known_subjects": [s.subject for s in train_samples],
        "view_angles_deg": ANGLES,
        "seed": 0,
    }
    return identity_results(**(arguments | changes))


def by_name(results):
    return {(result.name, result.features): result for result in results}


def test_every_comparison_with_its_pairs():
    found = compare()
    counts = {
        result.name: (result.num_genuine, result.num_impostor)
        for result in found.verification
        if result.features == "tower"
    }
    assert counts == {
        "neutral with expressions": (5 * 3, 5 * 3 * 4),
        "all pairs": (5 * 6, 190 - 5 * 6),
        "view -30 with view -30": (30, 160),
        "view -30 with view 0": (60, 320),
        "view -30 with view +30": (60, 320),
        "view 0 with view 0": (30, 160),
        "view 0 with view +30": (60, 320),
        "view +30 with view +30": (30, 160),
    }
    assert {r.name for r in found.verification if r.features == "fused"} == {"neutral with expressions", "all pairs"}
    assert {r.name for r in found.verification if r.features == "tower_lda"} == set(counts)
    assert all(r.num_subjects == 5 and r.equal_error_rate_interval is not None for r in found.verification)
    assert found.notes == ()


def test_discriminant_of_other_people_finds_the_identity_under_the_expression():
    found = compare()
    rates = {key: result.equal_error_rate for key, result in by_name(found.verification).items()}
    assert rates["neutral with expressions", "tower"] > 0.25
    assert rates["neutral with expressions", "tower_lda"] < 0.1
    assert rates["view -30 with view +30", "tower_lda"] < rates["view -30 with view +30", "tower"] - 0.1
    first = {result.features: result.rank_rates[0] for result in found.identification}
    assert first["tower_lda"] == 1.0 > first["tower"]


def test_identification_by_expression():
    (tower, *_) = compare().identification
    assert (tower.num_gallery, tower.num_probes, len(tower.rank_rates)) == (5, 15, 5)
    assert {name: probes for name, (_, probes) in tower.rank1_by_expression.items()} == {
        "happy": 5,
        "sad": 5,
        "surprise": 5,
    }
    assert sum(hits for hits, _ in tower.rank1_by_expression.values()) == round(15 * tower.rank_rates[0])
    assert tower.rank_rates[-1] == 1.0
    assert tower.rank1_interval is not None


def test_verification_by_hand():
    """Two people whose directions are known: cosines 1 and 0, and one scan that looks like the other person."""
    samples, _ = people("ab")
    axes = np.eye(2, 8, dtype=np.float32)
    directions = axes[[0, 0, 0, 1, 1, 1, 1, 1]]
    found = compare(test=embedded(np.repeat(directions[:, None], 3, axis=1)), test_samples=samples)
    result = by_name(found.verification)["neutral with expressions", "fused"]
    # Genuine: 1 1 0 and 1 1 1; impostor: a's neutral with b's 0 0 0, b's with a's 0 0 1.
    assert (result.num_genuine, result.num_impostor) == (6, 6)
    assert result.equal_error_rate == pytest.approx(1 / 6)
    (fused,) = [r for r in found.identification if r.features == "fused"]
    assert fused.rank_rates == (5 / 6, 1.0)
    assert fused.rank1_by_expression["surprise"] == (1, 2)


def test_a_store_without_neutral_scans_says_so():
    samples, features = people("abc", expressions=("sad", "happy"))
    found = compare(test=embedded(features), test_samples=samples)
    assert found.notes == ("3 of 3 test subjects have no neutral sample; the first by name stands in the gallery.",)
    assert found.verification[0].name == "one of each person with others"
    assert found.identification[0].rank1_by_expression.keys() == {"sad"}, "happy is the first by name"


def test_windows_of_one_recording_are_not_compared():
    samples, features = people("abc")
    joined = [replace(s, recording=s.subject) if s.expression in ("happy", "sad") else s for s in samples]
    found = compare(test=embedded(features), test_samples=joined)
    assert by_name(found.verification)["all pairs", "tower"].num_genuine == 3 * 5


def test_leaks_are_refused():
    samples, features = people("abc")
    with pytest.raises(LeakError, match="train and in test: b"):
        compare(train_samples=samples[4:8], train_features=features[4:8])
    with pytest.raises(LeakError, match="train and in test: a"):
        compare(known_subjects=["a"])


def test_discriminant_sees_training_subjects_alone():
    base = by_name(compare().verification)["all pairs", "tower_lda"]
    # Other test people change the scores, not what is fitted.
    samples, features = people(("a", "b", "c", "d", "e"), seed=1)
    shuffled = compare(test=embedded(features[::-1].copy()), test_samples=samples[::-1])
    assert by_name(shuffled.verification)["all pairs", "tower_lda"].equal_error_rate == base.equal_error_rate


def test_too_few_people():
    samples, features = people("a")
    found = compare(test=embedded(features), test_samples=samples)
    assert (found.verification, found.identification) == ((), ())
    assert "need two test subjects" in found.notes[0]
    lonely, rows = people("x")
    found = compare(train_samples=lonely, train_features=rows, known_subjects=["x"])
    assert {result.features for result in found.verification} == {"tower", "fused"}
    assert "tower_lda was left out" in found.notes[0]
    assert fit_discriminants(rows[:0], []) is None


def test_one_scan_each_leaves_nothing_to_recognise():
    samples, features = people("abc", expressions=("neutral",))
    found = compare(test=embedded(features), test_samples=samples)
    assert (found.verification, found.identification) == ((), ())
    assert "no test subject has two recordings" in found.notes[0]


def test_bad_arguments():
    samples, features = people("ab")
    with pytest.raises(SettingsError, match="8 test and"):
        compare(test=embedded(features), test_samples=samples[1:])
    with pytest.raises(SettingsError, match="2 views"):
        compare(view_angles_deg=(0.0, 30.0))
    features[0] = 0
    with pytest.raises(CheckpointError, match="zero"):
        compare(test=embedded(features), test_samples=samples)


def test_same_seed_same_result():
    assert compare() == compare()
