"""glTF 2.0: every way of writing the same little mesh, and what is refused."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import trimesh

from builders import COLORS, FACES, POINTS, VERTICES, image, write
from builders_gltf import FACE_UV, Gltf, glb
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh
from smilevlm.readers.gltf import read_gltf

QUARTER_TURN = [0, 0, 0.5**0.5, 0.5**0.5]
"""About z: x becomes y."""
SIXTEENTH = np.rint(VERTICES / 12.25 * 32767).astype(np.int16)


def read(data: bytes, *, load_texture: bool = True) -> Mesh:
    return read_gltf(data, path=Path("/nowhere/a.glb"), load_texture=load_texture)


def assert_surface(mesh: Mesh, vertices: np.ndarray, *, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(mesh.vertices[mesh.faces], np.asarray(vertices)[FACES], atol=atol)


def test_a_file_with_everything():
    mesh = read(glb())
    assert_surface(mesh, VERTICES)
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)
    np.testing.assert_array_equal(mesh.uv, POINTS[:5][FACES])
    assert mesh.texture.shape == (3, 4, 3)
    assert mesh.texture[0, 0].tolist() == [255, 0, 0]
    assert mesh.remarks == ()


def test_without_textures_they_are_not_looked_at():
    file = Gltf()
    primitive = file.textured(file.little())
    primitive["attributes"]["TEXCOORD_0"] = 999
    data = file.shown(primitive).glb()
    mesh = read(data, load_texture=False)
    assert mesh.uv is None
    assert mesh.texture is None
    assert mesh.remarks == ()
    assert read(data).remarks == ("texture left out: accessor 999 is named, there are 3",)


@pytest.mark.parametrize("suffix", [".glb", ".gltf", ".GLB", ".vrm"])
def test_both_containers_under_any_suffix(tmp_path, suffix):
    file = Gltf()
    file.shown(file.little())
    assert_surface(read_mesh(write(tmp_path, "a" + suffix, file.glb())), VERTICES)
    assert_surface(read_mesh(write(tmp_path, "b" + suffix, file.gltf())), VERTICES)


@pytest.mark.parametrize("uri", ["scan.bin", "parts/scan.bin", "my%20scan.bin", "./scan.bin", "C:\\work\\scan.bin"])
def test_a_buffer_beside_the_file(tmp_path, uri):
    file = Gltf()
    data = file.shown(file.little()).gltf(uri)
    name = uri.replace("%20", " ").replace("C:\\work\\", "")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(file.body)
    assert_surface(read_mesh(write(tmp_path, "scan.gltf", data)), VERTICES)


@pytest.mark.parametrize("uri", ["gone.bin", "../secret.bin", "/etc/hostname", "http://host/a.bin", "a\0b"])
def test_a_buffer_that_is_not_there(tmp_path, uri):
    (tmp_path / "secret.bin").write_bytes(b"x" * 500)
    (tmp_path / "in").mkdir()
    file = Gltf()
    data = file.shown(file.little()).gltf(uri)
    with pytest.raises(MeshError, match=r"is not beside the file; keep the parts of a \.gltf together"):
        read_mesh(write(tmp_path / "in", "scan.gltf", data))


def test_an_image_beside_the_file(tmp_path):
    file = Gltf()
    primitive = file.textured(file.little())
    file.document["images"] = [{"uri": "textures/skin.png"}]
    (tmp_path / "textures").mkdir()
    write(tmp_path / "textures", "skin.png", image())
    path = write(tmp_path, "scan.glb", file.shown(primitive).glb())
    assert read_mesh(path).texture.shape == (3, 4, 3)
    (tmp_path / "textures" / "skin.png").unlink()
    mesh = read_mesh(path)
    assert_surface(mesh, VERTICES)
    assert mesh.remarks[0].startswith("texture left out: 'textures/skin.png' is not beside the file")


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"translation": [1, 2, 3]}, VERTICES + [1, 2, 3]),
        ({"scale": [2, 3, 4]}, VERTICES * [2, 3, 4]),
        ({"rotation": QUARTER_TURN}, VERTICES[:, [1, 0, 2]] * [-1, 1, 1]),
        ({"rotation": [0, 0, 0, 0]}, VERTICES),
        ({"matrix": [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 5, 6, 7, 1]}, VERTICES * 2 + [5, 6, 7]),
        (
            {"translation": [1, 0, 0], "rotation": QUARTER_TURN, "scale": [2, 1, 1]},
            (VERTICES * [2, 1, 1])[:, [1, 0, 2]] * [-1, 1, 1] + [1, 0, 0],
        ),
    ],
)
def test_transforms_of_nodes(node, expected):
    file = Gltf()
    assert_surface(read(file.shown(file.little(), **node).glb()), expected)


def test_nested_nodes():
    file = Gltf()
    inner = file.node(is_root=False, mesh=file.item("meshes", primitives=[file.little()]), rotation=QUARTER_TURN)
    file.node(children=[file.node(is_root=False, children=[inner], scale=[2, 2, 2])], translation=[1, 2, 3])
    assert_surface(read(file.glb()), VERTICES[:, [1, 0, 2]] * [-1, 1, 1] * 2 + [1, 2, 3])


@pytest.mark.parametrize("scale", [[-1, 1, 1], [1, -1, 1], [-1, -1, -1]])
def test_mirrored_nodes_are_turned_over(scale):
    file = Gltf()
    mesh = read(file.shown(file.little(), scale=scale).glb())
    np.testing.assert_allclose(mesh.vertices[mesh.faces], (VERTICES * scale)[FACES[:, ::-1]], atol=1e-6)


def test_several_meshes_and_primitives_are_one():
    file = Gltf()
    file.shown(file.little(), file.little(VERTICES + 20)).shown(file.little(), translation=[40, 0, 0])
    mesh = read(file.glb())
    expected = np.concatenate([VERTICES, VERTICES + 20, VERTICES + [40, 0, 0]])
    faces = np.concatenate([FACES, FACES + 5, FACES + 10])
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], expected[faces].astype(np.float32))
    assert mesh.num_vertices == 15


def test_one_mesh_on_two_nodes():
    file = Gltf()
    number = file.item("meshes", primitives=[file.little()])
    file.node(mesh=number)
    file.node(mesh=number, translation=[30, 0, 0])
    mesh = read(file.glb())
    assert (mesh.num_vertices, mesh.num_faces) == (10, 8)
    assert mesh.vertices[:, 0].max() == 40


def test_primitives_that_share_their_positions():
    file = Gltf()
    whole = file.little()
    halves = [
        {**whole, "indices": file.array(FACES[rows].ravel().astype(np.uint8))} for rows in (slice(2), slice(2, 4))
    ]
    mesh = read(file.shown(*halves).glb())
    assert mesh.num_vertices == 5
    assert_surface(mesh, VERTICES)


def test_seams_are_closed_and_keep_their_texture_coordinates():
    file = Gltf()
    corners = VERTICES[FACES].reshape(-1, 3)
    uv = np.random.default_rng(1).uniform(0, 1, (12, 2)).astype(np.float32)
    primitive = {"attributes": {"POSITION": file.array(corners), "TEXCOORD_0": file.array(uv)}}
    mesh = read(file.shown(file.textured(primitive), translation=[1e6, 0, 0]).glb())
    assert mesh.num_vertices == 5
    np.testing.assert_allclose(mesh.uv.reshape(-1, 2), uv * [1, -1] + [0, 1], atol=1e-6)


def test_neighbours_far_from_zero_stay_apart():
    file = Gltf()
    mesh = read(file.shown(file.little(VERTICES * 0.01), translation=[4e6, 5e6, 0]).glb())
    assert mesh.num_vertices == 5
    np.testing.assert_allclose(mesh.vertices + np.array(mesh.origin), VERTICES * 0.01 + [4e6, 5e6, 0], atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_types_of_indices(kind):
    file = Gltf()
    primitive = file.little()
    primitive["indices"] = file.array(FACES.ravel().astype(kind))
    assert_surface(read(file.shown(primitive).glb()), VERTICES)


@pytest.mark.parametrize(
    ("mode", "indices", "faces"),
    [
        (4, [0, 1, 2, 0, 2, 3, 4], [[0, 1, 2], [0, 2, 3]]),
        (5, [0, 1, 3, 2, 4], [[0, 1, 3], [1, 2, 3], [3, 2, 4]]),
        (5, [0, 1, 2, 2, 3, 3, 4, 0], [[0, 1, 2], [3, 0, 4]]),
        (6, [0, 1, 2, 3], [[1, 2, 0], [2, 3, 0]]),
        (6, None, [[1, 2, 0], [2, 3, 0], [3, 4, 0]]),
        (5, None, [[0, 1, 2], [1, 3, 2], [2, 3, 4]]),
        (4, None, [[0, 1, 2]]),
    ],
)
def test_triangles_strips_and_fans(mode, indices, faces):
    file = Gltf()
    primitive = {"attributes": {"POSITION": file.array(VERTICES)}, "mode": mode}
    if indices is not None:
        primitive["indices"] = file.array(np.array(indices, np.uint8))
    mesh = read(file.shown(primitive).glb())
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], VERTICES[np.array(faces)])


def test_points_and_lines():
    file = Gltf()
    points = {
        "attributes": {"POSITION": file.array(VERTICES), "COLOR_0": file.array(COLORS, normalized=True)},
        "mode": 0,
    }
    lines = {"attributes": {"POSITION": file.array(VERTICES)}, "mode": 1}
    mesh = read(file.shown(points, lines).glb())
    assert mesh.is_point_cloud
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)
    assert mesh.remarks == ("1 parts of lines or points left out",)
    file.shown(file.little())
    mesh = read(file.glb())
    assert_surface(mesh, VERTICES)
    assert mesh.remarks == ("2 parts of lines or points left out",)
    only_lines = Gltf()
    with pytest.raises(MeshError, match="neither triangles nor points"):
        read(only_lines.shown({"attributes": {"POSITION": only_lines.array(VERTICES)}, "mode": 3}).glb())


def test_interleaved_attributes():
    file = Gltf()
    rows = np.zeros(5, np.dtype([("position", "<f4", 3), ("uv", "<f4", 2), ("color", "u1", 4)]))
    rows["position"], rows["uv"], rows["color"][:, :3] = VERTICES, FACE_UV, COLORS
    view = file.view(rows.tobytes(), byteStride=24)
    attributes = {
        "POSITION": file.array(VERTICES, view=view),
        "TEXCOORD_0": file.array(FACE_UV.astype(np.float32), view=view, byteOffset=12),
        "COLOR_0": file.array(np.zeros((5, 4), np.uint8), view=view, byteOffset=20, normalized=True),
    }
    mesh = read(file.shown(file.textured({**file.little(), "attributes": attributes})).glb())
    assert_surface(mesh, VERTICES)
    np.testing.assert_array_equal(mesh.uv, POINTS[:5][FACES])
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)


@pytest.mark.parametrize(
    ("stored", "options", "scale", "atol"),
    [
        (SIXTEENTH, {"normalized": True}, 12.25, 1e-3),
        (SIXTEENTH, {}, 12.25 / 32767, 1e-3),
        (np.rint(VERTICES * 10).astype(np.int8), {}, 0.1, 0.05),
        (np.rint(VERTICES / 12.25 * 127).astype(np.int8), {"normalized": True}, 12.25, 0.06),
    ],
)
def test_quantised_positions(stored, options, scale, atol):
    file = Gltf()
    file.document["extensionsRequired"] = ["KHR_mesh_quantization"]
    primitive = file.little()
    primitive["attributes"]["POSITION"] = file.array(stored, **options)
    assert_surface(read(file.shown(primitive, scale=[scale] * 3).glb()), VERTICES, atol=atol)


def test_sparse_accessors():
    file = Gltf()
    places = file.view(np.array([1, 4], np.uint16).tobytes())
    values = file.view(np.array([[9, 9, 9], [8, 8, 8]], np.float32).tobytes())
    sparse = {
        "count": 2,
        "indices": {"bufferView": places, "componentType": 5123},
        "values": {"bufferView": values},
    }
    primitive = file.little()
    primitive["attributes"]["POSITION"] = file.array(VERTICES, sparse=sparse)
    changed = VERTICES.copy()
    changed[[1, 4]] = [[9, 9, 9], [8, 8, 8]]
    assert_surface(read(file.shown(primitive).glb()), changed)
    del file.document["accessors"][primitive["attributes"]["POSITION"]]["bufferView"]  # zeros but for those two
    mesh = read(file.glb())
    assert {tuple(row) for row in mesh.vertices.tolist()} == {(0, 0, 0), (9, 9, 9), (8, 8, 8)}


@pytest.mark.parametrize(
    ("node_weights", "mesh_weights", "expected"),
    [
        (None, None, VERTICES),
        (None, [0, 0.5], VERTICES + [0, 1, 0]),
        ([1, 0.5], [0, 0.5], VERTICES + [1, 1, 0]),
        ([0, 0], [1, 1], VERTICES),
        ([1], None, VERTICES + [1, 0, 0]),
    ],
)
def test_morph_targets_at_rest(node_weights, mesh_weights, expected):
    file = Gltf()
    primitive = file.little()
    change = np.zeros((5, 3), np.float32)
    primitive["targets"] = [
        {"POSITION": file.array(change + np.float32([1, 0, 0])), "NORMAL": 77},
        {"POSITION": file.array(change + np.float32([0, 2, 0]))},
    ]
    mesh = {} if mesh_weights is None else {"weights": mesh_weights}
    node = {} if node_weights is None else {"weights": node_weights}
    file.node(mesh=file.item("meshes", primitives=[primitive], **mesh), **node)
    assert_surface(read(file.glb()), expected)


def skinned(file: Gltf, *, inverse: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> bytes:
    primitive = file.little()
    primitive["attributes"] |= {"JOINTS_0": file.array(joints), "WEIGHTS_0": file.array(weights)}
    nodes = [file.node(translation=[1, 2, 3]), file.node(translation=[0, 0, 9], scale=[2, 2, 2])]
    matrices = file.array(inverse.transpose(0, 2, 1).reshape(-1, 16).astype(np.float32))
    file.item("skins", joints=nodes, inverseBindMatrices=matrices)
    return file.shown(primitive, skin=0, translation=[100, 100, 100]).glb()


def test_a_skin_at_its_bind_pose_is_the_mesh_as_written():
    inverse = np.tile(np.eye(4), (2, 1, 1))
    inverse[0, :3, 3] = [-1, -2, -3]
    inverse[1] = np.diag([0.5, 0.5, 0.5, 1])
    inverse[1, 2, 3] = -4.5
    joints, weights = np.tile(np.uint8([0, 1, 0, 0]), (5, 1)), np.tile(np.float32([0.25, 0.75, 0, 0]), (5, 1))
    assert_surface(read(skinned(Gltf(), inverse=inverse, joints=joints, weights=weights)), VERTICES)


def test_a_skin_is_posed_as_the_nodes_stand():
    inverse = np.tile(np.eye(4), (2, 1, 1))
    joints = np.zeros((5, 4), np.uint16)
    joints[:, 1] = 1
    weights = np.tile(np.uint8([255, 0, 0, 0]), (5, 1))
    weights[4] = [0, 255, 0, 0]
    file = Gltf()
    data = skinned(file, inverse=inverse, joints=joints, weights=weights)
    file.document["accessors"][3]["normalized"] = True
    expected = VERTICES + [1, 2, 3]
    expected[4] = VERTICES[4] * 2 + [0, 0, 9]
    assert_surface(read(file.glb()), expected)
    assert len(data) > 0


@pytest.mark.parametrize("fault", ["joint", "weights", "skin", "matrices", "outside"])
def test_a_broken_skin_costs_the_pose_alone(fault):
    joints, weights = np.zeros((5, 4), np.uint8), np.tile(np.float32([1, 0, 0, 0]), (5, 1))
    file = Gltf()
    skinned(file, inverse=np.tile(np.eye(4), (2, 1, 1)), joints=joints + (9 if fault == "joint" else 0),
            weights=weights * (0 if fault == "weights" else 1))  # fmt: skip
    if fault == "skin":
        file.document["skins"] = []
    if fault == "matrices":
        file.document["skins"][0]["inverseBindMatrices"] = 99
    if fault == "outside":
        file.document["scenes"][0]["nodes"] = [2]
    mesh = read(file.glb())
    assert_surface(mesh, VERTICES + [100, 100, 100])
    assert len(mesh.remarks) == 1
    assert mesh.remarks[0].startswith("skin left out, the mesh is read unposed: ")


@pytest.mark.parametrize(
    ("stored", "options", "expected"),
    [
        (COLORS, {"normalized": True}, COLORS),
        (COLORS.astype(np.uint16) * 257, {"normalized": True}, COLORS),
        ((COLORS / 255).astype(np.float32), {}, COLORS),
        (np.pad(COLORS, ((0, 0), (0, 1)), constant_values=255), {"normalized": True}, COLORS),
        (COLORS[:3], {"normalized": True}, None),
    ],
)
def test_vertex_colours(stored, options, expected):
    file = Gltf()
    primitive = file.little()
    primitive["attributes"]["COLOR_0"] = file.array(stored, **options)
    mesh = read(file.shown(primitive).glb())
    assert_surface(mesh, VERTICES)
    if expected is None:
        assert mesh.vertex_colors is None
        return
    np.testing.assert_array_equal(mesh.vertex_colors, expected)
    file.shown(file.little(VERTICES + 20))
    both = read(file.glb()).vertex_colors
    np.testing.assert_array_equal(both, np.concatenate([expected, np.full((5, 3), 204)]))


def test_bad_colours_cost_the_colours_alone():
    file = Gltf()
    primitive = file.little()
    primitive["attributes"]["COLOR_0"] = 55
    mesh = read(file.shown(primitive).glb())
    assert mesh.remarks == ("vertex colours left out: accessor 55 is named, there are 2",)
    assert_surface(mesh, VERTICES)


def test_the_image_with_most_triangles_is_the_texture():
    file = Gltf()
    small = file.textured({**file.little(), "indices": file.array(FACES[:1].ravel().astype(np.uint8))})
    large = file.textured(file.little(VERTICES + 20))
    file.document["images"][0] = {"uri": "gone.png"}
    mesh = read(file.shown(small, large).glb())
    assert mesh.texture is not None
    np.testing.assert_array_equal(mesh.uv[0], 0)
    np.testing.assert_array_equal(mesh.uv[1:], POINTS[:5][FACES])


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"offset": [0.5, 0.25]}, [0.5, 1.25]),
        ({"scale": [2, 4]}, [0, 4]),
        ({"rotation": np.pi / 2}, [1, 0]),
        ({"offset": [0.5, 0.5], "rotation": np.pi / 2, "scale": [2, 4]}, [4.5, 0.5]),
    ],
)
def test_texture_transforms(transform, expected):
    """Where (0, 1) of the file goes, before v is counted from the bottom."""
    file = Gltf()
    primitive = file.textured(file.little(), extensions={"KHR_texture_transform": transform})
    primitive["attributes"]["TEXCOORD_0"] = file.array(np.tile(np.float32([0, 1]), (5, 1)))
    mesh = read(file.shown(primitive).glb())
    np.testing.assert_allclose(mesh.uv[0, 0], [expected[0], 1 - expected[1]], atol=1e-6)


def test_texture_coordinates_of_another_set_and_of_16_bits():
    file = Gltf()
    primitive = file.textured(file.little(), texCoord=1)
    primitive["attributes"]["TEXCOORD_1"] = file.array(np.rint(FACE_UV * 65535).astype(np.uint16), normalized=True)
    primitive["attributes"]["TEXCOORD_0"] = 99
    mesh = read(file.shown(primitive).glb())
    np.testing.assert_allclose(mesh.uv, POINTS[:5][FACES], atol=1e-4)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("images", [{"bufferView": 0}]),
        ("images", 7),
        ("materials", [{"pbrMetallicRoughness": {"baseColorTexture": {"index": "x"}}}]),
        ("images", [{"uri": "data:image/png;base64,AAAA"}]),
        ("images", [{"uri": "data:image/png,AAAA"}]),
        ("images", [{"bufferView": 99}]),
    ],
)
def test_a_broken_texture_costs_the_texture_alone(key, value):
    file = Gltf()
    file.shown(file.textured(file.little()))
    file.document[key] = value
    mesh = read(file.glb())
    assert_surface(mesh, VERTICES)
    assert mesh.texture is None
    assert mesh.remarks[0].startswith("texture left out: ")


@pytest.mark.parametrize("change", [{"scene": 0}, {}, None])
def test_scenes(change):
    file = Gltf()
    file.shown(file.little())
    file.document["scenes"].append({"nodes": [file.node(is_root=False, mesh=0, translation=[50, 0, 0])]})
    if change is None:  # no scenes: all nodes
        del file.document["scene"], file.document["scenes"]
        assert read(file.glb()).num_vertices == 10
        return
    del file.document["scene"]
    file.document |= change
    assert_surface(read(file.glb()), VERTICES)
    file.document["scene"] = 1
    assert_surface(read(file.glb()), VERTICES + [50, 0, 0])


def test_meshes_without_nodes():
    file = Gltf()
    file.item("meshes", primitives=[file.little()])
    del file.document["scene"], file.document["scenes"], file.document["nodes"]
    assert_surface(read(file.glb()), VERTICES)


@pytest.mark.parametrize("name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"])
def test_compressed_meshes_say_the_way_out(name):
    file = Gltf()
    primitive = file.little()
    file.document["extensionsRequired"] = [name]
    if "draco" in name:
        primitive["extensions"] = {name: {"bufferView": 0, "attributes": {"POSITION": 0}}}
        for accessor in file.document["accessors"]:
            del accessor["bufferView"]
    else:
        file.document["buffers"].append({"byteLength": 60, "extensions": {name: {"fallback": True}}})
        file.document["bufferViews"][0] |= {"buffer": 1, "extensions": {name: {"buffer": 0}}}
    with pytest.raises(MeshError, match=f"compressed \\({name}\\), which is not read; export it without"):
        read(file.shown(primitive).glb())


def test_a_compressed_mesh_with_plain_numbers_beside_is_read():
    file = Gltf()
    primitive = file.little(extensions={"KHR_draco_mesh_compression": {"bufferView": 0}})
    assert_surface(read(file.shown(primitive).glb()), VERTICES)


def test_a_few_bad_faces_are_left_out():
    file = Gltf()
    primitive = file.little()
    faces = np.concatenate([np.tile(FACES, (10, 1)), [[0, 1, 250]]]).astype(np.uint8)
    primitive["indices"] = file.array(faces.ravel())
    mesh = read(file.shown(primitive, file.little(VERTICES + 20)).glb())
    assert mesh.num_faces == 44
    assert mesh.remarks == ("1 of 45 faces name vertices that are not there; left out",)


def _changed(**values) -> bytes:
    file = Gltf()
    file.shown(file.little())
    file.document |= values
    return file.glb()


def _accessor(**values) -> bytes:
    file = Gltf()
    file.shown(file.little())
    file.document["accessors"][0] |= values
    return file.glb()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"glTF", "byte 4: the file ends within its header"),
        (b"glTF" + struct.pack("<2I", 1, 20), "byte 4: glTF of version 1, only 2 is read"),
        (b"glTF" + struct.pack("<2I", 2, 12), "byte 12: no JSON chunk"),
        (b"{", r"a\.glb:1: no glTF file: its JSON is broken"),
        (b"[]", "its JSON is no object"),
        (b"\xff\xfe", "its JSON is broken"),
        (b'{"a": ' + b"[" * 100_000, "nested too deep"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "its JSON is broken"),
        (b"{}", "neither triangles nor points"),
        (_changed(asset={"version": "1.0"}), "glTF of version 1.0, only 2 is read"),
        (_changed(nodes=[{"mesh": "x"}]), "no valid glTF: nodes.0.mesh: Input should be a valid integer"),
        (_changed(nodes=[{"mesh": 0, "matrix": [1]}]), "no valid glTF: nodes.0.matrix"),
        (_changed(nodes=[{"mesh": 0, "translation": [1, 2, float("inf")]}]), "no valid glTF: nodes.0.translation"),
        (_changed(nodes=[{"mesh": 5}]), "mesh 5 is named, there are 1"),
        (_changed(nodes=[{"mesh": 0, "children": [0]}]), "node 0 stands below two nodes or below itself"),
        (_changed(scenes=[{"nodes": [3]}]), "node 3 is named, there are 1"),
        (_changed(scene=4), "scene 4 is named, there are 1"),
        (_changed(accessors=[]), "accessor 0 is named, there are 0"),
        (_changed(bufferViews=[]), "buffer view 0 is named, there are 0"),
        (_accessor(count=6), "6 elements of 12 bytes announced in buffer view 0 of 60 bytes"),
        (_accessor(byteOffset=4), "5 elements of 12 bytes announced"),
        (_accessor(type="VEC2"), "accessor 0 is VEC2 of component type 5126, expected VEC3"),
        (_accessor(componentType=5130), "component type 5130"),
        (_accessor(count=2**40), "no valid glTF: accessors.0.count"),
        (_accessor(count=0), "neither triangles nor points"),
        (_accessor(bufferView=None, count=2**30), "the file describes 12288 MiB of geometry in"),
    ],
)
def test_broken_files(data, message):
    with pytest.raises(MeshError, match=message):
        read(data)


def test_a_file_cut_short_says_so():
    file = Gltf()
    data = file.shown(file.little()).glb()
    with pytest.raises(MeshError, match=r"buffer view 1 ends at byte 84, buffer 0 has 74 bytes"):
        read(data[:-10])


def test_memory_is_counted_over_all_nodes():
    file = Gltf()
    vertices = np.random.default_rng(1).uniform(0, 1, (20_000, 3)).astype(np.float32)
    number = file.item("meshes", primitives=[{"attributes": {"POSITION": file.array(vertices)}}])
    for _ in range(400):
        file.node(mesh=number)
    tracemalloc.start()
    try:
        with pytest.raises(MeshError, match="MiB of geometry in"):
            read(file.glb())
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["{" * 200_000, '{"a":{}' * 50_000, "[" + "[]," * 500_000 + "0]"])
def test_hostile_json_is_refused_before_it_is_parsed(text):
    tracemalloc.start()
    try:
        with pytest.raises(MeshError, match="MiB of geometry"):
            read(text.encode())
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["glb", "gltf"])
def test_written_by_trimesh(tmp_path, suffix):
    scene = trimesh.Scene()
    for number in range(3):
        ball = trimesh.creation.icosphere(subdivisions=2)
        turn = trimesh.transformations.rotation_matrix(number, [1, 2, 3])
        turn[:3, 3] = [5 * number, 1, 2]
        scene.add_geometry(ball, transform=turn)
    exported = scene.export(file_type=suffix)
    for name, data in ({"a.glb": exported} if suffix == "glb" else exported).items():
        write(tmp_path, name, data)
    mesh = read_mesh(next(tmp_path.glob(f"*.{suffix}")))
    expected = scene.to_mesh()
    assert (mesh.num_vertices, mesh.num_faces) == (len(expected.vertices), len(expected.faces))
    corners = [np.sort(one.vertices[one.faces].reshape(-1, 9), axis=0) for one in (mesh, expected)]
    np.testing.assert_allclose(*corners, atol=1e-4)


def test_json_with_a_byte_that_is_no_text_names_the_file():
    with pytest.raises(MeshError, match=r"/nowhere/a\.glb"):
        read(json.dumps({"asset": {"version": 3}}).encode())
