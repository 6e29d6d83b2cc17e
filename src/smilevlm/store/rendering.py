"""Frames to views and views to dynamic images: the one way that preparation and prediction share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from smilevlm.dynamics import DynamicPlan, DynamicPools, DynamicSettings, find_apex, plan_dynamic_images
from smilevlm.errors import SmileVlmError, StoreError
from smilevlm.geometry import Mesh, NormalisedFace, normalise
from smilevlm.store.manifest import PrepareSettings
from smilevlm.store.records import Phases
from smilevlm.typing import ViewImages
from smilevlm.views import render_normalised

_TURNED_DEG = 35.0
"""A face found further from where it was looked for than this was searched for over all orientations."""
Frame = TypeVar("Frame")


@dataclass(frozen=True, kw_only=True)
class DynamicViews:
    """One dynamic image per view.

    Args:
        plan: Which frames it was made of.
        images: As bytes.
    """

    plan: DynamicPlan
    images: ViewImages


class FaceFinder:
    """Normalises the scans of one recording: where one had to be searched for, the next ones begin there.

    Args:
        settings: How the face frame is found.
        start: Rotation of the scans' axes into a roughly frontal pose, which is then not searched for; None to look for
            the face anywhere.
    """

    def __init__(self, settings: PrepareSettings, start: Float[np.ndarray, "3 3"] | None = None) -> None:
        self._settings = settings.normalise
        self._is_given = start is not None
        self._start = start
        self._mm_per_unit: float | None = None

    def __call__(self, mesh: Mesh) -> NormalisedFace:
        face = normalise(
            mesh,
            self._settings,
            start=self._start,
            mm_per_unit=self._mm_per_unit,
            search_pose=not self._is_given,
        )
        if self._is_given:
            return face
        if face.unit == "unknown":
            self._mm_per_unit = face.mm_per_unit
        begun = np.eye(3) if self._start is None else self._start
        turn = np.clip((np.trace(face.rotation @ begun.T) - 1) / 2, -1, 1)
        if np.rad2deg(np.arccos(turn)) > _TURNED_DEG:
            self._start = face.rotation.astype(np.float64)
        return face


def sequence_views(
    frames: Sequence[Frame],
    numbers: Sequence[int],
    settings: PrepareSettings,
    render: Callable[[Frame], ViewImages],
    *,
    phases: Phases | None = None,
    on_bad: Callable[[Frame, Exception], None],
    on_lost: Callable[[DynamicPlan], None],
) -> Iterator[DynamicViews]:
    """The dynamic images of a sequence; frames stream by, one in memory at a time, all where the apex is looked for.

    Args:
        frames: In order.
        numbers: Of each frame, strictly ascending.
        settings: Which frames are pooled, and how.
        render: Gives the views of a frame.
        phases: Where the data set says when the movement begins and ends.
        on_bad: Called with a frame that could not be used; its neighbour takes its place.
        on_lost: Called with a planned image of which no frame could be used.

    Raises:
        StoreError: Too many frames could not be used.
        LayoutError: The frames cannot be planned, see `plan_dynamic_images`.
    """
    source = _FrameViews(frames, settings.dynamics, render, on_bad)
    known = None if phases is None else (phases.onset, phases.apex, phases.offset)
    if settings.dynamics.finds_apex:
        known = _found_phases(numbers, source)
    plans = plan_dynamic_images(numbers, settings.dynamics, known)
    pools = DynamicPools(plans, settings.dynamics)
    for index, images in source.stream(pools.needed):
        for plan, dynamic in pools.add(index, images):
            yield DynamicViews(plan=plan, images=dynamic)
    for plan in pools.lost:
        on_lost(plan)


class _FrameViews:
    """The views of a sequence's frames; what was held once is not rendered again."""

    def __init__(
        self,
        frames: Sequence[Frame],
        settings: DynamicSettings,
        render: Callable[[Frame], ViewImages],
        on_bad: Callable[[Frame, Exception], None],
    ) -> None:
        self._frames = frames
        self._most_bad_share = settings.max_bad_share
        self._render = render
        self._on_bad = on_bad
        self._held: dict[int, tuple[ViewImages | None, Exception | None]] = {}

    def hold(self) -> list[ViewImages | None]:
        """All frames, which stay in memory; None for those that could not be used."""
        for index in range(len(self._frames)):
            self._held[index] = self._rendered(index)
        return [images for _, images in self.stream(range(len(self._frames)))]

    def stream(self, needed: Sequence[int]) -> Iterator[tuple[int, ViewImages | None]]:
        """Frame by frame, one in memory at a time.

        Raises:
            StoreError: Too many of these frames could not be used.
        """
        num_bad = 0
        for index in needed:
            if index in self._held:
                images, error = self._held[index]
            else:
                images, error = self._rendered(index)
            num_bad += images is None
            if num_bad > self._most_bad_share * len(needed):
                raise StoreError(f"{num_bad} of {len(needed)} frames could not be used, the last: {error}")
            yield index, images

    def _rendered(self, index: int) -> tuple[ViewImages | None, Exception | None]:
        """The views of a frame, or why it cannot be used."""
        try:
            return self._render(self._frames[index]), None
        except (SmileVlmError, OSError) as error:
            self._on_bad(self._frames[index], error)
            return None, error


def _found_phases(numbers: Sequence[int], source: _FrameViews) -> tuple[int, int, int]:
    """Frame numbers of the first frame, the apex and the last frame."""
    readable = [(number, images) for number, images in zip(numbers, source.hold(), strict=True) if images is not None]
    apex = find_apex(np.stack([images for _, images in readable]))
    return numbers[0], readable[apex][0], numbers[-1]


def scan_views(mesh: Mesh, settings: PrepareSettings, find: FaceFinder) -> tuple[ViewImages, NormalisedFace]:
    """The views of one scan, and the face they show."""
    face = find(mesh)
    return render_normalised(face.mesh, settings.views), face
