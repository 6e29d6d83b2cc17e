"""Vision-language alignment against a bank of prompts: the negatives do not depend on who else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch.nn.functional import log_softmax, normalize

from smilevlm.distributed import all_reduce_sum, row_counts
from smilevlm.errors import SettingsError
from smilevlm.losses.correlation import full_precision
from smilevlm.losses.vision_language import SMALLEST_NORM, check_embeddings, check_temperature


def prompt_bank_alignment(
    z_views: Float[torch.Tensor, "batch view dim"],
    z_fused: Float[torch.Tensor, "batch dim"],
    z_bank: Float[torch.Tensor, "prompt dim"],
    positives: Bool[torch.Tensor, "batch prompt"],
    *,
    temperature: float | Float[torch.Tensor, ""] = 0.07,
    counts: Sequence[int] | None = None,
) -> Float[torch.Tensor, ""]:
    """Make each sample's N views and its fused embedding pick out the sample's prompts among all those of the bank.

        loss = -1/((N+1) B) Σ_v Σ_b 1/|P_b| Σ_{p in P_b} log( exp(sim(z_{v,b}, t_p)/τ) / Σ_k exp(sim(z_{v,b}, t_k)/τ) )

    with v over the N views and the fused embedding, sim the cosine, k over the bank and P_b the positives of a sample:
    Eq. 6 with the bank in the place of the batch's prompts. A batch with a single pair has a gradient too, and samples
    that share a prompt are no false negatives of each other. Computed in float32 or better, under autocast too.

    Args:
        z_views: Embeddings of the undistorted views; any length, only the direction counts.
        z_fused: The fused embedding of the same samples.
        z_bank: Embedded prompts, the same on all processes.
        positives: Which of them are right for which sample of this process; at least one for each.
        temperature: τ, above 0; a tensor where it is learned. Assumption A8.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.

    Returns:
        A scalar of at least 0, near the logarithm of the bank's size where no prompt is preferred.

    Raises:
        SettingsError: Shapes do not fit or are empty, the temperature is not above 0, or a row has no positive.

    Source: SMILE-VLM, Eq. 6. Departs from it: negatives from the bank. Assumption A61.
    """
    check_temperature(temperature)
    check_embeddings(z_views, z_fused=z_fused)
    num_samples = sum(row_counts(z_fused, counts))
    if num_samples == 0:
        raise SettingsError("alignment needs a sample in the global batch, got none")
    if positives.shape != (len(z_fused), len(z_bank)) or not bool(positives.any(dim=1).all()):
        raise SettingsError(
            f"positives must mark at least one of {len(z_bank)} prompts for each of {len(z_fused)} samples, got shape "
            f"{tuple(positives.shape)}"
        )
    with torch.autocast(device_type=z_views.device.type, enabled=False):
        z_views, z_fused, z_bank = full_precision(z_views, z_fused, z_bank)
        images = normalize(torch.cat([z_views, z_fused[:, None]], dim=1), dim=-1, eps=SMALLEST_NORM)
        logits = images @ normalize(z_bank, dim=-1, eps=SMALLEST_NORM).T / temperature
        targets = positives.to(logits.dtype) / positives.sum(dim=1, keepdim=True)
        total = -(log_softmax(logits, dim=-1) * targets[:, None]).sum()
        return all_reduce_sum(total) / (num_samples * images.shape[1])
