"""What becomes one dynamic image: which frames of a sequence, and how they are pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from smilevlm.errors import SettingsError

Pooling = Literal["approximate", "exact"]
EmptyPixels = Literal["hold", "black"]
DisplayScale = Literal["symmetric", "minmax"]
Span = Literal["sequence", "windows", "onset_apex", "apex_offset", "both_phases", "toward_apex"]
ApexSource = Literal["labels", "automatic"]
_PHASE_SPANS = ("onset_apex", "apex_offset", "both_phases", "toward_apex")


@dataclass(frozen=True, kw_only=True)
class DynamicSettings:
    """How a sequence becomes dynamic images. The values are part of a store's identity.

    Args:
        pooling: `approximate` weighs the frames with fixed coefficients and holds one sum; `exact` fits a ranking
            function to the frames and holds the sampled frames of a dynamic image in memory.
        span: `sequence` is one image of all frames; `windows` is one image per window; `onset_apex` and `apex_offset`
            are one image of that phase; `both_phases` is an image of each phase, two samples whose embeddings are
            averaged when they are scored; `toward_apex` is one image of both phases, the second pooled backward in
            time, so that the apex comes last in each. Assumption A26. The last four need phases.
        apex: Where their phases come from. `labels`: the data set's onset, apex and offset, which 4DME has;
            `automatic`: the first frame, the frame that `find_apex` finds, and the last frame, whatever the data set
            says. Assumption A70.
        num_frames: Frames per dynamic image, drawn uniformly in time with the first and the last among them; of
            `toward_apex` per phase. A shorter stretch gives fewer. None takes all. Assumption A24.
        empty: What a pixel without surface shows. `hold`: what it showed last, before its first surface what it will
            show then, so that rims and holes that flicker do not outshine the movement; `black`: black. Assumption A29.
        scale: How a dynamic image becomes bytes, per view. `symmetric`: no change is mid-grey and large changes are
            black or white; `minmax`: the smallest value is black and the largest white. Assumption A30.
        saturated: Share of the values that change which `symmetric` may show as black or white, so that a few pixels of
            noise do not decide the contrast of a faint movement; in [0, 0.5).
        window: Length of a window, in frame numbers as the data set counts. Assumption A25.
        stride: From the beginning of one window to that of the next, in frame numbers.
        regularisation: C of the exact pooling's linear support vector regression.
        max_bad_share: A sequence with a larger share of unreadable frames is skipped; in [0, 1).
    """

    pooling: Pooling = "approximate"
    span: Span = "sequence"
    apex: ApexSource = "labels"
    num_frames: int | None = 32
    empty: EmptyPixels = "hold"
    scale: DisplayScale = "symmetric"
    saturated: float = 0.1
    window: int = 50
    stride: int = 25
    regularisation: float = 1.0
    max_bad_share: float = 0.2

    def __post_init__(self) -> None:
        choices = {
            "pooling": Pooling, "span": Span, "apex": ApexSource, "empty": EmptyPixels, "scale": DisplayScale,
        }  # fmt: skip
        for name, kind in choices.items():
            value, known = getattr(self, name), get_args(kind)
            if value not in known:
                raise SettingsError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        if self.num_frames is not None and self.num_frames < 2:
            raise SettingsError(f"num_frames is {self.num_frames}; expected 2 or more, or none (--frames 0) for all")
        if self.apex == "automatic" and self.span not in _PHASE_SPANS:
            raise SettingsError(f"apex is 'automatic', but span {self.span!r} has no phases; expected 'labels'")
        if self.window < 2 or self.stride < 1:
            raise SettingsError(f"window is {self.window} and stride {self.stride}; expected at least 2 and 1")
        if not 0 < self.regularisation < float("inf"):
            raise SettingsError(f"regularisation is {self.regularisation}; expected a positive number")
        if not 0 <= self.saturated < 0.5:
            raise SettingsError(f"saturated is {self.saturated}; expected a share in [0, 0.5)")
        if not 0 <= self.max_bad_share < 1:
            raise SettingsError(f"max_bad_share is {self.max_bad_share}; expected a share in [0, 1)")

    @property
    def finds_apex(self) -> bool:
        """Whether the phases are found in the frames, all of which are held in memory then."""
        return self.apex == "automatic"
