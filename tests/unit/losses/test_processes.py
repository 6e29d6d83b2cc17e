"""Two and four processes with shares of the batch give the losses and gradients of one process with all of it."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from processes import joined_by_gloo
from smilevlm.losses import JointLoss, JointLossSettings, PromptBank, SupervisedLoss
from smilevlm.models import Projector, ProjectorSettings

MULTI_VIEW, ALIGNMENT, REDUNDANCY = (
    {"beta": 0.0, "gamma": 0.0}, {"alpha": 0.0, "gamma": 0.0}, {"alpha": 0.0, "beta": 0.0},
)  # fmt: skip
JOINT = {"alpha": 0.7, "beta": 1.3, "gamma": 0.4}
HEAD = {"head": "embedding", "head_hidden_dim": 5, "head_dim": 20}
EVERYTHING = JOINT | {"multi_positive": True, "symmetric": True, "learned_temperature": True, "normalise_terms": True}
SETTINGS = {
    "multi_view": MULTI_VIEW,
    "multi_view_raw": MULTI_VIEW | {"standardize": False},
    "redundancy": REDUNDANCY,
    "redundancy_raw": REDUNDANCY | {"standardize": False},
    "alignment": ALIGNMENT,
    "multi_positive": ALIGNMENT | {"multi_positive": True},
    "symmetric": ALIGNMENT | {"symmetric": True},
    "symmetric_multi_positive": ALIGNMENT | {"symmetric": True, "multi_positive": True},
    "learned_temperature": ALIGNMENT | {"learned_temperature": True},
    "joint": JOINT,
    "normalise_terms": JOINT | {"normalise_terms": True},
    "everything": EVERYTHING,
    "cross": MULTI_VIEW | {"pairs": "cross"},
    "person": MULTI_VIEW | {"centre": "person"},
    "person_raw": MULTI_VIEW | {"centre": "person", "standardize": False},
    "head": MULTI_VIEW | HEAD,
    "three_distortions": MULTI_VIEW,
    "multi_view_options": EVERYTHING | HEAD | {"pairs": "cross", "centre": "person"},
    "prompt_bank": ALIGNMENT | {"negatives": "prompt_bank", "learned_temperature": True},
    "prompt_bank_joint": EVERYTHING | {"negatives": "prompt_bank", "symmetric": False},
}
# With a narrow width the correlation losses take the form by the correlation matrix, with a wide one that by Gram.
WIDTHS = (4, 40)
PAIRED = {
    "all": None,
    "some": torch.tensor([True, True, False, True, True, False, False, False]),
    "one": torch.tensor([False, True, False, False, False, False, False, False]),
    "none": torch.zeros(8, dtype=torch.bool),
}
CASES = [(name, width, "all") for name in SETTINGS for width in WIDTHS]
CASES += [
    (name, width, mask)
    for name in ("joint", "everything", "prompt_bank_joint")
    for width in WIDTHS
    for mask in ("some", "one")
]
CASES += [("multi_view_options", 40, mask) for mask in ("some", "one", "none")]
CASES += [("everything", 40, "none"), ("prompt_bank_joint", 40, "none"), ("supervised", 4, "all")]
# Uneven on purpose; with `some` the last process of each has no paired sample, and one of four has no sample at all.
SHARES = {2: (5, 3), 4: (3, 0, 4, 1)}


def _joint(name: str, width: int) -> JointLoss:
    settings, head = JointLossSettings(**SETTINGS[name]), None
    if settings.head != "none":
        torch.manual_seed(0)
        head = Projector(width, settings.head_dim, ProjectorSettings(hidden_dim=settings.head_hidden_dim))
    bank = torch.randn(5, width, generator=torch.Generator().manual_seed(6))
    # Two prompts of the first group, as of a class.
    return JointLoss(settings, head, PromptBank(bank, torch.tensor([0, 0, 1, 2, 3]))).double()


def step(case: tuple[str, int, str], rows: slice) -> list[torch.Tensor]:
    """Loss, and gradients of every parameter, of linear encoders on some rows of one fixed batch."""
    name, width, mask = case
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(3, 8, 3, 6, generator=generator, dtype=torch.float64)[:, rows]
    texts = torch.randn(8, 5, generator=generator, dtype=torch.float64)[rows]
    encoder = torch.randn(6, width, generator=generator, dtype=torch.float64).requires_grad_()
    text_encoder = torch.randn(5, width, generator=generator, dtype=torch.float64).requires_grad_()
    groups = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])[rows]
    paired = PAIRED[mask]
    joint = SupervisedLoss(torch.eye(3, width).double(), 0.2) if name == "supervised" else _joint(name, width)
    z_a, z_b, z_views = images @ encoder
    z_text = texts @ text_encoder
    z_distorted = [z_a, z_b + z_a, z_a - z_b][: 3 if name in ("three_distortions", "multi_view_options") else 2]
    total = joint(
        z_distorted=z_distorted, z_views=z_views, z_fused=z_views.mean(1), z_text=z_text, groups=groups,
        subjects=torch.tensor([5, 5, 2, 5, 2, 9, 2, 5])[rows], paired=None if paired is None else paired[rows],
    ).total  # fmt: skip
    parameters = [encoder, *joint.parameters()]
    only_images = MULTI_VIEW.items() <= SETTINGS[name].items() if name != "supervised" else True
    if not only_images and name != "prompt_bank":
        parameters.append(text_encoder)
    # Without `allow_unused`, so that a parameter outside the graph is an error on every process.
    return [total.detach(), *torch.autograd.grad(total, parameters)]


def _work(rank: int, shares: tuple[int, ...]) -> list[list[torch.Tensor]]:
    start = sum(shares[:rank])
    results = []
    for case in CASES:
        loss, *gradients = step(case, slice(start, start + shares[rank]))
        for gradient in gradients:
            # What DistributedDataParallel does with the gradients of a parameter.
            dist.all_reduce(gradient)
            gradient /= len(shares)
        results.append([loss, *gradients])
    return results


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def processes(request, tmp_path_factory):
    return joined_by_gloo(_work, request.param, tmp_path_factory.mktemp("gloo"), SHARES[request.param])


@pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join(map(str, case)) for case in CASES])
def test_processes_equal_one(processes, number):
    loss, *gradients = step(CASES[number], slice(0, 8))
    for results in processes:
        torch.testing.assert_close(results[number][0], loss, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(results[number][1:], gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mask", ["one", "none"])
def test_too_few_pairs_leave_the_multi_view_loss_alone(mask):
    loss, *gradients = step(("joint", 40, mask), slice(0, 8))
    expected, expected_gradient = step(("multi_view", 40, "all"), slice(0, 8))
    torch.testing.assert_close(loss, 0.7 * expected)
    torch.testing.assert_close(gradients[0], 0.7 * expected_gradient)
    assert not gradients[1].any()
