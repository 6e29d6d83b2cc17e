"""Vision-language alignment: InfoNCE from every view and from the fused embedding to the prompts of the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Shaped
from torch.nn.functional import log_softmax, normalize

from smilevlm.distributed import all_gather, all_reduce_max, all_reduce_sum, rank, row_counts
from smilevlm.errors import SettingsError
from smilevlm.losses.correlation import check_shape, full_precision

SMALLEST_NORM = 1e-6
"""Below this length an embedding is not scaled up to unit length, which keeps the gradient at zero in bounds."""


def vision_language_alignment(
    z_views: Float[torch.Tensor, "batch view dim"],
    z_fused: Float[torch.Tensor, "batch dim"],
    z_text: Float[torch.Tensor, "batch dim"],
    *,
    temperature: float | Float[torch.Tensor, ""] = 0.07,
    positives: Bool[torch.Tensor, "batch global"] | None = None,
    symmetric: bool = False,
    counts: Sequence[int] | None = None,
) -> Float[torch.Tensor, ""]:
    """Make each sample's N views and its fused embedding pick out the sample's own prompt among those of the batch.

        loss = -1/((N+1) B) Σ_v Σ_b log( exp(sim(z_{v,b}, t_b)/τ) / Σ_j exp(sim(z_{v,b}, t_j)/τ) )

    with v over the N views and the fused embedding, sim the cosine, j over the global batch of all processes. Samples
    with equal prompts are false negatives in this form, which gives it a floor near ln(B/K) for K classes; with
    `positives` the log-probability is averaged over all positives of a row instead. A batch of one gives 0.
    Computed in float32 or better, under autocast too. Each process compares its own images with all prompts, so its
    memory grows with the global batch and not with its square.

    Args:
        z_views: Embeddings of the undistorted views; any length, only the direction counts.
        z_fused: The fused embedding of the same samples.
        z_text: The embedding of each sample's prompt.
        temperature: τ, above 0; a tensor where it is learned. Assumption A8.
        positives: Which prompts of the global batch (column, in the order of rank) are right for which sample of this
            process (row); None for the paper's one-hot targets. See `positives_from_groups`.
        symmetric: The mean of this and of its mirror image, in which each prompt picks out its sample among the
            batch's embeddings of one view, and of the fused one.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.

    Returns:
        A scalar of at least 0.

    Raises:
        SettingsError: Shapes do not fit or are empty, the temperature is not above 0, or a row has no positive.

    Source: SMILE-VLM, Eq. 6. Departs from it: only with `positives`, multi-positive targets, and `symmetric`, the loss
    of CLIP.
    """
    check_temperature(temperature)
    check_embeddings(z_views, z_fused=z_fused, z_text=z_text)
    counts = row_counts(z_text, counts)
    if sum(counts) == 0:
        raise SettingsError("alignment needs a sample in the global batch, got none")
    start = sum(counts[: rank()])
    with torch.autocast(device_type=z_views.device.type, enabled=False):
        z_views, z_fused, z_text = full_precision(z_views, z_fused, z_text)
        images = normalize(torch.cat([z_views, z_fused[:, None]], dim=1), dim=-1, eps=SMALLEST_NORM)
        texts = all_gather(normalize(z_text, dim=-1, eps=SMALLEST_NORM), counts)
        logits = images @ texts.T / temperature
        if positives is not None:
            _check_positives(positives, logits)
        total = _image_to_text(logits, positives, start)
        if symmetric:
            total = (total + _text_to_image(logits, positives, start)) / 2
        return all_reduce_sum(total) / (sum(counts) * images.shape[1])


def positives_from_groups(
    groups: Shaped[torch.Tensor, " batch"], counts: Sequence[int] | None = None
) -> Bool[torch.Tensor, "batch global"]:
    """The multi-positive mask in which samples of one group are each other's positives.

    Args:
        groups: A whole number for each sample of this process: its prompt's or its class's index.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.

    Returns:
        True where the groups of a sample of this process and one of the global batch, over all processes, are equal.
    """
    return groups[:, None] == all_gather(groups, counts)[None, :]


def _image_to_text(
    logits: Float[torch.Tensor, "batch term global"], positives: Bool[torch.Tensor, "batch global"] | None, start: int
) -> Float[torch.Tensor, ""]:
    """This process's share of -Σ log-probability of the right prompts; `start` is the column of its first sample."""
    log_probability = log_softmax(logits, dim=-1)
    if positives is None:
        return -torch.diagonal(log_probability, offset=start, dim1=0, dim2=2).sum()
    targets = positives.to(logits.dtype) / positives.sum(dim=1, keepdim=True)
    return -(log_probability * targets[:, None]).sum()


def _text_to_image(
    logits: Float[torch.Tensor, "batch term global"], positives: Bool[torch.Tensor, "batch global"] | None, start: int
) -> Float[torch.Tensor, ""]:
    """This process's share of -Σ log-probability of the right images of each prompt, among those of one view."""
    local = torch.logsumexp(logits, dim=0)
    # The images stay where they are: only the logarithm of the sum over each column is put together.
    largest = all_reduce_max(local)
    normaliser = all_reduce_sum((local - largest).exp()).log() + largest
    own = normaliser[:, start : start + len(logits)].sum()
    if positives is None:
        return own - torch.diagonal(logits, offset=start, dim1=0, dim2=2).sum()
    targets = positives.to(logits.dtype) / all_reduce_sum(positives.sum(dim=0))
    return own - (logits * targets[:, None]).sum()


def check_temperature(temperature: float | torch.Tensor) -> None:
    """Raises:
    SettingsError: A number that is not finite and above 0.
    """
    if isinstance(temperature, float | int) and not (math.isfinite(temperature) and temperature > 0):
        raise SettingsError(f"temperature must be a finite number above 0, got {temperature}")


def check_embeddings(z_views: torch.Tensor, **others: torch.Tensor) -> None:
    """Raises:
    SettingsError: The views are not (batch, view, dim), or another embedding is not (batch, dim) beside them.
    """
    check_shape("z_views", z_views, 3, "batch, view, dim")
    expected = (z_views.shape[0], z_views.shape[2])
    for name, tensor in others.items():
        if tensor.shape != expected:
            raise SettingsError(
                f"{name} must be (batch, dim) = {expected} beside z_views {tuple(z_views.shape)}, "
                f"got {tuple(tensor.shape)}"
            )


def _check_positives(positives: Bool[torch.Tensor, "batch global"], logits: torch.Tensor) -> None:
    expected = (logits.shape[0], logits.shape[2])
    if positives.shape != expected:
        raise SettingsError(
            f"positives must be this process's rows against the global batch, {expected}, got {tuple(positives.shape)}"
        )
    # In both directions, or the missing ones would be 0/0.
    complete = positives.any(dim=1).all() & (all_reduce_sum(positives.sum(dim=0)) > 0).all()
    message = "a sample has no positive prompt, or a prompt no sample; mark at least its own"
    if complete.device.type == "cuda":
        # Without waiting for the GPU in every step.
        torch._assert_async(complete, message)
    elif not bool(complete):
        raise SettingsError(message)
