"""Temperature scaling: the temperature of the softmax over cosines, fitted to people held back from training."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from smilevlm.errors import SettingsError
from smilevlm.models.zero_shot import probabilities as softmax

_TEMPERATURES = (0.002, 5.0)
"""Cosines differ by 2 at most: below, all is certain; above, nothing is."""


def fit_temperature(scores: Float[np.ndarray, "n class"], truth: Int[np.ndarray, " n"]) -> float:
    """The temperature whose softmax gives the true classes the highest likelihood.

    Args:
        scores: Cosines with every class, of samples that nothing was trained on.
        truth: Index of each sample's class.

    Raises:
        SettingsError: There are no samples.

    Source: Guo et al., On calibration of modern neural networks, temperature scaling.
    """
    if len(truth) == 0:
        raise SettingsError("a temperature is fitted to samples; there are none")
    rows = np.arange(len(truth))

    def surprise(log_temperature: float) -> float:
        shares = softmax(scores, float(np.exp(log_temperature)))[rows, truth]
        return float(-np.log(np.maximum(shares, 1e-12)).mean())

    from scipy import optimize

    found = optimize.minimize_scalar(surprise, bounds=tuple(np.log(_TEMPERATURES)), method="bounded")
    return float(np.exp(found.x))
