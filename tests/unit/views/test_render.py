from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faces import as_points, height_map, moved, split_in_four
from smilevlm.errors import MeshError, SettingsError
from smilevlm.geometry import Mesh
from smilevlm.views import VIEW_KINDS, ViewSettings, render_normalised, render_views

# One pixel is one millimetre, and the window's centre is the origin.
EXACT = ViewSettings(
    angles_deg=(0.0,), size=100, kind="depth", window_mm=100.0, centre_y_mm=0.0, pivot_z_mm=0.0,
    depth_range_mm=(-60.0, 40.0), smooth_mm=0.0, depth_jump_mm=8.0, pixel_mm=1.0,
)  # fmt: skip
SPHERE_MM = 40.0


def pixel(x: float, y: float) -> tuple[int, int]:
    """(row, column) of the pixel whose centre is at x + 0.5, y + 0.5 millimetres."""
    return 49 - round(y), 50 + round(x)


def sphere_cap() -> Mesh:
    """A dense half sphere around the origin, facing +z."""
    mesh = height_map(lambda x, y: np.sqrt(np.maximum(SPHERE_MM**2 - x**2 - y**2, 0)), half=36, step=0.75)
    return mesh


def bumpy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Roughly a face: a bowl, a nose at the origin, no symmetry."""
    nose = 22 * np.exp(-((x / 11) ** 2) - (y / 16) ** 2)
    return nose - 22 - (x**2 + y**2) / 120 + 3 * np.sin(x / 9) * np.cos(y / 13)


def face_like(step: float = 2.0) -> Mesh:
    return height_map(bumpy, half=66, step=step)


def mirrored(mesh: Mesh) -> Mesh:
    return Mesh(vertices=mesh.vertices * np.array([-1, 1, 1], np.float32), faces=mesh.faces[:, ::-1].copy())


def inner(images: np.ndarray) -> np.ndarray:
    """Covered pixels whose neighbours are covered too: at the rim, pixels are mixed with the black around them."""
    covered = images.any(axis=-1)
    return np.logical_and.reduce([np.roll(covered, (dy, dx), (-2, -1)) for dy in (-2, 0, 2) for dx in (-2, 0, 2)])


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.int32) - b.astype(np.int32)).mean())


PLACES = [(0, 0), (10, 0), (-10, 5), (0, 20), (15, -15), (-20, -12)]


@pytest.mark.parametrize(("x", "y"), PLACES)
def test_depth_of_a_sphere(x, y):
    image = render_normalised(sphere_cap(), EXACT)[0]
    z = np.sqrt(SPHERE_MM**2 - (x + 0.5) ** 2 - (y + 0.5) ** 2)
    assert (image[pixel(x, y)] == image[pixel(x, y)][0]).all()
    assert image[pixel(x, y)][0] == pytest.approx(255 * (z + 60) / 100, abs=1)


@pytest.mark.parametrize(("x", "y"), PLACES)
def test_normals_of_a_sphere(x, y):
    image = render_normalised(sphere_cap(), replace(EXACT, kind="normals"))[0]
    normal = np.array([x + 0.5, y + 0.5, np.sqrt(SPHERE_MM**2 - (x + 0.5) ** 2 - (y + 0.5) ** 2)]) / SPHERE_MM
    np.testing.assert_allclose(image[pixel(x, y)], 255 * (normal + 1) / 2, atol=2)


@pytest.mark.parametrize("smooth_mm", [0.0, 1.5])
def test_a_tilted_plane_is_exact(smooth_mm):
    plane = height_map(lambda x, y: 0.5 * x - 0.25 * y, half=60)
    settings = replace(EXACT, smooth_mm=smooth_mm)
    depth = render_normalised(plane, settings)[0]
    normals = render_normalised(plane, replace(settings, kind="normals"))[0]
    normal = np.array([-0.5, 0.25, 1]) / np.sqrt(0.25 + 0.0625 + 1)
    for x, y in PLACES:
        z = 0.5 * (x + 0.5) - 0.25 * (y + 0.5)
        assert depth[pixel(x, y)][0] == pytest.approx(255 * (z + 60) / 100, abs=1)
        np.testing.assert_allclose(normals[pixel(x, y)], 255 * (normal + 1) / 2, atol=1)


def test_geometry_is_depth_shading_and_vertical_normal():
    depth, normals, geometry = (
        render_normalised(sphere_cap(), replace(EXACT, kind=kind))[0] for kind in ("depth", "normals", "geometry")
    )
    covered = depth[:, :, 0] > 0
    np.testing.assert_array_equal(geometry[covered][:, 0], depth[covered][:, 0])
    np.testing.assert_array_equal(geometry[covered][:, 2], normals[covered][:, 1])
    # Shading counts from 0, the normal's z from -1.
    np.testing.assert_allclose(geometry[covered][:, 1], 2 * normals[covered][:, 2].astype(float) - 255, atol=1.01)


def test_depths_outside_the_range_are_clipped():
    plane = height_map(lambda x, y: 3.0 * x, half=60)
    image = render_normalised(plane, EXACT)[0]
    assert image[pixel(-40, 0)][0] == 0
    assert image[pixel(40, 0)][0] == 255


@pytest.mark.parametrize("kind", VIEW_KINDS)
@pytest.mark.parametrize(("size", "angles"), [(32, (0.0,)), (64, (-30.0, 0.0, 30.0)), (9, (10.0, -10.0))])
def test_shape_and_type(kind, size, angles):
    mesh = face_like(4.0)
    mesh = replace(mesh, vertex_colors=np.full((mesh.num_vertices, 3), 77, np.uint8))
    images = render_normalised(mesh, ViewSettings(angles_deg=angles, size=size, kind=kind))
    assert images.shape == (len(angles), size, size, 3)
    assert images.dtype == np.uint8
    assert images.any()


@pytest.mark.parametrize("kind", VIEW_KINDS)
def test_empty_pixels_are_black(kind):
    mesh = moved(height_map(lambda x, y: 0 * x, half=20), offset=(20, 20, 0))
    mesh = replace(mesh, vertex_colors=np.full((mesh.num_vertices, 3), 77, np.uint8))
    image = render_normalised(mesh, replace(EXACT, kind=kind))[0]
    assert not image[51:].any()
    assert not image[:, :49].any()
    assert image[11:48, 52:89].any(axis=2).all()


def brightest_column(image: np.ndarray) -> float:
    """Where the nose is: the mean column of the nearest pixels around its row."""
    rows = image[image.shape[0] // 2 - 4 : image.shape[0] // 2 + 4, :, 0].astype(float)
    return float(np.argwhere(rows >= rows.max() - 3)[:, 1].mean())


def test_a_positive_angle_turns_the_face_to_the_viewers_right():
    settings = ViewSettings(size=90, kind="depth")
    left, front, right = (brightest_column(image) for image in render_normalised(face_like(), settings))
    assert left < front - 8
    assert right > front + 8


def test_the_nose_lands_where_trigonometry_says():
    """A pin at the nose tip, 60 mm before the axis, turned by 30 degrees: 30 mm to the right, 52 mm before it."""
    tip = np.array([[-1, -1, 0], [1, -1, 0], [0, 1.5, 0]], np.float32)
    mesh = Mesh(vertices=tip, faces=np.array([[0, 1, 2]], np.int32))
    settings = replace(EXACT, angles_deg=(30.0, -30.0), pivot_z_mm=-60.0)
    for image, side in zip(render_normalised(mesh, settings), (1, -1), strict=True):
        drawn = np.argwhere(image[:, :, 0] > 0)
        x = drawn[:, 1].mean() + 0.5 - 50
        assert x == pytest.approx(side * 30, abs=0.8)
        z = image[tuple(drawn[len(drawn) // 2])][0] / 255 * 100 - 60
        assert z == pytest.approx(60 * np.cos(np.pi / 6) - 60, abs=1.2)


@pytest.mark.parametrize("kind", ["depth", "geometry"])
def test_a_mirrored_face_gives_mirrored_views(kind):
    settings = ViewSettings(size=64, kind=kind)
    images = render_normalised(face_like(), settings)
    other = render_normalised(mirrored(face_like()), settings)
    assert difference(images, other) > 1
    assert difference(images, other[::-1, :, ::-1]) < 0.05


def test_mirrored_normals_have_mirrored_x():
    settings = ViewSettings(size=64, kind="normals", angles_deg=(0.0,))
    image = render_normalised(face_like(), settings)[0].astype(int)
    other = render_normalised(mirrored(face_like()), settings)[0, :, ::-1].astype(int)
    covered = inner(image) & inner(other)
    assert covered.sum() > 1500
    assert np.abs(image[covered][:, 0] + other[covered][:, 0] - 255).mean() < 1
    assert np.abs(image[covered][:, 1:] - other[covered][:, 1:]).mean() < 0.2


@pytest.mark.parametrize("kind", ["depth", "geometry", "normals"])
def test_cloud_and_mesh_of_one_surface_look_alike(kind):
    settings = ViewSettings(size=64, kind=kind)
    mesh = face_like(1.5)
    images, cloud = render_normalised(mesh, settings), render_normalised(as_points(mesh), settings)
    assert np.logical_xor(images.any(axis=3), cloud.any(axis=3)).mean() < 0.06
    both = inner(images) & inner(cloud)
    assert both.mean() > 0.38
    error = np.abs(images[both].astype(int) - cloud[both].astype(int))
    assert error.mean() < 4


@pytest.mark.parametrize("kind", ["depth", "geometry", "normals"])
def test_splitting_triangles_does_not_change_the_image(kind):
    settings = ViewSettings(size=64, kind=kind)
    mesh = face_like(4.0)
    assert difference(render_normalised(mesh, settings), render_normalised(split_in_four(mesh), settings)) < 0.1


def test_the_same_mesh_twice_gives_the_same_bytes(frontal_face):
    first, second = render_views(frontal_face, size=48), render_views(frontal_face, size=48)
    assert first.shape == (3, 48, 48, 3)
    assert first.tobytes() == second.tobytes()


def test_small_images_are_averages_of_what_is_drawn_in_larger_ones():
    settings = ViewSettings(size=45, kind="depth", angles_deg=(0.0,), pixel_mm=1.0)
    assert settings.supersample == 4
    large = replace(settings, size=180)
    assert large.supersample == 1
    blocks = render_normalised(face_like(), large)[0].reshape(45, 4, 45, 4, 3)
    num_drawn = blocks.any(axis=4).sum(axis=(1, 3))[..., None]
    expected = np.where(num_drawn >= 8, blocks.sum(axis=(1, 3)) / np.maximum(num_drawn, 1), 0)
    np.testing.assert_allclose(render_normalised(face_like(), settings)[0], expected, atol=0.51)


# --- textures ---------------------------------------------------------------------------------------------------


def textured_square(texture: np.ndarray, **changes) -> Mesh:
    """A square of 80 mm over the whole texture: its lower left corner is u = v = 0."""
    vertices = np.array([[-40, -40, 0], [40, -40, 0], [40, 40, 0], [-40, 40, 0]], np.float32)
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Mesh(vertices=vertices, faces=faces, uv=corner[faces], texture=texture, **changes)


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def test_texture_colours_at_the_corners():
    """Row 0 of the texture is its top, v counts from the bottom."""
    texture = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
    image = render_normalised(textured_square(texture), replace(EXACT, kind="texture"))[0]
    np.testing.assert_array_equal(image[pixel(-39, 38)], RED)
    np.testing.assert_array_equal(image[pixel(38, 38)], GREEN)
    np.testing.assert_array_equal(image[pixel(-39, -39)], BLUE)
    np.testing.assert_array_equal(image[pixel(38, -39)], WHITE)


def test_texture_is_interpolated_between_texel_centres():
    ramp = np.zeros((4, 4, 3), np.uint8)
    ramp[:, :, 0] = [0, 80, 160, 240]
    image = render_normalised(textured_square(ramp), replace(EXACT, kind="texture"))[0]
    for x in (-25, -10, 0, 13, 25):
        u = (x + 0.5 + 40) / 80
        assert image[pixel(x, 3)][0] == pytest.approx(np.clip(80 * (4 * u - 0.5), 0, 240), abs=1)


def test_texture_coordinates_outside_repeat_the_border():
    texture = np.array([[RED, GREEN], [RED, GREEN]], np.uint8)
    mesh = textured_square(texture)
    wide = replace(mesh, uv=mesh.uv * 5 - 2)
    image = render_normalised(wide, replace(EXACT, kind="texture"))[0]
    np.testing.assert_array_equal(image[pixel(-30, 0)], RED)
    np.testing.assert_array_equal(image[pixel(30, 0)], GREEN)


def test_a_texture_wins_over_vertex_colours_and_a_cloud_uses_them():
    texture = np.full((2, 2, 3), 200, np.uint8)
    colors = np.array([RED, GREEN, BLUE, WHITE], np.uint8)
    settings = replace(EXACT, kind="texture")
    mesh = textured_square(texture, vertex_colors=colors)
    assert (render_normalised(mesh, settings)[0][pixel(0, 0)] == 200).all()
    plain = Mesh(vertices=mesh.vertices, faces=mesh.faces, vertex_colors=colors)
    image = render_normalised(plain, settings)[0]
    np.testing.assert_allclose(image[pixel(-40, -40)], RED, atol=8)
    np.testing.assert_allclose(image[pixel(0, 0)], [127, 0, 127], atol=4)
    cloud = render_normalised(Mesh(vertices=mesh.vertices, vertex_colors=colors), settings)[0]
    np.testing.assert_array_equal(cloud[pixel(-40, -40)], RED)
    np.testing.assert_array_equal(cloud[pixel(39, 39)], BLUE)


def test_hidden_parts_do_not_show():
    """Two squares, the nearer one given last and first."""
    near, far = np.array([RED], np.uint8), np.array([BLUE], np.uint8)
    square = textured_square(np.zeros((2, 2, 3), np.uint8))
    for depths in ((10, -10), (-10, 10)):
        vertices = np.concatenate([square.vertices + np.array([0, 0, z], np.float32) for z in depths])
        colors = np.concatenate([np.repeat(near if z > 0 else far, 4, axis=0) for z in depths])
        mesh = Mesh(vertices=vertices, faces=np.concatenate([square.faces, square.faces + 4]), vertex_colors=colors)
        image = render_normalised(mesh, replace(EXACT, kind="texture"))[0]
        np.testing.assert_array_equal(image[pixel(0, 0)], RED)


def test_a_hole_in_a_textured_mesh_is_not_left_black():
    """Holes that the depth map closes get a colour too, or the texture view shows black dots inside the face."""
    mesh = height_map(lambda x, y: 0 * x, half=40, step=1)
    mesh = replace(mesh, vertex_colors=np.full((mesh.num_vertices, 3), 200, np.uint8))
    centre = mesh.vertices[mesh.faces].mean(axis=1)
    hole = (np.abs(centre[:, :2] - 0.5) < 0.6).all(axis=1)
    assert hole.any()
    holed = replace(mesh, faces=mesh.faces[~hole])
    depth = render_normalised(holed, EXACT)[0]
    assert depth[pixel(0, 0)].any()
    assert render_normalised(holed, replace(EXACT, kind="texture"))[0][pixel(0, 0)].any()


# --- refusals ---------------------------------------------------------------------------------------------------


def test_texture_needs_a_texture():
    with pytest.raises(MeshError, match="need a texture"):
        render_normalised(face_like(4.0), ViewSettings(kind="texture"))


def test_nothing_inside_the_window():
    with pytest.raises(MeshError, match="nothing of the mesh is inside the window of 180 mm at 0 deg"):
        render_normalised(moved(face_like(4.0), offset=(900, 0, 0)), ViewSettings(angles_deg=(0.0,)))


def test_vertices_that_are_not_finite_draw_nothing():
    mesh = face_like(4.0)
    vertices = mesh.vertices.copy()
    vertices[::50] = np.nan
    image = render_normalised(replace(mesh, vertices=vertices), ViewSettings(size=48, kind="depth"))
    assert difference(image, render_normalised(mesh, ViewSettings(size=48, kind="depth"))) < 12


@pytest.mark.parametrize(
    "values",
    [
        {"angles_deg": ()},
        {"angles_deg": (90.0,)},
        {"angles_deg": (float("nan"),)},
        {"angles_deg": (10.0, 10.0)},
        {"size": 7},
        {"size": 2049},
        {"kind": "x-ray"},
        {"window_mm": 0.0},
        {"pixel_mm": 0.0},
        {"smooth_mm": -0.1},
        {"depth_jump_mm": 0.0},
        {"depth_range_mm": (20.0, -120.0)},
    ],
    ids=str,
)
def test_settings_out_of_range(values):
    with pytest.raises(SettingsError):
        ViewSettings(**values)
