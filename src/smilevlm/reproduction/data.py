"""The prepared sets of a study: those that are given, and synthetic twins of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smilevlm.datasets import find_protocol, index_data_set
from smilevlm.errors import StoreError
from smilevlm.geometry import NormaliseSettings
from smilevlm.store import MANIFEST_NAME, PreparedSet, PrepareSettings, prepare, read_manifest, sample_of
from smilevlm.views import ViewSettings

Progress = Callable[[int, int], None]
DATA_NAME = "data"
YAW_DATA = "bu3dfe_yaw"
"""The same scans from more sides, to measure what turned heads cost."""
YAW_ANGLES_DEG = (-75.0, -60.0, -45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0, 60.0, 75.0)
YAW_PROTOCOL = "bu3dfe_subset1"


@dataclass(frozen=True, kw_only=True)
class Twin:
    """Synthetic faces in the place of a licensed data set.

    Args:
        layout: Of the data set.
        description: For the report.
        write: Writes the faces, or what of them is missing: (folder, processes, progress).
    """

    layout: str
    description: str
    write: Callable[[Path, int, Progress], object]


def _write_bu3dfe(out: Path, jobs: int, progress: Progress) -> object:
    from smilevlm.synthesis.bu3dfe import Bu3dfeSettings, synthesize_bu3dfe
    from smilevlm.synthesis.scanner import ScannerSettings

    settings = Bu3dfeSettings(
        num_subjects=100, seed=1, texture_size=128, complete=False, scanner=ScannerSettings(num_vertices=4000)
    )
    return synthesize_bu3dfe(out, settings, jobs=jobs, progress=progress)


def _write_bosphorus(out: Path, jobs: int, progress: Progress) -> object:
    from dataclasses import replace

    from smilevlm.synthesis.bosphorus import BosphorusSettings, synthesize_bosphorus
    from smilevlm.synthesis.range_camera import pitch_for

    settings = BosphorusSettings(num_subjects=105, seed=1, complete=False)
    scanner = replace(settings.scanner, pitch_mm=pitch_for(4000), texture_width=64)
    return synthesize_bosphorus(out, replace(settings, scanner=scanner), jobs=jobs, progress=progress)


def _write_bu4dfe(out: Path, jobs: int, progress: Progress) -> object:
    from dataclasses import replace

    from smilevlm.synthesis.bu4dfe import Bu4dfeSettings, synthesize_bu4dfe

    settings = Bu4dfeSettings(num_subjects=40, seed=7, num_frames=24, texture_width=64, landmarks=False)
    settings = replace(settings, scanner=replace(settings.scanner, num_vertices=4000))
    return synthesize_bu4dfe(out, settings, jobs=jobs, progress=progress)


def _write_bp4d(out: Path, jobs: int, progress: Progress) -> object:
    from dataclasses import replace

    from smilevlm.synthesis.bp4d import Bp4dSettings, synthesize_bp4d

    settings = Bp4dSettings(num_subjects=24, seed=2, num_frames=16, texture_width=32)
    settings = replace(settings, scanner=replace(settings.scanner, num_vertices=3000))
    return synthesize_bp4d(out, settings, jobs=jobs, progress=progress)


def _write_4dme(out: Path, jobs: int, progress: Progress) -> object:
    from dataclasses import replace

    from smilevlm.synthesis.fourdme import FourdmeSettings, synthesize_4dme

    settings = FourdmeSettings(num_subjects=24, seed=2, clips_per_subject=8, texture_width=32)
    settings = replace(settings, scanner=replace(settings.scanner, num_vertices=3000))
    return synthesize_4dme(out, settings, jobs=jobs, progress=progress)


TWINS: dict[str, Twin] = {
    "bu3dfe": Twin(
        layout="bu3dfe",
        description="seed 1, neutral and six expressions at four intensities",
        write=_write_bu3dfe,
    ),
    "bosphorus": Twin(layout="bosphorus", description="seed 1, expressions alone", write=_write_bosphorus),
    "bu4dfe": Twin(layout="bu4dfe", description="seed 7, six sequences each", write=_write_bu4dfe),
    "bp4d": Twin(layout="bp4d", description="seed 2, eight tasks each", write=_write_bp4d),
    "4dme": Twin(layout="4dme", description="seed 2, eight micro-expressions each", write=_write_4dme),
}


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """One prepared set.

    Args:
        store: The set.
        faces: The scans it was made from, where they are known.
        description: Where it comes from.
    """

    store: Path
    faces: Path | None
    description: str


def given_data(store: Path) -> StudyData:
    """A prepared set that the user has.

    Raises:
        StoreError: It is unfinished or damaged.
    """
    manifest = PreparedSet(store).manifest
    faces = "synthetic faces" if manifest.synthetic else "scans of people"
    return StudyData(
        store=store, faces=None, description=f"{store}: {faces}, {len(manifest.subjects)} subjects of {manifest.layout}"
    )


def make_twin(name: str, out: Path, jobs: int, progress: Progress) -> StudyData:
    """Write and prepare a synthetic twin, or what of it is missing; a complete one is taken as it is.

    Args:
        name: Key of `TWINS`.
        out: The study's folder.
        jobs: Processes.
        progress: Called with (done, total) while faces are written, then again while they are prepared.

    Raises:
        StoreError: The folder holds another set.
    """
    twin = TWINS[name]
    folder = out / DATA_NAME / name
    faces, store = folder / "faces", folder / "store"
    if not (store / MANIFEST_NAME).is_file():
        twin.write(faces, jobs, progress)
        _prepare(twin.layout, faces, store, (-30.0, 0.0, 30.0), None, jobs, progress)
    manifest = read_manifest(store)
    if not manifest.synthetic or manifest.layout != twin.layout:
        raise StoreError(f"{store} holds no synthetic {twin.layout}; choose another folder for the study")
    description = f"{len(manifest.subjects)} synthetic people, {twin.description}"
    return StudyData(store=store, faces=faces, description=description)


def make_yaw_store(data: StudyData, out: Path, jobs: int, progress: Progress) -> Path | None:
    """Prepare the scans of BU-3DFE Subset I from more sides; None where the scans are not at hand."""
    if data.faces is None:
        return None
    store = out / DATA_NAME / YAW_DATA / "store"
    if not (store / MANIFEST_NAME).is_file():
        _prepare("bu3dfe", data.faces, store, YAW_ANGLES_DEG, YAW_PROTOCOL, jobs, progress)
    return store


def _prepare(
    layout: str,
    faces: Path,
    store: Path,
    angles_deg: tuple[float, ...],
    protocol: str | None,
    jobs: int,
    progress: Progress,
) -> None:
    index = index_data_set(layout, faces)
    recordings = list(index.recordings)
    if protocol is not None:
        chosen = find_protocol(protocol).select([sample_of(recording) for recording in recordings])
        recordings = [recordings[i] for i in chosen]
    settings = PrepareSettings(views=ViewSettings(size=64, angles_deg=angles_deg), normalise=NormaliseSettings())
    prepare(recordings, store, settings, layout=index.layout, synthetic=index.synthetic, jobs=jobs, progress=progress)
