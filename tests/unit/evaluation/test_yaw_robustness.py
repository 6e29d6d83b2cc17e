"""Accuracy against yaw."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.evaluation.yaw_robustness import yaw_columns, yaw_point
from smilevlm.models import class_prototypes


def test_turns_need_every_nominal_view():
    assert yaw_columns((-30.0, 0.0, 30.0), (-60.0, -45, -30, 0, 15, 30, 60)) == {
        -30.0: [0, 2, 3],
        0.0: [2, 3, 5],
        30.0: [3, 5, 6],
    }
    assert yaw_columns((0.0,), (10.0, -10.0)) == {-10.0: [1], 10.0: [0]}
    assert yaw_columns((-0.1, 0.2), (0.0, 0.3)) == {0.1: [0, 1]}
    assert yaw_columns((-30.0, 30.0), (0.0, 15.0)) == {}


def test_a_yaw_point():
    prototypes = class_prototypes(np.eye(2, 4), ("a", "b"), ("a", "b"))
    a, b = np.eye(2, 4)
    z_views = np.stack([[a, 3 * b], [b, a], [b, 0.5 * a], [b, b]])
    point = yaw_point(
        yaw_deg=15.0,
        z_views=z_views,
        z_fused=np.stack([a, a, a, a]),
        view_weights=np.array([[0.5, 0.5], [1, 0], [0.5, 0.5], [0.2, 0.8]]),
        truth=np.array([0, 1, 1, 1]),
        prototypes=prototypes,
        nominal_deg=(-10.0, 10.0),
    )
    assert point.accuracy == 0.25
    # The means lean to b, to a tie that the first class wins, to b, to b.
    assert point.mean_fusion_accuracy == 0.5
    assert point.single_view_accuracy == {-10.0: 1.0, 10.0: 0.25}
    assert point.view_weights == pytest.approx({-10.0: 0.55, 10.0: 0.45})
    assert point.num_samples == 4
