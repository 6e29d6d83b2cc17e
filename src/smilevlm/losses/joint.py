"""The joint loss: the weighted sum of the three, each of which can be left out for the ablation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import nn

from smilevlm.errors import SettingsError
from smilevlm.losses.barlow_twins import multi_view_barlow_twins
from smilevlm.losses.correlation import check_weight
from smilevlm.losses.redundancy import redundancy_minimization
from smilevlm.losses.vision_language import positives_from_groups, vision_language_alignment


@dataclass(frozen=True, kw_only=True)
class JointLossSettings:
    """Weights and scales of the joint loss. Assumption A8: the paper gives none of the values.

    A correlation loss cannot fall below its sampling-noise floor of about λ D (D - 1) / B, 11.7 for D = 384 and B = 64,
    and starts near D, while the alignment loss starts near ln B. The scales bring them to one size without changing the
    paper's α, β, γ: 0.024 is the precedent of the Barlow Twins authors (facebookresearch/barlowtwins, issue 7).
    Assumption A9.

    Args:
        alpha: Weight of the multi-view Barlow Twins loss; 0 leaves the term out.
        beta: Weight of the vision-language alignment loss; 0 leaves the term out.
        gamma: Weight of the redundancy-minimisation loss; 0 leaves the term out.
        lambd_mv_bt: Weight of the off-diagonal sum of the multi-view loss.
        lambd_red_min: Weight of the off-diagonal sum of the redundancy loss.
        temperature: τ of the alignment loss, above 0.
        standardize: Standardise along the batch before correlating. Assumption A7.
        multi_positive: Samples of one group share their positives, instead of the paper's one-hot targets.
        multi_view_scale: Multiplies the multi-view loss beside `alpha`, above 0.
        redundancy_scale: Multiplies the redundancy loss beside `gamma`, above 0.

    Raises:
        SettingsError: A value is outside its range, or all three weights are 0.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    lambd_mv_bt: float = 0.0051
    lambd_red_min: float = 0.0051
    temperature: float = 0.07
    standardize: bool = True
    multi_positive: bool = False
    multi_view_scale: float = 1.0
    redundancy_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma", "lambd_mv_bt", "lambd_red_min"):
            check_weight(name, getattr(self, name))
        for name in ("temperature", "multi_view_scale", "redundancy_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} must be a finite number above 0, got {value}")
        if self.alpha == self.beta == self.gamma == 0:
            raise SettingsError("alpha, beta and gamma are all 0: there is nothing to train")


class LossTerms(NamedTuple):
    """The joint loss and its terms as the equations give them, before weight and scale; None where the weight is 0."""

    total: Float[torch.Tensor, ""]
    multi_view: Float[torch.Tensor, ""] | None
    alignment: Float[torch.Tensor, ""] | None
    redundancy: Float[torch.Tensor, ""] | None


class JointLoss(nn.Module):
    """L = α s_mv L_mv-bt + β L_vl-align + γ s_red L_red-min.

    Source: SMILE-VLM, Eq. 10. Departs from it: the scales s, 1 by default.
    """

    def __init__(self, settings: JointLossSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(
        self,
        *,
        z_a: Float[torch.Tensor, "batch view dim"] | None = None,
        z_b: Float[torch.Tensor, "batch view dim"] | None = None,
        z_views: Float[torch.Tensor, "batch view dim"] | None = None,
        z_fused: Float[torch.Tensor, "batch dim"] | None = None,
        z_text: Float[torch.Tensor, "batch dim"] | None = None,
        groups: Int[torch.Tensor, " batch"] | None = None,
    ) -> LossTerms:
        """Compute the terms whose weight is not 0, and their sum.

        Args:
            z_a: Views under the first distortion; needed while `alpha` is not 0.
            z_b: Views under the second distortion; needed while `alpha` is not 0.
            z_views: Undistorted views; needed while `beta` is not 0.
            z_fused: Fused embedding; needed while `beta` or `gamma` is not 0.
            z_text: Prompt embeddings; needed while `beta` or `gamma` is not 0.
            groups: Samples of equal number are each other's positives; needed with `multi_positive`.

        Raises:
            SettingsError: A term that is not left out lacks an input, or an input does not fit.
        """
        settings = self.settings
        multi_view = alignment = redundancy = None
        weighted: list[torch.Tensor] = []
        if settings.alpha > 0:
            if z_a is None or z_b is None:
                raise SettingsError("alpha is not 0, so z_a and z_b are needed")
            multi_view = multi_view_barlow_twins(z_a, z_b, lambd=settings.lambd_mv_bt, standardize=settings.standardize)
            weighted.append(settings.alpha * settings.multi_view_scale * multi_view)
        if settings.beta > 0:
            if z_views is None or z_fused is None or z_text is None:
                raise SettingsError("beta is not 0, so z_views, z_fused and z_text are needed")
            if settings.multi_positive and groups is None:
                raise SettingsError("multi_positive is set, so groups are needed")
            positives = positives_from_groups(groups) if settings.multi_positive and groups is not None else None
            alignment = vision_language_alignment(
                z_views, z_fused, z_text, temperature=settings.temperature, positives=positives
            )
            weighted.append(settings.beta * alignment)
        if settings.gamma > 0:
            if z_fused is None or z_text is None:
                raise SettingsError("gamma is not 0, so z_fused and z_text are needed")
            redundancy = redundancy_minimization(
                z_fused, z_text, lambd=settings.lambd_red_min, standardize=settings.standardize
            )
            weighted.append(settings.gamma * settings.redundancy_scale * redundancy)
        return LossTerms(torch.stack(weighted).sum(), multi_view, alignment, redundancy)
