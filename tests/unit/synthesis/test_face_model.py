from __future__ import annotations

import numpy as np
import pytest

from faces import height_map
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL, SPONTANEOUS_EXPRESSIONS
from smilevlm.synthesis import face_model
from smilevlm.synthesis.expressions import LEVEL_INTENSITY, RECIPES, SPONTANEOUS_RECIPES, draw_actions
from smilevlm.synthesis.face_model import build_head_cache, head_model, loop_subdivision
from smilevlm.synthesis.people import draw_person

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float64)


def edge_uses(faces: np.ndarray) -> dict[tuple[int, int], int]:
    """How often each directed edge occurs."""
    uses: dict[tuple[int, int], int] = {}
    for a, b, c in faces.tolist():
        for edge in ((a, b), (b, c), (c, a)):
            uses[edge] = uses.get(edge, 0) + 1
    return uses


def assert_closed(faces: np.ndarray) -> None:
    uses = edge_uses(faces)
    assert set(uses.values()) == {1}
    assert all((b, a) in uses for a, b in uses)


def test_a_closed_surface_stays_closed():
    faces, num = TETRAHEDRON, 4
    for _ in range(3):
        assert_closed(faces)
        refine, fine = loop_subdivision(faces, num)
        assert len(fine) == 4 * len(faces)
        assert fine.dtype == np.int32
        num_edges = 3 * len(faces) // 2
        assert refine.shape == (num + num_edges, num)
        # A sphere's Euler characteristic.
        assert refine.shape[0] - 3 * len(fine) // 2 + len(fine) == 2
        np.testing.assert_allclose(refine.sum(axis=1), 1, atol=1e-6)
        faces, num = fine, refine.shape[0]


def test_weights_of_a_tetrahedron_by_hand():
    """Valence three: 7/16 of the vertex and 3/16 of each neighbour; edges 3/8, 3/8, 1/8, 1/8."""
    refine, _ = loop_subdivision(TETRAHEDRON, 4)
    expected = np.full((4, 4), 3 / 16) + np.eye(4) * (7 / 16 - 3 / 16)
    np.testing.assert_allclose(refine[:4].toarray(), expected, atol=1e-6)
    for row in refine[4:].toarray():
        assert sorted(row.tolist()) == pytest.approx([1 / 8, 1 / 8, 3 / 8, 3 / 8])
    np.testing.assert_allclose((refine @ CORNERS)[:4], CORNERS / 4, atol=1e-6)


def test_orientation_is_kept():
    refine, fine = loop_subdivision(TETRAHEDRON, 4)

    def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        return float((np.cross(a, b) * c).sum() / 6)

    before, after = volume(CORNERS, TETRAHEDRON), volume(refine @ CORNERS, fine)
    assert before * after > 0
    assert 0.05 < after / before < 1


def test_a_border_stays_in_its_plane_and_flat_stays_flat():
    mesh = height_map(lambda x, y: 0.5 * x + 2, half=6, step=3)
    refine, fine = loop_subdivision(mesh.faces, mesh.num_vertices)
    points = refine @ mesh.vertices
    np.testing.assert_allclose(refine.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(points[:, 2], 0.5 * points[:, 0] + 2, atol=1e-5)
    border = {v for (a, b) in edge_uses(fine) if (b, a) not in edge_uses(fine) for v in (a, b)}
    assert len(border) == 2 * 16
    # Cubic splines along the border: corners are cut, straight parts stay on the square.
    reach = np.abs(points[sorted(border)][:, :2]).max(axis=1)
    assert (reach > 6 - 0.8).all()


def test_an_edge_of_three_faces_keeps_rows_at_one():
    fan = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]], np.int32)
    refine, fine = loop_subdivision(fan, 5)
    np.testing.assert_allclose(refine.sum(axis=1), 1, atol=1e-6)
    assert len(fine) == 12


def test_unused_vertices_stay_where_they_are():
    refine, _ = loop_subdivision(TETRAHEDRON + 1, 5)
    assert refine[0].toarray().tolist() == [[1, 0, 0, 0, 0]]


def test_the_head_stands_in_the_face_frame():
    model = head_model()
    head = model.vertices_mm(phenotype={"age": 0.7}, shape={}, actions=[{}])[0]
    extent = np.ptp(head, axis=0)
    assert 120 < extent[0] < 260
    assert 200 < extent[1] < 500
    assert 150 < extent[2] < 350
    refine, fine = model.topology.refine, model.topology.fine_faces
    np.testing.assert_allclose(refine.sum(axis=1), 1, atol=1e-5)
    assert len(fine) == 4 * len(model.topology.faces)
    assert fine.max() == refine.shape[0] - 1


def test_every_action_of_every_recipe_exists_in_the_head_model():
    known = set(head_model().facial_actions)
    whole = {"mouthSide", "jawSide", "eyeLookSide", "eyeLookUpDown"}
    assert set(RECIPES) == set(BASIC_EXPRESSIONS)
    assert set(SPONTANEOUS_RECIPES) == set(SPONTANEOUS_EXPRESSIONS)
    for recipe in SPONTANEOUS_RECIPES.values():
        for action in (*recipe.core, *recipe.optional):
            assert action in whole or action in known or {f"{action}Left", f"{action}Right"} <= known, action


@pytest.mark.parametrize("expression", [*SPONTANEOUS_EXPRESSIONS, NEUTRAL])
def test_drawn_actions_are_known_and_within_range(expression):
    """Over many people, so that every optional movement occurs."""
    model = head_model()
    for seed in range(60):
        rng = np.random.default_rng([seed, 9])
        person = draw_person(
            rng, sex="FM"[seed % 2], shape_changes=model.shape_changes, facial_actions=model.facial_actions
        )
        actions = draw_actions(
            rng, person=person, expression=expression, intensity=1.0, facial_actions=model.facial_actions
        )
        assert set(actions) <= set(model.facial_actions)
        assert all(0 <= value <= 1 for value in actions.values())
        if expression != NEUTRAL:
            core = SPONTANEOUS_RECIPES[expression].core
            strongest = max(core, key=core.__getitem__)
            assert max(actions.get(strongest, 0), actions.get(f"{strongest}Left", 0)) > 0.2


def test_levels_grow():
    model = head_model()
    totals = []
    for level in sorted(LEVEL_INTENSITY):
        total = 0.0
        for seed in range(20):
            rng = np.random.default_rng([seed, 3])
            person = draw_person(rng, sex="F", shape_changes=model.shape_changes, facial_actions=model.facial_actions)
            actions = draw_actions(
                rng, person=person, expression="happy", intensity=LEVEL_INTENSITY[level],
                facial_actions=model.facial_actions,
            )  # fmt: skip
            total += actions["mouthSmileLeft"] + actions["mouthSmileRight"]
        totals.append(total)
    assert totals == sorted(totals)
    assert totals[-1] > 1.8 * totals[0]


def test_unknown_expression():
    model = head_model()
    rng = np.random.default_rng(0)
    person = draw_person(rng, sex="F", shape_changes=model.shape_changes, facial_actions=model.facial_actions)
    with pytest.raises(ValueError, match="'bored' has no recipe"):
        draw_actions(rng, person=person, expression="bored", intensity=1.0, facial_actions=model.facial_actions)


def test_the_same_person_from_the_same_seed():
    model = head_model()
    one, same, other = (
        draw_person(
            np.random.default_rng(seed), sex="M", shape_changes=model.shape_changes, facial_actions=model.facial_actions
        )
        for seed in (4, 4, 5)
    )
    assert one == same
    assert one != other
    assert one.ethnicity in {"WH", "AE", "BL", "IN", "AM", "LA"}
    assert all(0 <= value <= 1 for value in one.phenotype.values())


def test_a_head_cache_that_is_whole_needs_no_model(monkeypatch, tmp_path):
    monkeypatch.setenv("SMILEVLM_CACHE_DIR", str(tmp_path / "cache"))
    kept, loads = tmp_path / "data.safetensors", []
    kept.write_bytes(b"kept")
    monkeypatch.setattr(face_model, "head_cache_files", lambda: [kept])
    monkeypatch.setattr(face_model, "head_model", lambda: loads.append(1))
    for _ in range(3):
        build_head_cache()
    assert len(loads) == 1
    monkeypatch.setenv("ANNY_CACHE_DIR", str(tmp_path))
    build_head_cache()
    assert len(loads) == 2, "another folder has a cache of its own"
    kept.unlink()
    build_head_cache()
    assert len(loads) == 3


def test_without_a_cache_the_head_model_is_loaded(monkeypatch):
    monkeypatch.setenv("SMILEVLM_CACHE_DIR", "/dev/null")
    loads = []
    monkeypatch.setattr(face_model, "head_model", lambda: loads.append(1))
    for _ in range(2):
        build_head_cache()
    assert len(loads) == 2
