"""Which frames make a dynamic image: sampling in time, windows, phases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smilevlm.dynamics import DynamicSettings, plan_dynamic_images, rank_pooling_coefficients
from smilevlm.errors import LayoutError, SettingsError

NUMBERS = st.sets(st.integers(0, 400), min_size=1, max_size=120).map(sorted)


def plan_one(numbers, phases=None, **changes):
    (plan,) = plan_dynamic_images(numbers, DynamicSettings(**changes), phases)
    return plan


def windows(numbers, **changes) -> list[tuple[str, int, int]]:
    plans = plan_dynamic_images(numbers, DynamicSettings(span="windows", **changes), None)
    return [(plan.name, plan.first_number, plan.last_number) for plan in plans]


# The whole sequence.


def test_frames_are_equally_far_apart():
    plan = plan_one(range(10, 111), num_frames=5)
    assert plan.frames == (0, 25, 50, 75, 100)
    np.testing.assert_allclose(plan.weights, [-3.7, 0.3, 1.3, 1.3, 0.8], rtol=0, atol=1e-12)
    assert (plan.name, plan.first_number, plan.last_number) == ("", 10, 110)


def test_a_gap_is_time_that_passed():
    # By rank the third of five would be frame number 4; by time it is 50.
    numbers = [0, 1, 2, 3, 4, 5, 50, 75, 99, 100]
    assert [numbers[i] for i in plan_one(numbers, num_frames=5).frames] == [0, 5, 50, 75, 100]


def test_a_time_in_a_gap_gives_its_nearest_frame_once():
    numbers = [0, 1, 2, 99, 100]
    plan = plan_one(numbers, num_frames=4)
    assert [numbers[i] for i in plan.frames] == [0, 2, 99, 100]
    # 33.3 and 66.7 both lie nearest to frames at the gap; with 49 and 51 each is taken once.
    assert plan_one([0, 50, 100], num_frames=32).frames == (0, 1, 2)


def test_of_two_equally_near_frames_the_earlier_is_taken():
    assert plan_one([0, 4, 6, 10], num_frames=3).frames == (0, 1, 3)


def test_all_frames_on_request():
    plan = plan_one(range(200), num_frames=None)
    assert plan.frames == tuple(range(200))
    np.testing.assert_array_equal(plan.weights, rank_pooling_coefficients(200))


def test_a_single_frame_has_the_weight_one():
    plan = plan_one([7])
    assert (plan.frames, plan.weights, plan.first_number, plan.last_number) == ((0,), (1.0,), 7, 7)


@given(numbers=NUMBERS, num_frames=st.integers(2, 40))
def test_sampling_keeps_the_ends_the_order_and_is_nearest(numbers, num_frames):
    plan = plan_one(numbers, num_frames=num_frames)
    taken = [numbers[i] for i in plan.frames]
    assert taken == sorted(set(taken))
    assert (taken[0], taken[-1]) == (numbers[0], numbers[-1])
    assert len(taken) <= num_frames
    assert len(plan.weights) == len(taken)
    assert math.isclose(sum(plan.weights), len(taken) == 1, abs_tol=1e-9)
    if len(numbers) <= num_frames:
        assert taken == numbers
        return
    for time in np.linspace(numbers[0], numbers[-1], num_frames):
        assert min(abs(t - time) for t in taken) == min(abs(n - time) for n in numbers)


@pytest.mark.parametrize("numbers", [[], [1, 1], [2, 1], [0, 1, 1]])
def test_frames_out_of_order_are_refused(numbers):
    with pytest.raises(LayoutError, match="ascending"):
        plan_dynamic_images(numbers, DynamicSettings(), None)


@pytest.mark.parametrize("far", [10**16, 10**30, -(10**30)])
def test_numbers_beyond_all_bounds_are_refused(far):
    with pytest.raises(LayoutError, match="beyond"):
        plan_dynamic_images(sorted([0, far]), DynamicSettings(), None)


# Windows.


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (25, [("w000000", 0, 24)]),
        (50, [("w000000", 0, 49)]),
        (100, [("w000000", 0, 49), ("w000025", 25, 74), ("w000050", 50, 99)]),
        (101, [("w000000", 0, 49), ("w000025", 25, 74), ("w000050", 50, 99), ("w000075", 75, 100)]),
        (124, [("w000000", 0, 49), ("w000025", 25, 74), ("w000050", 50, 99), ("w000075", 75, 123)]),
    ],
)
def test_the_last_window_is_kept_when_half_full_and_not_told_already(num_frames, expected):
    assert windows(range(num_frames), window=50, stride=25) == expected


def test_windows_are_named_by_where_they_begin_and_sampled_like_sequences():
    plans = plan_dynamic_images(range(958, 1020), DynamicSettings(span="windows", window=40, num_frames=5), None)
    assert [plan.name for plan in plans] == ["w000958", "w000983"]
    assert plans[0].frames == (0, 10, 19, 29, 39)
    assert all(abs(sum(plan.weights)) < 1e-9 for plan in plans)


def test_a_gap_gives_no_window_of_stray_frames():
    numbers = [*range(50), *range(90, 151)]
    # 25 to 49 is half a window, and all of it is in the first; 50 to 99 holds ten frames; 75 to 124 holds 35.
    assert windows(numbers, window=50, stride=25) == [
        ("w000000", 0, 49),
        ("w000075", 90, 124),
        ("w000100", 100, 149),
        ("w000125", 125, 150),
    ]


def test_a_gap_of_years_costs_no_time():
    far = 10**15 - 50
    numbers = [*range(50), *range(far, far + 50)]
    assert windows(numbers, window=50, stride=50) == [("w000000", 0, 49), (f"w{far}", far, far + 49)]


def test_windows_need_not_touch():
    assert windows(range(100), window=10, stride=40) == [("w000000", 0, 9), ("w000040", 40, 49), ("w000080", 80, 89)]


def test_a_sequence_shorter_than_half_a_window_is_refused():
    with pytest.raises(LayoutError, match=r"no window of 50 frame numbers is at least half full .* numbered 3 to 26"):
        windows(range(3, 27), window=50)


@given(numbers=NUMBERS, window=st.integers(2, 60), stride=st.integers(1, 30))
def test_windows_stay_in_their_stretch_and_each_tells_more(numbers, window, stride):
    try:
        found = windows(numbers, window=window, stride=stride)
    except LayoutError:
        assert numbers[-1] - numbers[0] + 1 < window / 2 or len(numbers) < numbers[-1] - numbers[0] + 1
        return
    for name, first, last in found:
        assert int(name[1:]) <= first <= last < int(name[1:]) + window
        assert last - first + 1 >= window / 2
    assert [last for *_, last in found] == sorted({last for *_, last in found})


# Phases.

PHASES = (10, 20, 40)


def test_a_phase_holds_its_frames_alone():
    rising = plan_one(range(60), PHASES, span="onset_apex", num_frames=None)
    falling = plan_one(range(60), PHASES, span="apex_offset", num_frames=3)
    assert rising.frames == tuple(range(10, 21))
    assert (rising.first_number, rising.last_number) == (10, 20)
    assert falling.frames == (20, 30, 40)
    assert falling.name == rising.name == ""


def test_toward_apex_runs_forward_and_then_backward_to_the_apex():
    plan = plan_one(range(0, 60, 2), PHASES, span="toward_apex", num_frames=3)
    assert plan.frames == (5, 7, 10, 20, 15, 10)
    assert plan.passes == (3, 3)
    np.testing.assert_allclose(plan.weights, np.tile(rank_pooling_coefficients(3) / 2, 2))
    assert (plan.first_number, plan.last_number) == (10, 40)


@pytest.mark.parametrize(("phases", "frames"), [((10, 40, 40), (10, 25, 40)), ((10, 10, 40), (40, 25, 10))])
def test_a_phase_of_one_frame_does_not_cover_the_other(phases, frames):
    plan = plan_one(range(60), phases, span="toward_apex", num_frames=3)
    assert plan.frames == frames
    np.testing.assert_allclose(plan.weights, rank_pooling_coefficients(3))
    assert plan.passes == (3,)


def test_a_movement_of_one_frame_is_its_own_image():
    plan = plan_one(range(60), (30, 30, 30), span="toward_apex")
    assert (plan.frames, plan.weights) == ((30,), (1.0,))


def test_both_phases_are_an_image_each():
    rising, falling = plan_dynamic_images(range(60), DynamicSettings(span="both_phases"), PHASES)
    for name, plan in (("onset_apex", rising), ("apex_offset", falling)):
        alone = plan_one(range(60), PHASES, span=name)
        assert (plan.name, plan.frames, plan.weights, plan.passes) == (name, alone.frames, alone.weights, alone.passes)


@pytest.mark.parametrize(("phases", "name"), [((10, 40, 40), "onset_apex"), ((10, 10, 40), "apex_offset")])
def test_of_both_phases_one_that_shows_no_movement_has_no_image(phases, name):
    assert plan_one(range(60), phases, span="both_phases").name == name


@pytest.mark.parametrize("span", ["onset_apex", "apex_offset", "both_phases", "toward_apex"])
def test_missing_and_impossible_phases_are_refused(span):
    settings = DynamicSettings(span=span)
    with pytest.raises(LayoutError, match="no onset, apex and offset"):
        plan_dynamic_images(range(60), settings, None)
    with pytest.raises(LayoutError, match="not in order"):
        plan_dynamic_images(range(60), settings, (20, 10, 40))
    with pytest.raises(LayoutError, match="onset 70, apex 80, offset 90, frames numbered 0 to 59"):
        plan_dynamic_images(range(60), settings, (70, 80, 90))


# Settings.


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "mean"},
        {"span": "onset"},
        {"apex": "found", "span": "onset_apex"},
        {"apex": "automatic"},
        {"apex": "automatic", "span": "windows"},
        {"empty": "white"},
        {"scale": "log"},
        {"saturated": 0.5},
        {"saturated": -0.1},
        {"num_frames": 1},
        {"num_frames": 0},
        {"window": 1},
        {"stride": 0},
        {"regularisation": 0.0},
        {"regularisation": math.inf},
        {"regularisation": math.nan},
        {"max_bad_share": 1.0},
        {"max_bad_share": -0.1},
        {"max_bad_share": math.nan},
    ],
)
def test_settings_outside_their_range_are_refused(changes):
    with pytest.raises(SettingsError, match=next(iter(changes))):
        DynamicSettings(**changes)
