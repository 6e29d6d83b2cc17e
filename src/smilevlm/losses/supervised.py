"""The supervised baseline, cross-entropy with class labels: no part of SMILE-VLM, but what it is held against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from smilevlm.distributed import all_reduce_sum, row_counts
from smilevlm.errors import SettingsError
from smilevlm.losses.correlation import full_precision
from smilevlm.losses.joint import LossTerms

_SMALLEST_NORM = 1e-6


def class_cross_entropy(
    z_views: Float[torch.Tensor, "batch view dim"],
    z_fused: Float[torch.Tensor, "batch dim"],
    class_vectors: Float[torch.Tensor, "class dim"],
    labels: Int[torch.Tensor, " batch"],
    *,
    temperature: float = 0.07,
    counts: Sequence[int] | None = None,
) -> Float[torch.Tensor, ""]:
    """Cross-entropy of the cosines with one vector per class, over the global batch.

    Like the alignment loss (Eq. 6) it has N + 1 terms per sample, each view and the fused embedding, so that the two
    differ in what they are told and in nothing else.

    Args:
        z_views: Views' embeddings.
        z_fused: Fused embedding.
        class_vectors: One direction per class, the same on all processes.
        labels: Index of each sample's class.
        temperature: Divides the cosines, above 0.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.

    Raises:
        SettingsError: The temperature is not positive, or the global batch is empty.
    """
    if not temperature > 0:
        raise SettingsError(f"temperature must be a number above 0, got {temperature}")
    total_rows = sum(row_counts(z_views, counts))
    if total_rows == 0:
        raise SettingsError("cross-entropy needs a sample in the global batch, got none")
    with torch.autocast(device_type=z_views.device.type, enabled=False):
        z_views, z_fused, class_vectors = full_precision(z_views, z_fused, class_vectors)
        images = normalize(torch.cat([z_views, z_fused[:, None]], dim=1), dim=-1, eps=_SMALLEST_NORM)
        logits = images @ normalize(class_vectors, dim=-1, eps=_SMALLEST_NORM).T / temperature
        targets = labels[:, None].expand(logits.shape[:2])
        total = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        return all_reduce_sum(total) / (total_rows * images.shape[1])


class SupervisedLoss(nn.Module):
    """`class_cross_entropy` in the place of the joint loss.

    Args:
        class_vectors: One direction per class, fixed; the network in front of them is what learns.
        temperature: Divides the cosines.
    """

    class_vectors: torch.Tensor
    uses_pairs = False
    uses_features = False
    gradient_share = None

    def __init__(self, class_vectors: Float[torch.Tensor, "class dim"], temperature: float) -> None:
        super().__init__()
        self.register_buffer("class_vectors", class_vectors, persistent=False)
        self._temperature = temperature

    def clamp_(self) -> None:
        """Nothing is learned here that would have to be held in a range."""

    def forward(
        self,
        *,
        z_views: Float[torch.Tensor, "batch view dim"],
        z_fused: Float[torch.Tensor, "batch dim"],
        groups: Int[torch.Tensor, " batch"],
        counts: Sequence[int] | None = None,
        **unused: object,
    ) -> LossTerms:
        """The loss as the total of `LossTerms`; none of the joint loss's terms is there.

        Args:
            z_views: Views' embeddings.
            z_fused: Fused embedding.
            groups: Index of each sample's class.
            counts: As `class_cross_entropy` takes them.
            unused: What the joint loss takes besides.
        """
        del unused
        loss = class_cross_entropy(
            z_views, z_fused, self.class_vectors, groups, temperature=self._temperature, counts=counts
        )
        return LossTerms(loss, None, None, None)
