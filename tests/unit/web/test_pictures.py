"""The turning face, bars, the page's sentences."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from smilevlm.geometry import Mesh
from smilevlm.web.messages import message
from smilevlm.web.pictures import bars, figure, glb, sorted_shares, thinned


def tree_of(data: bytes) -> dict:
    magic, version, length = struct.unpack_from("<4s2L", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    (size,) = struct.unpack_from("<L", data, 12)
    return json.loads(data[20 : 20 + size])


def test_a_face_becomes_a_turning_glb(frontal_face):
    data = glb(frontal_face)
    tree = tree_of(data)
    (animation,) = tree["animations"]
    node = tree["nodes"][animation["channels"][0]["target"]["node"]]
    assert "mesh" in node
    assert "matrix" not in node
    again = trimesh.load(io.BytesIO(data), file_type="glb", force="mesh")
    assert len(again.faces) == frontal_face.num_faces
    np.testing.assert_allclose(again.extents, np.ptp(frontal_face.vertices, axis=0) / 100, rtol=1e-4)
    np.testing.assert_allclose(again.bounds.mean(axis=0), 0, atol=1e-4)


def test_points_can_be_shown_too(frontal_face):
    assert tree_of(glb(Mesh(vertices=frontal_face.vertices)))["animations"]


@pytest.mark.parametrize("most", [200, 1000, 3000])
def test_a_mesh_is_thinned_to_what_is_asked(frontal_face, most):
    thin = thinned(frontal_face, most)
    assert 0.2 * most < thin.num_vertices <= most
    assert 0 < thin.num_faces < frontal_face.num_faces
    np.testing.assert_allclose(np.ptp(thin.vertices, axis=0), np.ptp(frontal_face.vertices, axis=0), rtol=0.2)


def test_a_small_mesh_stays_as_it_is(frontal_face):
    thin = thinned(frontal_face, 10**6)
    np.testing.assert_array_equal(thin.vertices, frontal_face.vertices)
    np.testing.assert_array_equal(thin.faces, frontal_face.faces)


def test_points_are_thinned_and_equal_points_end(frontal_face):
    assert thinned(Mesh(vertices=frontal_face.vertices), 500).num_vertices <= 500
    same = Mesh(vertices=np.zeros((1000, 3), np.float32))
    assert thinned(same, 10).num_vertices == 1
    line = np.zeros((1000, 3), np.float32)
    line[:, 0] = np.linspace(0, 200, 1000)
    assert thinned(Mesh(vertices=line), 50).num_vertices <= 50


def test_what_users_write_is_escaped():
    evil = "<script>alert(1)</script>"
    for text in (bars({evil: 0.5}), message(evil), figure(np.zeros((2, 2, 3), np.uint8), evil)):
        assert "<script" not in text
        assert "&lt;script" in text


def test_bars_are_sorted_and_marked():
    shown = bars(sorted_shares({"sad": 0.2, "happy": 0.8}), strongest="happy")
    assert shown.index("happy") < shown.index("sad")
    assert shown.count("strongest") == 1
    assert "80.0 %" in shown


def test_a_message_is_one_sentence():
    assert message("") == ""
    assert "Too large.</p>" in message("too large", is_error=True)
    assert 'role="alert"' in message("too large", is_error=True)
