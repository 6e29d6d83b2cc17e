"""Synthetic Bosphorus: its names, four files per scan, one view, and the oddities of the data set's own files."""

from __future__ import annotations

import filecmp
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smilevlm.datasets import index_data_set
from smilevlm.datasets.bosphorus import index_bosphorus
from smilevlm.datasets.check import check_data_set
from smilevlm.errors import LayoutError, SettingsError
from smilevlm.geometry import NormaliseSettings, normalise
from smilevlm.labels import BASIC_EXPRESSIONS
from smilevlm.readers import (
    ACTIONS_NAME,
    BOSPHORUS_LABELS,
    find_v_direction,
    read_action_table,
    read_lm2,
    read_lm3,
    read_mesh,
)
from smilevlm.readers._source import Source
from smilevlm.readers.bnt import BntHeader, read_bnt_header
from smilevlm.synthesis.bosphorus import BosphorusSettings, synthesize_bosphorus
from smilevlm.synthesis.bosphorus_plan import plan_subject
from smilevlm.synthesis.range_camera import RangeCameraSettings

SEED = 3
PITCH_MM = 2.5


def settings(**changes: object) -> BosphorusSettings:
    scanner = RangeCameraSettings(pitch_mm=PITCH_MM, texture_width=64)
    return BosphorusSettings(**({"num_subjects": 2, "seed": SEED, "scanner": scanner} | changes))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bosphorus") / "faces"
    assert synthesize_bosphorus(root, settings()) == 2
    return root


def scan(root: Path, name: str) -> Path:
    return root / name[:5] / f"{name}.bnt"


def header(path: Path) -> BntHeader:
    return read_bnt_header(Source(path.read_bytes(), path))


def columns(path: Path) -> np.ndarray:
    """The file's numbers as (point, 5)."""
    head = header(path)
    return np.frombuffer(path.read_bytes(), "<f8", 5 * head.num_points, head.offset).reshape(5, -1).T


def test_the_whole_tree_passes_the_check(root):
    report = check_data_set(index_bosphorus(root))
    assert report.synthetic
    assert report.bad_files == ()
    ((path, reason),) = [(problem.path, problem.reason) for problem in report.problems]
    assert path == "bs001/bs001_YR_L90_0"
    assert reason == ".lm3 is missing (left out on purpose, says synthesis.json)"
    assert (report.subjects.found, report.subjects.expected) == (2, 2)
    assert report.recordings.found == report.recordings.expected
    assert report.num_frames == report.recordings.found
    # 64 pixels are few, and turned heads show few landmarks; no scan may say the contrary.
    assert any(remark.startswith("v counts from the top of the image, as expected") for remark in report.remarks)
    assert not any("upside down" in remark for remark in report.remarks)


def test_every_type_of_scan_and_all_four_files(root):
    index = index_bosphorus(root)
    kinds = {recording.condition.split("_")[0] for recording in index.recordings}
    assert kinds == {"N", "E", "LFAU", "UFAU", "CAU", "YR", "PR", "CR", "O", "IGN"}
    names = sorted(path.name for path in (root / "bs000").iterdir())
    assert all(re.fullmatch(r"bs000_[A-Z]+_[A-Za-z0-9]+_\d\.(bnt|png|lm2|lm3)", name) for name in names)
    assert len(names) == 4 * sum(recording.subject == "bs000" for recording in index.recordings)
    for subject in index.subjects:
        shown = {recording.expression for recording in index.recordings if recording.subject == subject}
        assert set(BASIC_EXPRESSIONS) <= shown


def test_repeats(root):
    assert scan(root, "bs001_N_N_1").is_file()
    assert not scan(root, "bs001_E_HAPPY_0").exists()
    assert scan(root, "bs001_E_HAPPY_1").is_file()


def test_some_people_lack_expressions():
    num = [sum(scan.kind == "E" for scan in plan_subject(number, seed=SEED, complete=False)) for number in range(60)]
    assert set(num) == {4, 5, 6}
    assert num.count(6) == 40


def test_background_is_partly_in_some_columns_only(root):
    path = scan(root, "bs000_N_N_0")
    is_background = columns(path) == header(path).zmin
    whole, none = is_background.all(axis=1), ~is_background.any(axis=1)
    partial = ~whole & ~none
    assert partial.sum() >= 3
    # The depth of each of them is marked, so that none may enter the mesh.
    assert is_background[partial, 2].all()
    assert read_mesh(path).num_vertices == none.sum()


def test_one_file_is_no_grid_of_what_its_header_says(root):
    assert not header(scan(root, "bs000_E_FEAR_0")).is_grid
    assert header(scan(root, "bs001_E_FEAR_0")).is_grid
    mesh = read_mesh(scan(root, "bs000_E_FEAR_0"))
    assert mesh.num_faces > mesh.num_vertices


def test_one_header_names_its_image_in_another_case(root):
    path = scan(root, "bs000_E_SADNESS_0")
    assert header(path).image_name == "BS000_E_SADNESS_0.PNG"
    texture = read_mesh(path).texture
    assert texture is not None
    np.testing.assert_array_equal(texture, np.asarray(Image.open(path.with_suffix(".png"))))
    assert texture.shape == (48, 64, 3)


def test_landmark_files_of_both_line_ends_and_with_and_without_remarks(root):
    texts = [path.read_bytes() for path in sorted(root.rglob("*.lm3"))]
    with_crlf = [b"\r\n" in text for text in texts]
    with_remarks = [text.splitlines()[1].startswith(b"*") for text in texts]
    assert any(with_crlf)
    assert not all(with_crlf)
    assert any(with_remarks)
    assert not all(with_remarks)


def test_landmarks_lie_on_the_scan_and_on_its_picture(root):
    path = scan(root, "bs001_N_N_0")
    mesh, points, pixels = read_mesh(path), read_lm3(path.with_suffix(".lm3")), read_lm2(path.with_suffix(".lm2"))
    assert points.keys() == pixels.keys()
    assert len(points) >= 20
    for point in points.values():
        assert np.linalg.norm(mesh.vertices - point, axis=1).min() < 1e-3
    assert find_v_direction(mesh, pixels, points) == "top"
    # The person's left is the viewer's right; eyes above mouth; the nose comes forward.
    assert points["Outer left eye corner"][0] > points["Outer right eye corner"][0] + 60
    assert points["Left mouth corner"][1] < points["Inner left eye corner"][1] - 40
    assert points["Nose tip"][2] == max(point[2] for point in points.values())
    assert pixels["Chin middle"][1] > pixels["Nose tip"][1]


@pytest.mark.parametrize(("code", "seen", "hidden"), [("R90", "right", "left"), ("L90", "left", "right")])
def test_a_profile_shows_one_side(root, code, seen, hidden):
    """Turned to the person's right, the camera sees the left side."""
    found = read_lm3(scan(root, f"bs000_YR_{code}_0").with_suffix(".lm3"))
    assert 4 <= len(found) < len(BOSPHORUS_LABELS) - 5
    assert f"Outer {hidden} eye corner" in found
    assert f"Outer {seen} eye corner" not in found


def test_a_hand_hides_what_is_behind_it(root):
    seen = read_lm3(scan(root, "bs000_N_N_0").with_suffix(".lm3")).keys()
    behind_hand = read_lm3(scan(root, "bs000_O_MOUTH_0").with_suffix(".lm3")).keys()
    lips = {label for label in BOSPHORUS_LABELS if "lip" in label or "mouth" in label}
    assert lips <= seen
    assert len(lips & behind_hand) < len(lips) / 2
    assert {"Inner left eye corner", "Inner right eye corner"} <= behind_hand


def test_a_smile_of_one_side_lifts_that_corner(root):
    """Left is the person's, so the viewer's right. Distances within the face do not change with its pose."""

    def lift(code: str, side: str) -> float:
        points = read_lm3(scan(root, f"bs000_LFAU_{code}_0").with_suffix(".lm3"))
        return -float(np.linalg.norm(points[f"{side} mouth corner"] - points[f"Outer {side.lower()} eye corner"]))

    assert lift("12L", "Left") > lift("12R", "Left") + 2
    assert lift("12R", "Right") > lift("12L", "Right") + 2


def test_a_single_view_has_no_overhang(root):
    """Every point is the only one at its place on the grid, and the triangles face the scanner."""
    mesh = read_mesh(scan(root, "bs000_YR_R45_0"))
    places = np.round(mesh.vertices[:, :2] / PITCH_MM * 2).astype(int)
    assert len(np.unique(places, axis=0)) == mesh.num_vertices
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()


@pytest.mark.parametrize("name", ["bs000_N_N_0", "bs001_E_HAPPY_1", "bs000_O_EYEGLASSES_0", "bs001_PR_SD_0"])
def test_scans_near_the_front_come_to_the_face_frame(root, name):
    path = scan(root, name)
    mesh = replace(read_mesh(path), landmarks=read_lm3(path.with_suffix(".lm3")))
    face = normalise(mesh, NormaliseSettings())
    assert np.linalg.norm(face.mesh.landmarks["Nose tip"]) < 6
    eyes = face.mesh.landmarks["Outer left eye corner"] - face.mesh.landmarks["Outer right eye corner"]
    assert abs(np.rad2deg(np.arctan2(eyes[1], eyes[0]))) < 5


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_number_of_processes(root, tmp_path):
    again = tmp_path / "again"
    assert synthesize_bosphorus(again, settings(), jobs=2) == 2
    names = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    differing = [name for name in names if not filecmp.cmp(root / name, again / name, shallow=False)]
    assert differing == []


def test_an_interrupted_run_goes_on(tmp_path):
    few = settings(complete=False)
    assert synthesize_bosphorus(tmp_path, few) == 2
    before = {path: path.read_bytes() for path in (tmp_path / "bs001").iterdir()}
    shutil.rmtree(tmp_path / "bs001")
    assert synthesize_bosphorus(tmp_path, few) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "bs001").iterdir()} == before
    with pytest.raises(LayoutError, match="other settings"):
        synthesize_bosphorus(tmp_path, settings(seed=4, complete=False))


@pytest.mark.parametrize("change", [{"num_subjects": 0}, {"num_subjects": 1000}, {"seed": -1}, {"seed": 20_260_101}])
def test_settings_out_of_range(change):
    with pytest.raises(SettingsError, match=next(iter(change))):
        settings(**change)


@pytest.mark.parametrize("change", [{"pitch_mm": 0.1}, {"texture_width": 8}, {"noise_mm": -1.0}])
def test_scanner_settings_out_of_range(change):
    with pytest.raises(SettingsError):
        RangeCameraSettings(**change)


def test_every_scan_has_its_actions(root):
    index = index_data_set("bosphorus", root)
    assert read_action_table(root / ACTIONS_NAME).keys() == {recording.sample_id for recording in index.recordings}
    assert all(recording.actions is not None for recording in index.recordings)
