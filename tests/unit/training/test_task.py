"""One step of the joint loss: what it logs, and that a single batch can be learned by heart."""

from __future__ import annotations

import pytest
import torch

from smilevlm.losses import JointLoss, JointLossSettings
from smilevlm.models import ConvTowerSettings, FusionSettings, ModelSettings, ProjectorSettings, build_model
from smilevlm.training.distortions import Distortions, DistortionSettings
from smilevlm.training.settings import OptimiserSettings
from smilevlm.training.task import SmileVlmTask

BATCH, DIM = 8, 16


def make_task(loss: JointLossSettings | None = None, distortions: DistortionSettings | None = None) -> SmileVlmTask:
    torch.manual_seed(0)
    model = build_model(
        ModelSettings(
            embedding_dim=DIM,
            tower_settings=ConvTowerSettings(width=8),
            projector=ProjectorSettings(hidden_dim=32),
            fusion=FusionSettings(hidden_dim=8),
        )
    )
    table = torch.nn.functional.normalize(torch.randn(BATCH, DIM), dim=1)
    return SmileVlmTask(
        model=model,
        loss=JointLoss(loss or JointLossSettings(multi_view_scale=0.024, redundancy_scale=0.024)),
        distortions=Distortions(distortions or DistortionSettings(), (-30.0, 0.0, 30.0)),
        prompt_table=table,
        optimiser=OptimiserSettings(),
        seed=0,
    )


@pytest.fixture(autouse=True)
def _one_thread():
    """Such small tensors gain nothing from threads, which wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (BATCH, 3, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return images, torch.arange(BATCH)


def descend(task: SmileVlmTask, batch: tuple[torch.Tensor, torch.Tensor], steps: int) -> list[tuple[float, float]]:
    """(joint loss, alignment) before each step."""
    adam = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        terms = task._losses(*batch)
        adam.zero_grad()
        terms.total.backward()
        adam.step()
        assert terms.alignment is not None
        losses.append((float(terms.total.detach()), float(terms.alignment.detach())))
    return losses


def test_one_batch_overfits(batch):
    losses = descend(make_task(distortions=DistortionSettings(mirror=0.0, clean_share=0.0)), batch, 60)
    (first, first_alignment), (last, last_alignment) = losses[0], losses[-1]
    assert last < first / 3
    assert last_alignment < first_alignment / 5


def test_every_weight_gets_a_gradient(batch):
    task = make_task()
    task._losses(*batch).total.backward()
    without = [name for name, p in task.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The fusion's last bias adds the same to every view's score, which the softmax takes away again.
    assert [name for name in without if not name.startswith("fusion.") or not name.endswith("bias")] == []


def test_same_seed_same_losses(batch):
    assert descend(make_task(), batch, 4) == descend(make_task(), batch, 4)


def test_without_the_multi_view_loss_no_pair_is_distorted(batch, monkeypatch):
    task = make_task(JointLossSettings(alpha=0.0))
    monkeypatch.setattr(task.distortions, "distort", lambda *_: pytest.fail("nothing to distort for"))
    terms = task._losses(*batch)
    assert terms.multi_view is None
    assert torch.isfinite(terms.total)


def test_the_prompt_table_is_no_weight():
    task = make_task()
    assert "prompt_table" not in task.state_dict()
    assert not task.prompt_table.requires_grad
