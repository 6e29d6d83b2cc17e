"""The synthetic set on disk, against the description of BU-3DFE's own files."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from faces import split_in_four
from smilevlm.errors import LayoutError, SettingsError
from smilevlm.geometry import NormaliseSettings, normalise
from smilevlm.readers import ACTIONS_NAME, read_bnd, read_mesh, read_pse
from smilevlm.synthesis import MARKER_NAME
from smilevlm.synthesis.bu3dfe import Bu3dfeSettings, subject_names, synthesize_bu3dfe
from smilevlm.synthesis.scanner import ScannerSettings

GRAMMAR = re.compile(
    r"^([FM]\d{4})_(AN|DI|FE|HA|NE|SA|SU)(0[0-4])(WH|BL|AE|AM|IN|LA)_(F3D|RAW|F2D)\.(wrl|bnd|pse|bmp)$"
)
KINDS = {"F3D.wrl", "F3D.bmp", "F3D.bnd", "F2D.bmp", "RAW.wrl", "RAW.pse"}
MOUTH = slice(48, 68)
CHIN = 75


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def assert_same(left: Path, right: Path) -> None:
    names = [path.relative_to(left) for path in files(left)]
    assert names == [path.relative_to(right) for path in files(right)]
    _, mismatch, errors = filecmp.cmpfiles(left, right, [str(name) for name in names], shallow=False)
    assert (mismatch, errors) == ([], [])


@pytest.fixture(scope="module")
def texts(synthetic_faces) -> dict[str, str]:
    return {path.name: path.read_text() for path in files(synthetic_faces) if path.suffix == ".wrl"}


def indices(text: str, name: str) -> list[list[int]]:
    body = re.search(rf"\b{name} \[(.*?)\]", text, re.DOTALL).group(1).replace(",", " ").split()
    rows, row = [], []
    for word in body:
        if word == "-1":
            rows.append(row)
            row = []
        else:
            row.append(int(word))
    assert row == []
    return rows


def num_points(text: str, node: str) -> int:
    return len(re.search(rf"{node} {{\s*point \[(.*?)\]", text, re.DOTALL).group(1).strip().split(","))


def test_every_file_follows_the_grammar(synthetic_faces):
    stems: dict[str, set[str]] = {}
    for path in files(synthetic_faces):
        if path.name in (MARKER_NAME, ACTIONS_NAME):
            assert path.parent == synthetic_faces
            continue
        match = GRAMMAR.match(path.name)
        assert match, path.name
        assert match[1] == path.parent.name
        assert (match[2] == "NE") == (match[3] == "00")
        stems.setdefault(path.name[:12], set()).add(path.name[13:])
    assert len(stems) == 14
    assert all(kinds == KINDS for kinds in stems.values())
    for subject in ("F0001", "M0001"):
        mine = [stem for stem in stems if stem.startswith(subject)]
        assert len({stem[10:] for stem in mine}) == 1
        assert {stem[6:10] for stem in mine} == {
            "NE00",
            *(f"{code}04" for code in ("AN", "DI", "FE", "HA", "SA", "SU")),
        }


def test_subjects_have_the_data_sets_share_of_women():
    names = subject_names(100)
    assert len(names) == len(set(names)) == 100
    assert (names[0], names[55], names[56], names[-1]) == ("F0001", "F0056", "M0001", "M0044")
    assert subject_names(1) == ["F0001"]


def test_the_marker_says_what_it_is(synthetic_faces):
    marker = json.loads((synthetic_faces / MARKER_NAME).read_text())
    assert marker["synthetic"] is True
    assert marker["layout"] == "bu3dfe"
    assert (marker["num_subjects"], marker["seed"], marker["levels"]) == (2, 0, [4])


def test_quads_and_triangles_and_a_texture_of_its_own_numbering(texts):
    for name, text in texts.items():
        assert text.startswith("#VRML V2.0 utf8\n")
        polygons, corners = indices(text, "coordIndex"), indices(text, "texCoordIndex")
        assert {len(polygon) for polygon in polygons} == {3, 4}, name
        assert [len(polygon) for polygon in polygons] == [len(corner) for corner in corners]
        assert polygons != corners
        num_vertices, num_uvs = num_points(text, "Coordinate"), num_points(text, "TextureCoordinate")
        assert num_uvs > num_vertices
        assert {v for polygon in polygons for v in polygon} == set(range(num_vertices))
        assert {v for corner in corners for v in corner} == set(range(num_uvs))


def test_both_meshes_name_the_texture_of_the_cropped_one(texts, synthetic_faces):
    for name, text in texts.items():
        assert re.findall(r'url "([^"]*)"', text) == [f"{name[:12]}_F3D.bmp"]
        assert (synthetic_faces / name[:5] / f"{name[:12]}_F3D.bmp").is_file()


def test_images_have_the_wanted_size(synthetic_faces):
    for path in files(synthetic_faces):
        if path.suffix == ".bmp":
            with Image.open(path) as image:
                assert (image.size, image.mode) == ((64, 64), "RGB")
                assert np.asarray(image).std() > 10


def test_scans_are_crops_of_about_the_wanted_size_off_the_origin(synthetic_faces):
    centres = []
    for path in synthetic_faces.rglob("*_F3D.wrl"):
        mesh = read_mesh(path)
        raw = read_mesh(path.with_name(path.name.replace("F3D", "RAW")))
        assert 0.5 * 2500 < mesh.num_vertices < 2 * 2500
        assert np.ptp(raw.vertices, axis=0)[1] > np.ptp(mesh.vertices, axis=0)[1]
        centres.append(mesh.vertices.mean(axis=0))
    assert np.std(centres, axis=0).min() > 3


def test_landmark_files(synthetic_faces):
    for path in synthetic_faces.rglob("*.bnd"):
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        assert len(rows) == 83
        assert {len(row) for row in rows} == {4}
    for path in synthetic_faces.rglob("*.pse"):
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        normals = [row for row in rows if row[0].startswith("n")]
        assert len(normals) >= 1
        assert len(rows) - len(normals) == 8
        assert read_pse(path).problem is None


def distances(path: Path, points: np.ndarray) -> np.ndarray:
    """From each point to the scan's surface, in millimetres."""
    mesh = split_in_four(split_in_four(read_mesh(path)))
    return cKDTree(mesh.vertices).query(points)[0]


def test_landmarks_lie_on_the_scan(synthetic_faces):
    """Within 3 mm of the surface, but for the few that fall into a hole of the scan."""
    scans = sorted(synthetic_faces.rglob("*.bnd"))
    inner = np.stack([distances(path.with_suffix(".wrl"), read_bnd(path).points)[:68] for path in scans])
    assert np.median(inner) < 1
    assert (inner < 3).mean() > 0.95
    assert inner.max() < 15
    # The eyes' corners and the nose; the ears' two points come last.
    poses = sorted(synthetic_faces.rglob("*.pse"))
    posed = np.stack([distances(path.with_suffix(".wrl"), read_pse(path).points) for path in poses])
    assert (posed[:, :6] < 3).mean() > 0.95


def test_contour_landmarks_lie_on_the_scan(synthetic_faces):
    """Points 69 to 83 go along the face's edge; BU-3DFE's crop holds them."""
    scans = sorted(synthetic_faces.rglob("*.bnd"))
    contour = np.stack([distances(path.with_suffix(".wrl"), read_bnd(path).points)[68:] for path in scans])
    assert (contour < 3).mean() > 0.9


def face_landmarks(root: Path, subject: str, code: str) -> np.ndarray:
    """Landmarks in the face frame, so that expressions can be compared."""
    (path,) = root.glob(f"{subject}/{subject}_{code}*_F3D.wrl")
    found = normalise(read_mesh(path), NormaliseSettings())
    points = read_bnd(path.with_suffix(".bnd")).points
    raw, faced = read_mesh(path).vertices, found.mesh.vertices
    # The face frame is rotation @ (p - p0); the cropped vertices' nearest originals give p0.
    turned = raw @ found.rotation.T
    nearest = cKDTree(turned - turned.mean(axis=0)).query(faced - faced.mean(axis=0))[1]
    shift = np.median(turned[nearest] - faced, axis=0)
    return points @ found.rotation.T - shift


@pytest.mark.parametrize("subject", ["F0001", "M0001"])
def test_expressions_move_the_landmarks_they_should(synthetic_faces, subject):
    neutral, surprise, happy = (face_landmarks(synthetic_faces, subject, code) for code in ("NE", "SU", "HA"))

    def lip_gap(points: np.ndarray) -> float:
        return float(np.ptp(points[60:68, 1]))

    def brow_height(points: np.ndarray) -> float:
        return float(points[16:36, 1].mean() - points[36:48, 1].mean())

    def width(points: np.ndarray) -> float:
        return float(np.ptp(points[MOUTH, 0]))

    eyes = slice(0, 16)
    # Relative to the eyes, whatever the frame: the jaw opens, the mouth opens, the brows rise, a smile widens.
    assert (surprise[CHIN, 1] - surprise[eyes, 1].mean()) < (neutral[CHIN, 1] - neutral[eyes, 1].mean()) - 5
    assert lip_gap(surprise) > lip_gap(neutral) + 4
    assert brow_height(surprise) > brow_height(neutral) + 1
    assert width(happy) > width(neutral) + 4


# --- reproducibility --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_settings(make_small_settings):
    """Less to write than the session's set: no raw scans, tiny textures."""
    return make_small_settings(
        num_subjects=2, texture_size=16, complete=False, scanner=ScannerSettings(num_vertices=600)
    )


@pytest.fixture(scope="module")
def tiny_set(tiny_settings, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tiny") / "faces"
    synthesize_bu3dfe(root, tiny_settings)
    return root


def test_an_incomplete_set_has_no_raw_scans(tiny_set):
    assert {path.name[13:] for path in files(tiny_set) if path.name not in (MARKER_NAME, ACTIONS_NAME)} == {
        "F3D.wrl",
        "F3D.bmp",
        "F3D.bnd",
    }


def test_the_same_seed_gives_the_same_bytes(tiny_set, tiny_settings, tmp_path):
    synthesize_bu3dfe(tmp_path / "again", tiny_settings)
    assert_same(tiny_set, tmp_path / "again")


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(synthetic_faces, make_small_settings, tmp_path):
    assert synthesize_bu3dfe(tmp_path / "two", make_small_settings(), jobs=2) == 2
    assert_same(synthetic_faces, tmp_path / "two")


def test_another_seed_gives_other_faces(tiny_set, make_small_settings, tmp_path):
    settings = make_small_settings(
        num_subjects=1, seed=1, texture_size=16, complete=False, scanner=ScannerSettings(num_vertices=600)
    )
    synthesize_bu3dfe(tmp_path / "other", settings)
    first = {path.name[6:10]: path.read_bytes() for path in (tiny_set / "F0001").glob("*.wrl")}
    other = {path.name[6:10]: path.read_bytes() for path in (tmp_path / "other" / "F0001").glob("*.wrl")}
    assert first.keys() == other.keys()
    assert all(first[pose] != other[pose] for pose in first)


def test_an_interrupted_run_goes_on(tiny_set, tiny_settings, tmp_path):
    root = tmp_path / "faces"
    shutil.copytree(tiny_set, root)
    shutil.rmtree(root / "M0001")
    (root / ".M0001.part").mkdir()
    (root / ".M0001.part" / "M0001_NE00WH_F3D.wrl").write_text("half a file")
    seen: list[tuple[int, int]] = []
    assert synthesize_bu3dfe(root, tiny_settings, progress=lambda *counts: seen.append(counts)) == 1
    assert seen == [(1, 2), (2, 2)]
    assert_same(tiny_set, root)
    assert synthesize_bu3dfe(root, tiny_settings) == 0


def test_a_foreign_folder_is_refused(tmp_path, tiny_settings):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(LayoutError, match=f"is not empty .* no {MARKER_NAME}"):
        synthesize_bu3dfe(tmp_path, tiny_settings)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_made_with_other_settings_is_refused(tiny_set, make_small_settings, tmp_path):
    root = tmp_path / "faces"
    shutil.copytree(tiny_set, root)
    with pytest.raises(LayoutError, match=r"other settings \(complete, scanner, seed, texture_size\)"):
        synthesize_bu3dfe(root, make_small_settings(seed=3))
    assert_same(tiny_set, root)


def test_a_folder_of_another_layout_is_refused(tmp_path, tiny_settings):
    (tmp_path / MARKER_NAME).write_text('{"layout": "bp4d", "synthetic": true}')
    with pytest.raises(LayoutError, match="holds synthetic faces in the layout bp4d; choose another folder"):
        synthesize_bu3dfe(tmp_path, tiny_settings)


def test_a_damaged_marker_is_named(tmp_path, tiny_settings):
    (tmp_path / MARKER_NAME).write_text("{half")
    with pytest.raises(LayoutError, match=MARKER_NAME):
        synthesize_bu3dfe(tmp_path, tiny_settings)


@pytest.mark.parametrize(
    "values",
    [{"num_subjects": 0}, {"num_subjects": 10_000}, {"levels": ()}, {"levels": (0, 1)}, {"levels": (5,)},
     {"texture_size": 15}],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range(values):
    with pytest.raises(SettingsError):
        Bu3dfeSettings(**({"num_subjects": 2} | values))


@pytest.mark.parametrize("values", [{"num_vertices": 499}, {"noise_mm": -1.0}, {"quad_share": -0.1}], ids=str)
def test_scanner_settings_out_of_range(values):
    with pytest.raises(SettingsError):
        ScannerSettings(**values)


def test_the_raw_scan_shares_the_texture_of_the_cropped_one(synthetic_faces):
    """At the same landmark both scans find nearly the same colour in the one picture."""
    for path in sorted(synthetic_faces.rglob("*_NE00*_F3D.wrl")):
        raw_path = path.with_name(path.name.replace("_F3D", "_RAW"))
        cropped, raw = read_mesh(path), read_mesh(raw_path)
        points = read_bnd(path.with_suffix(".bnd")).points[[0, 4, 8, 12, 39, 44]]
        posed = read_pse(raw_path.with_suffix(".pse")).points[:6]
        places = [corner_uv_nearest(mesh, point) for mesh, point in zip((cropped, raw), (points, posed), strict=True)]
        assert np.abs(places[0] - places[1]).max() < 0.03


def corner_uv_nearest(mesh, points: np.ndarray) -> np.ndarray:
    """Texture coordinates of the face corner nearest to each point."""
    corners = mesh.vertices[mesh.faces].reshape(-1, 3)
    return mesh.uv.reshape(-1, 2)[cKDTree(corners).query(points)[1]]
