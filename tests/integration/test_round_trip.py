"""What is written comes back: every data set's layout synthesised, checked, read and prepared.

The writers' arguments are recorded in memory. Tolerances are those of the formats: VRML, `.bnd`, `.pse` and `.bndplus`
have six digits, `.lm2` and `.lm3` six decimals; OBJ has nine digits and `.bnt` has float64: every bit comes back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from recorder import Recorder, recording
from smilevlm.datasets import index_data_set
from smilevlm.datasets.check import check_data_set
from smilevlm.datasets.index import DataIndex
from smilevlm.dynamics import DynamicSettings, rank_pooling_coefficients
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.labels import MICRO_EXPRESSIONS, NEUTRAL, UNLABELLED
from smilevlm.readers import (
    ActionUnit,
    read_4dme_labels,
    read_au_table,
    read_landmarks,
    read_lm2,
    read_mesh,
    write_mesh,
)
from smilevlm.store import Phases, PreparedSet, PrepareSettings, prepare, read_frame
from smilevlm.synthesis.bosphorus import BosphorusSettings, synthesize_bosphorus
from smilevlm.synthesis.bosphorus_plan import plan_subject
from smilevlm.synthesis.bp4d import Bp4dSettings, plan_bp4d, synthesize_bp4d
from smilevlm.synthesis.bu3dfe import Bu3dfeSettings, subject_names, synthesize_bu3dfe
from smilevlm.synthesis.bu4dfe import Bu4dfeSettings, plan_bu4dfe, synthesize_bu4dfe
from smilevlm.synthesis.fourdme import LABELS, FourdmeSettings, plan_4dme, synthesize_4dme
from smilevlm.synthesis.range_camera import RangeCameraSettings
from smilevlm.synthesis.scan_setup import ScannerSettings
from smilevlm.views import ViewSettings, render_normalised

SIX_DIGITS = 5.1e-6
"""Half a unit of the sixth digit, at worst of 1.00000, and the rounding to float32."""
SCANNER = ScannerSettings(num_vertices=1500)
BU3DFE = Bu3dfeSettings(num_subjects=2, levels=(2, 4), texture_size=64, scanner=SCANNER)
BU4DFE = Bu4dfeSettings(num_subjects=2, num_frames=5, texture_width=64, scanner=SCANNER)
BOSPHORUS = BosphorusSettings(num_subjects=2, scanner=RangeCameraSettings(pitch_mm=3.0, texture_width=64))
BP4D = Bp4dSettings(num_subjects=2, num_frames=5, texture_width=64, scanner=SCANNER)
FOURDME = FourdmeSettings(num_subjects=2, clips_per_subject=2, texture_width=64, scanner=SCANNER)
NO_GRID = "bs000/bs000_E_FEAR_0.bnt"
"""Its header announces another grid than follows, so its points are joined anew."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a recording must say of itself; `numbers` are those of its frames."""

    subject: str
    expression: str
    level: int = 0
    labels: tuple[str, ...] = ()
    condition: str = ""
    phases: Phases | None = None
    numbers: tuple[int, ...] = (0,)
    is_sequence: bool = False


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a layout is written, and what must come back.

    Args:
        write: Given a root.
        plan: Every recording by its sample id.
        gaps: Where a complete check must find something missing.
        digits: Relative tolerance of coordinates; 0 where every bit comes back.
        landmark_digits: Tolerances of landmarks.
        without_landmarks: Meshes whose landmark file is missing on purpose.
        picture: Mean difference in grey levels that the pictures' compression may make.
        views: The same that the text's rounding may make in a prepared image. A pixel at the rim may be the darkest or
            brightest of a dynamic image, and then decides how all others are shown.
    """

    write: Callable[[Path], int]
    plan: Callable[[], Mapping[str, Planned]]
    gaps: tuple[str, ...] = ()
    digits: float = 0.0
    landmark_digits: Mapping[str, float] = field(default_factory=lambda: {"rtol": SIX_DIGITS})
    without_landmarks: tuple[str, ...] = ()
    picture: float = 0.0
    views: float = 0.001


def planned_bu3dfe() -> dict[str, Planned]:
    words = {"AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "SA": "sad", "SU": "surprise"}
    poses = [("NE", NEUTRAL, 0), *((code, word, level) for code, word in words.items() for level in BU3DFE.levels)]
    return {
        f"{name}_{code}{level:02d}": Planned(subject=name, expression=word, level=level)
        for name in subject_names(BU3DFE.num_subjects)
        for code, word, level in poses
    }


def planned_bu4dfe() -> dict[str, Planned]:
    return {
        f"{s.subject}_{s.word}": Planned(
            subject=s.subject,
            expression=s.word.lower(),
            numbers=tuple(n for n in range(s.num_frames) if n not in s.left_out),
            is_sequence=True,
        )
        for s in plan_bu4dfe(BU4DFE)
    }


def planned_bosphorus() -> dict[str, Planned]:
    words = {"ANGER": "angry", "DISGUST": "disgust", "FEAR": "fear", "HAPPY": "happy", "SADNESS": "sad",
             "SURPRISE": "surprise"}  # fmt: skip
    scans = [s for n in range(2) for s in plan_subject(n, seed=BOSPHORUS.seed, complete=True)]
    return {
        s.name: Planned(
            subject=s.subject,
            expression={"N": NEUTRAL, "E": words.get(s.code, "")}.get(s.kind, UNLABELLED),
            condition=f"{s.kind}_{s.code}",
        )
        for s in scans
    }


def planned_bp4d() -> dict[str, Planned]:
    words = ("happy", "sad", "surprise", "embarrassment", "fear", "pain", "angry", "disgust")
    return {
        s.name: Planned(
            subject=s.subject,
            expression=words[s.task - 1],
            condition=f"T{s.task}",
            numbers=tuple(s.first_number + n for n in range(s.num_frames) if n not in s.left_out),
            is_sequence=True,
        )
        for s in plan_bp4d(BP4D)
    }


def planned_4dme() -> dict[str, Planned]:
    planned = {}
    for clip in plan_4dme(FOURDME):
        labels = tuple(label for label in MICRO_EXPRESSIONS if label in clip.micro.labels)
        planned[clip.name] = Planned(
            subject=clip.subject,
            expression="+".join(labels),
            labels=labels,
            # Frames count from 1 on disk and in the workbook.
            phases=Phases(onset=clip.micro.onset + 1, apex=clip.micro.apex + 1, offset=clip.micro.offset + 1),
            numbers=tuple(range(1, clip.micro.num_frames + 1)),
            is_sequence=True,
        )
    return planned


LAYOUTS = {
    "bu3dfe": Layout(
        write=lambda root: synthesize_bu3dfe(root, BU3DFE), plan=planned_bu3dfe, digits=SIX_DIGITS, views=0.1
    ),
    "bu4dfe": Layout(
        write=lambda root: synthesize_bu4dfe(root, BU4DFE),
        plan=planned_bu4dfe,
        gaps=("F001/Angry", "F001/Disgust"),
        digits=SIX_DIGITS,
        views=2.0,
        picture=6.0,
    ),
    "bosphorus": Layout(
        write=lambda root: synthesize_bosphorus(root, BOSPHORUS),
        plan=planned_bosphorus,
        gaps=("bs001/bs001_YR_L90_0",),
        landmark_digits={"rtol": 1e-7, "atol": 6e-7},
        without_landmarks=("bs001/bs001_YR_L90_0.bnt",),
    ),
    "bp4d": Layout(write=lambda root: synthesize_bp4d(root, BP4D), plan=planned_bp4d, picture=6.0),
    "4dme": Layout(write=lambda root: synthesize_4dme(root, FOURDME), plan=planned_4dme, picture=6.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A layout on disk and what was written into it."""

    layout: str
    root: Path
    written: Recorder
    index: DataIndex

    @property
    def expected(self) -> Layout:
        return LAYOUTS[self.layout]


@pytest.fixture(scope="module", params=list(LAYOUTS))
def copy(request, tmp_path_factory) -> Copy:
    root = tmp_path_factory.mktemp("round_trip") / request.param
    with recording(root) as written:
        assert LAYOUTS[request.param].write(root) > 0
    return Copy(layout=request.param, root=root, written=written, index=index_data_set(request.param, root))


def test_the_check_finds_the_gaps_that_were_left_and_nothing_else(copy):
    report = check_data_set(copy.index)
    assert report.synthetic
    assert report.bad_files == ()
    assert sorted(problem.path for problem in report.problems) == sorted(copy.expected.gaps)
    planned = copy.expected.plan().values()
    assert report.recordings.found == len(planned)
    assert report.num_frames == sum(len(p.numbers) for p in planned)


def test_every_label_comes_back(copy):
    found = {
        # A BU-3DFE name ends with the person's ethnicity, which no plan holds.
        r.sample_id[:10] if copy.layout == "bu3dfe" else r.sample_id: Planned(
            subject=r.subject,
            expression=r.expression,
            level=r.level,
            labels=r.labels,
            condition=r.condition,
            phases=r.phases,
            numbers=tuple(frame.number for frame in r.frames),
            is_sequence=r.is_sequence,
        )
        for r in copy.index.recordings
    }
    assert found == copy.expected.plan()


def test_every_frame_comes_back(copy):
    written, expected = copy.written, copy.expected
    frames = [frame for r in copy.index.recordings for frame in r.frames]
    assert {written.key(frame.path) for frame in frames} == {k for k in written.meshes if not k.endswith("_RAW.wrl")}
    for frame in frames:
        key = written.key(frame.path)
        mesh = read_frame(frame, load_texture=True, load_landmarks=True).mesh
        assert_same_surface(mesh, written.meshes[key], key, expected.digits)
        landmarks = {} if key in expected.without_landmarks else written.landmarks.get(key, {})
        assert mesh.landmarks.keys() == landmarks.keys(), key
        for name, point in landmarks.items():
            np.testing.assert_allclose(mesh.landmarks[name], point, **expected.landmark_digits, err_msg=key)
        picture = written.pictures.get(key.rsplit(".", 1)[0])
        assert (mesh.texture is None) == (picture is None), key
        if picture is not None:
            assert np.abs(mesh.texture.astype(int) - picture).mean() <= expected.picture, key


def assert_same_surface(mesh: Mesh, written: Mesh, key: str, digits: float) -> None:
    np.testing.assert_allclose(mesh.vertices, written.vertices, rtol=digits, err_msg=key)
    if key == NO_GRID:
        return
    np.testing.assert_array_equal(mesh.faces, written.faces, err_msg=key)
    np.testing.assert_allclose(mesh.uv, written.uv, rtol=digits, err_msg=key)


@pytest.mark.parametrize("kind", ["geometry", "texture"])
def test_prepared_views_are_those_of_the_faces_in_memory(copy, kind, tmp_path):
    if kind == "texture" and copy.expected.picture:
        pytest.skip("JPEG changes the pictures")
    settings = PrepareSettings(
        views=ViewSettings(size=48, kind=kind),
        normalise=NormaliseSettings(),
        dynamics=DynamicSettings(num_frames=None, scale="minmax"),
    )
    # The colours of some say what there is to say; shapes are compared in all.
    recordings = copy.index.recordings[:: 4 if kind == "texture" else 1]
    prepare(recordings, tmp_path / "store", settings, layout=copy.layout, synthetic=True)
    store = PreparedSet(tmp_path / "store")
    assert store.manifest.bad_frames == ()
    samples = {sample.sample_id: sample for sample in store.samples}
    in_memory = {}
    for r in recordings:
        views = [rendered(copy.written, copy.written.key(frame.path), settings) for frame in r.frames]
        if all(view is not None for view in views):
            in_memory[r.sample_id] = pooled(np.stack(views)) if r.is_sequence else views[0]
            sample = samples[r.sample_id]
            assert (sample.subject, sample.expression, sample.level) == (r.subject, r.expression, r.level)
            assert (sample.labels, sample.condition) == (r.labels or (r.expression,), r.condition)
    # What is turned too far to be found in a file is not found in memory either.
    assert in_memory.keys() == samples.keys()
    expected = np.stack([in_memory[name] for name in samples]).astype(np.float32)
    for index, name in enumerate(samples):
        difference = np.abs(expected - store.images(index)).mean(axis=(1, 2, 3, 4))
        assert difference.argmin() == index, name
        # Points joined anew make another, equally good, surface.
        assert difference[index] <= (6.0 if name in NO_GRID else copy.expected.views), name


def rendered(written: Recorder, key: str, settings: PrepareSettings) -> np.ndarray | None:
    """The views of what was written, from memory; None when no face is found in it."""
    mesh = replace(written.meshes[key], texture=written.pictures.get(key.rsplit(".", 1)[0]))
    try:
        return render_normalised(normalise(mesh, settings.normalise).mesh, settings.views)
    except MeshError:
        return None


def pooled(frames: np.ndarray) -> np.ndarray:
    """The dynamic image of (time, view, height, width, 3), by the definitions.

    A pixel without surface shows what it showed last, or else what it will show first; a view fills a byte's range.
    """
    for before, now in itertools.pairwise(frames):
        now[~now.any(axis=-1)] = before[~now.any(axis=-1)]
    for now, after in itertools.pairwise(frames[::-1]):
        after[~after.any(axis=-1)] = now[~after.any(axis=-1)]
    dynamic = np.tensordot(rank_pooling_coefficients(len(frames)), frames.astype(np.float64), axes=1)
    low, high = (find(dynamic, axis=(1, 2, 3), keepdims=True) for find in (np.min, np.max))
    return np.rint(255 * (dynamic - low) / (high - low))


def test_raw_scans_and_their_poses_come_back(tmp_path):
    with recording(tmp_path / "set") as written:
        synthesize_bu3dfe(tmp_path / "set", replace(BU3DFE, num_subjects=1, levels=(4,)))
    raw = [key for key in written.meshes if key.endswith("_RAW.wrl")]
    assert len(raw) == 7
    for key in raw:
        path = tmp_path / "set" / key
        mesh = read_mesh(path)
        assert_same_surface(mesh, written.meshes[key], key, SIX_DIGITS)
        np.testing.assert_array_equal(mesh.texture, written.pictures[key.replace("_RAW.wrl", "_F3D")])
        found = read_landmarks(path.with_suffix(".pse"))
        assert found.keys() == written.landmarks[key].keys()
        for name, point in written.landmarks[key].items():
            np.testing.assert_allclose(found[name], point, rtol=SIX_DIGITS)


def test_what_lies_beside_the_meshes_comes_back(copy):
    """Bosphorus' landmarks in the picture, BP4D's tables of action units, the action units of 4DME's workbook."""
    for key, pixels in copy.written.pixels.items():
        found = read_lm2(copy.root / key)
        assert found.keys() == pixels.keys()
        for label, pixel in pixels.items():
            np.testing.assert_allclose(found[label], pixel, rtol=1e-7, atol=6e-7)
    tables = sorted((copy.root / "AUCoding").glob("*.csv")) if copy.layout == "bp4d" else []
    assert len(tables) == len(copy.written.au_tables)
    for path, table in zip(tables, copy.written.au_tables, strict=True):
        found = read_au_table(path)
        assert found.au_numbers == table.au_numbers
        np.testing.assert_array_equal(found.frame_numbers, table.frame_numbers)
        np.testing.assert_array_equal(found.values, table.values)
    if copy.layout == "4dme":
        for clip, row in zip(plan_4dme(FOURDME), read_4dme_labels(copy.root / LABELS).clips, strict=True):
            blink = (ActionUnit(number=45),) if clip.micro.blinks else ()
            assert row.action_units == (*clip.micro.units, *blink)


# --- any folder ---------------------------------------------------------------------------------------------------


def test_a_folder_of_any_formats_comes_back(frontal_faces, tmp_path):
    root = tmp_path / "folder"
    happy, surprise = (textured(frontal_faces[name]) for name in ("happy", "surprise"))
    written = {
        "anna/happy/scan.obj": happy,
        "anna/surprise/scan.ply": surprise,
        "ben/happy/scan.stl": Mesh(vertices=happy.vertices, faces=happy.faces),
        **{f"ben/surprise/{number:03d}.off": replace(surprise, uv=None) for number in (7, 8, 10, 11, 12, 13)},
    }
    for name, mesh in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_mesh(mesh, root / name)
    index = index_data_set("folder", root)
    assert check_data_set(index).is_clean
    assert [(r.sample_id, r.subject, r.expression, r.is_sequence) for r in index.recordings] == [
        ("anna_happy", "anna", "happy", False),
        ("anna_surprise", "anna", "surprise", False),
        ("ben_happy", "ben", "happy", False),
        ("ben_surprise", "ben", "surprise", True),
    ]
    assert [frame.number for frame in index.recordings[3].frames] == [7, 8, 10, 11, 12, 13]
    for frame in (frame for r in index.recordings for frame in r.frames):
        mesh, expected = read_frame(frame).mesh, written[frame.path.relative_to(root).as_posix()]
        # STL knows triangles, not which of them share a vertex.
        np.testing.assert_array_equal(mesh.vertices[mesh.faces], expected.vertices[expected.faces])
        if frame.path.suffix != ".stl":
            np.testing.assert_array_equal(mesh.vertices, expected.vertices)
            np.testing.assert_array_equal(mesh.faces, expected.faces)
            np.testing.assert_array_equal(mesh.vertex_colors, expected.vertex_colors)
        assert (mesh.uv is None) == (expected.uv is None)
        if mesh.uv is not None:
            np.testing.assert_array_equal(mesh.uv, expected.uv)


def textured(mesh: Mesh) -> Mesh:
    """The same face with colours and texture coordinates."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    place = (mesh.vertices - low) / (high - low)
    return replace(mesh, uv=place[mesh.faces][..., :2], vertex_colors=(place * 255).astype(np.uint8))
