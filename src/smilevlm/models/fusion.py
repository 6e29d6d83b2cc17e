"""View-aware fusion: a learned weight per view, and the weighted sum of the views' embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import nn
from torch.nn.functional import normalize

from smilevlm.errors import SettingsError

_SMALLEST_NORM = 1e-6


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    """Size of the network that scores a view.

    Args:
        hidden_dim: Width of its hidden layer, at least 1.

    Raises:
        SettingsError: The width is below 1.
    """

    hidden_dim: int = 128

    def __post_init__(self) -> None:
        if self.hidden_dim < 1:
            raise SettingsError(f"hidden_dim of the fusion must be at least 1, got {self.hidden_dim}")


class ViewAwareFusion(nn.Module):
    """Weigh the views of a sample by a learned score of each, and sum them.

    Assumption A10: the paper does not say what is pooled, nor whether the scorer knows a view's angle. Here `pool` is
    the identity, since an embedding is a vector already, and the scorer does not know the angle: it sees the view's
    embedding, scaled to unit length, beside the mean of those over the sample's views. So any number of views in any
    order will do.

    Args:
        dim: Width of the embeddings.
        settings: Size of the scorer.
    """

    def __init__(self, dim: int, settings: FusionSettings | None = None) -> None:
        super().__init__()
        if dim < 1:
            raise SettingsError(f"the fusion's embedding width must be at least 1, got {dim}")
        self.dim = dim
        self.settings = settings or FusionSettings()
        self.scorer = nn.Sequential(
            nn.Linear(2 * dim, self.settings.hidden_dim), nn.ReLU(), nn.Linear(self.settings.hidden_dim, 1)
        )

    def forward(
        self, z: Float[torch.Tensor, "batch view dim"], mask: Bool[torch.Tensor, "batch view"] | None = None
    ) -> tuple[Float[torch.Tensor, "batch dim"], Float[torch.Tensor, "batch view"]]:
        """Fuse the views of each sample.

        Args:
            z: View embeddings; what stands in a masked view is ignored, NaN included.
            mask: True where a view is there; None when all are.

        Returns:
            The fused embeddings, and the weights: 0 to 1, exactly 0 for a masked view, summing to one over the views.

        Raises:
            SettingsError: Shapes do not fit, or a sample has no view.

        Source: SMILE-VLM, Eq. 5, 7.
        """
        if z.ndim != 3 or z.shape[1] == 0 or z.shape[2] != self.dim:
            raise SettingsError(f"the fusion takes (batch, view, {self.dim}) with a view or more, got {tuple(z.shape)}")
        if mask is None:
            directions = normalize(z, dim=-1, eps=_SMALLEST_NORM)
            mean_direction = directions.mean(dim=1, keepdim=True)
        else:
            self._check_mask(z, mask)
            z = z.masked_fill(~mask[..., None], 0)
            directions = normalize(z, dim=-1, eps=_SMALLEST_NORM)
            mean_direction = directions.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None]
        scores = self.scorer(torch.cat([directions, mean_direction.expand_as(directions)], dim=-1))[..., 0]
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        weights = torch.softmax(scores.to(z.dtype), dim=1)
        return (weights[..., None] * z).sum(dim=1), weights

    @staticmethod
    def _check_mask(z: torch.Tensor, mask: torch.Tensor) -> None:
        if mask.shape != z.shape[:2] or mask.dtype != torch.bool:
            raise SettingsError(
                f"the mask must be bool of shape {tuple(z.shape[:2])}, got {mask.dtype} of {tuple(mask.shape)}"
            )
        # A branch on data cannot be traced; whoever exports the model checks the mask before calling it.
        if not torch.compiler.is_compiling() and not bool(mask.any(dim=1).all()):
            empty = torch.nonzero(~mask.any(dim=1)).flatten().tolist()
            raise SettingsError(f"samples {empty} of the batch have no view left: every view is masked")
