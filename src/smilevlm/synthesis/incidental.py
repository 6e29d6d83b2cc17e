"""Movements that belong to no expression and occur with all: an open mouth, closed eyes, gaze, speech, full cheeks.

Without them an open mouth would mean surprise and closed eyes sadness to a model that never saw them elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from smilevlm.labels import FACIAL_ACTIONS, arkit_shapes

VISEMES: Mapping[str, Mapping[str, float]] = {
    # mouth shapes of speech, by a sound they belong to
    "aa": {"jawOpen": 0.5, "mouthLowerDown": 0.15},
    "eh": {"jawOpen": 0.28, "mouthStretch": 0.25, "mouthUpperUp": 0.15},
    "ih": {"jawOpen": 0.15, "mouthStretch": 0.4, "mouthSmile": 0.12},
    "oh": {"jawOpen": 0.35, "mouthFunnel": 0.5},
    "uw": {"jawOpen": 0.08, "mouthPucker": 0.65, "mouthFunnel": 0.2},
    "m": {"mouthPress": 0.4, "mouthRollUpper": 0.3, "mouthRollLower": 0.3},
    "f": {"mouthRollLower": 0.5, "mouthUpperUp": 0.25, "jawOpen": 0.06},
    "l": {"jawOpen": 0.25, "tongueOut": 0.2},
    "s": {"jawOpen": 0.06, "mouthStretch": 0.2, "mouthLowerDown": 0.25, "mouthUpperUp": 0.1},
    "sh": {"jawOpen": 0.1, "mouthFunnel": 0.6, "mouthPucker": 0.25},
}
"""Source of the grouping: Jeffers and Barley, Speechreading, 1971; MPEG-4 Part 2, visemes."""
_KINDS = ("mouth_open", "eyes_closed", "gaze", "speech", "cheeks", "tongue")
_KIND_SHARES = (0.3, 0.2, 0.22, 0.2, 0.05, 0.03)
_NUMBER_SHARES = (0.4, 0.3, 0.2, 0.1)
"""Of combinations of one to four actions."""
_ONE_SIDED_SHARE = 0.25
_EXCLUSIVE = tuple(
    frozenset(pair)
    for pair in (
        ("AU61", "AU62"), ("AU63", "AU64"), ("AU5", "AU43"), ("AU18", "AU20"), ("AU22", "AU28"), ("AU24", "AU26"),
        ("AU24", "AD19"), *((gaze, "AU43") for gaze in ("AU61", "AU62", "AU63", "AU64")),
    )
)  # fmt: skip
"""Actions that no face shows at once."""
_COMPANIONS: Mapping[str, Mapping[str, float]] = {"AD19": {"jawOpen": 0.15}}
"""Least weights of what an action cannot do without."""


def draw_incidental(rng: np.random.Generator) -> dict[str, float]:
    """One movement of a face that shows something else, too: strength by ARKit name without side."""
    kind = _KINDS[int(rng.choice(len(_KINDS), p=_KIND_SHARES))]
    if kind == "mouth_open":
        return {"jawOpen": float(rng.uniform(0.08, 0.6))}
    if kind == "eyes_closed":
        return {"eyeBlink": float(rng.uniform(0.6, 1.0))}
    if kind == "gaze":
        return {"eyeLookSide": float(rng.uniform(0.3, 1.0)), "eyeLookUpDown": float(rng.uniform(0, 0.8))}
    if kind == "speech":
        names = tuple(VISEMES)
        scale = float(rng.uniform(0.5, 1.2))
        return {action: scale * full for action, full in VISEMES[names[int(rng.integers(len(names)))]].items()}
    if kind == "cheeks":
        return {"cheekPuff": float(rng.uniform(0.3, 1.0))}
    return {"tongueOut": float(rng.uniform(0.3, 1.0)), "jawOpen": float(rng.uniform(0.1, 0.3))}


def draw_action_combination(rng: np.random.Generator, facial_actions: tuple[str, ...]) -> dict[str, float]:
    """One to four actions at random that go together, each on both sides or on one, as ARKit weights in [0, 1].

    Args:
        rng: The scan's own generator.
        facial_actions: Names the head model knows; actions that it lacks are not drawn.
    """
    known = [
        code
        for code in FACIAL_ACTIONS
        if arkit_shapes(code, facial_actions) != ((), ()) and _COMPANIONS.get(code, {}).keys() <= set(facial_actions)
    ]
    number = 1 + int(rng.choice(len(_NUMBER_SHARES), p=_NUMBER_SHARES))
    weights: dict[str, float] = {}
    drawn: list[str] = []
    for code in rng.permutation(known).tolist():
        if len(drawn) == number:
            break
        if any({code, other} in _EXCLUSIVE for other in drawn):
            continue
        drawn.append(code)
        for name, least in _COMPANIONS.get(code, {}).items():
            weights[name] = max(weights.get(name, 0.0), least)
        intensity = float(rng.uniform(0.3, 1.0))
        left, right = arkit_shapes(code, facial_actions)
        one_sided = FACIAL_ACTIONS[code].toward or rng.uniform() < _ONE_SIDED_SHARE
        tilt = float(np.clip(rng.normal(0, 0.08), -0.2, 0.2))
        on_left = rng.uniform() < 0.5
        for names, share in ((left, 1 + tilt), (right, 1 - tilt)):
            if one_sided and left != right and (names is left) != on_left:
                continue
            for name in names:
                weights[name] = max(weights.get(name, 0.0), min(intensity * share, 1.0))
    return weights
