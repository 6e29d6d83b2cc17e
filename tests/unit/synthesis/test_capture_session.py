"""The virtual scanner: one scan's draws are kept as they were, a sequence's scans belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import KDTree

from smilevlm.errors import SettingsError
from smilevlm.labels import NEUTRAL
from smilevlm.synthesis.capture_session import draw_session
from smilevlm.synthesis.photograph import Portrait
from smilevlm.synthesis.population import DEFAULT
from smilevlm.synthesis.posed import posed_motion
from smilevlm.synthesis.scan_setup import (
    Ellipse,
    ScannerSettings,
    draw_noise,
    draw_scan,
    rotation_from_angles,
)
from smilevlm.synthesis.scanner import Scan, scan_head, scan_with_setup
from smilevlm.synthesis.seeds import SeedKey
from smilevlm.synthesis.sequences import SequenceCapture, prepare_capture


def ball() -> tuple[np.ndarray, np.ndarray]:
    """An egg as large as a head, its front at the origin."""
    down, turn = np.meshgrid(np.linspace(0, np.pi, 40), np.linspace(0, 2 * np.pi, 60, endpoint=False), indexing="ij")
    x, y, z = 75 * np.sin(down) * np.sin(turn), 110 * np.cos(down), 95 * np.sin(down) * np.cos(turn) - 95
    index = np.arange(down.size).reshape(down.shape)
    after = np.roll(index, -1, axis=1)
    faces = [
        np.stack([index[:-1], index[1:], after[1:]], -1).reshape(-1, 3),
        np.stack([index[:-1], after[1:], after[:-1]], -1).reshape(-1, 3),
    ]
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32), np.concatenate(faces).astype(np.int32)


def scan_ball(seed: int = 5, *, cropped: bool = True) -> Scan:
    vertices, faces = ball()
    return scan_head(
        np.random.default_rng(seed),
        vertices_mm=vertices,
        faces=faces,
        colors=np.abs(vertices),
        landmarks_mm=vertices[::300],
        settings=ScannerSettings(num_vertices=1500),
        cropped=cropped,
    )


@pytest.mark.parametrize(
    ("cropped", "counts", "mean", "landmarks"),
    [
        (True, (1230, 2310, 4283325), (-9.721736, -20.6121, -33.242634), -417.4419),
        (False, (2360, 4452, 15855073), (-2.717425, 18.354935, -8.773853), 197.53265),
    ],
)
def test_single_scans_are_drawn_as_ever(cropped, counts, mean, landmarks):
    """The numbers come from the scanner of commit ef40d94, which the demo's faces were made with."""
    scan = scan_ball(cropped=cropped)
    assert (len(scan.vertices), len(scan.polygons), int(scan.polygons.astype(np.int64).sum())) == counts
    np.testing.assert_allclose(scan.vertices.mean(axis=0), mean, atol=1e-4)
    assert float(scan.landmarks.sum()) == pytest.approx(landmarks, abs=1e-2)


def test_triangles_cut_every_quad_and_keep_its_winding():
    scan = scan_ball()
    quads = scan.polygons[scan.polygons[:, 3] >= 0]
    assert len(quads) > 10
    assert len(scan.triangles) == len(scan.polygons) + len(quads)
    np.testing.assert_array_equal(scan.triangles[: len(scan.polygons)], scan.polygons[:, :3])
    edges = np.concatenate([scan.triangles[:, [0, 1]], scan.triangles[:, [1, 2]], scan.triangles[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)


def test_observing_what_was_drawn_is_the_scan():
    vertices, faces = ball()
    settings = ScannerSettings(num_vertices=1500)
    setup, noise_sample, pose = draw_scan(np.random.default_rng(5), settings)
    seen = scan_with_setup(
        setup, noise_sample, pose, vertices_mm=vertices, faces=faces, colors=np.abs(vertices),
        landmarks_mm=vertices[::300], quad_share=settings.quad_share,
    )  # fmt: skip
    np.testing.assert_array_equal(seen.vertices, scan_ball().vertices)
    np.testing.assert_allclose(seen.vertices, seen.head_vertices @ pose.rotation.T + pose.offset_mm, atol=1e-3)


def test_rotation_turns_as_it_says():
    np.testing.assert_allclose(rotation_from_angles(90, 0, 0) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_from_angles(0, 90, 0) @ [0, 0, 1], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_from_angles(0, 0, 90) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_an_ellipse_by_hand():
    inside = Ellipse(centre=(10, 0), radii=(4, 2)).mask(np.array([[10, 13.9, 14.1, 10]]), np.array([[0, 0, 0, 2.1]]))
    assert inside.tolist() == [[True, True, False, False]]


# --- a take -------------------------------------------------------------------------------------------------------

QUIET = ScannerSettings(num_vertices=2500, pose_deg=0.0, offset_mm=0.0)


@pytest.fixture(scope="module")
def capture() -> SequenceCapture:
    return prepare_capture(
        SeedKey(layout="test", seed=3),
        lambda rng, context: posed_motion(rng, context, NEUTRAL),
        sex="F",
        num_frames=40,
        frames_per_second=25.0,
        population=DEFAULT,
        scanner=ScannerSettings(num_vertices=2500),
    )


@pytest.fixture(scope="module")
def scans(capture) -> list[Scan]:
    return list(capture.scans())


def gap_mm(first: Scan, second: Scan, *, share: float) -> float:
    """How far most of one scan is from the other, in the head's own frame."""
    return float(np.quantile(KDTree(second.head_vertices).query(first.head_vertices)[0], share))


def test_every_frame_has_its_own_tessellation(scans):
    counts = {len(scan.vertices) for scan in scans}
    assert len(counts) > 30
    assert np.std([len(scan.vertices) for scan in scans]) < 0.05 * np.mean([len(scan.vertices) for scan in scans])
    nearest = KDTree(scans[1].head_vertices).query(scans[0].head_vertices)[0]
    assert (nearest < 1e-3).mean() < 0.01


def test_the_crop_follows_the_head(capture, scans):
    """Neighbouring frames show the same part of the face, and another take another part."""
    neighbours = [gap_mm(scans[n], scans[n + 1], share=0.98) for n in range(0, 39, 4)]
    other = prepare_capture(
        SeedKey(layout="test", seed=3, sequence=1),
        lambda rng, context: posed_motion(rng, context, NEUTRAL),
        sex="F",
        num_frames=5,
        frames_per_second=25.0,
        population=DEFAULT,
        scanner=ScannerSettings(num_vertices=2500),
    )
    again = next(iter(other.scans()))
    apart = max(gap_mm(scans[0], again, share=0.98), gap_mm(again, scans[0], share=0.98))
    assert np.median(neighbours) < 4
    assert apart > 1.3 * np.median(neighbours)


def test_noise_is_new_in_every_frame(capture):
    setup = capture.session.setup
    first, second = (draw_noise(np.random.default_rng(seed), setup) for seed in (0, 1))
    assert abs(np.corrcoef(first.noise.ravel(), second.noise.ravel())[0, 1]) < 0.05


def test_holes_open_and_close_slowly():
    session = draw_session(np.random.default_rng(1), ScannerSettings(num_vertices=2500, max_holes=12))
    assert len(session.setup.holes) > 4
    sizes = []
    for frame in range(100):
        holes = session.setup_at(np.random.default_rng(frame), frame / 25, 0.0).holes
        by_centre = {hole.centre: hole.radii[0] for hole in holes}
        sizes.append([by_centre.get(hole.centre, 0.0) / hole.radii[0] for hole in session.setup.holes])
    change = np.abs(np.diff(sizes, axis=0))
    assert np.median(change) < 0.05
    assert change.max() < 0.35
    assert np.ptp(sizes, axis=0).max() > 0.4


def test_ripple_and_rim_drift():
    session = draw_session(np.random.default_rng(2), QUIET)
    start, soon, late = (session.setup_at(np.random.default_rng(0), time, 0.0) for time in (0.0, 0.04, 4.0))

    def moved(setup, other) -> float:
        return float(np.max(np.abs(np.array(setup.ripple) - np.array(other.ripple))))

    assert moved(start, soon) < 0.15
    assert moved(start, late) > 10 * moved(start, soon)


def test_the_side_that_turns_away_is_lost():
    session = draw_session(np.random.default_rng(3), QUIET)
    straight, turned = (session.setup_at(np.random.default_rng(0), 0.0, yaw).crop for yaw in (0.0, 25.0))
    assert straight.arc_limits[0] == -straight.arc_limits[1]
    assert turned.arc_limits[1] < straight.arc_limits[1] - 30


def test_the_head_turns_about_the_neck():
    session = draw_session(np.random.default_rng(4), QUIET)
    straight, turned = (session.pose_at(np.array([yaw, 0.0, 0.0]), np.zeros(3)) for yaw in (0.0, 20.0))
    neck = np.array([0.0, -55.0, -95.0])
    np.testing.assert_allclose(
        straight.rotation @ neck + straight.offset_mm, turned.rotation @ neck + turned.offset_mm, atol=1e-9
    )
    assert turned.offset_mm[0] - straight.offset_mm[0] == pytest.approx(95 * np.sin(np.deg2rad(20)), abs=1e-6)


def test_spikes_and_scraps_now_and_then():
    session = draw_session(np.random.default_rng(5), QUIET)
    setups = [session.setup_at(np.random.default_rng(seed), 0.0, 0.0) for seed in range(400)]
    for share in (np.mean([bool(s.spikes) for s in setups]), np.mean([bool(s.scraps) for s in setups])):
        assert 0.03 < share < 0.13


def test_a_spike_stands_out_and_a_scrap_lies_apart(capture):
    quiet = replace(capture.session.setup, noise_mm=0.0, ripple_mm=0.0, holes=())
    noise_sample = draw_noise(np.random.default_rng(0), quiet)
    vertices, faces = ball()

    def look(setup) -> Scan:
        pose = capture.session.pose_at(np.zeros(3), np.zeros(3))
        return scan_with_setup(
            setup, noise_sample, pose, vertices_mm=vertices, faces=faces, colors=np.abs(vertices),
            landmarks_mm=vertices[::300], quad_share=0.0,
        )  # fmt: skip

    clean, spiked = look(quiet), look(replace(quiet, spikes=((20.0, 10.0, 25.0),)))
    assert len(spiked.vertices) == len(clean.vertices)
    moved = np.linalg.norm(spiked.vertices - clean.vertices, axis=1)
    assert (moved > 1).sum() == 1
    assert moved.max() == pytest.approx(25, abs=1e-3)
    scrap = Ellipse(centre=(1.18 * quiet.crop.half_arc, quiet.crop.centre_y), radii=(6.0, 5.0))
    extra = len(look(replace(quiet, scraps=(scrap,))).vertices) - len(clean.vertices)
    assert extra > 3


# --- the picture --------------------------------------------------------------------------------------------------


def test_a_vertex_finds_its_own_colour_in_the_picture():
    scan = scan_ball()
    centre = scan.vertices.mean(axis=0)
    camera = Portrait(width_px=300, height_px=400, centre_mm=(float(centre[0]), float(centre[1])), width_mm=240.0)
    picture, uv = camera.capture(scan, shade=0.0)
    assert picture.shape == (400, 300, 3)
    assert uv.shape == (len(scan.vertices), 2)
    column = np.clip((uv[:, 0] * 300).astype(int), 0, 299)
    row = np.clip(((1 - uv[:, 1]) * 400).astype(int), 0, 399)
    found = picture[row, column].astype(float)
    front = scan.head_vertices[:, 2] > -40
    assert np.abs(found - scan.colors)[front].mean() < 3


def test_up_is_up_in_the_picture():
    scan = scan_ball()
    camera = Portrait(width_px=60, height_px=80, centre_mm=(0.0, 0.0), width_mm=280.0)
    _, uv = camera.capture(scan)
    assert uv[np.argmax(scan.vertices[:, 1]), 1] > uv[np.argmin(scan.vertices[:, 1]), 1]
    assert uv[np.argmax(scan.vertices[:, 0]), 0] > uv[np.argmin(scan.vertices[:, 0]), 0]


# --- flicker ------------------------------------------------------------------------------------------------------


def test_a_steady_scanner_draws_nothing_for_flicker():
    steady = draw_session(np.random.default_rng(6), ScannerSettings(num_vertices=2500))
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    steady.setup_at(rng, 0.0, 0.0)
    replace(steady, flicker=1.0).setup_at(again, 0.0, 0.0)
    assert not steady.place_error_mm(rng).any()
    assert rng.uniform() != again.uniform()
    rng, again = np.random.default_rng(2), np.random.default_rng(2)
    steady.place_error_mm(rng)
    assert rng.uniform() == again.uniform()


@pytest.mark.parametrize("flicker", [1.0, 2.0])
def test_flicker_changes_noise_holes_ripple_and_place_from_frame_to_frame(flicker):
    session = draw_session(np.random.default_rng(7), ScannerSettings(num_vertices=2500, max_holes=0, flicker=flicker))
    frames = [session.setup_at(np.random.default_rng(seed), 1.0, 0.0) for seed in range(200)]
    assert np.std(np.log([setup.noise_mm / session.setup.noise_mm for setup in frames])) > 0.3
    holes = [len(setup.holes) for setup in frames]
    assert np.mean(holes) == pytest.approx(1.08 * flicker, abs=0.4)
    largest = max(max(hole.radii) for setup in frames for hole in setup.holes)
    assert 5.0 < largest <= 15.0
    phases = np.array([setup.ripple[0][2] for setup in frames])
    assert np.std(phases) == pytest.approx(0.5 * flicker, rel=0.25)
    places = np.stack([session.place_error_mm(np.random.default_rng(seed)) for seed in range(400)])
    np.testing.assert_allclose(places.std(axis=0), 0.3 * flicker, rtol=0.2)


def test_flicker_out_of_range():
    with pytest.raises(SettingsError, match=r"scanner\.flicker"):
        ScannerSettings(flicker=3.1)
