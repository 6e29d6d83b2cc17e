"""How far probabilities are to be believed."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from smilevlm.errors import SettingsError
from smilevlm.results import Calibration, CalibrationBin


def calibration(
    probabilities: Float[np.ndarray, "n class"], correct: Bool[np.ndarray, " n"], temperature: float, num_bins: int = 15
) -> Calibration:
    """Expected calibration error over bins of equal width.

    A sample's confidence is its highest probability. A bin holds its lower end and not its upper one; the last bin
    holds 1 as well.

    Args:
        probabilities: Rows sum to one.
        correct: Whether the class of the highest probability is the true one.
        temperature: Of the softmax that gave the probabilities; only noted.
        num_bins: How many intervals [0, 1] is cut into.

    Raises:
        SettingsError: There are no samples or bins, or a row is no distribution.

    Source: Guo et al., On calibration of modern neural networks, Eq. 3. Departs from it: its bins are closed above.
    """
    if len(correct) == 0 or num_bins < 1:
        raise SettingsError(f"expected samples and bins, found {len(correct)} and {num_bins}")
    shares = np.asarray(probabilities, dtype=np.float64)
    if not ((shares >= 0).all() and np.abs(shares.sum(axis=1) - 1.0).max() < 1e-6):
        raise SettingsError("the probabilities of each sample must not be negative and must sum to one")
    # Rounding can lift a softmax above one by the last bit.
    confidence = np.minimum(shares.max(axis=1), 1.0)
    lows = np.arange(num_bins) / num_bins
    place = np.searchsorted(lows, confidence, side="right") - 1
    bins = []
    for number, low in enumerate(lows):
        inside = place == number
        count = int(inside.sum())
        bins.append(
            CalibrationBin(
                low=float(low),
                count=count,
                confidence=float(confidence[inside].mean()) if count else 0.0,
                accuracy=float(correct[inside].mean()) if count else 0.0,
            )
        )
    error = sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / len(correct)
    return Calibration(expected_calibration_error=error, temperature=temperature, bins=tuple(bins))
