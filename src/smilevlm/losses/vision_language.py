"""Vision-language alignment: InfoNCE from every view and from the fused embedding to the prompts of the batch."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch.nn.functional import log_softmax, normalize

from smilevlm.distributed import all_gather
from smilevlm.errors import SettingsError
from smilevlm.losses.correlation import check_shape, full_precision

_SMALLEST_NORM = 1e-6
"""Below this length an embedding is not scaled up to unit length, which keeps the gradient at zero in bounds."""


def vision_language_alignment(
    z_views: Float[torch.Tensor, "batch view dim"],
    z_fused: Float[torch.Tensor, "batch dim"],
    z_text: Float[torch.Tensor, "batch dim"],
    *,
    temperature: float = 0.07,
    positives: Bool[torch.Tensor, "global global"] | None = None,
) -> Float[torch.Tensor, ""]:
    """Make each sample's N views and its fused embedding pick out the sample's own prompt among those of the batch.

        loss = -1/((N+1) B) Σ_v Σ_b log( exp(sim(z_{v,b}, t_b)/τ) / Σ_j exp(sim(z_{v,b}, t_j)/τ) )

    with v over the N views and the fused embedding, sim the cosine, j over the global batch of all processes. Samples
    with equal prompts are false negatives in this form, which gives it a floor near ln(B/K) for K classes; with
    `positives` the log-probability is averaged over all positives of a row instead. A batch of one gives 0.
    Computed in float32 or better, under autocast too.

    Args:
        z_views: Embeddings of the undistorted views; any length, only the direction counts.
        z_fused: The fused embedding of the same samples.
        z_text: The embedding of each sample's prompt.
        temperature: τ, above 0. Assumption A8.
        positives: Which prompts (column) are right for which sample (row), over the global batch in the order of rank;
            None for the paper's one-hot targets. See `positives_from_groups`.

    Returns:
        A scalar of at least 0.

    Raises:
        SettingsError: Shapes do not fit or are empty, the temperature is not above 0, or a row has no positive.

    Source: SMILE-VLM, Eq. 6. Departs from it: only with `positives`, multi-positive targets.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise SettingsError(f"temperature must be a finite number above 0, got {temperature}")
    check_shape("z_views", z_views, 3, "batch, view, dim")
    expected = (z_views.shape[0], z_views.shape[2])
    for name, tensor in (("z_fused", z_fused), ("z_text", z_text)):
        if tensor.shape != expected:
            raise SettingsError(
                f"{name} must be (batch, dim) = {expected} beside z_views {tuple(z_views.shape)}, "
                f"got {tuple(tensor.shape)}"
            )
    with torch.autocast(device_type=z_views.device.type, enabled=False):
        z_views, z_fused, z_text = full_precision(all_gather(z_views), all_gather(z_fused), all_gather(z_text))
        images = normalize(torch.cat([z_views, z_fused[:, None]], dim=1), dim=-1, eps=_SMALLEST_NORM)
        texts = normalize(z_text, dim=-1, eps=_SMALLEST_NORM)
        log_probability = log_softmax(images @ texts.T / temperature, dim=-1)
        if positives is None:
            return -torch.diagonal(log_probability, dim1=0, dim2=2).mean()
        targets = _row_targets(positives, len(log_probability)).to(log_probability.dtype)
        return -(log_probability * targets[:, None]).sum(dim=-1).mean()


def positives_from_groups(groups: Shaped[torch.Tensor, " batch"]) -> Bool[torch.Tensor, "global global"]:
    """The multi-positive mask in which samples of one group are each other's positives.

    Args:
        groups: A whole number for each sample of this process: its prompt's or its class's index.

    Returns:
        True where the groups of two samples of the global batch, over all processes, are equal.
    """
    everyone = all_gather(groups)
    return everyone[:, None] == everyone[None, :]


def _row_targets(
    positives: Bool[torch.Tensor, "global global"], num_samples: int
) -> Float[torch.Tensor, "global global"]:
    if positives.shape != (num_samples, num_samples):
        raise SettingsError(
            f"positives must be over the global batch, ({num_samples}, {num_samples}), got {tuple(positives.shape)}"
        )
    counts = positives.sum(dim=1, keepdim=True)
    if bool((counts == 0).any()):
        raise SettingsError("a sample has no positive prompt; mark at least its own")
    return positives.double() / counts
