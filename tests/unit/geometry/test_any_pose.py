"""Faces in any pose and at any size, and things that are no faces."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from faces import as_points, height_map, moved, rotation
from smilevlm.errors import MeshError, SettingsError
from smilevlm.geometry import Mesh, NormaliseSettings, locate, normalise, rotation_from_axes
from smilevlm.geometry.pose_search import turn_between_deg
from smilevlm.geometry.sampling import even_points

SETTINGS = NormaliseSettings()
TURNS = {
    "turned by 90 degrees": rotation(yaw=90),
    "from behind": rotation(yaw=180),
    "upside down": rotation(roll=180),
    "y down, z away": np.diag([1.0, -1.0, -1.0]),
    "z up": rotation_from_axes("+z", "-y").T,
    "x front": rotation_from_axes("+z", "+x").T,
    "anyhow": Rotation.random(random_state=5).as_matrix(),
}


@pytest.fixture(scope="module")
def head(frontal_faces) -> Mesh:
    """A whole raw head with eyeballs, teeth and ears; the nose tip is the origin."""
    from smilevlm.synthesis.anatomy import anatomy
    from smilevlm.synthesis.face_model import head_model

    model = head_model()
    fine = (model.topology.refine @ model.vertices_mm(phenotype={}, shape={}, actions=[{}])[0]).astype(np.float32)
    return Mesh(vertices=fine - fine[anatomy().nose_tip], faces=model.topology.fine_faces)


def scaled(mesh: Mesh, factor: float) -> Mesh:
    return replace(mesh, vertices=(mesh.vertices * factor).astype(np.float32))


def assert_same_pose(found, turn, truth, *, within_deg=5.0):
    assert turn_between_deg(found.rotation.astype(float) @ turn, truth.rotation.astype(float)) < within_deg
    assert found.confidence > 0.8


@pytest.mark.parametrize("name", TURNS)
def test_a_scan_in_any_pose_is_found_as_it_is_upright(frontal_face, name):
    truth = normalise(frontal_face, SETTINGS)
    found = normalise(moved(frontal_face, TURNS[name], (3000, -200, 10)), SETTINGS)
    assert_same_pose(found, TURNS[name], truth)
    assert (found.unit, found.mm_per_unit) == ("mm", 1.0)
    assert abs(found.mesh.num_vertices - truth.mesh.num_vertices) < 0.02 * truth.mesh.num_vertices


@pytest.mark.parametrize("name", ["z up", "anyhow"])
def test_a_whole_head_in_any_pose(head, name):
    found = normalise(scaled(moved(head, TURNS[name]), 0.001), SETTINGS)
    assert turn_between_deg(found.rotation.astype(float) @ TURNS[name], np.eye(3)) < 9
    assert found.unit == "m"


def test_the_order_of_corners_does_not_matter(frontal_face):
    turned = moved(frontal_face, TURNS["anyhow"])
    flipped = normalise(replace(turned, faces=np.ascontiguousarray(turned.faces[:, ::-1])), SETTINGS)
    assert turn_between_deg(flipped.rotation.astype(float), normalise(turned, SETTINGS).rotation.astype(float)) < 1


def test_a_point_cloud_in_any_pose(frontal_face):
    truth = normalise(frontal_face, SETTINGS)
    assert_same_pose(normalise(as_points(moved(frontal_face, TURNS["anyhow"])), SETTINGS), TURNS["anyhow"], truth)


def test_points_of_a_depth_camera_are_taken_from_all_its_columns():
    column, row = np.meshgrid(np.arange(40), np.arange(4000))
    cloud = Mesh(vertices=np.stack([column, row, 0 * row], axis=-1).reshape(-1, 3).astype(np.float32))
    found = even_points(cloud, np.ones(cloud.num_vertices, bool), 4000)
    assert np.bincount(found[:, 0].astype(int), minlength=40).min() > 50


def test_a_head_of_height_one_takes_its_size_from_the_mean_face(head):
    height = float(np.ptp(head.vertices[:, 1]))
    for turn in (np.eye(3), TURNS["x front"]):
        found = normalise(scaled(moved(head, turn), 1 / height), SETTINGS)
        assert found.unit == "unknown"
        assert found.mm_per_unit == pytest.approx(height, rel=0.2)
        assert turn_between_deg(found.rotation.astype(float) @ turn, np.eye(3)) < 9


@pytest.mark.parametrize("size", [0.9, 1.1])
def test_a_metric_scan_keeps_its_size(frontal_face, size):
    found = normalise(scaled(moved(frontal_face, TURNS["upside down"]), size), SETTINGS)
    assert found.mm_per_unit == 1.0


def test_a_known_start_gives_what_the_upright_scan_gives_and_no_search(frontal_face, monkeypatch):
    truth = normalise(frontal_face, SETTINGS)
    monkeypatch.setattr(locate, "search", None)
    found = normalise(moved(frontal_face, TURNS["z up"]), SETTINGS, start=rotation_from_axes("+z", "-y"))
    assert_same_pose(found, TURNS["z up"], truth, within_deg=0.5)
    again = normalise(moved(frontal_face, TURNS["z up"]), SETTINGS, start=found.rotation)
    assert_same_pose(again, TURNS["z up"], truth, within_deg=2)


def test_a_wrong_start_does_no_harm(frontal_face):
    truth = normalise(frontal_face, SETTINGS)
    assert_same_pose(normalise(frontal_face, SETTINGS, start=TURNS["upside down"]), np.eye(3), truth)


def test_a_known_unit_is_taken_as_it_is(frontal_face):
    found = normalise(scaled(frontal_face, 1 / 230), SETTINGS, mm_per_unit=230.0)
    assert (found.unit, found.mm_per_unit) == ("unknown", 230.0)
    assert found.confidence > 0.8


@pytest.mark.parametrize(
    "hints", [{"start": np.diag([-1.0, 1.0, 1.0])}, {"start": 2 * np.eye(3)}, {"mm_per_unit": 0.0}]
)
def test_hints_that_cannot_be(frontal_face, hints):
    with pytest.raises(SettingsError):
        normalise(frontal_face, SETTINGS, **hints)


def test_a_sure_frontal_face_is_searched_no_further(frontal_face, monkeypatch):
    monkeypatch.setattr(locate, "search", None)
    assert normalise(frontal_face, SETTINGS).confidence > 0.9


def torus() -> Mesh:
    around, across = np.meshgrid(np.linspace(0, 2 * np.pi, 90), np.linspace(0, 2 * np.pi, 50))
    radius = 80 + 30 * np.cos(across)
    points = np.stack([radius * np.cos(around), radius * np.sin(around), 30 * np.sin(across)], axis=-1)
    return Mesh(vertices=points.reshape(-1, 3).astype(np.float32))


def test_a_thing_in_any_pose_is_refused_with_what_was_found_and_what_to_do():
    with pytest.raises(MeshError, match=r"no face found in any pose.*measures .* mm.*--up, --front"):
        normalise(moved(torus(), TURNS["anyhow"]), SETTINGS)


@pytest.mark.parametrize("part", ["back", "below"])
def test_other_parts_of_a_head_are_refused(head, part):
    inside = head.vertices[:, 2] < -110 if part == "back" else head.vertices[:, 1] < -50
    with pytest.raises(MeshError, match="no face found"):
        normalise(Mesh(vertices=head.vertices, faces=head.faces[inside[head.faces].all(axis=1)]), SETTINGS)


def terrain(seed: int, *, smooth: float, height_mm: float) -> Mesh:
    """Random hills over 190 mm, as wide as `smooth` makes them."""
    hills = gaussian_filter(np.random.default_rng(seed).normal(size=(110, 110)), smooth)
    return height_map(lambda x, y: height_mm * hills / hills.std(), half=95, step=190 / 109)


def blob(seed: int) -> Mesh:
    """A ball of a head's size with random smooth bumps."""
    rng = np.random.default_rng(seed)
    height, around = np.meshgrid(np.linspace(-1, 1, 90), np.linspace(0, 2 * np.pi, 180))
    flat = np.sqrt(1 - height**2)
    ball = np.stack([flat * np.cos(around), flat * np.sin(around), height], axis=-1).reshape(-1, 3)
    waves = np.sin(ball @ (3 * rng.normal(size=(12, 3))).T + rng.uniform(0, 2 * np.pi, 12))
    return Mesh(vertices=(90 * ball * (1 + 0.1 / 3 * waves.sum(axis=1, keepdims=True))).astype(np.float32))


THINGS = {
    "terrain that resembles a face as it stands": lambda: terrain(17, smooth=6, height_mm=15),
    "terrain in another pose": lambda: moved(terrain(1, smooth=4, height_mm=15), TURNS["anyhow"]),
    "blob": lambda: blob(0),
    "another blob": lambda: blob(1),
}


@pytest.mark.parametrize("name", THINGS)
def test_smooth_bumpy_things_are_refused(name):
    with pytest.raises(MeshError, match="no face found in any pose"):
        normalise(THINGS[name](), SETTINGS)


def place(relief_match: float, fit_share: float, **others) -> locate.PoseHypothesis:
    values = {"rotation": np.eye(3), "nose_mm": np.zeros(3), "residual_mm": 1.0, **others}
    return locate.PoseHypothesis(relief_match=relief_match, fit_share=fit_share, **values)


def test_what_was_found_as_it_stands_may_be_less_sure_than_the_best_of_many():
    assert place(0.68, 0.72).is_face
    assert not place(0.68, 0.72, is_searched=True).is_face
    assert place(0.85, 0.95, is_searched=True).is_face


def test_a_doubtful_place_with_a_rival_elsewhere_is_no_face():
    assert not place(0.69, 0.66, rival_score=1.45).is_face
    assert place(0.67, 0.68, rival_score=0.9).is_face
    assert not place(0.58, 0.60).is_face


def test_a_face_near_the_front_ends_the_search(frontal_face, monkeypatch):
    """Where the first registration fails, as on many rigs' inner surfaces, no other pose and size is tried."""
    truth = normalise(frontal_face, SETTINGS)
    room = sys.modules[normalise.__module__]
    lost = replace(place(0.1, 0.4), rotation=rotation(yaw=40).T, nose_mm=np.array([60.0, 0.0, 0.0]))
    monkeypatch.setattr(room, "initial_pose", lambda *points: lost)
    monkeypatch.setattr(room, "search_any_pose", lambda *points, **hints: (None, 0.0))
    turn = rotation(yaw=25, pitch=15, roll=120)
    assert_same_pose(normalise(moved(frontal_face, turn), SETTINGS), turn, truth)
    with pytest.raises(MeshError, match="no face"):
        normalise(moved(frontal_face, rotation(yaw=180)), SETTINGS)


def test_the_front_is_that_of_the_pose_to_try_first(frontal_face, monkeypatch):
    truth = normalise(frontal_face, SETTINGS)
    room = sys.modules[normalise.__module__]
    monkeypatch.setattr(room, "initial_pose", lambda *points: place(0.1, 0.3))
    monkeypatch.setattr(room, "search_any_pose", lambda *points, **hints: (None, 0.0))
    turn = TURNS["z up"]
    assert_same_pose(normalise(moved(frontal_face, turn), SETTINGS, start=turn.T), turn, truth)


def test_a_likely_place_of_low_confidence_is_kept_where_the_search_finds_nothing_better(frontal_face, monkeypatch):
    truth = normalise(frontal_face, SETTINGS)
    room = sys.modules[normalise.__module__]
    searched = []
    monkeypatch.setattr(room, "MIN_CONFIDENCE", 1.1)
    monkeypatch.setattr(room, "CLEAR_CONFIDENCE", 1.1)
    monkeypatch.setattr(room, "search_front", lambda *points, **hints: [])
    monkeypatch.setattr(room, "search_any_pose", lambda *points, **hints: searched.append(1) or (None, 0.0))
    found = normalise(frontal_face, SETTINGS)
    assert searched
    assert found.mesh.vertices.tobytes() == truth.mesh.vertices.tobytes()
