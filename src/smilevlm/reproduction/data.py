"""The prepared sets of a study: those that are given, and synthetic replicas of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
_VIEW_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class SyntheticReplica:
    """Synthetic faces in the place of a licensed data set.

    Args:
        description: For the report.
        writer: Gives the settings and the function that writes what of the faces is missing; called when it is needed,
            since it loads the head model.
    """

    description: str
    writer: Callable[[], tuple[object, Callable[..., object]]]


def _bu3dfe() -> tuple[object, Callable[..., object]]:
    from smilevlm.synthesis import Bu3dfeSettings, synthesize_bu3dfe

    settings = Bu3dfeSettings(num_subjects=100, seed=1, texture_size=128, complete=False)
    return replace(settings, scanner=replace(settings.scanner, num_vertices=4000)), synthesize_bu3dfe


def _bosphorus() -> tuple[object, Callable[..., object]]:
    from smilevlm.synthesis import BosphorusSettings, range_image_pitch, synthesize_bosphorus

    settings = BosphorusSettings(num_subjects=105, seed=1, complete=False)
    return replace(
        settings, scanner=replace(settings.scanner, pitch_mm=range_image_pitch(4000), texture_width=64)
    ), synthesize_bosphorus


def _bu4dfe() -> tuple[object, Callable[..., object]]:
    from smilevlm.synthesis import Bu4dfeSettings, synthesize_bu4dfe

    settings = Bu4dfeSettings(num_subjects=40, seed=7, num_frames=24, texture_width=64, landmarks=False)
    return replace(settings, scanner=replace(settings.scanner, num_vertices=4000)), synthesize_bu4dfe


def _bp4d() -> tuple[object, Callable[..., object]]:
    from smilevlm.synthesis import Bp4dSettings, synthesize_bp4d

    settings = Bp4dSettings(num_subjects=24, seed=2, num_frames=16, texture_width=32)
    return replace(settings, scanner=replace(settings.scanner, num_vertices=3000)), synthesize_bp4d


def _4dme() -> tuple[object, Callable[..., object]]:
    from smilevlm.synthesis import FourdmeSettings, synthesize_4dme

    settings = FourdmeSettings(num_subjects=24, seed=2, clips_per_subject=8, texture_width=32)
    return replace(settings, scanner=replace(settings.scanner, num_vertices=3000)), synthesize_4dme


REPLICAS: dict[str, SyntheticReplica] = {
    "bu3dfe": SyntheticReplica(description="seed 1, neutral and six expressions at four intensities", writer=_bu3dfe),
    "bosphorus": SyntheticReplica(description="seed 1, expressions alone", writer=_bosphorus),
    "bu4dfe": SyntheticReplica(description="seed 7, six sequences each", writer=_bu4dfe),
    "bp4d": SyntheticReplica(description="seed 2, eight tasks each", writer=_bp4d),
    "4dme": SyntheticReplica(description="seed 2, eight micro-expressions each", writer=_4dme),
}
"""By the name of the data set, which is its layout's."""


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


def make_replica(name: str, out: Path, jobs: int, progress: Progress) -> StudyData:
    """Write and prepare a synthetic replica, or what of it is missing; a complete one is taken as it is.

    Args:
        name: Key of `REPLICAS`.
        out: The study's folder.
        jobs: Processes.
        progress: Called with (done, total) while faces are written, then again while they are prepared.

    Raises:
        StoreError: The folder holds another set.
    """
    replica = REPLICAS[name]
    folder = out / DATA_NAME / name
    faces, store = folder / "faces", folder / "store"
    if not (store / MANIFEST_NAME).is_file():
        settings, write = replica.writer()
        write(faces, settings, jobs=jobs, progress=progress)
        _prepare(name, faces, store, ViewSettings(size=_VIEW_SIZE), jobs=jobs, progress=progress)
    manifest = read_manifest(store)
    if not manifest.synthetic or manifest.layout != name:
        raise StoreError(f"{store} holds no synthetic {name}; choose another folder for the study")
    description = f"{len(manifest.subjects)} synthetic people, {replica.description}"
    return StudyData(store=store, faces=faces, description=description)


def make_yaw_store(data: StudyData, out: Path, jobs: int, progress: Progress) -> Path | None:
    """Prepare the scans of BU-3DFE Subset I from more sides; None where the scans are not at hand."""
    if data.faces is None:
        return None
    store = out / DATA_NAME / YAW_DATA / "store"
    if not (store / MANIFEST_NAME).is_file():
        views = ViewSettings(size=_VIEW_SIZE, angles_deg=YAW_ANGLES_DEG)
        _prepare("bu3dfe", data.faces, store, views, protocol=YAW_PROTOCOL, jobs=jobs, progress=progress)
    return store


def _prepare(
    layout: str,
    faces: Path,
    store: Path,
    views: ViewSettings,
    *,
    protocol: str | None = None,
    jobs: int,
    progress: Progress,
) -> None:
    index = index_data_set(layout, faces)
    recordings = list(index.recordings)
    if protocol is not None:
        chosen = find_protocol(protocol).select([sample_of(recording) for recording in recordings])
        recordings = [recordings[i] for i in chosen]
    settings = PrepareSettings(views=views, normalise=NormaliseSettings())
    prepare(recordings, store, settings, layout=index.layout, synthetic=index.synthetic, jobs=jobs, progress=progress)
