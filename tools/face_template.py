"""Make `geometry/data/face_template.npz`, the mean face that scans are registered to.

.venv/bin/python tools/face_template.py src/smilevlm/geometry/data/face_template.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from smilevlm.geometry import FaceTemplate
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.expressions import draw_actions
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.people import TEMPLATE_SEED
from smilevlm.views import kernels

_CELL_MM = 3.0
_HALF_WIDTH_MM, _TOP_MM, _BOTTOM_MM = 66.0, 78.0, -84.0


def make_template(num_people: int) -> FaceTemplate:
    """Mean and spread of the frontal height map over people and expressions, nose tip at the origin."""
    model, places = head_model(), anatomy()
    rows = round((_TOP_MM - _BOTTOM_MM) / _CELL_MM)
    columns = round(2 * _HALF_WIDTH_MM / _CELL_MM)
    neutral, moved = [], []
    for number in range(num_people):
        rng = np.random.default_rng([TEMPLATE_SEED, number])
        person = model.draw_person(rng, sex="FM"[number % 2])
        expressions = (NEUTRAL, BASIC_EXPRESSIONS[number % len(BASIC_EXPRESSIONS)])
        actions = [
            draw_actions(rng, person=person, expression=e, intensity=0.9, facial_actions=model.facial_actions, idle=0.5)
            for e in expressions
        ]
        for target, head in zip((neutral, moved), model.heads_mm(person, actions), strict=True):
            fine = head.astype(np.float32) * np.float32(person.size)
            fine -= fine[places.nose_tip]
            depth = np.full((rows, columns), kernels.EMPTY, np.float32)
            kernels.rasterise(
                (fine[:, 0] + np.float32(_HALF_WIDTH_MM)) / np.float32(_CELL_MM),
                (fine[:, 1] - np.float32(_BOTTOM_MM)) / np.float32(_CELL_MM),
                fine[:, 2],
                model.topology.fine_faces,
                depth,
                np.full(depth.shape, -1, np.int32),
            )
            target.append(depth)
    heights = np.stack(neutral)
    covered = (heights != kernels.EMPTY).mean(axis=0) > 0.95
    mean = np.where(covered, np.median(heights, axis=0), np.nan)
    mean = np.where(mean > -85, mean, np.nan)
    mean = (mean + mean[:, ::-1]) / 2
    spread = np.median(np.abs(np.stack(neutral + moved) - mean), axis=0)
    weight = np.where(np.isfinite(mean), 1 / (1 + (spread / 3.0) ** 2), 0)
    return FaceTemplate(
        height_mm=mean.astype(np.float32),
        weight=((weight + weight[:, ::-1]) / 2).astype(np.float32),
        low_mm=np.array([-_HALF_WIDTH_MM + _CELL_MM / 2, _BOTTOM_MM + _CELL_MM / 2], np.float32),
        cell_mm=_CELL_MM,
    )


if __name__ == "__main__":
    made = make_template(num_people=200)
    np.savez_compressed(
        Path(sys.argv[1]),
        height_mm=made.height_mm,
        weight=made.weight,
        low_mm=made.low_mm,
        cell_mm=np.float32(made.cell_mm),
    )
