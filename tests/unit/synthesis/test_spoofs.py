import json

import numpy as np
import pytest

from smilevlm.datasets import index_data_set
from smilevlm.errors import LayoutError, MeshError, SettingsError
from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.readers import read_mesh
from smilevlm.store import PrepareSettings, prepare
from smilevlm.store.manifest import read_manifest
from smilevlm.synthesis import MARKER_NAME
from smilevlm.synthesis.scanner import ScannerSettings
from smilevlm.synthesis.spoofs import (
    ATTACKS,
    BONA_FIDE,
    NOSE_TIP,
    Sheet,
    SpoofSettings,
    attack_generator,
    crop_at_nose,
    locate_face,
    make_attack,
    scan_sheet,
    write_spoofs,
)
from smilevlm.views import ViewSettings, render_normalised

NORMALISE = NormaliseSettings()
CLEAN = ScannerSettings(num_vertices=4000, noise_mm=0, ripple_mm=0, max_holes=0, pose_deg=0, offset_mm=0)


@pytest.fixture(scope="module")
def scan(synthetic_faces) -> Mesh:
    return read_mesh(sorted((synthetic_faces / "F0001").glob("*NE00*_F3D.wrl"))[0])


@pytest.fixture(scope="module")
def face(scan):
    return locate_face(scan, NORMALISE)


def attack(kind, face, *, seed=0, settings=SpoofSettings()):  # noqa: B008
    return make_attack(kind, face, attack_generator(seed, "F0001", "NE00", kind), settings)


def surface(mesh, *, degree):
    """Root mean square distance in mm from the best height map z = polynomial(x, y)."""
    x, y, z = mesh.vertices.astype(np.float64).T
    columns = [x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)]
    matrix = np.stack(columns, axis=1)
    return float(np.sqrt(np.mean((z - matrix @ np.linalg.lstsq(matrix, z, rcond=None)[0]) ** 2)))


def test_located_nose_is_the_origin_of_the_face_frame(scan, face):
    found = normalise(Mesh(vertices=scan.vertices, faces=scan.faces), NORMALISE)
    moved = (found.mesh.vertices @ found.rotation) / face.mm_per_unit + face.scan.landmarks[NOSE_TIP]
    distance = np.abs(scan.vertices[:, None] - moved[None, ::97]).sum(axis=2).min(axis=0)
    assert distance.max() < 1e-3, "every vertex of the face frame lies where a vertex of the scan does"


def test_located_in_any_unit_and_place(scan):
    there = Mesh(vertices=(scan.vertices / 10 + np.float32(300)).astype(np.float32), faces=scan.faces)
    here = locate_face(scan, NORMALISE).scan.landmarks[NOSE_TIP]
    np.testing.assert_allclose((locate_face(there, NORMALISE).scan.landmarks[NOSE_TIP] - 300) * 10, here, atol=0.6)


@pytest.mark.parametrize("kind", ATTACKS)
def test_attacks_are_sheets_in_the_density_of_the_face(kind, face):
    mesh = attack(kind, face)
    assert mesh.texture is not None
    assert mesh.uv is not None
    assert ((mesh.uv > -0.02) & (mesh.uv < 1.02)).all()
    assert 0.4 < mesh.num_vertices / face.scan.num_vertices < 2.5
    if kind == "curved_print":
        # A cylinder of 80 to 150 mm: curved, but nothing beyond that.
        assert surface(mesh, degree=1) > 2.0
        assert surface(mesh, degree=4) < 1.0
    else:
        assert surface(mesh, degree=1) < 1.0
    assert surface(face.frontal, degree=4) > 2.0


@pytest.mark.parametrize("kind", ATTACKS)
def test_preparation_finds_no_face_in_an_attack(kind, face):
    for seed in range(3):
        mesh = attack(kind, face, seed=seed)
        with pytest.raises(MeshError, match="no face found"):
            normalise(mesh, NORMALISE)


def test_the_picture_is_where_the_nose_is(face):
    """A sheet without noise, seen from the front, shows the face as large and in the place that the sheet says."""
    checked = np.zeros((100, 200, 3), np.uint8)
    checked[:, :, 0] = np.arange(200)
    checked[:, :, 1] = np.arange(100)[:, None]
    checked[:, :, 2] = 255
    for radius in (None, 100.0):
        sheet = Sheet(picture=checked, width_mm=200.0, height_mm=100.0, nose=(0.5, 0.25), radius_mm=radius)
        mesh = crop_at_nose(scan_sheet(sheet, np.random.default_rng(0), CLEAN), 1.0, NORMALISE)
        view = ViewSettings(angles_deg=(0.0,), size=180, kind="texture", centre_y_mm=0.0)
        image = render_normalised(mesh, view)[0].astype(int)
        # One pixel is a millimetre, the nose tip in the middle: 100 mm from the left and 75 from the top.
        assert image[90, 90, 0] == pytest.approx(100, abs=2)
        assert image[90, 90, 1] == pytest.approx(75, abs=2)
        along = 30 if radius is None else radius * np.arcsin(30 / radius)
        assert image[70, 120, 0] == pytest.approx(100 + along, abs=2)
        assert image[70, 120, 1] == pytest.approx(55, abs=2)


def test_cut_out_sheets_end_with_the_face():
    cut = np.zeros((100, 100), bool)
    cut[20:80, 30:70] = True
    sheet = Sheet(
        picture=np.full((100, 100, 3), 9, np.uint8), width_mm=200.0, height_mm=200.0, nose=(0.5, 0.5), cut=cut
    )
    mesh = crop_at_nose(scan_sheet(sheet, np.random.default_rng(0), CLEAN), 1.0, NORMALISE)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    np.testing.assert_allclose([low[0], high[0], low[1], high[1]], [-40, 40, -60, 60], atol=4.0)


def test_framed_keeps_the_pose_and_crops(face):
    mesh = attack("flat_print", face)
    framed = crop_at_nose(mesh, 1.0, NORMALISE)
    assert np.linalg.norm(framed.landmarks[NOSE_TIP]) == 0
    assert np.linalg.norm(framed.vertices, axis=1).max() <= NORMALISE.crop_radius_mm
    normals = [np.linalg.svd(m.vertices - m.vertices.mean(axis=0), full_matrices=False)[2][2] for m in (mesh, framed)]
    assert abs(normals[0] @ normals[1]) == pytest.approx(1, abs=1e-3)
    bona_fide = crop_at_nose(face.scan, face.mm_per_unit, NORMALISE)
    np.testing.assert_allclose(bona_fide.landmarks[NOSE_TIP], 0, atol=1e-4)
    with pytest.raises(MeshError, match="no landmark nose_tip"):
        crop_at_nose(Mesh(vertices=mesh.vertices, faces=mesh.faces), 1.0, NORMALISE)


def test_sheets_are_held_at_an_angle_like_heads(face):
    tilts = []
    for seed in range(12):
        mesh = attack("replay", face, seed=seed)
        normal = np.linalg.svd(mesh.vertices - mesh.vertices.mean(axis=0), full_matrices=False)[2][2]
        tilts.append(np.rad2deg(np.arccos(min(1.0, abs(normal[2])))))
    assert 2 < np.mean(tilts) < 12


def test_same_seed_same_attack(face):
    one, again, other = (attack("flat_print", face, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.vertices, again.vertices)
    np.testing.assert_array_equal(one.texture, again.texture)
    assert one.vertices.shape != other.vertices.shape or not np.array_equal(one.vertices, other.vertices)


def test_bad_requests(face, scan):
    with pytest.raises(SettingsError, match="attack 'mask' is unknown"):
        attack("mask", face)
    with pytest.raises(SettingsError, match="seed is -1"):
        SpoofSettings(seed=-1)
    bare = locate_face(Mesh(vertices=scan.vertices, faces=scan.faces), NORMALISE)
    with pytest.raises(MeshError, match="texture"):
        attack("flat_print", bare)


def test_folder_layout_goes_through_preparation(scan, tmp_path):
    root = tmp_path / "spoofs"
    named = [("F0001", "NE00", scan), ("F0001", "NE01", scan)]
    assert write_spoofs(root, named, SpoofSettings(), synthetic=True) == [root / "F0001"]
    assert write_spoofs(root, named, SpoofSettings(), synthetic=True) == [], "what is there is left alone"
    assert json.loads((root / MARKER_NAME).read_text())["synthetic"] is True
    index = index_data_set("folder", root)
    assert index.synthetic
    assert {r.expression for r in index.recordings} == {BONA_FIDE, *ATTACKS}
    assert [r.is_sequence for r in index.recordings] == [False] * 8
    settings = PrepareSettings(views=ViewSettings(size=48, kind="texture"), normalise=NORMALISE)
    prepare(index.recordings, tmp_path / "store", settings, layout="folder", synthetic=True)
    manifest = read_manifest(tmp_path / "store")
    assert (manifest.num_samples, len(manifest.skipped)) == (2, 6)
    assert all("no face found" in bad.reason for bad in manifest.skipped)


def test_written_files_hold_the_attack_with_its_nose_at_the_origin(scan, face, tmp_path):
    write_spoofs(tmp_path / "spoofs", [("F0001", "NE00", scan)], SpoofSettings(), synthetic=True)
    for kind in (BONA_FIDE, *ATTACKS):
        found = read_mesh(tmp_path / "spoofs/F0001" / kind / "NE00_scan.obj")
        expected = face.scan if kind == BONA_FIDE else attack(kind, face)
        np.testing.assert_allclose(found.vertices, expected.vertices - expected.landmarks[NOSE_TIP], atol=1e-4)
        np.testing.assert_array_equal(found.texture, expected.texture)


def test_real_and_synthetic_scans_do_not_mix(scan, tmp_path):
    write_spoofs(tmp_path / "spoofs", [("F0001", "NE00", scan)], SpoofSettings(), synthetic=True)
    with pytest.raises(LayoutError, match="marked as synthetic"):
        write_spoofs(tmp_path / "spoofs", [("anna", "1", scan)], SpoofSettings(), synthetic=False)
    with pytest.raises(LayoutError, match="other settings"):
        write_spoofs(tmp_path / "spoofs", [("F0002", "1", scan)], SpoofSettings(seed=1), synthetic=True)
