"""Which frames of a sequence go into which dynamic image, and with what weight. No image is touched here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from smilevlm.dynamics.rank_pooling import rank_pooling_coefficients
from smilevlm.dynamics.settings import DynamicSettings
from smilevlm.errors import LayoutError

_LARGEST_NUMBER = 10**15
"""Times between such numbers are still exact as float64."""


@dataclass(frozen=True, kw_only=True)
class DynamicPlan:
    """One dynamic image to be made.

    Args:
        name: Empty when a recording has one dynamic image; `w000050` for the window that begins at frame number 50;
            `onset_apex` and `apex_offset` where each phase has one.
        frames: Indices into the recording's frames in the order they are pooled. Ascending, but for the falling phase
            of `toward_apex`, which follows the rising one, descends, and may repeat the apex.
        weights: Approximate pooling's coefficient of each entry of `frames`.
        first_number: Smallest frame number that is pooled.
        last_number: Largest frame number that is pooled.
        passes: How many entries of `frames` each pass has: one pass, two for `toward_apex`.
    """

    name: str
    frames: tuple[int, ...]
    weights: tuple[float, ...]
    first_number: int
    last_number: int
    passes: tuple[int, ...]


def plan_dynamic_images(
    numbers: Sequence[int], settings: DynamicSettings, phases: tuple[int, int, int] | None
) -> tuple[DynamicPlan, ...]:
    """Plan the dynamic images of one sequence.

    Args:
        numbers: The frames' numbers, strictly ascending; gaps are time that passed.
        settings: Which frames.
        phases: Frame numbers of onset, apex and offset, when they are known.

    Returns:
        In the order of their first frames, at least one. Of `both_phases` a phase of one frame, which shows no
        movement, has no image beside one that has more.

    Raises:
        LayoutError: The frames are not in order or numbered beyond 10**15, the settings ask for phases and there are
            none or they hold no frame, or the sequence is shorter than half a window. The message does not name the
            sequence.
    """
    if any(abs(number) > _LARGEST_NUMBER for number in numbers):
        raise LayoutError(f"a frame number is beyond {_LARGEST_NUMBER}")
    times = np.asarray(numbers, np.int64)
    if len(times) == 0 or (np.diff(times) <= 0).any():
        raise LayoutError("a sequence needs frames with strictly ascending numbers")
    if settings.span == "windows":
        return _windows(times, settings)
    if settings.span == "sequence":
        return (_plan("", times, [_sample(times, np.arange(len(times)), settings)]),)
    return _phase_plans(times, settings, phases)


def _plan(
    name: str,
    times: Int64[np.ndarray, " time"],
    passes: Sequence[Int64[np.ndarray, " entry"]],
) -> DynamicPlan:
    frames = np.concatenate(passes)
    # The mean over passes: what both phases show counts as much as in one.
    weights = np.concatenate([rank_pooling_coefficients(len(entries)) / len(passes) for entries in passes])
    return DynamicPlan(
        name=name,
        frames=tuple(frames.tolist()),
        weights=tuple(weights.tolist()),
        first_number=int(times[frames.min()]),
        last_number=int(times[frames.max()]),
        passes=tuple(len(entries) for entries in passes),
    )


def _sample(
    times: Int64[np.ndarray, " time"], indices: Int64[np.ndarray, " there"], settings: DynamicSettings
) -> Int64[np.ndarray, " entry"]:
    """For each of `num_frames` equally spaced times the nearest frame among `indices`, each frame once, ascending."""
    if settings.num_frames is None or settings.num_frames >= len(indices):
        return indices
    there = times[indices]
    wanted = np.linspace(there[0], there[-1], settings.num_frames)
    after = np.searchsorted(there, wanted).clip(1, len(there) - 1)
    # Between two frames at the same distance the earlier one.
    nearest = after - (wanted - there[after - 1] <= there[after] - wanted)
    return indices[np.unique(nearest)]


def _windows(times: Int64[np.ndarray, " time"], settings: DynamicSettings) -> tuple[DynamicPlan, ...]:
    """A window is kept when its frames span at least half of it and it has a frame that the one before it had not.

    So a gap gives no image of a few stray frames, and the last, incomplete window is there only if it tells more.
    """
    plans: list[DynamicPlan] = []
    for begin in _window_begins(times, settings):
        first, end = np.searchsorted(times, [begin, begin + settings.window])
        if times[end - 1] - times[first] + 1 < settings.window / 2:
            continue
        if plans and times[end - 1] <= plans[-1].last_number:
            continue
        entries = _sample(times, np.arange(first, end), settings)
        plans.append(_plan(f"w{begin:06d}", times, [entries]))
    if not plans:
        raise LayoutError(
            f"no window of {settings.window} frame numbers is at least half full in a sequence of {len(times)} frames, "
            f"numbered {times[0]} to {times[-1]}"
        )
    return tuple(plans)


def _window_begins(times: Int64[np.ndarray, " time"], settings: DynamicSettings) -> list[int]:
    """Where the windows begin that hold a frame, however long the gaps between frames are."""
    window, stride, first = settings.window, settings.stride, int(times[0])
    steps: set[int] = set()
    for offset in (times - first).tolist():
        steps.update(range(max(0, (offset - window) // stride + 1), offset // stride + 1))
    return [first + step * stride for step in sorted(steps)]


def _phase_plans(
    times: Int64[np.ndarray, " time"], settings: DynamicSettings, phases: tuple[int, int, int] | None
) -> tuple[DynamicPlan, ...]:
    if phases is None:
        raise LayoutError(f"the sequence has no onset, apex and offset; span {settings.span!r} needs them")
    onset, apex, offset = phases
    if not onset <= apex <= offset:
        raise LayoutError(f"onset {onset}, apex {apex} and offset {offset} are not in order")
    rising = _sample_between(times, onset, apex, settings)
    falling = _sample_between(times, apex, offset, settings)
    passes = {
        "onset_apex": {"onset_apex": rising},
        "apex_offset": {"apex_offset": falling},
        "both_phases": {"onset_apex": rising, "apex_offset": falling},
        "toward_apex": {"onset_apex": rising, "apex_offset": falling[::-1]},
    }[settings.span]
    # A phase of one frame shows no movement; its weight of 1 would lay a still picture over the other phase's change.
    moving = {name: entries for name, entries in passes.items() if len(entries) > 1}
    if not moving:
        first = next(iter(passes))
        moving = {first: passes[first]}
    if not any(len(entries) for entries in moving.values()):
        raise LayoutError(
            f"no frame of the phases of span {settings.span!r} is there: onset {onset}, apex {apex}, offset {offset}, "
            f"frames numbered {times[0]} to {times[-1]}"
        )
    if settings.span == "both_phases":
        return tuple(_plan(name, times, [entries]) for name, entries in moving.items())
    return (_plan("", times, list(moving.values())),)


def _sample_between(
    times: Int64[np.ndarray, " time"], first: int, last: int, settings: DynamicSettings
) -> Int64[np.ndarray, " entry"]:
    indices = np.flatnonzero((times >= first) & (times <= last))
    return _sample(times, indices, settings)
