"""Fusion of a sample's views: a weight per view, and the weighted sum of the views' embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import nn
from torch.nn.functional import normalize

from smilevlm.errors import SettingsError

FusionKind = Literal["view_aware", "mean", "cross_view", "text_guided"]
_SMALLEST_NORM = 1e-6


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    """How views are fused, and the size of the network that weighs them.

    Args:
        kind: `view_aware` is the paper's; `mean` weighs all views alike; with `cross_view` the views attend to each
            other first; with `text_guided` a view's weight also depends on the prompts in play. See the classes.
        hidden_dim: Width of the hidden layers, at least 1.
        num_heads: Of the attention in `cross_view` and `text_guided`; must divide the embedding's width.

    Raises:
        SettingsError: The kind is not known, or a number is below 1.
    """

    kind: FusionKind = "view_aware"
    hidden_dim: int = 128
    num_heads: int = 4

    def __post_init__(self) -> None:
        if self.kind not in get_args(FusionKind):
            raise SettingsError(f"no fusion is called {self.kind!r}; there are {', '.join(get_args(FusionKind))}")
        for name in ("hidden_dim", "num_heads"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} of the fusion must be at least 1, got {getattr(self, name)}")


class Fusion(nn.Module, ABC):
    """What all kinds share: inputs are checked, masked views count for nothing, weights sum to one.

    No kind knows a view's angle or place, so any number of views in any order will do.

    Args:
        dim: Width of the embeddings.
        settings: Size of the networks.

    Raises:
        SettingsError: The width is below 1, or the heads do not divide it.
    """

    def __init__(self, dim: int, settings: FusionSettings | None = None) -> None:
        super().__init__()
        if dim < 1:
            raise SettingsError(f"the fusion's embedding width must be at least 1, got {dim}")
        self.dim = dim
        self.settings = settings or FusionSettings()

    def forward(
        self,
        z: Float[torch.Tensor, "batch view dim"],
        mask: Bool[torch.Tensor, "batch view"] | None = None,
        text: Float[torch.Tensor, "prompt dim"] | None = None,
    ) -> tuple[Float[torch.Tensor, "batch dim"], Float[torch.Tensor, "batch view"]]:
        """Fuse the views of each sample.

        Args:
            z: View embeddings; what stands in a masked view is ignored, NaN included.
            mask: True where a view is there; None when all are.
            text: Embedded candidate prompts, the same for all samples; read by the text-guided fusion alone.

        Returns:
            The fused embeddings, and the weights: 0 to 1, exactly 0 for a masked view, summing to one over the views.

        Raises:
            SettingsError: Shapes do not fit, a sample has no view, or the prompts that the fusion needs are missing.
        """
        if z.ndim != 3 or z.shape[1] == 0 or z.shape[2] != self.dim:
            raise SettingsError(f"the fusion takes (batch, view, {self.dim}) with a view or more, got {tuple(z.shape)}")
        if mask is not None:
            _check_mask(z, mask)
            z = z.masked_fill(~mask[..., None], 0)
        z, scores = self._score(z, mask, text)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        weights = torch.softmax(scores.to(z.dtype), dim=1)
        return (weights[..., None] * z).sum(dim=1), weights

    @abstractmethod
    def _score(
        self, z: torch.Tensor, mask: torch.Tensor | None, text: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The embeddings to be summed (batch, view, dim), and the views' scores (batch, view) before the softmax.

        Masked views are zero in `z`; their scores are ignored.
        """

    def _scorer(self, in_dim: int) -> nn.Sequential:
        hidden_dim = self.settings.hidden_dim
        return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 1))

    def _check_heads(self) -> int:
        if self.dim % self.settings.num_heads:
            raise SettingsError(
                f"num_heads of the fusion is {self.settings.num_heads}, which does not divide the width {self.dim}"
            )
        return self.settings.num_heads


class ViewAwareFusion(Fusion):
    """Weigh the views of a sample by a learned score of each, and sum them.

    Assumption A10: the paper does not say what is pooled, nor whether the scorer knows a view's angle. Here `pool` is
    the identity, since an embedding is a vector already, and the scorer does not know the angle: it sees the view's
    embedding, scaled to unit length, beside the mean of those over the sample's views.

    Source: SMILE-VLM, Eq. 5, 7.
    """

    def __init__(self, dim: int, settings: FusionSettings | None = None) -> None:
        super().__init__(dim, settings)
        self.scorer = self._scorer(2 * dim)

    def _score(
        self, z: torch.Tensor, mask: torch.Tensor | None, text: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        del text
        directions = normalize(z, dim=-1, eps=_SMALLEST_NORM)
        context = _mean_over_views(directions, mask).expand_as(directions)
        return z, self.scorer(torch.cat([directions, context], dim=-1))[..., 0]


class MeanFusion(Fusion):
    """The plain mean of the views that are there; nothing is learned."""

    def _score(
        self, z: torch.Tensor, mask: torch.Tensor | None, text: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        del mask, text
        return z, z.new_zeros(z.shape[:2])


class CrossViewFusion(Fusion):
    """The views attend to each other in one pre-norm transformer block, and the results are summed by learned weights.

    The weights reported are those of this sum. An attended view holds something of the others too, so a weight is no
    longer that view's whole share of the fused embedding; attention between views is not reported. As in the other
    kinds the scores do not see the embeddings' length, and the fused embedding grows with it.

    Source: attention between the views of one object as in Duoduo CLIP (arXiv 2406.11579). Departs from it: it
    attends over the view axis of finished embeddings, not over patches inside the tower, and pools by learned weights.
    """

    def __init__(self, dim: int, settings: FusionSettings | None = None) -> None:
        super().__init__(dim, settings)
        self.block = nn.TransformerEncoderLayer(
            dim, self._check_heads(), self.settings.hidden_dim, dropout=0.0, batch_first=True, norm_first=True
        )
        self.scorer = self._scorer(dim)

    def _score(
        self, z: torch.Tensor, mask: torch.Tensor | None, text: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        del text
        absent = None if mask is None else ~mask
        attended = self.block(_to_root_mean_square_one(z), src_key_padding_mask=absent)
        length = torch.linalg.vector_norm(z, dim=-1, keepdim=True) / self.dim**0.5
        return attended.to(z.dtype) * length, self.scorer(attended)[..., 0]


class TextGuidedFusion(Fusion):
    """A view's score also sees how the view relates to the prompts in play, by attention from the view over them.

    The bank is the same for all samples: while training all prompts that occur, at test time those that are compared.
    A sample's own prompt alone would tell the fusion its class. Prompts may be of any number and in any order.

    Source: text-guided view fusion of FACET-VLM (arXiv 2507.01673). Departs from it: no prompt is singled out by the
    sample's class, and the text decides the weights alone; it is not mixed into the embedding.
    """

    def __init__(self, dim: int, settings: FusionSettings | None = None) -> None:
        super().__init__(dim, settings)
        self.attention = nn.MultiheadAttention(dim, self._check_heads(), batch_first=True)
        self.scorer = self._scorer(3 * dim)

    def _score(
        self, z: torch.Tensor, mask: torch.Tensor | None, text: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if text is None:
            raise SettingsError("the text-guided fusion needs the embedded prompts that are compared: give text")
        if text.ndim != 2 or text.shape[0] == 0 or text.shape[1] != self.dim:
            raise SettingsError(f"text must be (prompt, {self.dim}) with a prompt or more, got {tuple(text.shape)}")
        views = _to_root_mean_square_one(z)
        bank = _to_root_mean_square_one(text.to(z.dtype))
        # Without a batch axis the bank is projected once, not once per sample.
        related, _ = self.attention(views.flatten(0, 1), bank, bank, need_weights=False)
        context = _mean_over_views(views, mask).expand_as(views)
        return z, self.scorer(torch.cat([views, context, related.view_as(views)], dim=-1))[..., 0]


_FUSIONS: dict[FusionKind, type[Fusion]] = {
    "view_aware": ViewAwareFusion,
    "mean": MeanFusion,
    "cross_view": CrossViewFusion,
    "text_guided": TextGuidedFusion,
}


def build_fusion(dim: int, settings: FusionSettings | None = None) -> Fusion:
    """A fusion of the kind that the settings name, with fresh weights.

    Raises:
        SettingsError: The width is below 1, or the heads of an attention do not divide it.
    """
    settings = settings or FusionSettings()
    return _FUSIONS[settings.kind](dim, settings)


def _check_mask(z: torch.Tensor, mask: torch.Tensor) -> None:
    if mask.shape != z.shape[:2] or mask.dtype != torch.bool:
        raise SettingsError(
            f"the mask must be bool of shape {tuple(z.shape[:2])}, got {mask.dtype} of {tuple(mask.shape)}"
        )
    # A branch on data cannot be traced; whoever exports the model checks the mask before calling it.
    if torch.compiler.is_compiling():
        return
    if mask.device.type == "cuda":
        # Without waiting for the GPU in every step.
        torch._assert_async(mask.any(dim=1).all(), "a sample of the batch has no view left: every view is masked")
    elif not bool(mask.any(dim=1).all()):
        empty = torch.nonzero(~mask.any(dim=1)).flatten().tolist()
        raise SettingsError(f"samples {empty} of the batch have no view left: every view is masked")


def _mean_over_views(views: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Over those that are there, (batch, 1, dim); masked views must be zero."""
    if mask is None:
        return views.mean(dim=1, keepdim=True)
    return views.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None]


def _to_root_mean_square_one(vectors: torch.Tensor) -> torch.Tensor:
    """The size that attention with fresh weights expects of its inputs, whatever the length of an embedding."""
    return normalize(vectors, dim=-1, eps=_SMALLEST_NORM) * vectors.shape[-1] ** 0.5
