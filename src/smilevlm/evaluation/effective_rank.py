"""How many dimensions embeddings really use: a meter for collapse."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from smilevlm.errors import CheckpointError


def effective_rank(embeddings: Float[np.ndarray, "n dim"]) -> float:
    """Exp of the entropy of the singular values, normalised to sum one: from 1 (a line) to min(n, dim).

    The embeddings are taken as they are, neither centred nor made unit length.

    Raises:
        CheckpointError: There are none, or they are all zero or not finite.

    Source: Garrido et al., RankMe, arXiv 2210.02885, Eq. 1. Departs from it: a singular value that is zero to rounding
    is left out, as its share times its logarithm tends to zero, where the paper adds 1e-7 to every share.
    """
    double = np.asarray(embeddings, dtype=np.float64)
    if double.size == 0 or not np.isfinite(double).all() or not double.any():
        raise CheckpointError("the embeddings have no rank: there are none, or they are zero or not finite")
    values = np.linalg.svd(double, compute_uv=False)
    values = values[values > max(double.shape) * np.finfo(np.float64).eps * values[0]]
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
