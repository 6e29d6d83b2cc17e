"""Which people are drawn, and before which scanner they sit: the default population, and one that lies apart from it.

A model trained on the one meets, in the other, what it meets in a new data set: other shapes, other habits, a worse
scanner. People of the two populations are drawn independently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from smilevlm.errors import SettingsError
from smilevlm.synthesis.range_camera import RangeCameraSettings
from smilevlm.synthesis.scan_setup import ScannerSettings

_DIALECT, _MEAN_FACE = 20_070_201, 20_070_202
"""Seeds of what all people of a population share; of these, not of a data set's seed, a population is made."""
AnyScanner = TypeVar("AnyScanner", ScannerSettings, RangeCameraSettings)


@dataclass(frozen=True, kw_only=True)
class Population:
    """How people are drawn; the default draws those that every set had before there were others.

    Args:
        shape_spread: Factor on how far shapes lie from the population's mean face.
        shape_shift: How far that mean face lies from the default one, as standard deviation of the local changes.
        ages: Lowest and highest, as `anny` counts: 2/3 is a young adult, 1 its oldest.
        ethnicity_shares: Of BU-3DFE's codes WH, AE, BL, IN, AM, LA; they sum to one.
        expressiveness: Factor on the strength of every facial action.
        habit_spread: Factor on how unlike people are in how strongly they use an action.
        asymmetry: Factor on how much stronger one side of the face is.
        dialect: How differently this population expresses itself, as standard deviation of the logarithm of a factor
            that all its people share, one per facial action. Source: Elfenbein et al., Emotion 7(1), 2007.
    """

    shape_spread: float = 1.0
    shape_shift: float = 0.0
    ages: tuple[float, float] = (0.6, 0.92)
    ethnicity_shares: tuple[float, ...] = (0.51, 0.24, 0.09, 0.06, 0.04, 0.06)
    expressiveness: float = 1.0
    habit_spread: float = 1.0
    asymmetry: float = 1.0
    dialect: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shape_spread", "expressiveness", "habit_spread", "asymmetry"):
            if not 0 <= getattr(self, name) <= 5:
                raise SettingsError(f"population.{name} is {getattr(self, name)}; expected 0 to 5")
        if not 0 <= self.ages[0] <= self.ages[1] <= 1:
            raise SettingsError(f"population.ages is {self.ages}; expected lowest and highest in 0 to 1")
        shares = self.ethnicity_shares
        if len(shares) != 6 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
            raise SettingsError(f"population.ethnicity_shares is {shares}; expected six shares that sum to one")
        for name in ("shape_shift", "dialect"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"population.{name} is {getattr(self, name)}; expected 0 to 1")

    def own_generator(self, rng: np.random.Generator) -> np.random.Generator:
        """The generator to draw a person from: people of two populations are not the same ones, changed."""
        return rng if self == DEFAULT else np.random.default_rng(rng.integers(2**63, size=2))

    def habits(self, stems: Sequence[str]) -> dict[str, float]:
        """How strongly its people use each facial action, on average."""
        offsets = np.random.default_rng(_DIALECT).normal(0, self.dialect, len(stems))
        return {stem: self.expressiveness * float(np.exp(x)) for stem, x in zip(stems, offsets, strict=True)}

    def mean_shape(self, names: Sequence[str]) -> dict[str, float]:
        """Its mean face, as offsets of local changes; the two sides of a face are alike."""
        bare = sorted({name.removeprefix("l-").removeprefix("r-") for name in names})
        offsets = np.random.default_rng(_MEAN_FACE).normal(0, self.shape_shift, len(bare))
        of = dict(zip(bare, offsets.tolist(), strict=True))
        return {name: of[name.removeprefix("l-").removeprefix("r-")] for name in names}


DEFAULT = Population()
SHIFTED = Population(
    shape_shift=0.3,
    ages=(0.68, 1.0),
    ethnicity_shares=(0.12, 0.16, 0.3, 0.22, 0.08, 0.12),
    expressiveness=1.15,
    asymmetry=1.2,
    dialect=0.35,
)
"""Older people of another mix with another mean face, who express themselves in other ways and less evenly."""


def worse_scanner(settings: AnyScanner) -> AnyScanner:
    """The scanner of the shifted population: noisier, with more and larger holes and a tighter crop."""
    changes: dict[str, float] = {
        "noise_mm": 2.0 * settings.noise_mm,
        "ripple_mm": 1.5 * settings.ripple_mm,
        "max_holes": 2 * settings.max_holes,
    }
    if isinstance(settings, ScannerSettings):
        changes |= {"hole_size": 1.3, "crop_share": 0.86}
    return replace(settings, **changes)
