from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import builders
import builders_layouts
from smilevlm.datasets import LAYOUTS, CheckReport, check_data_set, index_data_set
from smilevlm.errors import LayoutError
from smilevlm.synthesis import MARKER_NAME


def check(layout: str, root: Path, **options: object) -> CheckReport:
    """The builders' meshes are no faces, which are long looked for."""
    return check_data_set(index_data_set(layout, root), **({"find_faces": False} | options))


def mark(root: Path, num_subjects: int, num_recordings: int) -> Path:
    """Call a copy synthetic and complete, so that its size is no problem."""
    contents = {"num_subjects": num_subjects, "num_recordings": num_recordings, "missing": []}
    (root / MARKER_NAME).write_text(json.dumps({"contents": contents}))
    return root


def complete(layout: str, root: Path) -> Path:
    root.mkdir(exist_ok=True)
    if layout == "bu3dfe":
        return mark(builders_layouts.bu3dfe(root), 1, 25)
    if layout == "bu4dfe":
        return mark(builders_layouts.bu4dfe(root, landmarks=root / "BU4DFE_BND_V1.1"), 1, 6)
    if layout == "bosphorus":
        return mark(builders_layouts.bosphorus(root, ["bs000_N_N_0", "bs000_E_HAPPY_0"]), 1, 2)
    if layout == "bp4d":
        return mark(builders_layouts.bp4d(root), 1, 8)
    if layout == "4dme":
        return mark(builders_layouts.fourdme(root), 2, 3)
    return builders_layouts.bu4dfe(root)


NUM_FRAMES = {"bu3dfe": 25, "bu4dfe": 18, "bosphorus": 2, "bp4d": 24, "4dme": 9, "folder": 18}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sound_copy_is_clean(tmp_path, layout):
    report = check(layout, complete(layout, tmp_path))
    assert report.is_clean, (report.bad_files, report.problems)
    assert report.num_frames == NUM_FRAMES[layout]
    assert report.layout == layout
    assert report.root == tmp_path
    assert report.synthetic == (layout != "folder")
    assert report.recordings.found == sum(count.found for count in report.classes.values())
    assert report.recordings.expected == (None if layout == "folder" else report.recordings.found)
    assert report.source == ("" if layout == "folder" else MARKER_NAME)


def test_counts_of_classes_against_what_should_be(tmp_path):
    root = mark(builders_layouts.bu4dfe(tmp_path, ("F001", "F002"), words=("Happy", "Sad")), 3, 18)
    report = check("bu4dfe", root, read_files=False)
    assert (report.subjects.found, report.subjects.expected) == (2, 3)
    assert (report.classes["happy"].found, report.classes["happy"].expected) == (2, 3)
    assert (report.classes["fear"].found, report.classes["fear"].expected) == (0, 3)
    assert report.per_subject == {"F001": {"happy": 1, "sad": 1}, "F002": {"happy": 1, "sad": 1}}
    assert not report.is_clean


def test_names_only_reads_no_mesh(tmp_path):
    root = complete("bu4dfe", tmp_path)
    for path in root.rglob("*.wrl"):
        path.write_bytes(b"nothing of a mesh")
    report = check("bu4dfe", root, read_files=False)
    assert report.is_clean
    assert report.num_frames == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_bad_file_is_listed_and_none_ends_the_check(tmp_path, jobs):
    root = complete("bu4dfe", tmp_path)
    happy, sad = root / "F001" / "Happy", root / "F001" / "Sad"
    text = (happy / "001.wrl").read_text().splitlines()
    line = next(number for number, row in enumerate(text) if row.count(" ") == 2 and row.endswith(",")) + 1
    text[line - 1] = "1 2 three,"
    (happy / "001.wrl").write_text("\n".join(text))
    (happy / "002.jpg").write_bytes(b"\xff\xd8 no picture")
    (sad / "000.wrl").write_bytes(b"")
    bnd = root / "BU4DFE_BND_V1.1" / "F001" / "Sad" / "000.bnd"
    bnd.write_text(builders.bnd(82))
    report = check("bu4dfe", root, jobs=jobs)
    assert [bad.path for bad in report.bad_files] == [
        f"F001/Happy/001.wrl:{line}",
        "F001/Happy/002.jpg",
        "F001/Sad/000.wrl",
        "BU4DFE_BND_V1.1/F001/Sad/000.bnd",
    ]
    reasons = [bad.reason for bad in report.bad_files]
    assert "decoded" in reasons[1]
    assert reasons[2] == "empty file"
    assert "82 landmarks" in reasons[3]
    assert not report.problems
    assert not report.is_clean
    assert report.num_frames == 18


def test_a_binary_file_is_bad_at_a_byte(tmp_path):
    root = complete("bosphorus", tmp_path)
    path = root / "bs000" / "bs000_E_HAPPY_0.bnt"
    path.write_bytes(path.read_bytes()[:2000])
    (bad,) = check("bosphorus", root).bad_files
    assert bad.path == "bs000/bs000_E_HAPPY_0.bnt"
    assert bad.reason.startswith("byte ")


def test_all_four_files_of_a_bosphorus_scan_are_read(tmp_path):
    root = complete("bosphorus", tmp_path)
    stem = root / "bs000" / "bs000_E_HAPPY_0"
    for suffix in (".bnt", ".lm2", ".lm3"):
        stem.with_suffix(suffix).write_bytes(b"broken")
    assert [Path(bad.path.split(":")[0]).suffix for bad in check("bosphorus", root).bad_files] == [
        ".bnt", ".lm3", ".lm2",
    ]  # fmt: skip


def test_a_bad_member_of_an_archive(tmp_path):
    root = complete("bp4d", tmp_path)
    (root / "F001" / "T2" / "2441.obj").write_text("v 1 2 3\nv 1 2\n")
    builders_layouts.pack(root / "F001")
    report = check("bp4d", root)
    assert [bad.path for bad in report.bad_files] == ["F001.zip/F001/T2/2441.obj:2"]


@pytest.mark.parametrize("upside_down", [False, True])
def test_where_v_counts_from_is_told(tmp_path, upside_down):
    root = builders_layouts.bosphorus(tmp_path, ["bs000_N_N_0"], upside_down=upside_down)
    (remark,) = [remark for remark in check("bosphorus", root).remarks if remark.startswith("v counts")]
    assert ("against the expectation" in remark) == upside_down
    assert remark.endswith(": 1 frame")


@pytest.mark.parametrize("first", [0, 1, 50])
def test_what_column_0_of_the_landmarks_numbers_is_told(tmp_path, first):
    root = builders_layouts.bu4dfe(tmp_path, words=("Happy",), landmarks=tmp_path / "BU4DFE_BND", first_vertex=first)
    (remark,) = [remark for remark in check("bu4dfe", root).remarks if remark.startswith("column 0")]
    expected = f"numbers the vertices from {first}" if first < 2 else "does not number the mesh's vertices"
    assert remark == f"column 0 of the landmark file {expected}: 3 frames"


def test_a_mesh_without_texture_is_remarked_on(tmp_path):
    remarks = check("4dme", complete("4dme", tmp_path)).remarks
    assert "no texture image was found for the mesh: 9 frames" in remarks


def test_progress_counts_recordings(tmp_path):
    seen: list[tuple[int, int]] = []
    check("4dme", complete("4dme", tmp_path), progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(seen, [(k, 3) for k in range(4)])


def damage(root: Path, rng: np.random.Generator) -> None:
    """Do to a copy what disks, networks and people do."""
    paths = sorted(path for path in root.rglob("*") if path.name != MARKER_NAME)
    for index in rng.choice(len(paths), size=min(12, len(paths)), replace=False):
        path = paths[index]
        if not path.exists():
            continue
        kind = int(rng.integers(0, 6))
        if kind == 0 and path.is_file():
            path.unlink()
        elif kind == 1 and path.is_file():
            path.write_bytes(path.read_bytes()[: int(rng.integers(0, path.stat().st_size + 1))])
        elif kind == 2:
            path.rename(path.with_name(path.name.swapcase() + "~"[: int(rng.integers(0, 2))]))
        elif kind == 3 and path.is_dir():
            shutil.rmtree(path)
            path.write_bytes(b"a file now")
        elif kind == 4 and path.is_file():
            path.unlink()
            path.mkdir()
        else:
            (path if path.is_dir() else path.parent).joinpath(f"{rng.integers(0, 99)} junk.zip").write_bytes(b"PK")


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 40))])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_damage_to_a_copy_ends_the_check(tmp_path, layout, seed):
    root = complete(layout, tmp_path / "copy")
    damage(root, np.random.default_rng(seed))
    try:
        report = check(layout, root)
    except LayoutError:
        return
    ids = [recording.sample_id for recording in index_data_set(layout, root).recordings]
    assert len(ids) == len(set(ids)) == report.recordings.found
    assert all(bad.reason and not bad.path.startswith("/") for bad in report.bad_files)


def test_faces_that_are_barely_there_or_not_are_told_as_prepare_does(tmp_path, frontal_face):
    from smilevlm.geometry import Mesh, keep_points
    from smilevlm.readers import write_mesh

    upper = keep_points(frontal_face, frontal_face.vertices[:, 1] > 0)
    grid = np.stack(np.meshgrid(np.arange(30.0), np.arange(30.0), [0.0]), axis=-1).reshape(-1, 3)
    (tmp_path / "anna" / "happy").mkdir(parents=True)
    for name, mesh in {"whole": frontal_face, "upper": upper, "flat": Mesh(vertices=grid)}.items():
        write_mesh(mesh, tmp_path / "anna" / "happy" / f"{name}.ply")
    remarks = check("folder", tmp_path, find_faces=True).remarks
    assert "no face was found, which `prepare` would skip: 1 frame" in remarks
    assert "the scan covers N% of the face, less than N%: 1 frame" in remarks
    assert not any("face" in remark for remark in check("folder", tmp_path).remarks)
