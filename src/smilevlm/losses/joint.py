"""The joint loss: the weighted sum of the three, each of which can be left out for the ablation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from smilevlm.distributed import all_gather, row_counts
from smilevlm.errors import SettingsError
from smilevlm.losses.barlow_twins import multi_view_barlow_twins
from smilevlm.losses.correlation import ViewPairs, check_weight, expected_if_unrelated, full_precision
from smilevlm.losses.gradient_share import GradientShare
from smilevlm.losses.prompt_bank import prompt_bank_alignment
from smilevlm.losses.redundancy import redundancy_minimization
from smilevlm.losses.vision_language import positives_from_groups, vision_language_alignment

LARGEST_INVERSE_TEMPERATURE = 100.0
"""The clamp of CLIP: a learned 1/τ stays between 1 and this."""


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
        temperature: τ of the alignment loss, above 0. Only of training: probabilities have a temperature of their own.
        standardize: Standardise along the batch before correlating. Assumption A7.
        multi_positive: Samples of one group share their positives, instead of the paper's one-hot targets.
        positives: What makes a group: `prompt`, the same prompt or caption; `class`, prompts of the same class, a
            caption being a group of its own. `class` needs `multi_positive`. Assumption A61.
        negatives: Of the alignment loss: `batch`, the prompts of the other samples, as Eq. 6 has it; `prompt_bank`, all
            prompts of the run and all captions of the fold's training samples. Assumption A61.
        multi_view_scale: Multiplies the multi-view loss beside `alpha`, above 0.
        redundancy_scale: Multiplies the redundancy loss beside `gamma`, above 0.
        symmetric: The alignment is the mean of image to text and text to image.
        learned_temperature: τ is where learning starts, and 1/τ stays between 1 and 100 as in CLIP.
        normalise_terms: In the sum each term is divided by its value for unrelated embeddings, so that all three start
            near 1 whatever width and batch: D + (D + λ D (D - 1))/n_eff for the correlation losses, and ln B (of a
            bank the logarithm of its size) for the alignment, its value where a sample prefers no prompt. Cosines that
            vary by chance add about 1/(2 D τ²) to that. See `expected_if_unrelated`.
        head: Layers of its own for the multi-view loss, which are left behind after training: on the `embedding`, on
            the tower's `features` in the place of the projector, or `none`, as in the paper. Assumption A58.
        head_layers: Linear layers of the head, at least 1; batch normalisation and ReLU between them.
        head_hidden_dim: Width of its hidden layers.
        head_dim: Width of what it gives, which the multi-view loss is then over.
        pairs: `same`: two distortions of one view are compared, as in the paper. `cross`: of two different views.
            Assumption A58.
        centre: `person`: each person's mean over the batch is taken out of what the multi-view loss sees. It reads who
            a sample is of, and no class. Assumption A59.
        multi_view_share: Norm of the tower's gradient by the multi-view loss, relative to that by the alignment, each
            with its weight. The scale that gives it is found in the first `share_steps` steps, takes the place of
            `multi_view_scale` and stays. None keeps `multi_view_scale`. Assumption A60.
        share_steps: Steps in which the share is measured, at least 1.
        log_share: Measure it where the scale is set by hand too, and log it.

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
    positives: Literal["prompt", "class"] = "prompt"
    negatives: Literal["batch", "prompt_bank"] = "batch"
    multi_view_scale: float = 1.0
    redundancy_scale: float = 1.0
    symmetric: bool = False
    learned_temperature: bool = False
    normalise_terms: bool = False
    head: Literal["none", "embedding", "features"] = "none"
    head_layers: int = 2
    head_hidden_dim: int = 512
    head_dim: int = 256
    pairs: ViewPairs = "same"
    centre: Literal["none", "person"] = "none"
    multi_view_share: float | None = None
    share_steps: int = 20
    log_share: bool = False

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma", "lambd_mv_bt", "lambd_red_min"):
            check_weight(name, getattr(self, name))
        for name in ("temperature", "multi_view_scale", "redundancy_scale", "multi_view_share"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} must be a finite number above 0, got {value}")
        if self.alpha == self.beta == self.gamma == 0:
            raise SettingsError("alpha, beta and gamma are all 0: there is nothing to train")
        if self.positives == "class" and not self.multi_positive:
            raise SettingsError("positives=class needs multi_positive=true: one-hot targets have no groups")
        if self.negatives == "prompt_bank" and self.symmetric:
            raise SettingsError("negatives=prompt_bank compares images with all prompts; it has no symmetric form")
        if self.learned_temperature and not 1 / LARGEST_INVERSE_TEMPERATURE <= self.temperature <= 1:
            raise SettingsError(f"a learned temperature must start between 0.01 and 1, got {self.temperature}")
        for name in ("head_layers", "head_hidden_dim", "head_dim", "share_steps"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.multi_view_share is not None and self.alpha > 0 and self.beta == 0:
            raise SettingsError("multi_view_share is relative to the alignment, and beta is 0: set multi_view_scale")

    @property
    def measures_share(self) -> bool:
        """Whether the multi-view loss's share of the tower's gradient is measured."""
        return self.alpha > 0 and self.beta > 0 and (self.log_share or self.multi_view_share is not None)


class LossTerms(NamedTuple):
    """The joint loss; its terms as the equations give them, before any weight or scale, None where the weight is 0.

    Beside them what each is multiplied by in the sum, and the multi-view loss's share of the tower's gradient in a step
    in which that was measured.
    """

    total: Float[torch.Tensor, ""]
    multi_view: Float[torch.Tensor, ""] | None
    alignment: Float[torch.Tensor, ""] | None
    redundancy: Float[torch.Tensor, ""] | None
    weights: tuple[float, float, float] = (0.0, 0.0, 0.0)
    multi_view_share: float | None = None

    @classmethod
    def weighted(
        cls, terms: Sequence[Float[torch.Tensor, ""] | None], weights: tuple[float, float, float]
    ) -> LossTerms:
        """Multi-view, alignment and redundancy, with their weighted sum."""
        multi_view, alignment, redundancy = terms
        parts = [weight * term for term, weight in zip(terms, weights, strict=True) if term is not None]
        return cls(torch.stack(parts).sum(), multi_view, alignment, redundancy, weights)

    def rescaled(self, factor: float) -> LossTerms:
        """The same with the multi-view loss's weight multiplied by a factor."""
        multi_view, alignment, redundancy = self.weights
        return self.weighted(self[1:4], (multi_view * factor, alignment, redundancy))


class PromptBank(NamedTuple):
    """What images are compared with where `negatives` is `prompt_bank`.

    Args:
        embeddings: Of all its prompts.
        groups: Of each; those of a sample's group are its positives.
    """

    embeddings: Float[torch.Tensor, "prompt dim"]
    groups: Int[torch.Tensor, " prompt"]


class JointLoss(nn.Module):
    """L = α s_mv L_mv-bt + β L_vl-align + γ s_red L_red-min.

    With a learned temperature, and while β is not 0, it has the parameter `log_inverse_temperature`; call `clamp_`
    after each step.

    Args:
        settings: Weights, scales and options.
        head: From rows to rows, what the settings ask for with `head`; its weights are this loss's.
        bank: Needed where `negatives` is `prompt_bank` and β is not 0; kept as buffers.

    Raises:
        SettingsError: The bank is missing; a head is asked for and not given, or the other way round.

    Source: SMILE-VLM, Eq. 10. Departs from it: the scales s, 1 by default, and the options of its settings.
    """

    bank_embeddings: torch.Tensor | None
    bank_groups: torch.Tensor | None

    def __init__(
        self, settings: JointLossSettings, head: nn.Module | None = None, bank: PromptBank | None = None
    ) -> None:
        super().__init__()
        if (settings.alpha > 0 and settings.head != "none") != (head is not None):
            raise SettingsError(f"loss.head is {settings.head}, but {'no' if head is None else 'a'} head is given")
        self.settings = settings
        self.head = head
        self.gradient_share: GradientShare | None = None
        if settings.measures_share:
            self.gradient_share = GradientShare(
                settings.multi_view_share, settings.share_steps, settings.multi_view_scale
            )
        uses_bank = settings.negatives == "prompt_bank" and settings.beta > 0
        if uses_bank and bank is None:
            raise SettingsError("negatives is prompt_bank, so a bank is needed")
        embeddings, groups = bank if uses_bank and bank is not None else (None, None)
        self.register_buffer("bank_embeddings", embeddings, persistent=False)
        self.register_buffer("bank_groups", groups, persistent=False)
        self.log_inverse_temperature: nn.Parameter | None = None
        if settings.learned_temperature and settings.beta > 0:
            self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(settings.temperature)))

    @property
    def uses_pairs(self) -> bool:
        """Whether two distortions of each view are needed."""
        return self.settings.alpha > 0

    @property
    def uses_features(self) -> bool:
        """Whether the distortions are wanted as the tower gives them, without the projector."""
        return self.uses_pairs and self.settings.head == "features"

    @property
    def multi_view_scale(self) -> float:
        """The multi-view loss's scale: that of the settings, or the one that its share of the gradient asks for."""
        return self.settings.multi_view_scale if self.gradient_share is None else self.gradient_share.scale

    @property
    def temperature(self) -> float | Float[torch.Tensor, ""]:
        """τ of the alignment loss; a tensor with a gradient where it is learned."""
        learned = self.log_inverse_temperature
        return self.settings.temperature if learned is None else (-learned).exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Hold a learned 1/τ between 1 and 100, as CLIP does; otherwise nothing happens."""
        if self.log_inverse_temperature is not None:
            self.log_inverse_temperature.clamp_(0.0, math.log(LARGEST_INVERSE_TEMPERATURE))

    def forward(
        self,
        *,
        z_distorted: Sequence[Float[torch.Tensor, "batch view distorted_dim"]] = (),
        z_views: Float[torch.Tensor, "batch view dim"] | None = None,
        z_fused: Float[torch.Tensor, "batch dim"] | None = None,
        z_text: Float[torch.Tensor, "batch dim"] | None = None,
        groups: Int[torch.Tensor, " batch"] | None = None,
        subjects: Int[torch.Tensor, " batch"] | None = None,
        paired: Bool[torch.Tensor, " batch"] | None = None,
        counts: Sequence[int] | None = None,
    ) -> LossTerms:
        """Compute the terms whose weight is not 0, and their sum, over the global batch of all processes.

        Args:
            z_distorted: Views under two distortions or more, in tensors of one shape; needed while `alpha` is not 0.
                The tower's features with the head `features`.
            z_views: Undistorted views; needed while `beta` is not 0.
            z_fused: Fused embedding; needed while `beta` or `gamma` is not 0.
            z_text: Prompt embeddings; needed while `beta` or `gamma` is not 0.
            groups: Samples of equal number are each other's positives; needed with `multi_positive`, and to find a
                sample's prompts in a bank.
            subjects: A number per person; needed while `alpha` is not 0 with `centre`.
            paired: False where a sample has no prompt: it counts in the multi-view loss alone, and its rows of
                `z_text` and `groups` may hold anything. A process may have no paired sample. With fewer than two in the
                global batch the alignment and the redundancy of this step are 0, with gradients of 0 for everything
                that they depend on; against a bank one is enough for the alignment. Given on all processes, or on none.
            counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise,
                once. How many of them are paired is always exchanged, once.

        Raises:
            SettingsError: A term that is not left out lacks an input, or an input does not fit.
        """
        settings = self.settings
        if (first := next((z for z in (*z_distorted, z_fused) if z is not None), None)) is not None:
            counts = row_counts(first, counts)
        paired_counts, too_few, none_paired = counts, False, False
        if paired is not None:
            paired_counts = row_counts(paired.nonzero())
            too_few, none_paired = sum(paired_counts) < 2, sum(paired_counts) == 0
            z_views, z_fused, z_text, groups = (
                None if rows is None else rows[paired] for rows in (z_views, z_fused, z_text, groups)
            )
        multi_view = alignment = redundancy = None
        weights = [0.0, 0.0, 0.0]
        if settings.alpha > 0:
            z_distorted, subjects = self._multi_view_inputs(z_distorted, subjects)
            multi_view = multi_view_barlow_twins(
                *z_distorted,
                lambd=settings.lambd_mv_bt,
                standardize=settings.standardize,
                counts=counts,
                pairs=settings.pairs,
                subjects=subjects,
            )
            unit = self._correlation_unit(z_distorted[0], settings.lambd_mv_bt, counts, settings.pairs, subjects)
            weights[0] = settings.alpha * self.multi_view_scale / unit
        if settings.beta > 0:
            z_views, z_fused, z_text = _needed("beta", z_views=z_views, z_fused=z_fused, z_text=z_text)
            nothing = too_few if self.bank_embeddings is None else none_paired
            alignment = self._alignment(z_views, z_fused, z_text, groups, paired_counts, too_few=nothing)
            weights[1] = settings.beta / self._alignment_unit(z_text, paired_counts)
        if settings.gamma > 0:
            z_fused, z_text = _needed("gamma", z_fused=z_fused, z_text=z_text)
            redundancy, unit = _zero_of(z_fused, z_text), 1.0
            if not too_few:
                redundancy = redundancy_minimization(
                    z_fused,
                    z_text,
                    lambd=settings.lambd_red_min,
                    standardize=settings.standardize,
                    counts=paired_counts,
                )
                unit = self._correlation_unit(z_fused[:, None], settings.lambd_red_min, paired_counts)
            weights[2] = settings.gamma * settings.redundancy_scale / unit
        return LossTerms.weighted((multi_view, alignment, redundancy), (weights[0], weights[1], weights[2]))

    def _multi_view_inputs(
        self, z_distorted: Sequence[torch.Tensor], subjects: torch.Tensor | None
    ) -> tuple[Sequence[torch.Tensor], torch.Tensor | None]:
        """Distortions after the head, and who is centred on."""
        if len(z_distorted) < 2:
            raise SettingsError(f"alpha is not 0, so z_distorted needs two distortions or more, got {len(z_distorted)}")
        if self.head is not None:
            # In one pass: in training its batch normalisation is over all rows, as the projector's.
            stacked = torch.stack([*z_distorted])
            z_distorted = self.head(stacked.flatten(0, 2)).unflatten(0, stacked.shape[:3]).unbind()
        if self.settings.centre == "none":
            return z_distorted, None
        if subjects is None:
            raise SettingsError("centre is person, so subjects are needed")
        return z_distorted, subjects

    def _alignment(
        self,
        z_views: torch.Tensor,
        z_fused: torch.Tensor,
        z_text: torch.Tensor,
        groups: torch.Tensor | None,
        counts: Sequence[int] | None,
        *,
        too_few: bool,
    ) -> torch.Tensor:
        bank, settings = self.bank_embeddings, self.settings
        if (settings.multi_positive or bank is not None) and groups is None:
            raise SettingsError("multi_positive or a prompt bank is set, so groups are needed")
        if too_few:
            learned = () if self.log_inverse_temperature is None else (self.log_inverse_temperature[None],)
            return _zero_of(z_views, z_fused, z_text, *learned)
        if bank is not None:
            assert groups is not None
            assert self.bank_groups is not None
            in_bank = groups[:, None] == self.bank_groups
            return prompt_bank_alignment(z_views, z_fused, bank, in_bank, temperature=self.temperature, counts=counts)
        positives = None
        if settings.multi_positive:
            assert groups is not None
            positives = positives_from_groups(groups, counts)
        return vision_language_alignment(
            z_views,
            z_fused,
            z_text,
            temperature=self.temperature,
            positives=positives,
            symmetric=self.settings.symmetric,
            counts=counts,
        )

    def _alignment_unit(self, z_text: torch.Tensor, counts: Sequence[int] | None) -> float:
        if not self.settings.normalise_terms:
            return 1.0
        bank = self.bank_embeddings
        num_choices = sum(row_counts(z_text, counts)) if bank is None else len(bank)
        # A batch of one has nothing to choose from: the term is 0 whatever it is divided by.
        return math.log(max(num_choices, 2))

    def _correlation_unit(
        self,
        z: torch.Tensor,
        lambd: float,
        counts: Sequence[int] | None,
        pairs: ViewPairs = "same",
        subjects: torch.Tensor | None = None,
    ) -> float:
        if not self.settings.normalise_terms:
            return 1.0
        return expected_if_unrelated(
            dim=z.shape[2],
            batch=sum(row_counts(z, counts)),
            num_views=z.shape[1],
            lambd=lambd,
            standardize=self.settings.standardize,
            pairs=pairs,
            num_subjects=1 if subjects is None else len(all_gather(subjects, counts).unique()),
        )


def _needed(weight: str, **given: torch.Tensor | None) -> list[torch.Tensor]:
    """Raises:
    SettingsError: An input of a term that is not left out is missing.
    """
    found = [tensor for tensor in given.values() if tensor is not None]
    if len(found) < len(given):
        *names, last = given
        raise SettingsError(f"{weight} is not 0, so {', '.join(names)} and {last} are needed")
    return found


def _zero_of(*rows: torch.Tensor) -> Float[torch.Tensor, ""]:
    """Zero with a gradient of zero for each tensor, whatever its rows hold."""
    return torch.cat([tensor[:0].flatten() for tensor in full_precision(*rows)]).sum()
