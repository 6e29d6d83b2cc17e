"""Sequences in a store: dynamic images, windows, bad frames, and what is identical whatever the way they were made."""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from smilevlm.datasets import index_data_set
from smilevlm.dynamics import DynamicSettings, approximate_rank_pooling, find_apex
from smilevlm.geometry import NormaliseSettings, normalise
from smilevlm.store import FrameFile, Phases, PreparedSet, PrepareSettings, Recording, prepare, read_frame
from smilevlm.store.manifest import PIPELINE_VERSION
from smilevlm.views import ViewSettings, render_normalised

NUMBERS = (3, 4, 5, 7, 8, 9, 10)
"""Frame numbers with a gap; the seven scans of one person stand for a movement."""


@pytest.fixture
def frame_files(synthetic_faces, tmp_path) -> list[Path]:
    folder = tmp_path / "faces" / "F0001"
    folder.mkdir(parents=True)
    return [
        Path(shutil.copy(path, folder / f"{number:03d}.wrl"))
        for number, path in zip(NUMBERS, sorted((synthetic_faces / "F0001").glob("*_F3D.wrl")), strict=True)
    ]


@pytest.fixture
def sequence(frame_files) -> Recording:
    return Recording(
        sample_id="F0001_Happy",
        subject="F0001",
        expression="happy",
        condition="T1",
        labels=("positive", "surprise"),
        frames=tuple(FrameFile(path=path, number=int(path.stem)) for path in frame_files),
        is_sequence=True,
        phases=Phases(onset=4, apex=7, offset=9),
    )


def settings(**dynamics) -> PrepareSettings:
    """Pooling as in its formula, so that it can be written again here in a line."""
    plain = DynamicSettings(**({"empty": "black", "scale": "minmax"} | dynamics))
    return PrepareSettings(views=ViewSettings(size=32), normalise=NormaliseSettings(), dynamics=plain)


def run(recordings, store: Path, chosen: PrepareSettings, **options):
    return prepare(recordings, store, chosen, layout="bu4dfe", synthetic=True, **options)


def rendered(frame: FrameFile, chosen: PrepareSettings) -> np.ndarray:
    return render_normalised(normalise(read_frame(frame).mesh, chosen.normalise).mesh, chosen.views)


def to_bytes(dynamic: np.ndarray) -> np.ndarray:
    """Per view to the full range, written apart from the package's own."""
    out = np.empty(dynamic.shape, np.uint8)
    for view, image in enumerate(dynamic.astype(np.float64)):
        out[view] = np.rint((image - image.min()) / (image.max() - image.min()) * 255)
    return out


def test_a_sequence_becomes_one_dynamic_image_per_view(sequence, tmp_path):
    chosen = settings(num_frames=None)
    outcome = run([sequence], tmp_path / "store", chosen)
    assert outcome.num_new == 1
    prepared = PreparedSet(tmp_path / "store")
    (sample,) = prepared.samples
    assert (sample.sample_id, sample.subject, sample.expression) == ("F0001_Happy", "F0001", "happy")
    assert (sample.labels, sample.condition, sample.recording) == (("positive", "surprise"), "T1", "F0001_Happy")
    assert (sample.first_frame, sample.last_frame) == (3, 10)
    frames = np.stack([rendered(frame, chosen) for frame in sequence.frames])
    expected = to_bytes(approximate_rank_pooling(frames))
    difference = np.abs(prepared.images(0).astype(int) - expected)
    assert difference.max() <= 1, "rounding of float32 sums"


def test_windows_are_samples_of_their_own(sequence, tmp_path):
    run([sequence], tmp_path / "store", settings(span="windows", window=4, stride=2))
    samples = PreparedSet(tmp_path / "store").samples
    assert len(samples) > 1
    assert len({sample.sample_id for sample in samples}) == len(samples)
    assert {sample.recording for sample in samples} == {"F0001_Happy"}
    assert all(3 <= sample.first_frame < sample.last_frame <= 10 for sample in samples)
    assert len({sample.digest for sample in samples}) == len(samples)


def test_a_window_is_the_sequence_of_its_frames(sequence, tmp_path):
    """Made on its own from the same frames, a window has the same pixels and the same digest."""
    windows = settings(span="windows", window=4, stride=2, num_frames=None)
    run([sequence], tmp_path / "windows", windows)
    prepared = PreparedSet(tmp_path / "windows")
    second = prepared.samples[1]
    inside = tuple(f for f in sequence.frames if second.first_frame <= f.number <= second.last_frame)
    run([replace(sequence, frames=inside, phases=None)], tmp_path / "alone", settings(num_frames=None))
    alone = PreparedSet(tmp_path / "alone")
    np.testing.assert_array_equal(alone.images(0), prepared.images(1))
    assert alone.samples[0].digest == second.digest


def test_phases_choose_the_frames(sequence, tmp_path):
    run([sequence], tmp_path / "store", settings(span="onset_apex"))
    (sample,) = PreparedSet(tmp_path / "store").samples
    assert (sample.first_frame, sample.last_frame) == (4, 7)


def test_phases_are_found_where_that_is_asked_for(sequence, tmp_path, monkeypatch):
    """Whatever the labels say; each frame is rendered once."""
    found = settings(span="both_phases", apex="automatic", num_frames=None)
    frames = np.stack([rendered(frame, found) for frame in sequence.frames])
    apex = NUMBERS[find_apex(frames)]
    read = []

    def noted(frame, **more):
        read.append(frame.number)
        return read_frame(frame, **more)

    monkeypatch.setattr("smilevlm.store.work.read_frame", noted)
    run([sequence], tmp_path / "found", found)
    assert read == list(NUMBERS)
    prepared = PreparedSet(tmp_path / "found")
    names = [(sample.sample_id, sample.recording, sample.first_frame, sample.last_frame) for sample in prepared.samples]
    assert names == [
        ("F0001_Happy_onset_apex", "F0001_Happy", 3, apex),
        ("F0001_Happy_apex_offset", "F0001_Happy", apex, 10),
    ]
    told = replace(sequence, phases=Phases(onset=3, apex=apex, offset=10))
    run([told], tmp_path / "told", settings(span="both_phases", num_frames=None))
    for index in (0, 1):
        np.testing.assert_array_equal(prepared.images(index), PreparedSet(tmp_path / "told").images(index))


def test_a_bad_frame_counts_once_where_the_apex_is_found(sequence, tmp_path):
    sequence.frames[2].path.write_bytes(b"#VRML V2.0 utf8\n")
    chosen = settings(span="onset_apex", apex="automatic", max_bad_share=0.3)
    (listed,) = run([sequence], tmp_path / "store", chosen).manifest.bad_frames
    assert listed.path == "005.wrl"


def test_stores_from_before_the_apex_was_a_setting_keep_their_identity():
    values = {"pipeline": PIPELINE_VERSION, **json.loads(json.dumps(asdict(settings())))}
    del values["dynamics"]["apex"]
    expected = hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert settings().digest == expected
    assert settings(span="onset_apex", apex="automatic").digest != settings(span="onset_apex").digest


def test_without_phases_the_sequence_is_skipped_with_the_reason(sequence, tmp_path):
    known, unknown = sequence, replace(sequence, sample_id="F0001_Sad", phases=None)
    manifest = run([known, unknown], tmp_path / "store", settings(span="toward_apex")).manifest
    (skipped,) = manifest.skipped
    assert skipped.sample_id == "F0001_Sad"
    assert "onset, apex and offset" in skipped.reason
    assert manifest.num_samples == 1


def test_a_bad_frame_is_replaced_by_its_neighbour_and_listed(sequence, tmp_path):
    bad = sequence.frames[3].path
    bad.write_bytes(b"#VRML V2.0 utf8\n")
    chosen = settings(num_frames=None)
    manifest = run([sequence], tmp_path / "store", chosen).manifest
    (listed,) = manifest.bad_frames
    assert (listed.sample_id, listed.path) == ("F0001_Happy", "007.wrl")
    assert str(tmp_path) not in listed.reason
    assert manifest.skipped == ()
    held = [*sequence.frames[:3], sequence.frames[2], *sequence.frames[4:]]
    expected = to_bytes(approximate_rank_pooling(np.stack([rendered(frame, chosen) for frame in held])))
    assert np.abs(PreparedSet(tmp_path / "store").images(0).astype(int) - expected).max() <= 1


def test_too_many_bad_frames_cost_the_sequence_not_the_run(sequence, tmp_path):
    good = replace(sequence, sample_id="F0001_Sad", frames=(sequence.frames[0], *sequence.frames[5:]), phases=None)
    for frame in sequence.frames[1:4]:
        frame.path.write_bytes(b"#VRML V2.0 utf8\n")
    manifest = run([sequence, good], tmp_path / "store", settings()).manifest
    (skipped,) = manifest.skipped
    assert skipped.sample_id == "F0001_Happy"
    assert skipped.reason.startswith("2 of 7 frames could not be used, the last: ")
    assert manifest.num_samples == 1


def test_what_was_skipped_is_tried_again_only_when_asked(sequence, tmp_path):
    chosen = settings()
    broken = sequence.frames[3].path
    whole = broken.read_bytes()
    run([sequence], tmp_path / "fresh", chosen)
    broken.write_bytes(b"#VRML V2.0 utf8\n".ljust(len(whole)))
    run([sequence], tmp_path / "store", chosen)
    broken.write_bytes(whole)
    assert run([sequence], tmp_path / "store", chosen).num_new == 0
    outcome = run([sequence], tmp_path / "store", chosen, retry_skipped=True)
    assert (outcome.num_new, outcome.manifest.bad_frames) == (1, ())
    assert content(tmp_path / "store") == content(tmp_path / "fresh")


@pytest.mark.parametrize("pooling", ["approximate", "exact"])
def test_a_sequence_that_stands_still_is_prepared(sequence, tmp_path, pooling):
    still = replace(sequence, frames=tuple(replace(sequence.frames[0], number=number) for number in range(3, 20)))
    chosen = PrepareSettings(
        views=ViewSettings(size=32), normalise=NormaliseSettings(), dynamics=DynamicSettings(pooling=pooling)
    )
    assert run([still], tmp_path / "store", chosen).num_new == 1
    assert (PreparedSet(tmp_path / "store").images(0) == 128).all()


def test_changes_below_the_noise_do_not_end_preparation(sequence, tmp_path, monkeypatch):
    """Two pixels of 17 frames flicker in the two frames of the smallest weights, -0.912 and 0.941.

    They change by 0.058 and -0.064; the rounding of the sum is 0.094.
    """
    flicker = {3: (2, 30), 16: (2, 29)}
    rendered_frames = iter(range(17))

    def scan_views(mesh, prepare_settings, find):
        views = np.full((3, 32, 32, 3), 120, np.uint8)
        views[:, 5, 5:7, 0] += np.array(flicker.get(next(rendered_frames), (0, 0)), np.uint8)
        return views, face

    face = normalise(read_frame(sequence.frames[0]).mesh, NormaliseSettings())
    monkeypatch.setattr("smilevlm.store.work.scan_views", scan_views)
    many = replace(sequence, frames=tuple(replace(sequence.frames[0], number=number) for number in range(17)))
    chosen = PrepareSettings(views=ViewSettings(size=32), normalise=NormaliseSettings())
    assert run([many], tmp_path / "store", chosen).num_new == 1
    assert (PreparedSet(tmp_path / "store").images(0) == 128).all()


def content(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def test_scans_and_sequences_may_stand_side_by_side(sequence, synthetic_faces, tmp_path):
    scans = index_data_set("bu3dfe", synthetic_faces).recordings[:3]
    run([*scans, sequence], tmp_path / "store", settings())
    prepared = PreparedSet(tmp_path / "store")
    assert [s.sample_id for s in prepared.samples] == [*(s.sample_id for s in scans), "F0001_Happy"]
    assert prepared.samples[0].labels == (scans[0].expression,)
    assert prepared.manifest.parts == ("F0001", "F0001_Happy")


def test_the_order_of_the_index_is_not_in_the_store(sequence, tmp_path):
    other = replace(sequence, sample_id="F0001_Sad", expression="sad")
    run([sequence, other], tmp_path / "one", settings(num_frames=2))
    run([other, sequence], tmp_path / "two", settings(num_frames=2), jobs=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_long_sequence_needs_no_more_memory_than_a_short_one(sequence, tmp_path):
    def peak(num_frames: int, name: str) -> int:
        frames = tuple(replace(sequence.frames[n % len(sequence.frames)], number=n) for n in range(num_frames))
        tracemalloc.start()
        run([replace(sequence, frames=frames, phases=None)], tmp_path / name, settings(num_frames=None))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(4, "first use")
    short, long = peak(6, "short"), peak(36, "long")
    assert long - short < 2 * 2**20, "30 frames of three views more, which together have 276 KB per frame as float32"
