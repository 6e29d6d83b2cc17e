"""The fifty lines that join model, losses and data for Lightning."""

from __future__ import annotations

import math

import pytorch_lightning as lightning
import torch
from jaxtyping import Float, Int64, UInt8
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig

from smilevlm.losses import JointLoss, LossTerms
from smilevlm.models import SmileVlm
from smilevlm.training.distortions import Distortions
from smilevlm.training.settings import OptimiserSettings

Batch = tuple[UInt8[torch.Tensor, "batch view 3 height width"], Int64[torch.Tensor, " batch"]]


class SmileVlmTask(lightning.LightningModule):
    """One optimisation step of the joint loss.

    Args:
        model: What is trained.
        loss: The joint loss.
        distortions: Makes the two distortions and the clean views.
        prompt_table: Embedded prompts; batches name rows of it.
        optimiser: Rates and schedule.
        seed: Of the distortions.
    """

    def __init__(
        self,
        *,
        model: SmileVlm,
        loss: JointLoss,
        distortions: Distortions,
        prompt_table: Float[torch.Tensor, "prompt dim"],
        optimiser: OptimiserSettings,
        seed: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.distortions = distortions
        self.optimiser_settings = optimiser
        self.register_buffer("prompt_table", prompt_table, persistent=False)
        self._generator = torch.Generator().manual_seed(seed)

    def training_step(self, batch: Batch, batch_index: int) -> Float[torch.Tensor, ""]:
        images, prompts = batch
        terms = self._losses(images, prompts)
        logged = {
            "loss_total": terms.total,
            "loss_multi_view": terms.multi_view,
            "loss_alignment": terms.alignment,
            "loss_redundancy": terms.redundancy,
        }
        values = {name: value.detach() for name, value in logged.items() if value is not None}
        values["learning_rate"] = torch.tensor(self.optimizers().param_groups[0]["lr"])  # pyright: ignore
        self.log_dict(values, on_step=True, on_epoch=False)
        self.log("loss", terms.total.detach(), prog_bar=True, logger=False)
        return terms.total

    def _losses(self, images: torch.Tensor, prompts: torch.Tensor) -> LossTerms:
        clean = self.distortions.clean(images, self._generator)
        parts = [clean]
        with_pairs = self.loss.settings.alpha > 0
        if with_pairs:
            parts += [self.distortions.distort(images, self._generator) for _ in range(2)]
        # One pass through the tower for clean and distorted views alike.
        embedded = self.model.encode_views(torch.cat(parts))
        z_views, *pair = embedded.split(len(images))
        z_fused, _ = self.model.fuse(z_views)
        z_a, z_b = pair if with_pairs else (None, None)
        text = self.prompt_table[prompts]  # pyright: ignore[reportIndexIssue]
        return self.loss(z_a=z_a, z_b=z_b, z_views=z_views, z_fused=z_fused, z_text=text, groups=prompts)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings = self.optimiser_settings
        adam = torch.optim.Adam(self._parameter_groups(), lr=settings.learning_rate)
        total = int(self.trainer.estimated_stepping_batches)
        warmup = max(1, round(settings.warmup_share * total))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(adam, factor)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, object]]:
        """Weight decay for the matrices of tower and projector alone. Assumption A17.

        The fusion's gradients are small beside those of the tower; Adam would scale the decay term up in their place
        and bring every view's weight to the same value.
        """
        fusion = set(self.model.fusion.parameters())
        decayed = [p for p in self.model.parameters() if p.ndim > 1 and p not in fusion]
        others = [p for p in self.model.parameters() if p.ndim <= 1 or p in fusion]
        return [
            {"params": decayed, "weight_decay": self.optimiser_settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
