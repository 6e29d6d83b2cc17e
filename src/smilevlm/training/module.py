"""The Lightning module: one optimisation step of the joint loss, with or without cached gradients; validation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as lightning
import torch
from jaxtyping import Bool, Float, Int64
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig

from smilevlm.augment.distortions import Distortions
from smilevlm.distributed import all_reduce_sum, world_size
from smilevlm.errors import SettingsError
from smilevlm.losses import JointLoss, LossTerms, SupervisedLoss
from smilevlm.models import SmileVlm, uses_batch_statistics
from smilevlm.training.averaging import moving_average
from smilevlm.training.config import OptimiserSettings, ValidationSettings
from smilevlm.training.data import Batch, ShardSpec
from smilevlm.training.processes import average_gradients
from smilevlm.training.tower_gradients import multi_view_gradient_share

_DISTORTION, _DROPOUT, _VALIDATION = range(3)


class PromptTensors(NamedTuple):
    """What a step compares images with.

    Args:
        table: Embedded prompts; batches name rows of it.
        candidates: Prompts of all classes, which a text-guided fusion looks at.
        prototypes: A direction per class, for the accuracy on validation subjects.
        groups: Of each row of the table; samples whose rows are of one group are each other's positives where the loss
            has groups. None for each row by itself.
    """

    table: Float[torch.Tensor, "prompt dim"]
    candidates: Float[torch.Tensor, "candidate dim"]
    prototypes: Float[torch.Tensor, "class dim"]
    groups: Int64[torch.Tensor, " prompt"] | None = None


class SmileVlmModule(lightning.LightningModule):
    """What Lightning's loop calls.

    Every random number of a step follows from the seed and the step's number, so that a run that is gone on with needs
    no generator's state; those of the distortions do not depend on the number of processes either.

    Args:
        model: What is trained.
        loss: The joint loss, or that of the supervised baseline.
        distortions: Makes the two distortions and the clean views.
        prompts: Embedded; kept as buffers.
        optimiser: Rates and schedule.
        validation: What is measured on validation subjects.
        seed: Of distortions and dropout.
        all_paired: Whether every sample has a prompt.

    Raises:
        SettingsError: Cached gradients are asked for with a tower that mixes the samples of a batch, or a share of the
            gradient of a tower that does not train.
    """

    prompt_table: torch.Tensor
    candidates: torch.Tensor
    prototypes: torch.Tensor
    prompt_groups: torch.Tensor | None

    def __init__(
        self,
        *,
        model: SmileVlm,
        loss: JointLoss | SupervisedLoss,
        distortions: Distortions,
        prompts: PromptTensors,
        optimiser: OptimiserSettings,
        validation: ValidationSettings,
        seed: int,
        all_paired: bool = True,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        check_cached_gradients(optimiser, model)
        if loss.gradient_share is not None and not model.tower_parameters():
            raise SettingsError(
                "loss.multi_view_share and loss.log_share are about the tower's gradient, and the tower is frozen"
            )
        self.model = model
        self.loss = loss
        self.distortions = distortions
        self.optimiser_settings = optimiser
        self.validation_settings = validation
        self.average = None
        if optimiser.ema_decay is not None:
            self.average = moving_average(model, optimiser.ema_decay)
        self.register_buffer("prompt_table", prompts.table, persistent=False)
        self.register_buffer("candidates", prompts.candidates, persistent=False)
        self.register_buffer("prototypes", prompts.prototypes, persistent=False)
        self.register_buffer("prompt_groups", prompts.groups, persistent=False)
        self._seed = seed
        self._all_paired = all_paired
        self._measured: list[torch.Tensor] = []

    def kept_model(self) -> SmileVlm:
        """The model that is scored and kept: the moving average where there is one."""
        model = self.model if self.average is None else self.average.module
        assert isinstance(model, SmileVlm)
        return model

    # Training.

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, torch.Tensor]:
        """One step of the optimiser.

        Returns:
            What the log shows of it, detached.
        """
        optimiser, schedule = self.optimizers(), self.lr_schedulers()
        optimiser.zero_grad(set_to_none=True)  # pyright: ignore
        shown = self._shown(self.add_gradients(batch))
        trained = [p for p in self.parameters() if p.requires_grad]
        average_gradients(trained)
        if self.optimiser_settings.clip_norm is not None:
            shown["gradient_norm"] = torch.nn.utils.clip_grad_norm_(trained, self.optimiser_settings.clip_norm)
        optimiser.step()  # pyright: ignore
        schedule.step()  # pyright: ignore
        self.loss.clamp_()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return shown

    def add_gradients(self, batch: Batch) -> LossTerms:
        """Distort, embed, and add this process's part of the joint loss's gradients to the weights."""
        views, mask = self._distorted(batch, self._generator(_DISTORTION, self.global_step))
        share = self.optimiser_settings.micro_batch_size
        # A compiled tower would free what its first backward pass used.
        with torch.compiler.set_stance("force_eager") if self._measures_share else nullcontext():
            if share is not None and share < len(batch.images):
                with _uncached_autocast(self.device.type):
                    return self._cached_backward(views, batch, mask, share)
            self._seed_dropout(0)
            features = self.model.encode_features(views)
            terms = self._rescaled(self._loss_terms(self.model, features, batch, mask), features, [features])
            _backward(terms.total)
        return terms

    def _cached_backward(
        self, views: torch.Tensor, batch: Batch, mask: torch.Tensor | None, micro_batch_size: int
    ) -> LossTerms:
        """The gradients of the whole share without its activations (GradCache, arXiv 2101.06983).

        The tower runs piece by piece without gradient; projector, fusion and losses run on all features at once; each
        piece then runs again and takes its features' gradient back through the tower. Dropout repeats by its seed.
        """
        copies = len(views) // len(batch.images)
        pieces = views.split(micro_batch_size * copies)
        with torch.no_grad():
            cached = torch.cat([*self._encoded(pieces)])
        cached.requires_grad_()
        self._seed_dropout(len(pieces))
        terms = self._loss_terms(self.model, cached, batch, mask)
        terms = self._rescaled(terms, cached, self._encoded(pieces))
        _backward(terms.total)
        assert cached.grad is not None
        if not self.model.tower_parameters():
            return terms
        for encoded, gradient in zip(self._encoded(pieces), cached.grad.split(micro_batch_size * copies), strict=True):
            _backward(encoded, gradient)
        return terms

    def _encoded(self, pieces: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The tower's features of each piece of the share; repeated, dropout repeats too."""
        for number, piece in enumerate(pieces):
            self._seed_dropout(number)
            yield self.model.encode_features(piece)

    @property
    def _measures_share(self) -> bool:
        share = self.loss.gradient_share
        return share is not None and share.is_measuring

    def _rescaled(self, terms: LossTerms, features: torch.Tensor, encoded: Iterable[torch.Tensor]) -> LossTerms:
        """In the first steps, the terms summed with the scale that the tower's gradients ask for."""
        if not self._measures_share:
            return terms
        measured = multi_view_gradient_share(terms, features, encoded, self.model.tower_parameters())
        if not math.isfinite(measured):
            return terms
        assert self.loss.gradient_share is not None
        factor = self.loss.gradient_share.measured(measured)
        return terms.rescaled(factor)._replace(multi_view_share=measured * factor)

    def _loss_terms(
        self, model: SmileVlm, features: torch.Tensor, batch: Batch, mask: torch.Tensor | None
    ) -> LossTerms:
        """Project and fuse the tower's features, look up the prompts, and compare them."""
        num_distorted = self.distortions.settings.num_distortions if self._with_pairs else 0
        # Not `split`, which cannot tell copies apart on a process that has no row of a small validation batch.
        copies = (1 + num_distorted, len(batch.images))
        if self.loss.uses_features:
            clean, *z_distorted = features.unflatten(0, copies)
            z_views = model.project(clean)
        else:
            z_views, *z_distorted = model.project(features).unflatten(0, copies)
        z_fused, _ = model.fuse(z_views, mask, self.candidates)
        # A sample without prompt gets any row; the losses leave it out.
        rows = batch.prompts.clamp(min=0)
        return self.loss(
            z_distorted=z_distorted,
            z_views=z_views,
            z_fused=z_fused,
            z_text=self.prompt_table[rows],
            groups=batch.prompts if self.prompt_groups is None else self.prompt_groups[rows],
            subjects=batch.subjects,
            # Without the mask no step waits for a GPU to count it.
            paired=None if self._all_paired else batch.prompts >= 0,
            # The rows of every process follow from the size of the global batch: no process asks the others.
            counts=ShardSpec(num_processes=world_size()).sizes(batch.total),
        )

    def _distorted(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Float[torch.Tensor, "copy view 3 height width"], Bool[torch.Tensor, "batch view"] | None]:
        return self.distortions.views_and_pairs(
            batch.images,
            generator,
            with_pairs=self._with_pairs,
            rows=batch.rows,
            total=batch.total,
            is_dynamic=batch.is_dynamic,
        )

    @property
    def _with_pairs(self) -> bool:
        return self.loss.uses_pairs

    def _shown(self, terms: LossTerms) -> dict[str, torch.Tensor]:
        named = {
            "loss_total": terms.total,
            "loss_multi_view": terms.multi_view,
            "loss_alignment": terms.alignment,
            "loss_redundancy": terms.redundancy,
            "temperature": getattr(self.loss, "log_inverse_temperature", None),
        }
        shown = {name: value.detach().clone() for name, value in named.items() if value is not None}
        if "temperature" in shown:
            shown["temperature"] = (-shown["temperature"]).exp()
        if self.loss.gradient_share is not None:
            shown["multi_view_scale"] = torch.tensor(self.loss.gradient_share.scale, dtype=torch.float64)
        if terms.multi_view_share is not None:
            shown["multi_view_share"] = torch.tensor(terms.multi_view_share, dtype=torch.float64)
        return shown

    def _generator(self, purpose: int, step: int) -> torch.Generator:
        state = np.random.SeedSequence([self._seed, purpose, step]).generate_state(1)
        return torch.Generator(device=self.device).manual_seed(int(state[0]))

    def _seed_dropout(self, piece: int) -> None:
        key = [self._seed, _DROPOUT, self.global_step, self.global_rank, piece]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    # Validation.

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        model, size = self.kept_model(), torch.full((), float(batch.total), device=self.device)
        if self.validation_settings.monitor == "accuracy":
            z_fused = model(batch.images, text=self.candidates).z_fused
            # In float32: half precision would round the scores of neighbouring classes to ties.
            with torch.autocast(self.device.type, enabled=False):
                right = (z_fused.float() @ self.prototypes.T).argmax(dim=1) == batch.truth
            value = all_reduce_sum(right.sum().float())
        else:
            views, mask = self._distorted(batch, self._generator(_VALIDATION, batch_index))
            value = self._loss_terms(model, model.encode_features(views), batch, mask).total * size
        self._measured.append(torch.stack([value, size]))

    def validation_value(self) -> float:
        """The monitored value over all validation samples since it was last asked for."""
        total, count = torch.stack(self._measured).sum(dim=0).tolist()
        self._measured.clear()
        return total / count

    # Optimiser.

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings = self.optimiser_settings
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        optimiser = kind(self.parameter_groups(), lr=settings.learning_rate, fused=True)
        total = int(self.trainer.estimated_stepping_batches)
        warmup = max(1, round(settings.warmup_share * total))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for new parts and tower, each with and without weight decay; empty ones are left out.

        Weight decay is for the matrices of tower and projector alone. Assumption A17. The fusion's gradients are small
        beside those of the tower; Adam would scale the decay term up in their place and bring every view's weight to
        the same value.
        """
        settings = self.optimiser_settings
        tower_rate = settings.tower_learning_rate or settings.learning_rate
        not_decayed = set(self.model.fusion.parameters())
        groups = []
        for name, parameters, rate in (
            ("new", [*self.model.new_parameters(), *self.loss.parameters()], settings.learning_rate),
            ("tower", list(self.model.tower_parameters()), tower_rate),
        ):
            decayed = [p for p in parameters if p.ndim > 1 and p not in not_decayed]
            others = [p for p in parameters if p.ndim <= 1 or p in not_decayed]
            groups += [
                {"name": name, "params": decayed, "lr": rate, "weight_decay": settings.weight_decay},
                {"name": f"{name}, no decay", "params": others, "lr": rate, "weight_decay": 0.0},
            ]
        return [group for group in groups if group["params"]]


def check_cached_gradients(optimiser: OptimiserSettings, model: SmileVlm) -> None:
    """Raises:
    SettingsError: They are asked for, with a tower that mixes the samples of a batch.
    """
    if optimiser.micro_batch_size is not None and uses_batch_statistics(model.tower):
        raise SettingsError(
            "optimiser.micro_batch_size needs a tower that does not mix the samples of a batch: its batch "
            "normalisation would see pieces of it. For the tower conv set model.tower_settings.norm=group"
        )


@contextmanager
def _uncached_autocast(device_type: str) -> Iterator[None]:
    """Autocast as it is around, if it is on, without its cache of weights in half precision.

    Up to torch 2.9 a pass without gradient leaves weights there that have none, and a later pass with gradient uses
    those (pytorch issue 158232).
    """
    with torch.autocast(
        device_type,
        dtype=torch.get_autocast_dtype(device_type),
        enabled=torch.is_autocast_enabled(device_type),
        cache_enabled=False,
    ):
        yield


def _backward(result: torch.Tensor, gradient: torch.Tensor | None = None) -> None:
    """Outside autocast, as it should be: inside, what was computed in float32 would go back in half precision."""
    with torch.autocast(result.device.type, enabled=False):
        result.backward(gradient)
