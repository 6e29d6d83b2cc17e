from __future__ import annotations

import numpy as np
import pytest

from smilevlm.geometry.units import column_quantiles, sample_columns


@pytest.mark.parametrize("count", [1, 2, 7, 100, 4321])
def test_shares_are_numpys_percentiles(count):
    columns = np.random.default_rng(count).normal(size=(3, count)).astype(np.float32)
    found = column_quantiles(columns, 0.01, 0.5, 0.99)
    np.testing.assert_allclose(found, np.percentile(columns, [1, 50, 99], axis=1), rtol=1e-5, atol=1e-6)


def test_a_sample_is_spread_over_all_vertices():
    vertices = np.arange(3 * 20_000, dtype=np.float32).reshape(-1, 3)
    columns = sample_columns(vertices)
    assert 5000 <= columns.shape[1] < 10_000
    np.testing.assert_allclose(columns.mean(axis=1), vertices.mean(axis=0), rtol=1e-3)
    assert sample_columns(vertices[:10]).shape == (3, 10)
