"""Frames of views in, dynamic images out, while the sequence streams by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt8

from smilevlm.dynamics.exact import exact_rank_pooling
from smilevlm.dynamics.plan import DynamicPlan
from smilevlm.dynamics.settings import DynamicSettings
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
            The dynamic images that end with this frame, per view scaled to the full range of a byte.
        """
        assert self._num_added < len(self.needed), "every needed frame was added already"
        assert index == self.needed[self._num_added], f"frame {index} came, {self.needed[self._num_added]} is next"
        self._num_added += 1
        while self._waiting and min(self._waiting[0].frames) == index:
            self._active.append(self._begin(self._waiting.pop(0)))
        frame = None if images is None else _Frame(images)
        for pool in self._active:
            pool.add(index, frame)
        ended = [pool for pool in self._active if pool.last == index]
        self._active = [pool for pool in self._active if pool.last != index]
        self.lost += [pool.plan for pool in ended if pool.is_empty]
        return [(pool.plan, pool.image()) for pool in ended if not pool.is_empty]

    def _begin(self, plan: DynamicPlan) -> _Pool:
        if self._settings.pooling == "exact":
            return _ExactPool(plan, self._settings.regularisation)
        return _ApproximatePool(plan)


class _Frame:
    """A frame and its values as float, converted once however many dynamic images it is part of."""

    def __init__(self, images: ViewImages) -> None:
        self.images = images
        self._values: Float32[np.ndarray, "view height width 3"] | None = None

    @property
    def values(self) -> Float32[np.ndarray, "view height width 3"]:
        if self._values is None:
            self._values = self.images.astype(np.float32)
        return self._values


class _Pool(ABC):
    """One dynamic image in the making."""

    def __init__(self, plan: DynamicPlan) -> None:
        self.plan = plan
        self.last = max(plan.frames)
        self._frames = frozenset(plan.frames)
        self._unread: list[int] = []
        self._previous: _Frame | None = None

    def add(self, index: int, frame: _Frame | None) -> None:
        if index not in self._frames:
            return
        if frame is not None:
            self._previous = frame
        self._unread.append(index)
        if self._previous is not None:
            for entry in self._unread:
                self._take(entry, self._previous)
            self._unread.clear()

    @property
    def is_empty(self) -> bool:
        return self._previous is None

    @abstractmethod
    def _take(self, index: int, frame: _Frame) -> None: ...

    @abstractmethod
    def image(self) -> ViewImages: ...


class _ApproximatePool(_Pool):
    def __init__(self, plan: DynamicPlan) -> None:
        super().__init__(plan)
        self._weights: dict[int, float] = {}
        for index, weight in zip(plan.frames, plan.weights, strict=True):
            self._weights[index] = self._weights.get(index, 0.0) + weight
        self._sum: Float32[np.ndarray, "view height width 3"] | None = None
        self._weighted = np.empty(0, np.float32)

    def _take(self, index: int, frame: _Frame) -> None:
        if self._sum is None:
            self._sum = np.zeros(frame.images.shape, np.float32)
            self._weighted = np.empty_like(self._sum)
        np.multiply(frame.values, self._weights[index], out=self._weighted)
        np.add(self._sum, self._weighted, out=self._sum)

    def image(self) -> ViewImages:
        assert self._sum is not None
        # The largest rounding error of a sum of so many terms, none of which exceeds 255 times its weight.
        noise = len(self._weights) * _EPSILON * 255 * sum(abs(w) for w in self._weights.values())
        return to_display(self._sum, noise=noise)


class _ExactPool(_Pool):
    def __init__(self, plan: DynamicPlan, regularisation: float) -> None:
        super().__init__(plan)
        self._regularisation = regularisation
        self._images: dict[int, ViewImages] = {}

    def _take(self, index: int, frame: _Frame) -> None:
        self._images[index] = frame.images

    def image(self) -> ViewImages:
        total = np.zeros(self._images[self.last].shape, np.float32)
        begin = 0
        for length in self.plan.passes:
            entries = self.plan.frames[begin : begin + length]
            begin += length
            for view in range(len(total)):
                stack = np.stack([self._images[index][view] for index in entries])
                total[view] += exact_rank_pooling(stack, regularisation=self._regularisation) / len(self.plan.passes)
        return to_display(total)


def to_display(dynamic: Float[np.ndarray, " view *shape"], *, noise: float = 0.0) -> UInt8[np.ndarray, " view *shape"]:
    """Scale each view's smallest value to 0 and its largest to 255, over all its pixels and channels together.

    Args:
        dynamic: Finite values, one dynamic image per view.
        noise: A spread up to this is rounding, as in a sequence in which nothing moves: such a view is `MID_GREY` all
            over. The rounding of float32 itself, relative to the largest value, counts as noise always.
    """
    shown = np.empty(dynamic.shape, np.uint8)
    for view, values in enumerate(dynamic):
        low, high = float(values.min()), float(values.max())
        if high - low <= max(noise, _EPSILON * max(abs(low), abs(high))):
            shown[view] = MID_GREY
        else:
            shown[view] = np.rint((values - low) * (255.0 / (high - low)))
    return shown
