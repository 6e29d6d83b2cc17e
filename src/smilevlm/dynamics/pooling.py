"""Frames of views in, dynamic images out, while the sequence streams by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt8

from smilevlm.dynamics.exact import exact_rank_pooling
from smilevlm.dynamics.plan import DynamicPlan
from smilevlm.dynamics.settings import DisplayScale, DynamicSettings
from smilevlm.typing import ViewImages

MID_GREY = 128
_EPSILON = float(np.finfo(np.float32).eps)


class DynamicPools:
    """Makes the planned dynamic images of one sequence from frames that come in order.

    Approximate pooling holds one sum per dynamic image that has begun and has not ended, so memory does not grow with
    the sequence. Exact pooling holds the sampled frames of those dynamic images, one byte per value.

    A frame that could not be read is replaced by the readable one before it in time; at the beginning of a dynamic
    image by the first readable one. Assumption A27.

    Args:
        plans: From `plan_dynamic_images`.
        settings: How they are pooled.

    Attributes:
        needed: Indices of the frames to bring, ascending.
        lost: Plans, so far, of which no frame could be read: they give no image.
    """

    def __init__(self, plans: Sequence[DynamicPlan], settings: DynamicSettings) -> None:
        self.needed: tuple[int, ...] = tuple(sorted({index for plan in plans for index in plan.frames}))
        self.lost: list[DynamicPlan] = []
        self._settings = settings
        self._waiting = sorted(plans, key=lambda plan: min(plan.frames))
        self._active: list[_Pool] = []
        self._num_added = 0

    def add(self, index: int, images: ViewImages | None) -> list[tuple[DynamicPlan, ViewImages]]:
        """Add the next needed frame.

        Args:
            index: Every one of `needed`, in that order.
            images: The frame's views, which must not be written to afterwards; None when it could not be read.

        Returns:
            The dynamic images that end with this frame, as bytes, see `to_display`.
        """
        assert self._num_added < len(self.needed), "every needed frame was added already"
        assert index == self.needed[self._num_added], f"frame {index} came, {self.needed[self._num_added]} is next"
        self._num_added += 1
        while self._waiting and min(self._waiting[0].frames) == index:
            self._active.append(self._begin(self._waiting.pop(0)))
        for pool in self._active:
            pool.add(index, images)
        ended = [pool for pool in self._active if pool.last == index]
        self._active = [pool for pool in self._active if pool.last != index]
        self.lost += [pool.plan for pool in ended if pool.is_empty]
        return [(pool.plan, pool.image()) for pool in ended if not pool.is_empty]

    def _begin(self, plan: DynamicPlan) -> _Pool:
        kind = _ExactPool if self._settings.pooling == "exact" else _ApproximatePool
        return kind(plan, self._settings)


class _Filled:
    """The last thing every pixel showed, in one dynamic image's frames so far.

    Attributes:
        images: The newest frame with its empty pixels filled; zero where nothing was seen yet.
        newly: Pixels whose first surface is in the newest frame.
        first_seen: How many frames had been taken before a pixel's first surface; `num_taken` where there is none yet.
        num_taken: Frames taken.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.images: ViewImages = np.zeros(shape, np.uint8)
        self.newly = np.zeros(shape[:-1], bool)
        self.first_seen = np.zeros(shape[:-1], np.int32)
        self.num_taken = 0
        self._seen = np.zeros(shape[:-1], bool)

    def take(self, images: ViewImages) -> None:
        covered = np.asarray(images.any(axis=-1))
        self.images = np.where(covered[..., None], images, self.images)
        self.newly = covered & ~self._seen
        self._seen |= covered
        self.num_taken += 1
        self.first_seen[~self._seen] = self.num_taken


class _Pool(ABC):
    """One dynamic image in the making."""

    def __init__(self, plan: DynamicPlan, settings: DynamicSettings) -> None:
        self.plan = plan
        self.last = max(plan.frames)
        self._settings = settings
        self._frames = frozenset(plan.frames)
        self._unread: list[int] = []
        self._previous: ViewImages | None = None

    def add(self, index: int, images: ViewImages | None) -> None:
        if index not in self._frames:
            return
        if images is not None:
            self._previous = images
        self._unread.append(index)
        if self._previous is not None:
            for entry in self._unread:
                self._take(entry, self._previous)
            self._unread.clear()

    @property
    def is_empty(self) -> bool:
        return self._previous is None

    @abstractmethod
    def _take(self, index: int, images: ViewImages) -> None: ...

    @abstractmethod
    def image(self) -> ViewImages: ...


class _ApproximatePool(_Pool):
    def __init__(self, plan: DynamicPlan, settings: DynamicSettings) -> None:
        super().__init__(plan, settings)
        self._weights: dict[int, float] = {}
        for index, weight in zip(plan.frames, plan.weights, strict=True):
            self._weights[index] = self._weights.get(index, 0.0) + weight
        self._weight_so_far = 0.0
        self._sum: Float32[np.ndarray, "view height width 3"] | None = None
        self._filled: _Filled | None = None

    def _take(self, index: int, images: ViewImages) -> None:
        if self._sum is None:
            self._sum = np.zeros(images.shape, np.float32)
            self._filled = _Filled(images.shape) if self._settings.empty == "hold" else None
        weight = self._weights[index]
        if self._filled is not None:
            self._filled.take(images)
            images, newly = self._filled.images, self._filled.newly
            # Before its first surface a pixel counts as showing that surface already.
            self._sum[newly] += np.float32(self._weight_so_far) * images[newly]
        self._sum += np.float32(weight) * images
        self._weight_so_far += weight

    def image(self) -> ViewImages:
        assert self._sum is not None
        # The largest rounding error of a sum of so many terms, none of which exceeds 255 times its weight.
        noise = 2 * len(self._weights) * _EPSILON * 255 * sum(abs(w) for w in self._weights.values())
        return to_display(self._sum, noise=noise, scale=self._settings.scale, saturated=self._settings.saturated)


class _ExactPool(_Pool):
    def __init__(self, plan: DynamicPlan, settings: DynamicSettings) -> None:
        super().__init__(plan, settings)
        self._images: dict[int, ViewImages] = {}
        self._filled: _Filled | None = None

    def _take(self, index: int, images: ViewImages) -> None:
        if self._settings.empty == "hold":
            self._filled = self._filled or _Filled(images.shape)
            self._filled.take(images)
            images = self._filled.images
        self._images[index] = images

    def image(self) -> ViewImages:
        if self._filled is not None:
            self._fill_beginnings(self._filled)
        total = np.zeros(self._images[self.last].shape, np.float32)
        begin = 0
        for length in self.plan.passes:
            entries = self.plan.frames[begin : begin + length]
            begin += length
            for view in range(len(total)):
                stack = np.stack([self._images[index][view] for index in entries])
                weights = exact_rank_pooling(stack, regularisation=self._settings.regularisation)
                total[view] += weights / len(self.plan.passes)
        return to_display(total, scale=self._settings.scale, saturated=self._settings.saturated)

    def _fill_beginnings(self, filled: _Filled) -> None:
        """Before its first surface a pixel counts as showing that surface already: from the last frame to the first."""
        later = filled.images
        for place, index in reversed(list(enumerate(sorted(self._images)))):
            unseen = filled.first_seen > place
            later = np.where(unseen[..., None], later, self._images[index])
            self._images[index] = later


def to_display(
    dynamic: Float[np.ndarray, " view *shape"],
    *,
    noise: float = 0.0,
    scale: DisplayScale = "minmax",
    saturated: float = 0.0,
) -> UInt8[np.ndarray, " view *shape"]:
    """Scale each view to the range of a byte, over all its pixels and channels together.

    Args:
        dynamic: Finite values, one dynamic image per view.
        noise: A spread up to this is rounding, as in a sequence in which nothing moves: such a view is `MID_GREY` all
            over, and so is one without any value further from zero than this. The rounding of float32 itself, relative
            to the largest value, counts as noise always.
        scale: `minmax` takes the smallest value to 0 and the largest to 255; `symmetric` takes zero to `MID_GREY` and
            the value furthest from it to 1 or 255.
        saturated: Share of the values beyond `noise` that `symmetric` leaves out when it looks for the furthest; they
            are shown as 1 or 255 too.
    """
    shown = np.empty(dynamic.shape, np.uint8)
    for view, values in enumerate(dynamic):
        low, high = float(values.min()), float(values.max())
        furthest = max(abs(low), abs(high))
        if furthest <= noise or high - low <= max(noise, _EPSILON * furthest):
            shown[view] = MID_GREY
        elif scale == "minmax":
            shown[view] = np.rint((values - low) * (255.0 / (high - low)))
        else:
            reach = np.float32((255.0 - MID_GREY) / _furthest(values, noise, saturated))
            shown[view] = np.rint(MID_GREY + np.clip(values * reach, MID_GREY - 255.0, 255.0 - MID_GREY))
    return shown


def _furthest(values: Float[np.ndarray, " *shape"], noise: float, saturated: float) -> float:
    """The size of change that all but the largest `saturated` share of the changes keep within; one at least exceeds
    the noise."""
    changes = np.abs(values)
    changes = changes[changes > noise]
    kept = len(changes) - 1 - int(saturated * len(changes))
    return float(np.partition(changes, kept)[kept])
