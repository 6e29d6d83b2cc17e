from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from smilevlm.datasets import index_data_set
from smilevlm.errors import MeshError, SettingsError, StoreError
from smilevlm.geometry import NormaliseSettings, normalise
from smilevlm.store import (
    FrameFile,
    PreparedSet,
    PrepareSettings,
    Recording,
    prepare,
    read_frame,
    read_manifest,
    sample_of,
)
from smilevlm.store.manifest import MANIFEST_NAME, Remark, prepare_settings_from
from smilevlm.store.parts import PartInfo, pack, read_part_info, write_part
from smilevlm.views import ViewSettings, render_normalised


def recordings_of(faces: Path) -> tuple[Recording, ...]:
    return index_data_set("bu3dfe", faces).recordings


def run(faces: Path, store: Path, settings: PrepareSettings, **changes):
    return prepare(recordings_of(faces), store, settings, **({"layout": "bu3dfe", "synthetic": True} | changes))


def content(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


@pytest.fixture
def faces(synthetic_faces, tmp_path) -> Path:
    """A copy that a test may damage; only what `prepare` reads."""
    root = tmp_path / "faces"
    for path in synthetic_faces.rglob("*"):
        if path.name.endswith(("F3D.wrl", "F3D.bnd", "json")):
            target = root / path.relative_to(synthetic_faces)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return root


@pytest.fixture
def store(prepared_store, tmp_path) -> Path:
    return Path(shutil.copytree(prepared_store, tmp_path / "store"))


def test_images_come_back_as_they_were_rendered(synthetic_faces, prepared_store, small_store_settings):
    prepared = PreparedSet(prepared_store)
    records = recordings_of(synthetic_faces)
    assert len(prepared) == len(records) == 14
    for index in (0, 5, 13):
        face = normalise(read_frame(records[index].frames[0]).mesh, small_store_settings.normalise)
        expected = render_normalised(face.mesh, small_store_settings.views)
        assert expected.shape == (3, 48, 48, 3)
        np.testing.assert_array_equal(prepared.images(index), expected)
    together = prepared.load_images([13, 0, 13])
    assert together.dtype == np.uint8
    for row, index in zip(together, (13, 0, 13), strict=True):
        np.testing.assert_array_equal(row, prepared.images(index))


def test_samples_are_the_records_in_order(synthetic_faces, prepared_store):
    prepared = PreparedSet(prepared_store)
    expected = [(r.sample_id, r.subject, r.expression, r.level) for r in recordings_of(synthetic_faces)]
    assert [(s.sample_id, s.subject, s.expression, s.level) for s in prepared.samples] == expected


def test_the_manifest_says_what_is_there(prepared_store, small_store_settings):
    manifest = read_manifest(prepared_store)
    assert manifest.settings == small_store_settings
    assert (manifest.layout, manifest.synthetic) == ("bu3dfe", True)
    assert (manifest.subjects, manifest.num_samples, manifest.skipped) == (("F0001", "M0001"), 14, ())
    raw = json.loads((prepared_store / MANIFEST_NAME).read_text())
    assert raw["settings_digest"] == small_store_settings.digest
    assert len(raw["content_hash"]) == 64


def test_no_seam_of_the_machine_is_in_the_store(prepared_store, tmp_path, synthetic_faces):
    """Made elsewhere from the same files it has the same bytes, so no path and no time may be in it."""
    for data in content(prepared_store).values():
        assert str(prepared_store.parent).encode() not in data
        assert str(synthetic_faces).encode() not in data


def test_bad_scans_are_listed_with_their_reason_and_counted(faces, tmp_path, small_store_settings):
    shutil.rmtree(faces / "M0001")
    records = recordings_of(faces)
    broken, no_face, gone = records[1].path, records[3].path, records[5].path
    broken.write_bytes(broken.read_bytes()[:4000])
    no_face.write_text(
        "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet { coord Coordinate { point [0 0 0, 1 0 0, 0 1 0] }"
        " coordIndex [0 1 2 -1] } }\n"
    )
    gone.write_bytes(b"")
    # A broken landmark file costs no scan: views are made without landmarks.
    records[0].path.with_suffix(".bnd").write_text("1 2 3\n")
    outcome = run(faces, tmp_path / "store", small_store_settings)
    manifest = outcome.manifest
    assert outcome.num_new == 7
    assert manifest.num_samples == 4
    skipped = {scan.sample_id: scan for scan in manifest.skipped}
    assert set(skipped) == {records[k].sample_id for k in (1, 3, 5)}
    assert skipped[records[3].sample_id].reason == "a face needs at least 100 vertices; the mesh has 3"
    for index in (1, 3, 5):
        assert skipped[records[index].sample_id].path == records[index].path.name
        assert skipped[records[index].sample_id].reason
        assert str(faces) not in skipped[records[index].sample_id].reason
    prepared = PreparedSet(tmp_path / "store")
    assert [s.sample_id for s in prepared.samples] == [records[k].sample_id for k in (0, 2, 4, 6)]
    assert read_manifest(tmp_path / "store") == manifest
    # A second run finds everything there, the skipped ones included.
    assert run(faces, tmp_path / "store", small_store_settings).num_new == 0


def test_a_subject_without_any_good_scan_does_not_end_the_run(faces, tmp_path, small_store_settings):
    for path in (faces / "M0001").glob("*.wrl"):
        path.write_bytes(b"#VRML V2.0 utf8\n")
    manifest = run(faces, tmp_path / "store", small_store_settings).manifest
    assert manifest.subjects == ("F0001",)
    assert len(manifest.skipped) == manifest.num_samples == 7
    assert len(PreparedSet(tmp_path / "store")) == 7


def test_no_good_scan_at_all(faces, tmp_path, small_store_settings):
    shutil.rmtree(faces / "M0001")
    for path in faces.rglob("*.wrl"):
        path.write_bytes(b"#VRML V2.0 utf8\n")
    with pytest.raises(StoreError, match=r"none of the 7 scans could be prepared; the first reason: F0001_AN04.*wrl: "):
        run(faces, tmp_path / "store", small_store_settings)
    with pytest.raises(StoreError, match="no finished store"):
        PreparedSet(tmp_path / "store")


def test_nothing_to_prepare(tmp_path, small_store_settings):
    with pytest.raises(StoreError, match="no scan to prepare"):
        prepare([], tmp_path, small_store_settings, layout="x", synthetic=True)


def test_a_missing_part_is_made_again_with_the_same_bytes(synthetic_faces, store, prepared_store, small_store_settings):
    shutil.rmtree(store / "parts" / "M0001")
    (store / "parts" / ".M0001.part").mkdir()
    (store / "parts" / ".M0001.part" / "views.arrow").write_bytes(b"half")
    seen: list[tuple[int, int]] = []
    outcome = run(synthetic_faces, store, small_store_settings, progress=lambda *counts: seen.append(counts))
    assert outcome.num_new == 7
    assert seen == [(7, 14), (14, 14)]
    assert content(store) == content(prepared_store)


@pytest.mark.parametrize("name", ["manifest.json", "overview.png"])
def test_what_a_kill_left_of_a_file_of_the_store_is_removed(
    synthetic_faces, store, prepared_store, small_store_settings, name
):
    (store / f".{name}.0123456789abcdef.part").write_bytes(b"half")
    run(synthetic_faces, store, small_store_settings)
    assert content(store) == content(prepared_store)


def test_a_finished_store_is_left_alone(synthetic_faces, store, prepared_store, small_store_settings):
    assert run(synthetic_faces, store, small_store_settings).num_new == 0
    assert content(store) == content(prepared_store)


@pytest.mark.slow
def test_two_processes_give_the_same_store(synthetic_faces, tmp_path, prepared_store, small_store_settings):
    run(synthetic_faces, tmp_path / "two", small_store_settings, jobs=2)
    assert content(tmp_path / "two") == content(prepared_store)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, views=replace(s.views, size=32)),
        lambda s: replace(s, views=replace(s.views, angles_deg=(-20.0, 0.0, 20.0))),
        lambda s: replace(s, normalise=replace(s.normalise, correct_pose=False)),
    ],
)
def test_other_settings_are_refused(synthetic_faces, store, prepared_store, small_store_settings, change):
    other = change(small_store_settings)
    assert other.digest != small_store_settings.digest
    with pytest.raises(StoreError, match="prepared with other settings; choose another folder or delete it"):
        run(synthetic_faces, store, other)
    assert content(store) == content(prepared_store)


def test_a_changed_source_is_refused(faces, store, small_store_settings):
    scan = next((faces / "F0001").glob("*.wrl"))
    scan.write_bytes(scan.read_bytes() + b"# a comment\n")
    with pytest.raises(StoreError, match=r"the scans of F0001 changed since .* delete it and try again"):
        run(faces, store, small_store_settings)


@pytest.mark.parametrize("change", [{"expression": "fear"}, {"labels": ("fear", "sad")}, {"level": 7}])
def test_a_mended_label_is_noticed(synthetic_faces, store, small_store_settings, change):
    recordings = list(recordings_of(synthetic_faces))
    recordings[0] = replace(recordings[0], **change)
    with pytest.raises(StoreError, match=r"the scans of F0001 changed since .*labels"):
        prepare(recordings, store, small_store_settings, layout="bu3dfe", synthetic=True)


def test_a_lost_and_an_added_scan_are_refused(faces, store, small_store_settings):
    scan = next((faces / "M0001").glob("*_SU*.wrl"))
    scan.unlink()
    with pytest.raises(StoreError, match="the scans of M0001 changed"):
        run(faces, store, small_store_settings)


def test_another_data_set_is_refused(faces, store, small_store_settings):
    shutil.rmtree(faces / "M0001")
    with pytest.raises(StoreError, match="holds M0001, which is not in the data set given"):
        run(faces, store, small_store_settings)


def test_a_skipped_scan_that_was_mended_is_noticed(faces, tmp_path, small_store_settings):
    shutil.rmtree(faces / "M0001")
    scan = next((faces / "F0001").glob("*_SU*.wrl"))
    good = scan.read_bytes()
    scan.write_bytes(good[:4000])
    assert len(run(faces, tmp_path / "store", small_store_settings).manifest.skipped) == 1
    scan.write_bytes(good)
    with pytest.raises(StoreError, match="the scans of F0001 changed"):
        run(faces, tmp_path / "store", small_store_settings)


def test_an_unfinished_store_says_how_to_finish_it(store, tmp_path):
    (store / MANIFEST_NAME).unlink()
    for folder in (store, tmp_path / "nowhere"):
        with pytest.raises(StoreError, match=r"no finished store: manifest.json is missing; run `smilevlm prepare`"):
            PreparedSet(folder)


def test_a_missing_part_says_how_to_make_it(store):
    shutil.rmtree(store / "parts" / "M0001")
    with pytest.raises(StoreError, match=r"M0001.views.arrow is missing; run `smilevlm prepare` again"):
        PreparedSet(store)


def edit(store: Path, change) -> None:
    path = store / MANIFEST_NAME
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["settings"]["views"].update(size=96), "do not match their digest; the file was edited"),
        (lambda v: v["settings"]["normalise"].update(crop_radius_mm=90.0), "do not match their digest"),
        (lambda v: v.update(settings_digest="0" * 64), "do not match their digest"),
        (lambda v: v.update(format_version=99), "format version 99, expected 3"),
        (lambda v: v.pop("content_hash"), "content_hash"),
        (lambda v: v["settings"]["views"].update(colour="red"), "field missing or of the wrong kind"),
        (lambda v: v.update(skipped=[{"who": "me"}]), "field missing or of the wrong kind"),
        (lambda v: v.update(num_samples=15), "holds 14 samples, its manifest says 15"),
        (lambda v: v.update(parts=["F0001"]), "holds 7 samples, its manifest says 14"),
    ],
)
def test_an_edited_manifest_is_refused(store, change, message):
    edit(store, change)
    with pytest.raises(StoreError, match=message):
        PreparedSet(store)


@pytest.mark.parametrize("text", ["", "{half", "\x00\xff"])
def test_a_damaged_manifest(store, text):
    (store / MANIFEST_NAME).write_text(text)
    with pytest.raises(StoreError, match=r"manifest.json cannot be read"):
        PreparedSet(store)


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_a_manifest_that_is_no_mapping(store, text):
    (store / MANIFEST_NAME).write_text(text)
    with pytest.raises(StoreError, match=r"manifest.json"):
        PreparedSet(store)


@pytest.mark.parametrize("cut", [0, 10, 4000, -1500])
def test_a_truncated_part_is_a_store_error(store, cut):
    path = store / "parts" / "M0001" / "views.arrow"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StoreError, match="M0001"):
        PreparedSet(store)


@pytest.mark.parametrize("text", ["", "[]", '{"subject": "M0001"}', "null"])
def test_a_damaged_part_info_is_a_store_error(synthetic_faces, store, small_store_settings, text):
    (store / "parts" / "M0001" / "part.json").write_text(text)
    with pytest.raises(StoreError, match=r"part\.json is damaged"):
        run(synthetic_faces, store, small_store_settings)


def test_a_failing_writer_leaves_no_half_part(synthetic_faces, tmp_path, monkeypatch):
    sample = sample_of(recordings_of(synthetic_faces)[0], digest="0" * 64)
    packed = pack(sample, np.zeros((3, 8, 8, 3), np.uint8))
    info = PartInfo(
        name="F0001",
        settings_digest="d",
        sources=((sample.sample_id, "1" * 64),),
        samples=((sample.sample_id, "F0001", "0" * 64),),
        skipped=(),
        bad_frames=(),
        labels=((sample.sample_id, "2" * 64),),
        remarks=(Remark(sample_id=sample.sample_id, text="1 of 9 faces left out"),),
    )
    folder = tmp_path / "parts" / "F0001"
    monkeypatch.setattr("smilevlm.store.parts.json.dumps", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_part(folder, info, [packed])
    assert list(folder.parent.iterdir()) == []
    monkeypatch.undo()
    write_part(folder, info, [packed])
    assert read_part_info(folder) == info
    assert sorted(path.name for path in folder.parent.iterdir()) == ["F0001"]


def test_a_stopped_run_keeps_what_is_finished_and_goes_on(
    synthetic_faces, tmp_path, small_store_settings, prepared_store, monkeypatch
):
    def read_then_die(frame: FrameFile, **options):
        if frame.path.name.startswith("M0001"):
            raise KeyboardInterrupt
        return read_frame(frame, **options)

    store = tmp_path / "store"
    monkeypatch.setattr("smilevlm.store.work.read_frame", read_then_die)
    with pytest.raises(KeyboardInterrupt):
        run(synthetic_faces, store, small_store_settings)
    assert sorted(path.name for path in (store / "parts").iterdir()) == ["F0001"]
    assert not (store / MANIFEST_NAME).exists()
    monkeypatch.undo()
    assert run(synthetic_faces, store, small_store_settings).num_new == 7
    assert content(store) == content(prepared_store)


def test_the_reason_keeps_the_line_but_not_the_machines_path(faces, tmp_path, small_store_settings, monkeypatch):
    def refuse_one(frame: FrameFile, **options):
        if "_HA" in frame.path.name:
            raise MeshError("no good", path=frame.path, line=3)
        return read_frame(frame, **options)

    shutil.rmtree(faces / "M0001")
    monkeypatch.setattr("smilevlm.store.work.read_frame", refuse_one)
    (skipped,) = run(faces, tmp_path / "store", small_store_settings).manifest.skipped
    assert skipped.reason == f"{skipped.path}:3: no good"
    assert str(tmp_path) not in skipped.reason


def test_settings_survive_json():
    settings = PrepareSettings(views=ViewSettings(angles_deg=(-45.0, 45.0), size=96), normalise=NormaliseSettings())
    values = json.loads(json.dumps(asdict(settings)))
    again = prepare_settings_from(values)
    assert again == settings
    assert again.digest == settings.digest
    with pytest.raises(SettingsError):
        prepare_settings_from({**values, "views": {**values["views"], "size": 1}})
