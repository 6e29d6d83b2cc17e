from dataclasses import replace

import numpy as np
import pytest

from smilevlm.errors import LeakError, SettingsError
from smilevlm.evaluation.anti_spoofing import (
    PresentedFeatures,
    anti_spoofing_result,
    error_rates,
    is_refused,
    presentations,
)
from smilevlm.geometry import NormaliseSettings
from smilevlm.readers import read_mesh
from smilevlm.store import PrepareSettings
from smilevlm.synthesis.spoofs import ATTACKS, BONA_FIDE, SpoofSettings
from smilevlm.views import ViewSettings

PREPARE = PrepareSettings(views=ViewSettings(size=48), normalise=NormaliseSettings())
REFUSED = {"flat": (1, 2), "bent": (2, 2)}


def presented(names, *, seed=0, flat=(3.0, 0.0), bent=(3.0, 0.0), count=4):
    """Faces around the origin of the first two columns, attacks around places of their own."""
    generator = np.random.default_rng(seed)
    places = {BONA_FIDE: (-3.0, 0.0), "flat": flat, "bent": bent}
    rows, kinds, subjects = [], [], []
    for name in names:
        for kind, place in places.items():
            for _ in range(count):
                row = generator.normal(0, 0.5, (2, 4)) + np.array([5.0, 0, 0, 0])
                row[:, 1:3] += place
                rows.append(row)
                kinds.append(kind)
                subjects.append(name)
    return PresentedFeatures(features=np.array(rows, np.float32), kinds=tuple(kinds), subjects=tuple(subjects))


def result(train, test, **changes):
    return anti_spoofing_result(
        **({"views": "geometry", "train": train, "test": test, "refused": REFUSED, "seed": 0} | changes)
    )


def rates(found):
    return {(attack.name, attack.known): attack for attack in found.attacks}


def test_separable_attacks_are_found():
    found = result(presented("abcdef"), presented("xyz", seed=1))
    assert [(a.name, a.known) for a in found.attacks] == [
        ("bent", True),
        ("flat", True),
        ("bent", False),
        ("flat", False),
    ]
    for attack in found.attacks:
        assert (attack.num_attacks, attack.num_bona_fide) == (12, 12)
        assert (attack.apcer, attack.bpcer, attack.acer, attack.equal_error_rate) == (0, 0, 0, 0)
    assert (found.num_train_subjects, found.num_test_subjects, found.refused) == (6, 3, REFUSED)


def test_a_kind_that_was_left_out_can_get_through():
    # The unseen kind looks like a face along the only direction that the other kind teaches.
    test = presented("xyz", seed=1, bent=(-3.0, 4.0))
    found = rates(result(presented("abcdef", bent=(-3.0, 4.0)), test))
    assert found["bent", True].apcer == 0.0
    assert found["bent", False].apcer > 0.5
    assert found["flat", False].bpcer < 0.2


def test_threshold_does_not_see_the_test_people():
    train = presented("abcdef", flat=(-2.0, 0.0), bent=(-2.0, 0.0))
    one = rates(result(train, presented("xyz", seed=1, flat=(-2.0, 0.0), bent=(-2.0, 0.0))))
    # Faces of other test people change the false alarms, never what counts as an attack.
    other = rates(result(train, _with_other_faces(presented("xyz", seed=1, flat=(-2.0, 0.0), bent=(-2.0, 0.0)))))
    assert one["flat", True].apcer == other["flat", True].apcer
    assert one["flat", True].bpcer != other["flat", True].bpcer


def _with_other_faces(data):
    features = data.features.copy()
    features[[kind == BONA_FIDE for kind in data.kinds], :, 1] += 2.5
    return replace(data, features=features)


def test_error_rates_by_hand():
    faces, attacks = np.array([0.9, 0.4, 0.5]), np.array([0.5, 0.1, 0.6, 0.2])
    assert error_rates(faces, attacks, 0.5) == (0.5, 1 / 3)


def test_people_on_both_sides_are_a_leak():
    with pytest.raises(LeakError, match="both in train and in test: c"):
        result(presented("abc"), presented("cd"))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (presented("a"), presented("xy"), "two training subjects"),
        (presented("ab"), replace(presented("x"), kinds=("flat",) * 12), "both sides need"),
        (replace(presented("ab"), kinds=(BONA_FIDE, "flat") * 12), presented("x"), "both sides need"),
    ],
)
def test_too_little_to_fit_or_test(train, test, message):
    with pytest.raises(SettingsError, match=message):
        result(train, test)


def test_same_seed_same_result():
    sides = presented("abcdef", flat=(-2.0, 0.0)), presented("xyz", seed=1)
    assert result(*sides) == result(*sides)
    assert result(*sides) != result(*sides, seed=1)


@pytest.fixture(scope="module")
def shown(synthetic_faces):
    path = sorted((synthetic_faces / "F0001").glob("*NE00*_F3D.wrl"))[0]
    return {
        each.kind: each
        for each in presentations(
            read_mesh(path),
            subject="F0001",
            name="NE00",
            prepare=PREPARE,
            view_kinds=("geometry", "texture"),
            settings=SpoofSettings(),
        )
    }


def test_a_scan_and_every_attack_become_views(shown):
    assert list(shown) == [BONA_FIDE, *ATTACKS]
    for each in shown.values():
        assert each.images.keys() == {"geometry", "texture"}
        assert all(views.shape == (3, 48, 48, 3) and views.any(axis=(1, 2, 3)).all() for views in each.images.values())


def test_preparation_refuses_sheets_but_no_face(shown, synthetic_faces):
    assert {kind: each.refused for kind, each in shown.items()} == {BONA_FIDE: False} | dict.fromkeys(ATTACKS, True)
    scan = read_mesh(sorted((synthetic_faces / "F0001").glob("*NE00*_F3D.wrl"))[0])
    assert not is_refused(scan, PREPARE.normalise)


def test_a_sheet_has_no_relief(shown):
    """Second channel: headlight shading. On a flat sheet it is the same everywhere, on a face it is not."""
    spread = {}
    for kind in (BONA_FIDE, "flat_print", "replay"):
        frontal = shown[kind].images["geometry"][1]
        inner = frontal[16:32, 16:32, 1].astype(float)
        spread[kind] = inner[inner > 0].std()
    assert max(spread["flat_print"], spread["replay"]) < 0.3 * spread[BONA_FIDE]
