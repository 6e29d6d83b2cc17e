"""Dynamic images from a stream of frames: equal to the direct sum, unreadable frames, display."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.dynamics import (
    DynamicPools,
    DynamicSettings,
    approximate_rank_pooling,
    exact_rank_pooling,
    plan_dynamic_images,
    to_display,
)

SHAPE = (2, 6, 5, 3)


def random_frames(num_frames: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (num_frames, *SHAPE), np.uint8)


def pool(frames, numbers=None, *, phases=None, unreadable=(), **changes):
    """Feed a sequence and give back {name: image}; black is a value like any other unless asked otherwise."""
    settings = DynamicSettings(**({"empty": "black", "scale": "minmax"} | changes))
    pools = DynamicPools(plan_dynamic_images(numbers or range(len(frames)), settings, phases), settings)
    made = {}
    for index in pools.needed:
        for plan, image in pools.add(index, None if index in unreadable else frames[index]):
            assert index == max(plan.frames), "an image comes with its last frame"
            made[plan.name] = image
    return made


def pool_one(frames, numbers=None, **changes) -> np.ndarray:
    return pool(frames, numbers, **changes)[""]


def assert_nearly_equal(image, expected):
    """Sums in another order may round to the neighbouring value of a byte."""
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected.astype(int)).max() <= 1


def moving_spot(positions, width: int = 12) -> np.ndarray:
    """A bright column on grey that stands at each of `positions`."""
    frames = np.full((len(positions), 1, 4, width, 3), 90, np.uint8)
    for frame, position in zip(frames, positions, strict=True):
        frame[:, :, position] = 200
    return frames


def test_the_stream_gives_the_direct_sum():
    frames = random_frames(9)
    assert_nearly_equal(pool_one(frames), to_display(approximate_rank_pooling(frames)))


def test_only_sampled_frames_are_asked_for():
    frames = random_frames(40)
    settings = DynamicSettings(num_frames=4)
    pools = DynamicPools(plan_dynamic_images(range(40), settings, None), settings)
    assert pools.needed == (0, 13, 26, 39)
    assert_nearly_equal(pool_one(frames, num_frames=4), to_display(approximate_rank_pooling(frames[[0, 13, 26, 39]])))


def test_overlapping_windows_each_give_their_own_sum():
    frames = random_frames(30)
    made = pool(frames, span="windows", window=10, stride=5, num_frames=None)
    assert list(made) == ["w000000", "w000005", "w000010", "w000015", "w000020"]
    for name, image in made.items():
        begin = int(name[1:])
        assert_nearly_equal(image, to_display(approximate_rank_pooling(frames[begin : begin + 10])))


def test_memory_is_for_running_windows_only():
    settings = DynamicSettings(span="windows", window=10, stride=5)
    pools = DynamicPools(plan_dynamic_images(range(500), settings, None), settings)
    most = 0
    for index, frame in zip(pools.needed, random_frames(500), strict=True):
        pools.add(index, frame)
        most = max(most, len(pools._active))
    assert most <= 2
    assert pools._active == []


def test_a_still_sequence_is_mid_grey():
    frame = random_frames(1)
    for num_frames in (2, 5, 32, 300):
        image = pool_one(np.repeat(frame, num_frames, axis=0), num_frames=None)
        assert (image == 128).all()


def test_a_still_view_beside_a_moving_one_is_mid_grey():
    frames = random_frames(8)
    frames[:, 0] = frames[0, 0]
    image = pool_one(frames)
    assert (image[0] == 128).all()
    assert (image[1].min(), image[1].max()) == (0, 255)


def test_the_faintest_change_is_no_noise():
    frames = np.full((32, *SHAPE), 200, np.uint8)
    frames[16:, 0, 2, 2, 1] = 201
    image = pool_one(frames)
    assert image[0, 2, 2, 1] == 255
    assert (np.delete(image[0].ravel(), np.ravel_multi_index((2, 2, 1), SHAPE[1:])) == 0).all()


def test_brightening_is_a_ramp():
    # Pixel k brightens by k per frame, so the dynamic image is linear in k.
    ramp = np.arange(6)[:, None] * np.arange(6)
    frames = np.zeros((6, 1, 1, 6, 3), np.uint8) + ramp[:, None, None, :, None].astype(np.uint8)
    np.testing.assert_array_equal(pool_one(frames)[0, 0, :, 0], [0, 51, 102, 153, 204, 255])


def test_a_single_frame_is_its_own_image():
    frames = random_frames(1)
    np.testing.assert_array_equal(pool_one(frames), to_display(frames[0].astype(np.float32)))


def test_toward_the_apex_the_movement_stays_and_drift_cancels():
    numbers = np.arange(21)
    frames = np.full((21, 1, 1, 3, 3), 100, np.uint8)
    frames[:, 0, 0, 1] += np.minimum(numbers, 20 - numbers)[:, None].astype(np.uint8)
    frames[:, 0, 0, 2] += numbers[:, None].astype(np.uint8)
    toward = pool_one(frames, phases=(0, 10, 20), span="toward_apex")[0, 0, :, 0]
    whole = pool_one(frames)[0, 0, :, 0]
    # A face that comes and goes, and a head that turns away all the time, beside a still pixel.
    assert toward.tolist() == [0, 255, 0]
    assert whole[0] < whole[1] < whole[2] == 255


def test_a_symmetric_movement_is_as_strong_toward_the_apex_as_in_one_phase():
    frames = np.concatenate([moving_spot(range(1, 8)), moving_spot(range(6, 0, -1))])
    phases = (0, 6, 12)
    both = pool_one(frames, phases=phases, span="toward_apex")
    np.testing.assert_array_equal(both, pool_one(frames, phases=phases, span="onset_apex"))
    np.testing.assert_array_equal(both, pool_one(frames[:7]))


# Frames that cannot be read. Assumption A27.


@pytest.mark.parametrize("pooling", ["approximate", "exact"])
@pytest.mark.parametrize(
    ("unreadable", "shown"),
    [
        ({2}, [0, 1, 1, 3, 4, 5]),
        ({0, 1}, [2, 2, 2, 3, 4, 5]),
        ({4, 5}, [0, 1, 2, 3, 3, 3]),
        ({0, 3}, [1, 1, 2, 2, 4, 5]),
    ],
)
def test_an_unreadable_frame_is_replaced_by_the_one_before(pooling, unreadable, shown):
    frames = random_frames(6)
    assert_nearly_equal(
        pool_one(frames, unreadable=unreadable, pooling=pooling), pool_one(frames[shown], pooling=pooling)
    )


def test_replacing_stays_within_a_window():
    frames = random_frames(12)
    made = pool(frames, unreadable={6}, span="windows", window=6, stride=6)
    assert_nearly_equal(made["w000006"], pool_one(frames[[7, 7, 8, 9, 10, 11]]))


def test_toward_apex_replaces_by_time_in_both_passes():
    frames = random_frames(7)
    shown = frames.copy()
    shown[5] = frames[4]
    options = {"phases": (0, 3, 6), "span": "toward_apex"}
    assert_nearly_equal(pool_one(frames, unreadable={5}, **options), pool_one(shown, **options))


def test_a_still_sequence_with_unreadable_frames_is_mid_grey():
    frames = np.repeat(random_frames(1), 20, axis=0)
    assert (pool_one(frames, unreadable={0, 7, 8, 19}) == 128).all()


def test_a_window_without_a_readable_frame_is_told():
    settings = DynamicSettings(span="windows", window=4, stride=4)
    pools = DynamicPools(plan_dynamic_images(range(8), settings, None), settings)
    made = [
        image for index in pools.needed for image in pools.add(index, random_frames(8)[index] if index > 3 else None)
    ]
    assert [plan.name for plan, _ in made] == ["w000004"]
    assert [plan.name for plan in pools.lost] == ["w000000"]


def test_frames_out_of_order_are_our_own_mistake():
    settings = DynamicSettings()
    pools = DynamicPools(plan_dynamic_images(range(3), settings, None), settings)
    pools.add(0, random_frames(1)[0])
    with pytest.raises(AssertionError, match="frame 2 came, 1 is next"):
        pools.add(2, None)


# Exact pooling.


def test_exact_pooling_ranks_each_view_by_itself():
    frames = random_frames(6)
    image = pool_one(frames, pooling="exact", regularisation=10.0)
    direct = np.stack([exact_rank_pooling(frames[:, view], regularisation=10.0) for view in range(2)])
    np.testing.assert_array_equal(image, to_display(direct))


def test_exact_pooling_of_both_phases_is_their_mean():
    frames = random_frames(9)
    image = pool_one(frames, pooling="exact", span="toward_apex", phases=(0, 4, 8))
    passes = [
        np.stack([exact_rank_pooling(part[:, view]) for view in range(2)]) for part in (frames[:5], frames[4:][::-1])
    ]
    assert_nearly_equal(image, to_display(np.mean(passes, axis=0)))


@pytest.mark.parametrize("pooling", ["approximate", "exact"])
def test_a_moving_spot_is_bright_where_it_arrives(pooling):
    # Both poolings say where late frames are bright and early ones were.
    image = pool_one(moving_spot(range(1, 11)), pooling=pooling).astype(int)[0, 0, :, 0]
    still = image[0]
    assert image[1] < still
    assert image[7] > still


# Display.


def test_display_scales_each_view_over_all_channels():
    dynamic = np.zeros((2, 1, 2, 2), np.float32)
    dynamic[0, 0] = [[-1.0, 0.0], [1.0, 3.0]]
    dynamic[1, 0] = [[10.0, 20.0], [20.0, 20.0]]
    shown = to_display(dynamic)
    np.testing.assert_array_equal(shown[0, 0], [[0, 64], [128, 255]])
    np.testing.assert_array_equal(shown[1, 0], [[0, 255], [255, 255]])


@pytest.mark.parametrize("level", [0.0, 0.1, -1e6, 3e30])
def test_constants_show_as_mid_grey(level):
    dynamic = np.full((1, 4, 4, 3), level, np.float32)
    dynamic[0, 0, 0, 0] = np.nextafter(np.float32(level), np.float32(np.inf)) if level else 0.0
    assert (to_display(dynamic) == 128).all()


def test_noise_that_is_told_is_not_shown():
    dynamic = np.zeros((1, 4, 4, 3), np.float32)
    dynamic[0, 0, 0, 0] = 0.01
    assert to_display(dynamic).max() == 255
    assert (to_display(dynamic, noise=0.02) == 128).all()


# Pixels without surface.


@pytest.mark.parametrize("pooling", ["approximate", "exact"])
def test_a_hole_that_comes_and_goes_leaves_no_trace(pooling):
    whole = moving_spot([2, 3, 4, 5, 6, 7])
    torn = whole.copy()
    torn[1, :, 0, 9] = 0
    torn[3:5, :, 2, 10] = 0
    expected = pool_one(whole, pooling=pooling, empty="hold")
    np.testing.assert_array_equal(pool_one(torn, pooling=pooling, empty="hold"), expected)
    assert np.abs(pool_one(torn, pooling=pooling).astype(int) - expected).max() > 20, "black outshines it otherwise"


@pytest.mark.parametrize("pooling", ["approximate", "exact"])
def test_a_rim_that_appears_late_counts_as_there_from_the_beginning(pooling):
    frames = random_frames(6).clip(1)
    late = frames.copy()
    late[:3, :, 0] = 0
    early = frames.copy()
    early[:3, :, 0] = frames[3, :, 0]
    assert_nearly_equal(pool_one(late, pooling=pooling, empty="hold"), pool_one(early, pooling=pooling, empty="hold"))


def test_where_nothing_ever_was_there_is_no_change():
    frames = random_frames(5).clip(1)
    frames[:, :, 0] = 0
    image = pool_one(frames, empty="hold", scale="symmetric")
    assert (image[:, 0] == 128).all()
    assert image[:, 1:].std() > 10


def test_holding_does_not_look_beyond_the_window():
    frames = random_frames(12).clip(1)
    frames[4:9, :, 1] = 0
    made = pool(frames, span="windows", window=6, stride=3, num_frames=None, empty="hold")
    for name, image in made.items():
        begin = int(name[1:])
        alone = pool_one(frames[begin : begin + 6], empty="hold", num_frames=None)
        np.testing.assert_array_equal(image, alone)


def test_what_is_given_is_left_alone():
    frames = random_frames(5)
    frames[2, :, 1] = 0
    before = frames.copy()
    pool_one(frames, empty="hold")
    np.testing.assert_array_equal(frames, before)


# Display.


def test_symmetric_display_keeps_zero_in_the_middle():
    dynamic = np.array([[-4.0, 0.0, 2.0], [1.0, 0.5, 0.0]])
    np.testing.assert_array_equal(to_display(dynamic, scale="symmetric"), [[1, 128, 192], [255, 192, 128]])


def test_a_few_outliers_do_not_decide_the_contrast():
    dynamic = np.linspace(-1, 1, 1001)[None]
    dynamic[0, 0], dynamic[0, -1] = -80, 90
    faint = to_display(dynamic, scale="symmetric")
    assert faint[0, 1:-1].std() < 2
    clear = to_display(dynamic, scale="symmetric", saturated=0.01)
    assert clear[0, 0] == 1
    assert clear[0, -1] == 255
    assert clear[0, 500] == 128
    assert clear[0, 1:-1].std() > 70


# Sequences in which next to nothing changes.


def nearly_still(num_frames: int) -> np.ndarray:
    """Two pixels flicker in two frames, one upward and one downward, both within the rounding of the sum."""
    frames = np.full((num_frames, *SHAPE), 120, np.uint8)
    (plan,) = plan_dynamic_images(range(num_frames), DynamicSettings(num_frames=None), None)
    weights = np.array(plan.weights)
    noise = 2 * num_frames * np.finfo(np.float32).eps * 255 * np.abs(weights).sum()
    first, second = np.argsort(np.abs(weights))[:2]
    levels = np.arange(120)
    sums = weights[first] * levels[:, None] + weights[second] * levels
    for pixel, sign in enumerate((1, -1)):
        level, other = np.argwhere((sign * sums > 0.6 * noise) & (sign * sums < 0.9 * noise))[0]
        frames[first, :, 3, pixel] += np.uint8(level)
        frames[second, :, 3, pixel] += np.uint8(other)
    return frames


@pytest.mark.parametrize("scale", ["symmetric", "minmax"])
@pytest.mark.parametrize("empty", ["hold", "black"])
@pytest.mark.parametrize("num_frames", [16, 17, 32, 60, 100])
def test_changes_below_the_noise_are_no_change(num_frames, empty, scale):
    for saturated in (0.0, 0.1):
        image = pool_one(nearly_still(num_frames), num_frames=None, scale=scale, empty=empty, saturated=saturated)
        assert (image == 128).all()


@pytest.mark.parametrize("saturated", [0.0, 0.1, 0.49])
@pytest.mark.parametrize("values", [[-0.8, 0.8], [-1.0, 0.2], [1.0, -1.0, 0.0], [0.9, -0.3, 0.0, 0.0]])
def test_values_within_the_noise_on_both_sides_of_zero_are_mid_grey(values, saturated):
    dynamic = 0.02 * np.array([values])
    for scale in ("symmetric", "minmax"):
        assert (to_display(dynamic, noise=0.02, scale=scale, saturated=saturated) == 128).all()


@pytest.mark.parametrize("scale", ["symmetric", "minmax"])
def test_a_change_beyond_the_noise_is_shown_beside_those_within(scale):
    image = to_display(0.02 * np.array([[-0.8, 0.8, 0.0, 1.2]]), noise=0.02, scale=scale, saturated=0.1)
    assert image.max() == 255


@pytest.mark.parametrize("scale", ["symmetric", "minmax"])
@pytest.mark.parametrize("num_frames", [1, 2, 3, 8, 40])
def test_exact_pooling_of_a_still_or_nearly_still_sequence_is_defined(num_frames, scale):
    still = np.full((num_frames, *SHAPE), 200, np.uint8)
    flicker = still.copy()
    flicker[num_frames // 2, 0, 2, 2, 1] += 1
    for frames in (still, flicker):
        image = pool_one(frames, pooling="exact", scale=scale)
        assert (image[1] == 128).all()
