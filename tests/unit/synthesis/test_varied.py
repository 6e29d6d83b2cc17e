"""Varied faces: same seed, same bytes; an appearance changes no expression; nothing folds or leaves the face."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from smilevlm.datasets import index_data_set
from smilevlm.errors import LayoutError, SettingsError
from smilevlm.geometry import NormaliseSettings, normalise
from smilevlm.labels import BASIC_EXPRESSIONS, LEAST_INTENSITY, NEUTRAL, UNLABELLED
from smilevlm.readers import ACTIONS_NAME, read_action_table, read_mesh
from smilevlm.synthesis.face_family import Bumps, draw_family
from smilevlm.synthesis.marker import MARKER_NAME
from smilevlm.synthesis.model_parts import _between_lids, _between_lips, faces_with
from smilevlm.synthesis.partial_faces import FacePart, PartialFace, draw_part
from smilevlm.synthesis.rigs import ARKIT_ACTIONS, RigSurface, load_rig
from smilevlm.synthesis.rigs.loading import rig_identities
from smilevlm.synthesis.scan_appearance import (
    SURFACES,
    SurfaceForm,
    apply_appearance,
    draw_appearance,
    draw_hair,
    draw_pose,
    hidden_actions,
    place_mesh,
)
from smilevlm.synthesis.variants import CONFUSED, VARIANTS, draw_variant, draw_varied_actions
from smilevlm.synthesis.varied import VariedSettings, draw_varied_person, synthesize_varied

SMALL = VariedSettings(num_subjects=2, seed=4, filmed_share=1.0, frames=6)


@pytest.fixture(scope="module")
def surface() -> RigSurface:
    return load_rig("anny").surface


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("varied") / "faces"
    assert synthesize_varied(root, SMALL) == 2
    return root


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_folder_layout_reads_all_of_it(faces):
    index = index_data_set("folder", faces)
    assert index.synthetic
    blends = {"+".join(pair) for pair in CONFUSED}
    plain = [recording.expression for recording in index.recordings if recording.expression not in blends]
    assert set(plain) == {NEUTRAL, UNLABELLED, *BASIC_EXPRESSIONS}
    assert {r.labels for r in index.recordings if r.expression in blends} <= set(CONFUSED)
    assert len(index.recordings) - len(plain) == 2, "one face a person is between two expressions"
    kinds = Counter((recording.expression, recording.is_sequence) for recording in index.recordings)
    assert all(kinds[name, True] == 2 for name in (NEUTRAL, UNLABELLED, *BASIC_EXPRESSIONS)), "both people are filmed"
    assert kinds[UNLABELLED, False] == 10, "five scans a person belong to no class"
    assert kinds[NEUTRAL, False] == 6
    assert all(kinds[name, False] == 2 for name in BASIC_EXPRESSIONS)
    assert not index.remarks or all("were left out" not in remark for remark in index.remarks)


@pytest.mark.slow
def test_same_seed_same_bytes_and_a_run_that_was_stopped_goes_on(faces, tmp_path):
    again = tmp_path / "again"
    synthesize_varied(again, SMALL)
    before = digests(again)
    assert before == digests(faces)
    for path in sorted((again / "M00001").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (again / "M00001").rmdir()
    assert synthesize_varied(again, SMALL) == 1
    assert digests(again) == before


def test_a_set_begun_with_other_amplitudes_is_not_gone_on_with(faces, monkeypatch):
    assert json.loads((faces / MARKER_NAME).read_text())["rigs"] == rig_identities(["anny"])
    for place, value in (
        ("rigs.anny.FULL_WEIGHTS", {"jawOpen": 2.0}), ("rigs.scan_fit.FULL_MM", {"jawOpen": 2.0}),
        ("amplitudes.SCAN_SPREAD", 0.5), ("rigs.anny.AnnyRig.amplitudes", (0.5, 1.0)),
    ):  # fmt: skip
        with monkeypatch.context() as changed:
            changed.setattr(f"smilevlm.synthesis.{place}", value)
            with pytest.raises(LayoutError, match=r"other settings \(rigs\).*actions move; choose another folder"):
                synthesize_varied(faces, SMALL)


def test_other_settings_are_refused_in_the_same_folder(faces):
    with pytest.raises(LayoutError, match="strength"):
        synthesize_varied(faces, VariedSettings(num_subjects=2, seed=4, filmed_share=1.0, frames=6, strength=0.5))


@pytest.mark.parametrize(
    "changes",
    [
        {"filmed_share": 1.5},
        {"wide_share": -0.1},
        {"action_scans": 53},
        {"strength": -1.0},
        {"frames": 2},
        {"num_subjects": 0},
    ],
)
def test_settings_out_of_range(changes):
    with pytest.raises(SettingsError):
        VariedSettings(**changes)


def test_a_family_without_strength_is_the_head_model_itself(surface):
    family = draw_family(np.random.default_rng(1), strength=0.0, log_gain=0.28)
    neutral = surface.position_mm
    smile = neutral + np.float32(0.5) * np.sin(neutral / 20)
    np.testing.assert_allclose(family.heads(surface, neutral, smile[None])[0], smile, atol=1e-3)


def test_bumps_are_the_sum_of_gaussians():
    bumps = Bumps(
        centres_mm=np.array([[0.0, 0, 0], [10, 0, 0]]),
        widths_mm=np.array([5.0, 20.0]),
        heights=np.array([[1.0, 0, 0], [0, 2.0, 0]]),
    )
    points = np.array([[0, 0, 0], [3, 4, 0]], np.float32)
    expected = [
        [1, 2 * np.exp(-100 / 800), 0],
        [np.exp(-25 / 50), 2 * np.exp(-(49 + 16) / 800), 0],
    ]
    np.testing.assert_allclose(bumps.at(points), expected, rtol=1e-4, atol=1e-5)


def test_a_bend_never_turns_a_face_inside_out(surface):
    faces, neutral = surface.faces, surface.position_mm
    corners = neutral[faces]
    before = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for seed in range(5):
        family = draw_family(np.random.default_rng(seed))
        bent = neutral + family.bend.at(neutral)
        corners = bent[faces]
        after = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert ((before * after).sum(axis=1) < 0).mean() < 0.002, "a few slivers inside the mouth at most"


def test_smoothing_keeps_teeth_and_eyeballs_rigid_and_rows_sum_to_one(surface):
    average = surface.skin_average
    np.testing.assert_allclose(np.asarray(average.sum(axis=1)).ravel(), 1, atol=1e-5)
    eyeball = int(np.flatnonzero(surface.eyes)[0])
    assert average[eyeball].nnz == 1 or average[eyeball, eyeball] == 1


@pytest.mark.parametrize("expression", BASIC_EXPRESSIONS)
def test_every_variant_moves_what_its_prototype_is_known_by(expression):
    known = {"happy": "mouthSmile", "sad": "mouthFrown", "surprise": "browOuterUp", "angry": "browDown",
             "disgust": "noseSneer", "fear": "mouthStretch"}[expression]  # fmt: skip
    actions = set(ARKIT_ACTIONS)
    for recipe in VARIANTS[expression]:
        assert recipe.core[known] >= 0.4
        for name in (*recipe.core, *recipe.optional):
            assert name == "eyeLookDown" or name in actions or f"{name}Left" in actions


def test_actions_stay_in_range_and_neutral_has_no_recipe():
    rng = np.random.default_rng(0)
    person = draw_varied_person(rng, sex="F").person
    assert draw_variant(rng, NEUTRAL) is None
    for expression in BASIC_EXPRESSIONS:
        for _ in range(20):
            actions = draw_varied_actions(
                rng, person=person, recipe=draw_variant(rng, expression), intensity=1.2,
                facial_actions=ARKIT_ACTIONS, idle=1.0,
            )  # fmt: skip
            assert all(0 <= value <= 1 for value in actions.values())
            assert set(actions) <= set(ARKIT_ACTIONS)


@pytest.mark.parametrize("form", [*SURFACES, "points"])
def test_each_form_shows_the_same_face(form, surface):
    rng = np.random.default_rng(3)
    appearance = draw_appearance(rng, surface, forms=(form,))
    assert appearance.form == form
    mesh = apply_appearance(rng, appearance, surface.position_mm)
    assert mesh.is_point_cloud == (form == "points")
    assert np.isfinite(mesh.vertices).all()
    nose = mesh.vertices[np.linalg.norm(mesh.vertices, axis=1) < 12]
    assert len(nose) > 0, "the nose tip is in every form"


@pytest.mark.parametrize("form", get_args(SurfaceForm))
def test_a_form_comes_again_with_its_seed_and_keeps_its_budget(surface, form):
    hair = draw_hair(np.random.default_rng(1), surface, bearded=True)
    made = []
    for _ in range(2):
        rng = np.random.default_rng(12)
        appearance = draw_appearance(rng, surface, hair, forms=(form,))
        made.append(apply_appearance(rng, appearance, hair.on(surface.position_mm)))
    assert (made[0].vertices == made[1].vertices).all()
    assert (made[0].faces == made[1].faces).all()
    budget = {"simplified": appearance.num_vertices, "subdivided": appearance.num_vertices, "points": 40_000}
    assert 200 <= made[0].num_vertices <= budget.get(form, 70_000)


@pytest.mark.parametrize("part", get_args(FacePart))
@pytest.mark.parametrize("form", ["scan", "phone", "mesh", "points"])
def test_a_partial_face_is_cut_in_every_form(surface, form, part):
    rng = np.random.default_rng(2)
    partial = draw_part(rng, part)
    appearance = replace(draw_appearance(rng, surface, forms=(form,)), partial=partial, noise_mm=0.0)
    mesh = apply_appearance(rng, appearance, surface.position_mm)
    assert mesh.num_vertices > 100
    # A scanner's grid bridges gaps of some millimetres, and pixels at the rim may fly.
    off = ~partial.keeps(mesh.vertices) & ~partial.keeps(mesh.vertices - np.eye(3)[partial.axis] * -partial.sign * 8)
    assert off.mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("form", ["phone", "structured_light"])
def test_faces_of_depth_sensors_are_found(form):
    rng = np.random.default_rng(4)
    person = draw_varied_person(rng, sex="F")
    heads = list(person.heads([{}, {"jawOpen": 0.7}, {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}]))
    found = 0
    for number in range(21):
        appearance = replace(draw_appearance(rng, person.rig.surface, person.hair, forms=(form,)), partial=None)
        mesh = apply_appearance(rng, appearance, heads[number % 3])
        face = normalise(mesh, NormaliseSettings())
        turn = np.rad2deg(np.arccos(np.clip((np.trace(face.rotation) - 1) / 2, -1, 1)))
        found += bool(turn < 20) and not face.is_barely_found
    assert found >= 20


def test_a_set_at_rest_has_the_appearance_and_nothing_of_the_expressions(tmp_path):
    settings = VariedSettings(num_subjects=1, seed=9, filmed_share=0.0)
    with pytest.raises(SettingsError, match="at rest"):
        replace(settings, at_rest=True, filmed_share=0.5)
    for name in ("faces", "rest"):
        synthesize_varied(tmp_path / name, replace(settings, at_rest=name == "rest"))
    names = [sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("scan_*"))
             for name in ("faces", "rest")]  # fmt: skip
    assert names[0] == names[1]
    for path in names[0]:
        faces, rest = (read_mesh(tmp_path / name / path) for name in ("faces", "rest"))
        assert np.ptp(rest.vertices, axis=0) == pytest.approx(np.ptp(faces.vertices, axis=0), rel=0.4)
        assert faces.num_vertices != rest.num_vertices or not np.allclose(faces.vertices, rest.vertices, atol=1e-6)


def test_the_mouth_of_a_sealed_face_is_skin_between_the_lips(surface):
    for coarse in (False, True):
        faces = _between_lips(surface, coarse=coarse)
        middle = surface.position_mm[faces].mean(axis=1)
        assert len(faces) > 20
        assert (np.abs(middle[:, 0]) < 26).all()
        assert ((middle[:, 1] > -40) & (middle[:, 1] < -25)).all()
        assert all(len(set(face)) == 3 for face in faces.tolist())


def test_closed_eyes_are_skin_between_the_lids():
    surface = load_rig("anny").surface
    for coarse in (False, True):
        faces = _between_lids(surface, coarse=coarse)
        middle = surface.position_mm[faces].mean(axis=1)
        assert (faces < len(surface.position_mm)).all()
        for side in (-1, 1):
            eye = middle[middle[:, 0] * side > 0]
            assert len(eye) > 20
            assert ((eye[:, 1] > 30) & (eye[:, 1] < 52) & (eye[:, 2] > -45)).all()


def test_holes_for_eyes_go_through_and_nothing_else_is_open():
    surface = load_rig("anny").surface
    for eyes, num_rims in (("eyeballs", 1), ("sockets", 1), ("closed", 1), ("holes", 3)):
        faces = faces_with(surface, eyes=eyes, teeth=False, cavity=True, sealed=False)
        skin = faces[~surface.eyes[faces].any(axis=1)]
        assert num_open_rims(skin) == num_rims, f"{eyes}: the neck, and a hole for each eye"
    no_cavity = faces_with(surface, eyes="sockets", teeth=False, cavity=False, sealed=False)
    assert num_open_rims(no_cavity) == 2, "the neck and the mouth"


def num_open_rims(faces: np.ndarray) -> int:
    """Holes of a surface: connected groups of edges that one triangle alone has."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    rim = unique[counts == 1]
    links = coo_array((np.ones(len(rim)), rim.T), shape=(faces.max() + 1,) * 2)
    return connected_components(links, directed=False)[0] - (faces.max() + 1 - len(np.unique(rim)))


def test_hair_moves_no_eye_and_only_outward(surface):
    hair = draw_hair(np.random.default_rng(5), surface, bearded=True)
    assert (hair.layer_mm >= 0).all()
    assert (hair.layer_mm[surface.eyes] == 0).all()


def test_a_placed_mesh_has_the_unit_and_the_pose_it_was_given(surface):
    rng = np.random.default_rng(6)
    mesh = apply_appearance(rng, draw_appearance(rng, surface, forms=("mesh",)), surface.position_mm)
    pose = draw_pose(rng)
    moved = place_mesh(mesh, pose, 10.0)
    np.testing.assert_allclose(moved.vertices * 10, mesh.vertices @ pose.rotation.T + pose.offset_mm, atol=1e-2)


def test_what_a_file_does_not_show_is_unjudged(surface):
    rng = np.random.default_rng(2)
    appearance = replace(draw_appearance(rng, surface, forms=("mesh",)), partial=None)
    whole = faces_with(surface, eyes="eyeballs", teeth=True, cavity=True, sealed=False)
    blind = faces_with(surface, eyes="holes", teeth=False, cavity=True, sealed=False)
    assert hidden_actions(replace(appearance, faces=whole), surface) == ()
    assert {"AU61", "AU43", "AD19"} <= {*hidden_actions(replace(appearance, faces=blind), surface)}
    lower = PartialFace(part="lower", axis=1, sign=-1.0, cut_mm=20.0, tilt=0.0, waves=())
    upper = replace(lower, part="upper", sign=1.0)
    assert {"AU1", "AU43"} <= {*hidden_actions(replace(appearance, faces=whole, partial=lower), surface)}
    unseen = {*hidden_actions(replace(appearance, faces=whole, partial=upper), surface)}
    assert {"AU12", "AU26"} <= unseen
    assert "AU9" not in unseen


def test_every_scan_and_film_has_its_actions(faces):
    index = index_data_set("folder", faces)
    assert read_action_table(faces / ACTIONS_NAME).keys() == {recording.sample_id for recording in index.recordings}
    shown = {(r.expression, r.is_sequence): r.actions for r in index.recordings}
    assert all(shown[expression, filmed] for expression in BASIC_EXPRESSIONS for filmed in (False, True))
    assert max(shown["happy", True]["AU12"]) > LEAST_INTENSITY
