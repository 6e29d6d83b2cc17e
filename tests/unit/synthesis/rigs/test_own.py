"""A rig of a user's own: names are mapped to actions, files are found, and what is wrong is named by its field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import builders_rigs as tiny
from smilevlm.errors import SettingsError
from smilevlm.synthesis.rigs.loading import load_rig, rig_identities
from smilevlm.synthesis.rigs.own import load_own
from smilevlm.synthesis.rigs.rig_file import arkit_names, read_rig_file


@pytest.fixture(scope="module")
def surface():
    return load_rig("anny").surface


@pytest.fixture
def folder(tmp_path) -> Path:
    """ICT's tiny files, as someone's own blendshapes in centimetres."""
    tiny.write_ict_folder(tmp_path / "rig")
    (tmp_path / "rig" / "landmarks.txt").write_text("\n".join(map(str, tiny.landmarks())))
    return tmp_path / "rig"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


HEAD = "unit: cm\ntemplate: generic_neutral_mesh.obj\nlandmarks: landmarks.txt\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("jawOpen", ("jawOpen",)), ("mouthSmile_L", ("mouthSmileLeft",)),
        ("mouthSmile", ("mouthSmileLeft", "mouthSmileRight")), ("AU12", ("mouthSmileLeft", "mouthSmileRight")),
        ("AU12L", ("mouthSmileLeft",)),
        ("au06_R", ("cheekSquintRight",)), ("AU26", ("jawOpen",)), ("AU1L", ("browInnerUp",)),
        ("browInnerUp_R", ("browInnerUp",)),
        ("AU61", ("eyeLookOutLeft", "eyeLookInRight")), ("AD30L", ("jawLeft",)), ("AD30", ()),
        ("AU17", ("mouthShrugLower",)),
        ("grin", ()), ("AU99", ()), ("", ()),
    ],
)  # fmt: skip
def test_names_of_actions(text, names):
    assert arkit_names(text) == names


def test_shapes_are_found_by_their_names(folder, surface):
    rig = load_own(write(folder, HEAD), surface)
    assert rig.name == "mine"
    assert set(rig.facial_actions) == {
        "jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp",
    }  # fmt: skip
    person = rig.draw_person(np.random.default_rng(1), sex="F")
    rest, opened = rig.heads(person, [{}, {"jawOpen": 0.5}])
    np.testing.assert_allclose((opened - rest) / person.size, 0.5 * tiny.shape(102), atol=0.02)


def test_a_shape_of_both_sides_is_cut_in_the_middle(folder, surface):
    text = (
        HEAD + "name: other\nshapes: {mouthSmile_L.obj: AU12, jawOpen.obj: {jawOpen: 2}}\nidentity: [identity000.obj]\n"
    )
    rig = load_own(write(folder, text), surface)
    assert rig.name == "other"
    person = rig.draw_person(np.random.default_rng(1), sex="F")
    rest, left, both, half = rig.heads(
        person, [{}, {"mouthSmileLeft": 1.0}, {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}, {"jawOpen": 2.0}]
    )
    np.testing.assert_allclose((both - rest) / person.size, tiny.shape(103), atol=0.02)
    np.testing.assert_allclose((half - rest) / person.size, tiny.shape(102), atol=0.02)
    right_half = rig.surface.position_mm[:, 0] < -12
    assert np.abs((left - rest)[right_half]).max() < 1e-4
    scale = person.shape["identity000"]
    shifted = scale * (tiny.shape(0) - tiny.shape(0)[tiny.landmarks()[30]])
    np.testing.assert_allclose(rest / person.size, rig.surface.position_mm + shifted, atol=0.02)


def test_landmarks_of_a_head_without_any_are_found_by_its_shape(surface, tmp_path):
    from smilevlm.geometry import Mesh
    from smilevlm.readers import write_mesh

    stretched = surface.position_mm * np.array([1.08, 0.95, 1.0], np.float32) + 30
    skin = ~(surface.eyes | surface.inner)[surface.faces].any(axis=1)
    write_mesh(Mesh(vertices=stretched, faces=surface.faces[skin]), tmp_path / "head.ply")
    write_mesh(Mesh(vertices=stretched + 1, faces=surface.faces[skin]), tmp_path / "jawOpen.ply")
    rig = load_own(write(tmp_path, "unit: mm\ntemplate: head.ply\n"), surface)
    assert rig.surface.landmarks is not None
    away = rig.surface.position_mm[rig.surface.landmarks] - (stretched[surface.landmarks] - stretched[surface.nose_tip])
    assert np.median(np.linalg.norm(away[17:], axis=1)) < 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unit: parsec\ntemplate: generic_neutral_mesh.obj\n", "'unit' is 'parsec'"),
        ("unit: m\ntemplate: generic_neutral_mesh.obj\nlandmarks: landmarks.txt\n", "'unit' makes the template"),
        ("unit: cm\n", "'template' is None"),
        ("unit: cm\ntemplate: none.obj\n", "'template' names none.obj"),
        (HEAD + "shapes: {jawOpen.obj: grin}\n", "'shapes.jawOpen.obj' names 'grin'"),
        (HEAD + "shapes: {jawOpen.obj: {jawOpen: -1}}\n", "weight -1"),
        (HEAD + "shapes: {jawOpen.obj: jawOpen, eyeBlink_L.obj: jawOpen}\n", "a second shape for jawOpen"),
        (
            HEAD + "shapes: {jawOpen.obj: {jawOpen: 1, mouthSmileLeft: 1}}\n",
            r"'shapes.jawOpen.obj' names several actions \(jawOpen, mouthSmile\); give each a file of its own",
        ),
        (HEAD + "shapes: {jawOpen.obj: [jawOpen]}\n", r"'shapes.jawOpen.obj' is \['jawOpen'\]; expected an action"),
        (HEAD + "shapes: {jawOpen.obj: {}}\n", "'shapes.jawOpen.obj' is {}; expected an action"),
        (HEAD + "shapes: []\n", "'shapes' is empty"),
        (HEAD + "regions: {hair: landmarks.txt}\n", "'regions'"),
        (HEAD + "regions: {eyes: vertex_indices.json}\n", "'regions.eyes'"),
        (HEAD + "identity: identity000.obj\n", "'identity' is no list"),
        (HEAD + "texture: skin.png\n", "'texture' is not known"),
        (HEAD + "name: [a]\n", "'name'"),
        ("- a\n", "expected 'key: value' pairs"),
        ("unit: [\n", "cannot be read as a rig file"),
    ],
)
def test_what_is_wrong_is_named(folder, surface, text, expected):
    with pytest.raises(SettingsError, match=expected) as caught:
        load_own(write(folder, text), surface)
    assert "mine.yaml" in str(caught.value)


def test_a_shape_of_another_topology(folder, surface):
    (folder / "jawOpen.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(SettingsError, match=r"mine\.yaml.*jawOpen\.obj has 3 vertices"):
        load_own(write(folder, HEAD), surface)


def test_a_rig_file_is_known_by_its_suffix_and_by_the_content_of_all_its_files(folder):
    path = write(folder, HEAD)
    assert load_rig(str(path)).name == "mine"
    assert folder / "jawOpen.obj" in read_rig_file(path).files
    before = rig_identities([str(path)])
    (folder / "jawOpen.obj").write_text((folder / "jawOpen.obj").read_text() + "# changed\n")
    assert rig_identities([str(path)]) != before
