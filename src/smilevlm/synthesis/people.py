"""Synthetic people: shape, skin and habits, each from a seed of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smilevlm.synthesis.population import DEFAULT, Population

_ETHNICITY_CODES: tuple[tuple[str, tuple[float, float, float]], ...] = (
    # BU-3DFE's code, then the mean share of anny's african, asian and caucasian shapes
    ("WH", (0.05, 0.05, 0.9)),
    ("AE", (0.05, 0.9, 0.05)),
    ("BL", (0.9, 0.05, 0.05)),
    ("IN", (0.35, 0.3, 0.35)),
    ("AM", (0.3, 0.1, 0.6)),
    ("LA", (0.2, 0.4, 0.4)),
)
_SKIN_RGB: Mapping[str, tuple[float, float, float]] = {
    "WH": (225, 184, 162), "AE": (222, 184, 150), "BL": (118, 80, 62),
    "IN": (160, 116, 88), "AM": (196, 152, 122), "LA": (190, 144, 114),
}  # fmt: skip
TEMPLATE_SEED = 20_260_101
"""Seed of the people whose mean is the template; no data set may have it."""
_SHAPE_SPREAD = 0.33
_EXPRESSIVE_SHAPE_SPREAD = 0.12
"""Shapes that resemble an expression (mouth corners up, brows tilted) vary too, but less than an expression does."""
_EXPRESSIVE_SHAPES = ("mouth-angles-up", "eyebrows-angle-up", "eyebrows-trans-up", "mouth-scale-horiz-incr")


@dataclass(frozen=True, kw_only=True)
class Person:
    """One synthetic subject.

    Args:
        sex: `F` or `M`.
        ethnicity: BU-3DFE's two-letter code.
        phenotype: `anny`'s phenotype values in [0, 1].
        shape: `anny`'s local changes, about [-1, 1].
        size: Scale of the whole head, about 1.
        skin_rgb: Base colour, 0 to 255.
        lip_redness, brow_darkness, stubble: Appearance in [0, 1].
        habits: Multiplier per facial action: how strongly this person uses it.
        lean: Left-right asymmetry per action pair in [-1, 1].
        preferences: One uniform number per optional movement: which variants this person tends to.
    """

    sex: str
    ethnicity: str
    phenotype: Mapping[str, float]
    shape: Mapping[str, float]
    size: float
    skin_rgb: tuple[float, float, float]
    lip_redness: float
    brow_darkness: float
    stubble: float
    habits: Mapping[str, float]
    lean: Mapping[str, float]
    preferences: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Tempo:
    """How one person moves.

    Args:
        onset_s, offset_s: How long a full expression takes to come and to go, about 0.3 to 1 second.
        hold: Share of the time between coming and going that it is held, in [0, 1].
        brow_lead_s: How much earlier brows and eyes start than the mouth; negative when later.
        side_lag_s: How much later the left side moves than the right; negative when earlier.
        delays_s: Habitual delay per action (pairs share one).
        blinks_per_s: Mean rate.
        restlessness: Multiplier of idle movement and of the head's sway, about 1.
    """

    onset_s: float
    offset_s: float
    hold: float
    brow_lead_s: float
    side_lag_s: float
    delays_s: Mapping[str, float]
    blinks_per_s: float
    restlessness: float


def draw_tempo(rng: np.random.Generator, facial_actions: tuple[str, ...]) -> Tempo:
    """Draw how a person moves, from a generator of its own: scans without motion do not know of it."""
    return Tempo(
        onset_s=float(np.clip(np.exp(rng.normal(np.log(0.55), 0.3)), 0.28, 1.1)),
        offset_s=float(np.clip(np.exp(rng.normal(np.log(0.75), 0.3)), 0.35, 1.4)),
        hold=float(rng.uniform(0.4, 0.95)),
        brow_lead_s=float(rng.normal(0.03, 0.06)),
        side_lag_s=float(rng.normal(0, 0.02)),
        delays_s={stem: float(rng.normal(0, 0.04)) for stem in sorted({action_stem(n) for n in facial_actions})},
        blinks_per_s=float(rng.uniform(0.1, 0.5)),
        restlessness=float(np.exp(rng.normal(0, 0.3))),
    )


def draw_person(
    rng: np.random.Generator,
    *,
    sex: str,
    shape_changes: tuple[str, ...],
    facial_actions: tuple[str, ...],
    population: Population = DEFAULT,
) -> Person:
    """Draw one person from the person's own generator.

    Args:
        rng: The person's own generator.
        sex: `F` or `M`.
        shape_changes: Names of the local changes; `l-` and `r-` pairs move mostly together.
        facial_actions: Names of the actions; `Left` and `Right` pairs share a habit.
        population: Which people there are.
    """
    rng = population.own_generator(rng)
    code, mean_shares = _ETHNICITY_CODES[rng.choice(len(_ETHNICITY_CODES), p=population.ethnicity_shares)]
    african, asian, caucasian = rng.dirichlet(np.array(mean_shares) * 8 + 0.05)
    phenotype = {
        "gender": float(np.clip(rng.normal(0.12 if sex == "F" else 0.88, 0.12), 0, 1)),
        # 2/3 is anny's young adult, 1 its oldest; BU-3DFE's people are 18 to 70.
        "age": float(rng.uniform(*population.ages)),
        "muscle": float(rng.uniform(0.3, 0.7)),
        "weight": float(rng.beta(2.5, 2.5)),
        "height": float(rng.uniform(0.35, 0.65)),
        "proportions": float(rng.uniform(0.35, 0.7)),
        "african": float(african),
        "asian": float(asian),
        "caucasian": float(caucasian),
    }
    skin = np.array(_SKIN_RGB[code]) * rng.normal(1, 0.06) + rng.normal(0, 3, 3)
    pair_stems = sorted({action_stem(name) for name in facial_actions})
    usual = population.habits(pair_stems)
    return Person(
        sex=sex,
        ethnicity=code,
        phenotype=phenotype,
        shape=_draw_shape(rng, population, shape_changes),
        size=float(np.clip(rng.normal(1.0, 0.035), 0.9, 1.1)),
        skin_rgb=(float(skin[0]), float(skin[1]), float(skin[2])),
        lip_redness=float(rng.uniform(0.2, 0.9 if sex == "F" else 0.55)),
        brow_darkness=float(rng.uniform(0.3, 0.9)),
        stubble=float(rng.uniform(0, 0.5)) if sex == "M" else 0.0,
        habits={
            stem: usual[stem] * float(np.exp(rng.normal(0, 0.16 * population.habit_spread))) for stem in pair_stems
        },
        lean={stem: population.asymmetry * float(np.clip(rng.normal(0, 0.25), -0.6, 0.6)) for stem in pair_stems},
        preferences={stem: float(rng.uniform()) for stem in pair_stems},
    )


def _draw_shape(rng: np.random.Generator, population: Population, names: tuple[str, ...]) -> dict[str, float]:
    shape: dict[str, float] = {}
    for name in names:
        bare = name[2:] if name[:2] in ("l-", "r-") else name
        spread = _EXPRESSIVE_SHAPE_SPREAD if bare in _EXPRESSIVE_SHAPES else _SHAPE_SPREAD
        own = float(np.clip(rng.normal(0, spread * population.shape_spread), -0.9, 0.9))
        mirrored = shape.get(("l-" if name.startswith("r-") else "r-") + bare)
        shape[name] = own if mirrored is None else float(0.93 * mirrored + 0.2 * own)
    mean = population.mean_shape(names)
    return {name: value + mean[name] for name, value in shape.items()}


def action_stem(action: str) -> str:
    """The name that the two sides of an action share."""
    return action.removesuffix("Left").removesuffix("Right")
