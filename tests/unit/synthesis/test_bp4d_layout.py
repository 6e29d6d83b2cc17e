"""The synthetic tasks on disk, against the description of BP4D-Spontaneous' own files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import KDTree

from smilevlm import read_mesh
from smilevlm.datasets import index_data_set
from smilevlm.errors import SettingsError
from smilevlm.readers import ACTIONS_NAME, AU_UNKNOWN, AuTable, read_action_table, read_au_table, read_landmarks
from smilevlm.synthesis import MARKER_NAME
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.bp4d import Bp4dSettings, _au_table, _capture, plan_bp4d, synthesize_bp4d
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.scan_setup import ScannerSettings

SMALL = {"num_subjects": 1, "num_frames": 8, "texture_width": 64, "scanner": ScannerSettings(num_vertices=1500)}
UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bp4d") / "faces"
    assert synthesize_bp4d(root, Bp4dSettings(**SMALL)) == 8
    return root


@pytest.fixture(scope="module")
def contents(tasks) -> dict:
    marker = json.loads((tasks / MARKER_NAME).read_text())
    assert (marker["synthetic"], marker["layout"]) == (True, "bp4d")
    return marker["contents"]


def frames(folder: Path) -> dict[int, Path]:
    return {int(path.stem): path for path in sorted(folder.glob("*.obj"), key=lambda p: int(p.stem))}


def test_the_tree(tasks, contents):
    assert sorted(path.name for path in tasks.iterdir()) == [
        "3DFeatures",
        "AUCoding",
        "F001",
        ACTIONS_NAME,
        MARKER_NAME,
    ]
    assert sorted(path.name for path in (tasks / "F001").iterdir()) == [f"T{n}" for n in range(1, 9)]
    assert sorted(path.name for path in (tasks / "AUCoding").iterdir()) == [f"F001_T{n}.csv" for n in range(1, 9)]
    assert (contents["num_subjects"], contents["num_recordings"], contents["missing"]) == (1, 8, [])


def test_zero_padding_and_first_numbers_are_mixed(tasks):
    padded, firsts = set(), set()
    for folder in (tasks / "F001").iterdir():
        stems = [path.stem for path in folder.glob("*.obj")]
        widths = {len(stem) for stem in stems}
        padded.add((min(widths), any(stem.startswith("0") and len(stem) > 1 for stem in stems)))
        firsts.add(min(int(stem) for stem in stems))
        assert len({int(stem) for stem in stems}) == len(stems)
    assert {0, 1, 958, 2440} <= firsts
    assert {(4, True), (4, False), (1, False)} <= padded


def test_numbers_go_on_where_the_face_was_covered(tasks, contents):
    numbers = list(frames(tasks / "F001" / "T6"))
    gaps = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    assert [int(stem) for stem in contents["frames_left_out"]["F001/T6"]] == gaps
    assert len(gaps) == 1
    for task in (1, 2, 3, 4, 5, 7, 8):
        numbers = list(frames(tasks / "F001" / f"T{task}"))
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_each_frame_has_a_picture_and_a_material_but_one(tasks, contents):
    without = []
    for folder in (tasks / "F001").iterdir():
        for path in folder.glob("*.obj"):
            assert path.with_suffix(".jpg").is_file()
            if not path.with_suffix(".mtl").is_file():
                without.append(path.with_suffix(".mtl").relative_to(tasks).as_posix())
    assert without == contents["without_material"]
    assert len(without) == 1


def test_one_mtllib_is_written_in_capitals_and_found_all_the_same(tasks):
    wrong = []
    for path in (tasks / "F001").rglob("*.obj"):
        name = re.search(r"^mtllib (.*)$", path.read_text(), re.MULTILINE).group(1)
        assert name.lower() == f"{path.stem}.mtl"
        if name != name.lower():
            wrong.append(path)
    assert len(wrong) == 1
    assert read_mesh(wrong[0]).texture is not None


def test_meshes_have_texture_coordinates_into_a_portrait(tasks):
    for folder in (tasks / "F001").iterdir():
        path = next(iter(frames(folder).values()))
        mesh = read_mesh(path)
        assert 0.5 * 1500 < mesh.num_vertices < 2 * 1500
        assert mesh.uv is not None
        assert 0 <= mesh.uv.min() <= mesh.uv.max() <= 1
        with Image.open(path.with_suffix(".jpg")) as image:
            assert image.size == (64, 86)


def test_the_frame_without_material_still_finds_its_picture(tasks, contents):
    path = (tasks / contents["without_material"][0]).with_suffix(".obj")
    assert read_mesh(path).texture is not None


def test_au_tables_cover_part_of_the_frames(tasks):
    for task in range(1, 9):
        table = read_au_table(tasks / "AUCoding" / f"F001_T{task}.csv")
        numbers = list(frames(tasks / "F001" / f"T{task}"))
        assert table.au_numbers == UNITS
        assert set(np.unique(table.values)) <= {0, 1, AU_UNKNOWN}
        coded = table.frame_numbers.tolist()
        assert numbers[0] < coded[0] < coded[-1] < numbers[-1]
        assert coded == list(range(coded[0], coded[-1] + 1))
    text = (tasks / "AUCoding" / "F001_T1.csv").read_text().splitlines()
    assert text[0].split(",")[1:] == [str(unit) for unit in UNITS]


def test_some_cells_are_unknown_and_covered_frames_wholly_so(tasks):
    second = read_au_table(tasks / "AUCoding" / "F001_T2.csv")
    assert ((second.values == AU_UNKNOWN).all(axis=0)).sum() == 1
    sixth = read_au_table(tasks / "AUCoding" / "F001_T6.csv")
    there = np.isin(sixth.frame_numbers, list(frames(tasks / "F001" / "T6")))
    assert (sixth.values[~there] == AU_UNKNOWN).all()
    assert not (sixth.values[there] == AU_UNKNOWN).all()


@pytest.mark.parametrize(("unit", "points"), [(12, (48, 54)), (1, (16, 0))])
def test_the_tables_say_what_the_faces_do(unit, points):
    """Where AU 12 is coded the mouth's corners are further apart; where AU 1 is, the inner brows from the eyes."""
    settings = Bp4dSettings(num_subjects=3, num_frames=80, seed=2)
    model, places = head_model(), anatomy()
    longer = []
    for sequence in plan_bp4d(settings):
        capture = _capture(sequence, settings)
        table = _parsed(_au_table(capture.motion, sequence))
        coded = table.values[:, UNITS.index(unit)]
        if min((coded == 0).sum(), (coded == 1).sum()) < 5:
            continue
        person = capture.subject.person
        actions = [capture.motion.at(number - sequence.first_number) for number in table.frame_numbers.tolist()]
        coarse = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=actions)
        ends = np.stack([(model.topology.refine @ face)[places.landmarks[list(points)]] for face in coarse])
        length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        longer.append(length[coded == 1].mean() - length[coded == 0].mean())
    assert len(longer) >= 4
    assert np.mean(longer) > 1
    assert np.mean(np.array(longer) > 0) > 0.7


def _parsed(text: str) -> AuTable:
    rows = [[int(cell) for cell in line.split(",")] for line in text.splitlines()[1:]]
    values = np.array(rows, np.int64)
    cells = np.where(values[:, 1:] == 9, AU_UNKNOWN, values[:, 1:]).astype(np.int8)
    return AuTable(au_numbers=UNITS, frame_numbers=values[:, 0], values=cells)


def test_landmarks_lie_on_the_scans_and_some_frames_have_none(tasks):
    without = 0
    for task in range(1, 9):
        meshes = frames(tasks / "F001" / f"T{task}")
        shift = 1 if min(meshes) == 0 else 0
        for number, path in meshes.items():
            place = tasks / "3DFeatures" / "BND" / f"F001_T{task}_{number + shift:04d}.bndplus"
            if not place.is_file():
                without += 1
                continue
            points = np.stack(list(read_landmarks(place).values()))
            assert points.shape == (83, 3)
            distance = KDTree(read_mesh(path).vertices).query(points)[0]
            assert np.median(distance) < 4
    assert without >= 1


def test_the_head_turns_more_than_in_a_posed_sequence(tasks):
    """The eyes' line turns in the scanner's frame."""
    turned = []
    for task in range(1, 9):
        places = sorted((tasks / "3DFeatures" / "BND").glob(f"F001_T{task}_*.bndplus"))
        yaws = []
        for place in places:
            points = np.stack(list(read_landmarks(place).values()))
            across = points[:8].mean(axis=0) - points[8:16].mean(axis=0)
            yaws.append(np.rad2deg(np.arctan2(across[2], across[0])))
        turned.append(np.ptp(yaws))
    assert max(turned) > 2


def test_the_whole_data_set_has_its_shares():
    names = {sequence.subject for sequence in plan_bp4d(Bp4dSettings(num_subjects=41))}
    assert {name for name in names if name.startswith("F")} == {f"F{n:03d}" for n in range(1, 24)}
    assert {name for name in names if name.startswith("M")} == {f"M{n:03d}" for n in range(1, 19)}


def test_an_interrupted_run_goes_on(tasks, tmp_path):
    root = tmp_path / "faces"
    shutil.copytree(tasks, root)
    shutil.rmtree(root / "F001" / "T2")
    (root / "AUCoding" / "F001_T2.csv").write_text("half")
    assert synthesize_bp4d(root, Bp4dSettings(**SMALL)) == 1
    again = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert again == {path.relative_to(tasks): path.read_bytes() for path in tasks.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "values", [{"num_subjects": 0}, {"num_frames": 4}, {"seed": -1}, {"texture_width": 5000}], ids=str
)
def test_settings_out_of_range(values):
    with pytest.raises(SettingsError, match=next(iter(values))):
        Bp4dSettings(**({"num_subjects": 2} | values))


def test_every_task_has_its_actions(tasks):
    index = index_data_set("bp4d", tasks)
    assert read_action_table(tasks / ACTIONS_NAME).keys() == {recording.sample_id for recording in index.recordings}
    assert all(recording.actions for recording in index.recordings)
