"""Differences told from zero, told to be small, or neither."""

import numpy as np
import pytest
from scipy import stats

from smilevlm.reporting.equivalence import equivalence_test


def test_it_is_the_paired_t_test_and_two_one_sided_ones():
    values = np.random.default_rng(5).normal(0.01, 0.02, 12)
    found = equivalence_test(values, margin=0.03)
    assert found is not None
    known = stats.ttest_1samp(values, 0.0)
    assert found.p_value == pytest.approx(known.pvalue)
    assert found.interval == pytest.approx(tuple(known.confidence_interval(0.95)))
    below = stats.ttest_1samp(values, 0.03, alternative="less").pvalue
    above = stats.ttest_1samp(values, -0.03, alternative="greater").pvalue
    assert found.equivalence_p == pytest.approx(max(below, above))
    assert found.is_equal == (max(below, above) < 0.05)


def test_overlapping_training_people_make_it_less_sure():
    values = [0.01, 0.03, 0.02, 0.05]
    alone, overlapping = (equivalence_test(values, margin=0.03, overlap=ratio) for ratio in (0.0, 0.25))
    assert alone is not None
    assert overlapping is not None
    assert overlapping.p_value > alone.p_value
    width = [found.interval[1] - found.interval[0] for found in (alone, overlapping)]
    assert width[1] / width[0] == pytest.approx(np.sqrt((1 / 4 + 0.25) / (1 / 4)))


def test_the_detectable_difference_is_found_in_four_of_five_studies():
    """Studies of ten units whose true difference is what such a study says it detects."""
    rng = np.random.default_rng(0)
    std, num_units = 0.04, 10
    planned = equivalence_test(std * stats.zscore(rng.normal(size=num_units), ddof=1), margin=0.03)
    assert planned is not None
    studies = rng.normal(planned.detectable, std, (4000, num_units))
    assert np.mean(stats.ttest_1samp(studies, 0.0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.03)


def test_what_cannot_be_tested():
    assert equivalence_test([0.1], margin=0.03) is None
    assert equivalence_test([0.1, 0.1, 0.1], margin=0.03) is None
