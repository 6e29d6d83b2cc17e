"""GNM's head: actions and people carried over from another rig, whole faces from the decoder, faces at rest."""

from __future__ import annotations

import numpy as np
import pytest

import builders_rigs as tiny
from smilevlm.errors import SettingsError
from smilevlm.synthesis.rigs.gnm import GnmRig, component_name, load_gnm
from smilevlm.synthesis.rigs.ict import load_ict
from smilevlm.synthesis.rigs.transfer import register


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    path = tmp_path_factory.mktemp("donor") / "ict.npz"
    tiny.write_ict_file(path)
    return load_ict(path)


@pytest.fixture(scope="module")
def rig(donor, tmp_path_factory) -> GnmRig:
    path = tmp_path_factory.mktemp("gnm") / "gnm.npz"
    tiny.write_gnm_file(path)
    return load_gnm(path, [donor])


def test_a_surface_registered_to_itself_carries_a_smooth_displacement_unchanged(donor):
    moved = tiny.shape(3)
    carried = register(donor.surface, donor.surface).carry(moved)
    inside = np.zeros((tiny.SIDE, tiny.SIDE), bool)
    inside[3:-3, 3:-3] = True
    np.testing.assert_allclose(carried[inside.ravel()], moved[inside.ravel()], atol=0.35)


def test_an_action_moves_as_on_the_donor(rig, donor):
    person = rig.draw_person(np.random.default_rng(1), sex="F")
    rest, opened, smile = rig.heads(person, [{}, {"jawOpen": 1.0}, {"mouthSmileLeft": 1.4}])
    inside = np.arange(len(rest)).reshape(tiny.SIDE, tiny.SIDE)[3:-3, 3:-3].ravel()
    for head, number, weight in ((opened, 102, 1.0), (smile, 103, 1.4)):
        moved, wanted = (head - rest)[inside] / person.size, weight * tiny.shape(number)[inside]
        scale = (moved * wanted).sum() / (wanted**2).sum()
        assert 0.6 <= scale <= 2.1, "as strong as scanned faces show it, within limits"
        assert np.linalg.norm(moved / scale - wanted) < 0.35 * np.linalg.norm(wanted)


def test_people_are_those_of_the_donor(rig, donor):
    person = rig.draw_person(np.random.default_rng(5), sex="M")
    (own,), (donated,) = rig.heads(person, [{}]), donor.heads(person, [{}])
    inside = np.arange(len(own)).reshape(tiny.SIDE, tiny.SIDE)[3:-3, 3:-3].ravel()
    assert np.abs(own[inside] - donated[inside]).max() < 1.5
    assert np.abs(own - rig.surface.position_mm).max() > 2, "a person is not the template"


def test_the_decoder_is_its_layers_one_after_the_other(rig, tmp_path):
    tiny.write_gnm_file(tmp_path / "gnm.npz")
    with np.load(tmp_path / "gnm.npz") as arrays:
        code = np.random.default_rng(4).normal(size=64).astype(np.float32)
        values = [*code.tolist(), 0.0, 1.0]
        for layer in range(5):
            weight, bias = arrays[f"dec{layer}_w"].astype(float), arrays[f"dec{layer}_b"].astype(float)
            values = [sum(v * w for v, w in zip(values, weight[:, k], strict=True)) + bias[k] for k in range(len(bias))]
            if layer < 4:
                values = [max(value, 0.0) for value in values]
    face = rig.draw_expression(np.random.default_rng(4), "surprise")
    for number in (0, 150, 250, 360):
        assert face[component_name(number)] == pytest.approx(values[number], rel=1e-3, abs=1e-2)


def test_a_whole_face_is_there_only_where_the_decoder_knows_its_names(rig):
    assert rig.draw_expression(np.random.default_rng(4), "happy")
    assert rig.draw_expression(np.random.default_rng(4), "disgust") == {}
    assert rig.draw_expression(np.random.default_rng(4), "neutral") == {}


def test_faces_at_rest_differ_and_can_be_shown_with_an_action(rig):
    rests = [rig.draw_rest(np.random.default_rng(seed)) for seed in range(40)]
    assert len(rests[0]) == 350
    weights = np.array([list(rest.values()) for rest in rests])
    assert 0.25 < weights.std() < 0.35
    person = rig.draw_person(np.random.default_rng(2), sex="F")
    rest, both, alone = rig.heads(person, [rests[0], rests[0] | {"jawOpen": 1.0}, {"jawOpen": 1.0}])
    neutral = next(rig.heads(person, [{}]))
    np.testing.assert_allclose(both - neutral, (rest - neutral) + (alone - neutral), atol=1e-3)


def test_directions_of_identity_of_the_full_model_are_used(donor, tmp_path):
    identity = np.zeros((2, tiny.SIDE**2, 3), np.int8)
    identity[0, :, 0], identity[1, :, 1] = 100, 50
    scale = np.full((2, 3), 1e-4, np.float32)
    tiny.write_gnm_file(tmp_path / "full.npz", identity_int8=identity, identity_scale_m=scale)
    rig = load_gnm(tmp_path / "full.npz", [donor])
    person = rig.draw_person(np.random.default_rng(3), sex="F")
    assert list(person.shape) == ["identity000", "identity001"]
    tiny.write_gnm_file(tmp_path / "half.npz", identity_int8=identity)
    with pytest.raises(SettingsError, match=r"half\.npz has no array 'identity_scale_m'"):
        load_gnm(tmp_path / "half.npz", [donor])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("expression_int8", np.zeros((10, 225, 3), np.int8), "'expression_scale_m'"),
        ("faces", np.array([[0, 1, 225]]), "'faces' names a vertex"),
        ("group_teeth", np.array([999]), "'group_teeth' names a vertex"),
        ("semantic_names", np.array(["happy"]), "decoder goes from 66"),
        ("dec2_b", np.zeros(5, np.float32), "dec2"),
    ],
)
def test_arrays_that_do_not_fit(donor, tmp_path, name, value, expected):
    tiny.write_gnm_file(tmp_path / "bad.npz", **{name: value})
    with pytest.raises(SettingsError, match=expected) as caught:
        load_gnm(tmp_path / "bad.npz", [donor])
    assert "bad.npz" in str(caught.value)
