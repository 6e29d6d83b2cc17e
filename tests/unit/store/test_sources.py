"""What a store's hash covers, and what a later run notices of its sources."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from builders import image, write
from smilevlm.errors import StoreError
from smilevlm.geometry import Mesh, NormaliseSettings
from smilevlm.readers import write_ply
from smilevlm.store import FrameFile, Phases, PreparedSet, PrepareSettings, Recording, prepare, sample_of
from smilevlm.store.parts import content_digest, labels_digest
from smilevlm.store.sources import GONE, listings
from smilevlm.views import ViewSettings

RECORDING = Recording(
    sample_id="F1_smile",
    subject="F1",
    expression="happy",
    level=2,
    labels=("happy", "surprise"),
    condition="T1",
    frames=(FrameFile(path=Path("a/000.ply"), number=0), FrameFile(path=Path("a/001.ply"), number=1)),
    is_sequence=True,
    phases=Phases(onset=0, apex=1, offset=1),
)
CHANGES = {
    "sample_id": "F1_grin",
    "subject": "F2",
    "expression": "sad",
    "level": 3,
    "labels": ("happy",),
    "condition": "T2",
    "is_sequence": True,
    "phases": Phases(onset=0, apex=0, offset=1),
}


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "is_sequence"])
def test_every_label_is_in_the_digests(name):
    other = replace(RECORDING, **{name: CHANGES[name]})
    assert labels_digest(other) != labels_digest(RECORDING)
    assert content_digest(sample_of(other), other, []) != content_digest(sample_of(RECORDING), RECORDING, [])


def test_no_field_of_a_recording_is_forgotten():
    kept_apart = {"frames", "actions", "unjudged_actions"}
    assert {field.name for field in fields(Recording)} - kept_apart == set(CHANGES)
    assert labels_digest(replace(RECORDING, phases=None)) != labels_digest(RECORDING)


def test_the_place_of_the_files_is_no_label():
    moved = replace(RECORDING, frames=tuple(FrameFile(path=Path("b") / f.path, number=5) for f in RECORDING.frames))
    assert labels_digest(moved) == labels_digest(RECORDING)


@pytest.mark.parametrize("textures", [[], [""], ["b", "a"], ["a"], ["a", "c"]])
def test_other_textures_are_another_content(textures):
    sample = sample_of(RECORDING, digest="d")
    assert content_digest(sample, RECORDING, textures) != content_digest(sample, RECORDING, ["a", "b"])
    assert content_digest(replace(sample, digest="e"), RECORDING, ["a", "b"]) != content_digest(
        sample, RECORDING, ["a", "b"]
    )


# Listings of files.


@pytest.fixture
def folder(tmp_path) -> Path:
    """A mesh with material and picture, and a photograph beside it."""
    write(tmp_path, "scan.obj", "v 0 0 0\n")
    write(tmp_path, "scan.mtl", "map_Kd skin.bmp\n")
    write(tmp_path, "skin.BMP", image("BMP"))
    write(tmp_path, "photo.png", image("PNG"))
    write(tmp_path, "notes.txt", "x")
    return tmp_path


def listed(folder: Path, *, with_textures: bool = True) -> dict[str, str]:
    recording = Recording(
        sample_id="one", subject="F1", expression="happy", frames=(FrameFile(path=folder / "scan.obj"),)
    )
    return dict(listings([recording], with_textures=with_textures))


def repaint(path: Path) -> None:
    """Another picture of the same size in bytes."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: repaint(folder / "skin.BMP"),
        lambda folder: (folder / "skin.BMP").unlink(),
        lambda folder: write(folder, "scan.jpeg", image("JPEG")),
        lambda folder: write(folder, "scan.mtl", "map_Kd hair.bmp\n"),
        lambda folder: (folder / "skin.BMP").rename(folder / "hair.bmp"),
        lambda folder: write(folder, "skin.BMP", b""),
    ],
    ids=["repainted", "lost", "added", "material", "renamed", "emptied"],
)
def test_a_changed_texture_is_noticed_where_it_is_used(folder, change):
    before, plain = listed(folder), listed(folder, with_textures=False)
    change(folder)
    assert listed(folder) != before
    assert listed(folder, with_textures=False) == plain


def test_what_is_no_texture_is_not_listed(folder):
    before = listed(folder)
    write(folder, "notes.txt", "y")
    write(folder, "other.obj", "v 1 1 1\n")
    assert listed(folder) == before
    write(folder, "scan.obj", "v 0 0 0\n#\n")
    assert listed(folder) != before


def test_textures_in_an_archive(folder, tmp_path_factory):
    def packed(name: str) -> Path:
        path = tmp_path_factory.mktemp("archives") / name
        with zipfile.ZipFile(path, "w") as archive:
            for each in sorted(folder.iterdir()):
                archive.write(each, f"F1/{each.name}")
        return path / "F1"

    before = listed(packed("one.zip"))
    assert listed(packed("two.zip")) == before == listed(folder)
    repaint(folder / "skin.BMP")
    assert listed(packed("three.zip")) not in (before, {"one": GONE})


def test_a_lost_mesh_is_gone(folder):
    (folder / "scan.obj").unlink()
    assert listed(folder) == {"one": GONE}


# Whole stores.

SETTINGS = PrepareSettings(views=ViewSettings(size=16, angles_deg=(0.0,)), normalise=NormaliseSettings())
TEXTURED = replace(SETTINGS, views=replace(SETTINGS.views, kind="texture"))


def make_store(recordings, store: Path, settings: PrepareSettings = SETTINGS):
    return prepare(recordings, store, settings, layout="bu3dfe", synthetic=True)


@pytest.fixture(scope="module")
def scans(frontal_face, tmp_path_factory) -> Path:
    """A textured scan of each of two people: a PLY with texture coordinates and a BMP. Read only."""
    root = tmp_path_factory.mktemp("scans")
    corners = frontal_face.vertices[frontal_face.faces][..., :2]
    low, high = frontal_face.vertices[:, :2].min(axis=0), frontal_face.vertices[:, :2].max(axis=0)
    mesh = Mesh(vertices=frontal_face.vertices, faces=frontal_face.faces, uv=((corners - low) / (high - low)))
    for name in ("F1", "M1"):
        (root / name).mkdir()
        with (root / name / "scan.ply").open("wb") as file:
            write_ply(file, mesh, texture_name="scan.bmp")
        write(root / name, "scan.bmp", image("BMP", (64, 64)))
    return root


def recordings_of(root: Path) -> list[Recording]:
    return [
        Recording(
            sample_id=f"{name}_happy",
            subject=name,
            expression="happy",
            level=1,
            frames=(FrameFile(path=root / name / "scan.ply"),),
        )
        for name in ("F1", "M1")
    ]


def test_corrected_labels_are_another_store_and_are_not_mixed_with_the_old(scans, tmp_path):
    first = make_store(recordings_of(scans), tmp_path / "first").manifest
    again = make_store(recordings_of(scans), tmp_path / "again").manifest
    assert first.content_hash == again.content_hash
    mended = [replace(recording, expression="sad") for recording in recordings_of(scans)]
    before = {path: path.read_bytes() for path in (tmp_path / "first").rglob("*") if path.is_file()}
    with pytest.raises(StoreError, match=r"of F1, M1 changed .*\(other labels: F1_happy, M1_happy\); delete them"):
        make_store(mended, tmp_path / "first")
    assert {path: path.read_bytes() for path in (tmp_path / "first").rglob("*") if path.is_file()} == before
    other = make_store(mended, tmp_path / "mended").manifest
    assert other.content_hash != first.content_hash
    old, new = PreparedSet(tmp_path / "first"), PreparedSet(tmp_path / "mended")
    assert [sample.digest for sample in old.samples] == [sample.digest for sample in new.samples]
    np.testing.assert_array_equal(old.images(0), new.images(0))


def test_a_store_is_made_whole_again_after_its_changed_parts_were_deleted(scans, tmp_path):
    make_store(recordings_of(scans), tmp_path / "store")
    first, second = recordings_of(scans)
    mended = [first, replace(second, level=4)]
    with pytest.raises(StoreError, match=r"of M1 changed since .*M1 was prepared \(other labels: M1_happy\); delete"):
        make_store(mended, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "parts" / "M1")
    manifest = make_store(mended, tmp_path / "store").manifest
    assert manifest == make_store(mended, tmp_path / "new").manifest


def test_a_repainted_texture_is_another_store_where_it_is_shown(scans, tmp_path):
    faces = shutil.copytree(scans, tmp_path / "faces")
    shown = make_store(recordings_of(faces), tmp_path / "shown", TEXTURED).manifest
    plain = make_store(recordings_of(faces), tmp_path / "plain").manifest
    assert make_store(recordings_of(faces), tmp_path / "shown", TEXTURED).num_new == 0
    write(faces / "F1", "scan.bmp", bytes(b ^ 255 if i > 60 else b for i, b in enumerate(image("BMP", (64, 64)))))
    with pytest.raises(StoreError, match=r"scans of F1 changed since .*\(other files: F1_happy\)"):
        make_store(recordings_of(faces), tmp_path / "shown", TEXTURED)
    repainted = make_store(recordings_of(faces), tmp_path / "repainted", TEXTURED).manifest
    assert repainted.content_hash != shown.content_hash
    assert make_store(recordings_of(faces), tmp_path / "plain").num_new == 0
    assert make_store(recordings_of(faces), tmp_path / "plain again").manifest == plain


def test_a_recording_that_came_or_went_is_named(scans, tmp_path):
    first, second = recordings_of(scans)
    make_store([first, second], tmp_path / "store")
    with pytest.raises(StoreError, match=r"\(not there before: F1_sad\)"):
        make_store([first, replace(first, sample_id="F1_sad"), second], tmp_path / "store")
    with pytest.raises(StoreError, match=r"not there before: F1_sad; no longer in the data set or its protocol: F1_ha"):
        make_store([replace(first, sample_id="F1_sad"), second], tmp_path / "store")


@pytest.mark.parametrize("version", [None, 2, "3", 4])
def test_a_part_of_another_version_is_not_gone_on_with(scans, tmp_path, version):
    make_store(recordings_of(scans), tmp_path / "store")
    path = tmp_path / "store" / "parts" / "F1" / "part.json"
    values = json.loads(path.read_text())
    del values["format_version"]
    path.write_text(json.dumps(values if version is None else values | {"format_version": version}))
    with pytest.raises(StoreError, match=r"by another version of smilevlm.* choose another folder or delete it"):
        make_store(recordings_of(scans), tmp_path / "store")
