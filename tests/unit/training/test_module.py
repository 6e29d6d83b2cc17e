"""One step of the joint loss: what it learns, cached gradients equal to the whole batch's, groups, averages."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

from processes import joined_by_gloo
from smilevlm.augment.distortions import Distortions, DistortionSettings
from smilevlm.errors import SettingsError
from smilevlm.losses import JointLossSettings, PromptBank
from smilevlm.losses.reference import reference_multi_view_scale
from smilevlm.models import ConvTowerSettings, FusionSettings, ModelSettings, ProjectorSettings, build_model
from smilevlm.training.config import OptimiserSettings, ValidationSettings
from smilevlm.training.data import Batch, ShardSpec
from smilevlm.training.module import PromptTensors, SmileVlmModule
from smilevlm.training.processes import average_gradients
from smilevlm.training.trainer import build_joint_loss

BATCH, DIM = 8, 16
SMALL = ModelSettings(
    embedding_dim=DIM,
    tower_settings=ConvTowerSettings(width=8),
    projector=ProjectorSettings(hidden_dim=32),
    fusion=FusionSettings(hidden_dim=8),
)
GROUPED = dataclasses.replace(SMALL, tower_settings=ConvTowerSettings(width=8, norm="group"))


SCALES = {"multi_view_scale": 0.024, "redundancy_scale": 0.024}
SUBJECTS = torch.tensor([0, 0, 1, 1, 0, 2, 2, 3])
HEAD = {"head_hidden_dim": 12, "head_dim": 24}
OPTIONS: dict[str, dict[str, Any]] = {
    "literal": {},
    "head": {"head": "embedding", **HEAD},
    "head_on_features": {"head": "features", **HEAD},
    "cross": {"pairs": "cross"},
    "person": {"centre": "person"},
    "share": {"multi_view_share": 0.3, "share_steps": 2},
    "all": {
        "head": "features", **HEAD, "head_dim": 200, "pairs": "cross", "centre": "person", "multi_view_share": 0.3,
        "normalise_terms": True,
    },
}  # fmt: skip
"""Of the multi-view loss; with `all` there are three distortions, and the Gram form is taken."""


def make_options_task(options: str, **optimiser: Any) -> SmileVlmModule:
    settings = JointLossSettings(**SCALES, **OPTIONS[options])
    distortions = DistortionSettings(num_distortions=3 if options == "all" else 2)
    return make_task(settings, distortions, GROUPED, **optimiser).double()


def make_task(
    loss: JointLossSettings | None = None,
    distortions: DistortionSettings | None = None,
    model: ModelSettings = SMALL,
    **optimiser,
) -> SmileVlmModule:
    torch.manual_seed(0)
    built = build_model(model)
    table = torch.nn.functional.normalize(torch.randn(BATCH, DIM), dim=1)
    settings = loss or JointLossSettings(**SCALES)
    # Two prompts of each class, where classes make groups.
    groups = torch.arange(BATCH) // (2 if settings.positives == "class" else 1)
    return SmileVlmModule(
        model=built,
        loss=build_joint_loss(settings, built, None, PromptBank(table, groups)),
        distortions=Distortions(distortions or DistortionSettings(), (-30.0, 0.0, 30.0)),
        prompts=PromptTensors(table, table, table, groups),
        optimiser=OptimiserSettings(**optimiser),
        validation=ValidationSettings(),
        seed=0,
        all_paired=False,
    )


@pytest.fixture(autouse=True)
def _one_thread():
    """Such small tensors gain nothing from threads, which wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (BATCH, 3, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Batch(images, torch.arange(BATCH), torch.full((BATCH,), -1), BATCH, 0, subjects=SUBJECTS)


def descend(task: SmileVlmModule, batch: Batch, steps: int) -> list[tuple[float, float]]:
    """(joint loss, alignment) before each step."""
    adam = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        adam.zero_grad()
        terms = task.add_gradients(batch)
        adam.step()
        assert terms.alignment is not None
        losses.append((float(terms.total.detach()), float(terms.alignment.detach())))
    return losses


def gradients(task: SmileVlmModule) -> dict[str, torch.Tensor]:
    found = {name: p.grad for name, p in task.model.named_parameters() if p.grad is not None}
    assert len(found) == len(list(task.model.parameters()))
    return found


def test_one_batch_overfits(batch):
    losses = descend(make_task(distortions=DistortionSettings(mirror=0.0, weak_strength=0.0)), batch, 60)
    (first, first_alignment), (last, last_alignment) = losses[0], losses[-1]
    assert last < first / 3
    assert last_alignment < first_alignment / 5


def test_every_weight_gets_a_gradient(batch):
    task = make_task()
    task.add_gradients(batch)
    without = [name for name, p in task.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The fusion's last bias adds the same to every view's score, which the softmax takes away again.
    assert [name for name in without if not name.startswith("fusion.") or not name.endswith("bias")] == []


def test_same_seed_same_losses(batch):
    assert descend(make_task(), batch, 4) == descend(make_task(), batch, 4)


def test_without_the_multi_view_loss_no_pair_is_distorted(batch, monkeypatch):
    task = make_task(JointLossSettings(alpha=0.0))
    seen = []
    encode = task.model.encode_features
    monkeypatch.setattr(task.model, "encode_features", lambda views: (seen.append(len(views)), encode(views))[1])
    terms = task.add_gradients(batch)
    assert seen == [BATCH]
    assert terms.multi_view is None
    assert torch.isfinite(terms.total)


def test_the_prompt_table_is_no_weight():
    task = make_task()
    assert "prompt_table" not in task.state_dict()
    assert not task.prompt_table.requires_grad


# Cached gradients.


ALIGNMENTS = {"batch": {"symmetric": True}, "bank": {"negatives": "prompt_bank", "positives": "class"}}


@pytest.mark.parametrize("micro_batch_size", [1, 3, 4, 7])
@pytest.mark.parametrize(("missing_views", "alignment"), [(0.0, "batch"), (0.4, "batch"), (0.0, "bank")])
def test_cached_gradients_are_those_of_the_whole_batch(batch, micro_batch_size, missing_views, alignment):
    loss = JointLossSettings(
        multi_view_scale=0.024, redundancy_scale=0.024, multi_positive=True, learned_temperature=True,
        **ALIGNMENTS[alignment],
    )  # fmt: skip
    if alignment == "bank":
        batch = batch._replace(prompts=torch.where(torch.arange(BATCH) < 5, torch.arange(BATCH), -1))
    tasks = [
        make_task(loss, DistortionSettings(view_dropout=missing_views), GROUPED, micro_batch_size=size).double()
        for size in (None, micro_batch_size)
    ]
    whole, cached = (task.add_gradients(batch) for task in tasks)
    torch.testing.assert_close(cached.total, whole.total, rtol=1e-12, atol=0)
    expected, found = (gradients(task) for task in tasks)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    temperature, cached_temperature = (task.loss.log_inverse_temperature.grad for task in tasks)
    torch.testing.assert_close(cached_temperature, temperature, rtol=1e-10, atol=0)
    # The projector's running statistics moved once, not once per piece.
    for (name, buffer), other in zip(tasks[0].model.named_buffers(), tasks[1].model.buffers(), strict=True):
        torch.testing.assert_close(other, buffer, rtol=1e-12, atol=1e-14, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("options", OPTIONS)
def test_cached_gradients_with_options_are_those_of_the_whole_batch(batch, options):
    tasks = [make_options_task(options, micro_batch_size=size) for size in (None, 3)]
    whole, cached = (task.add_gradients(batch) for task in tasks)
    torch.testing.assert_close(cached[:4], whole[:4], rtol=1e-11, atol=0)
    assert cached.weights == pytest.approx(whole.weights, rel=1e-9)
    assert tasks[1].loss.multi_view_scale == pytest.approx(tasks[0].loss.multi_view_scale, rel=1e-9)
    expected, found = ({n: p.grad for n, p in task.named_parameters() if p.requires_grad} for task in tasks)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    for (name, buffer), other in zip(tasks[0].named_buffers(), tasks[1].buffers(), strict=True):
        torch.testing.assert_close(other, buffer, rtol=1e-12, atol=1e-14, msg=lambda m, n=name: f"{n}: {m}")


def step_with_options(options: str, rank: int, num_processes: int) -> dict[str, torch.Tensor]:
    """Gradients of the global batch, and the scale, from this process's rows of it in micro batches."""
    images = torch.randint(0, 256, (7, 3, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    rows, names = ShardSpec(rank=rank, num_processes=num_processes).of(7), torch.arange(7)
    task = make_options_task(options, micro_batch_size=2)
    task.add_gradients(Batch(images[rows], names[rows], names[rows], 7, rows.start, subjects=SUBJECTS[:7][rows]))
    average_gradients(task.parameters())
    found = {name: p.grad for name, p in task.named_parameters() if p.grad is not None}
    return found | {"scale": torch.tensor(task.loss.multi_view_scale, dtype=torch.float64)}


def _options_of_two(rank: int) -> list[dict[str, torch.Tensor]]:
    return [step_with_options(options, rank, 2) for options in OPTIONS]


@pytest.mark.slow
def test_two_processes_with_options_equal_one(tmp_path):
    expected = [step_with_options(options, 0, 1) for options in OPTIONS]
    for found in joined_by_gloo(_options_of_two, 2, tmp_path):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# Options of the multi-view loss.


def tower_norm(task: SmileVlmModule, batch: Batch) -> float:
    task.add_gradients(batch)
    return float(torch.stack([p.grad.norm() for p in task.model.tower_parameters()]).norm())


@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_the_scale_gives_the_multi_view_loss_its_share_of_the_towers_gradient(batch, micro_batch_size):
    weights = {"alpha": 0.7, "beta": 1.3, "gamma": 0.4, "redundancy_scale": 0.024, "normalise_terms": True}
    distortions = DistortionSettings(view_dropout=0.4)

    def task(**changes: Any) -> SmileVlmModule:
        settings = JointLossSettings(**(weights | changes))
        return make_task(settings, distortions, GROUPED, micro_batch_size=micro_batch_size).double()

    # With alpha 0 the projector's batch normalisation would be over the clean views alone.
    alone = ({"beta": 0.0, "gamma": 0.0}, {"alpha": 1e-30, "gamma": 0.0})
    norms = [tower_norm(task(**settings), batch) for settings in alone]
    balanced = task(multi_view_share=0.25, share_steps=2, multi_view_scale=50.0)
    terms = balanced.add_gradients(batch)
    scale = reference_multi_view_scale([(norms[0], norms[1])], 0.25)
    assert balanced.loss.multi_view_scale == pytest.approx(scale, rel=1e-9)
    assert terms.multi_view_share == pytest.approx(0.25, rel=1e-9)
    by_hand = task(multi_view_scale=scale)
    expected = by_hand.add_gradients(batch)
    torch.testing.assert_close(terms[:4], expected[:4], rtol=1e-9, atol=0)
    for name, gradient in gradients(by_hand).items():
        torch.testing.assert_close(gradients(balanced)[name], gradient, rtol=1e-9, atol=1e-12)
    # After the second step nothing is measured and the scale stays.
    assert balanced.add_gradients(batch).multi_view_share is not None
    assert balanced.add_gradients(batch._replace(images=255 - batch.images)).multi_view_share is None
    assert balanced.loss.multi_view_scale == pytest.approx(scale, rel=1e-9)


def test_a_share_that_is_only_logged_changes_no_bit(batch):
    plain, logged = make_task(), make_task(JointLossSettings(**SCALES, log_share=True, share_steps=1))
    terms = logged.add_gradients(batch)
    assert torch.equal(terms.total, plain.add_gradients(batch).total)
    assert all(torch.equal(gradients(logged)[name], gradient) for name, gradient in gradients(plain).items())
    assert terms.multi_view_share > 0
    assert logged.loss.gradient_share.mean == pytest.approx(terms.multi_view_share)
    shown = logged._shown(terms)
    assert float(shown["multi_view_scale"]) == 0.024
    assert float(shown["multi_view_share"]) == terms.multi_view_share
    assert logged.add_gradients(batch).multi_view_share is None


def test_a_batch_without_prompts_is_not_measured(batch):
    task = make_task(JointLossSettings(multi_view_share=0.5, share_steps=1))
    terms = task.add_gradients(batch._replace(prompts=torch.full((BATCH,), -1)))
    assert terms.multi_view_share is None
    assert task.loss.gradient_share.is_measuring
    assert torch.isfinite(terms.total)


def test_a_frozen_tower_has_no_share(monkeypatch):
    monkeypatch.setattr("smilevlm.models.SmileVlm.tower_parameters", lambda self: [])
    make_task()
    with pytest.raises(SettingsError, match="tower is frozen"):
        make_task(JointLossSettings(log_share=True))


def test_the_head_is_trained_and_not_kept():
    task = make_task(JointLossSettings(head="features", **HEAD))
    grouped = [id(p) for group in task.parameter_groups() for p in group["params"]]
    head = [p for p in task.loss.parameters()]
    assert len(head) == 4
    assert {id(p) for p in head} < set(grouped)
    assert task.kept_model().state_dict().keys() == make_task().kept_model().state_dict().keys()
    # The model begins with the same weights, head or not.
    for weight, other in zip(task.model.parameters(), make_task().model.parameters(), strict=True):
        assert torch.equal(weight, other)
    assert any(name.startswith("loss.head.") for name in task.state_dict())


def test_centring_needs_a_person_with_two_samples():
    settings = JointLossSettings(centre="person")
    build_joint_loss(settings, build_model(SMALL), torch.tensor([0, 1, 1]), None)
    with pytest.raises(SettingsError, match="two training samples"):
        build_joint_loss(settings, build_model(SMALL), torch.tensor([0, 1, 2]), None)


def test_cached_gradients_need_a_tower_that_does_not_mix_samples():
    with pytest.raises(SettingsError, match="norm=group"):
        make_task(micro_batch_size=2)


# Samples without a prompt.


def test_samples_without_a_prompt_count_in_the_multi_view_loss_alone(batch):
    unpaired = batch._replace(prompts=torch.where(torch.arange(BATCH) < 5, torch.arange(BATCH), -1))
    settings = DistortionSettings(mirror=0.0, weak_strength=0.0)
    some, everyone = (make_task(distortions=settings).add_gradients(each) for each in (unpaired, batch))
    torch.testing.assert_close(some.multi_view, everyone.multi_view)
    assert not torch.isclose(some.alignment, everyone.alignment)
    other = batch._replace(prompts=torch.where(torch.arange(BATCH) < 5, torch.arange(BATCH), -1))
    other.images[5:] = 255 - other.images[5:]
    shared = make_task(distortions=settings)
    shared.model.eval()
    again = shared.add_gradients(other)
    assert torch.isfinite(again.total)


def test_a_batch_without_any_prompt_still_trains(batch):
    terms = make_task().add_gradients(batch._replace(prompts=torch.full((BATCH,), -1)))
    assert terms.multi_view is not None
    assert torch.isfinite(terms.total)


# Optimiser.


def test_groups_hold_every_weight_once_with_its_rate():
    task = make_task(
        JointLossSettings(learned_temperature=True), learning_rate=1e-3, tower_learning_rate=1e-5, weight_decay=0.1
    )
    groups = task.parameter_groups()
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in task.parameters())
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in task.model.tower.parameters()} == {1e-5}
    assert {rates[id(p)] for p in [*task.model.projector.parameters(), *task.loss.parameters()]} == {1e-3}
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {
        id(p) for part in (task.model.tower, task.model.projector) for p in part.parameters() if p.ndim > 1
    }


def test_the_moving_average_is_what_is_kept(batch):
    task = make_task(ema_decay=0.75)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    assert task.average is not None
    task.average.update_parameters(task.model)
    with torch.no_grad():
        for weight in task.model.parameters():
            weight += 1
    task.average.update_parameters(task.model)
    # The decay of the first update after the copy is 2 / 11, not yet 0.75.
    for name, weight in task.kept_model().named_parameters():
        torch.testing.assert_close(weight, before[name] + 9 / 11)
    assert make_task().kept_model() is not task.kept_model()


# Validation.


@pytest.mark.parametrize("half", [False, True])
def test_accuracy_is_the_share_of_samples_nearest_to_their_class(batch, half):
    task = make_task()
    task.validation_settings = ValidationSettings(share=0.5, monitor="accuracy")
    task.eval()
    with torch.no_grad():
        nearest = (task.model(batch.images).z_fused @ task.prototypes.T).argmax(dim=1)
        truth = torch.where(torch.arange(BATCH) < 6, nearest, (nearest + 1) % BATCH)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            task.validation_step(batch._replace(truth=truth), 0)
    assert task.validation_value() == pytest.approx(6 / BATCH, abs=2 / BATCH if half else 0)
    assert task._measured == []


def validation_loss(total: int, rank: int = 0, num_processes: int = 1) -> float:
    images = torch.randint(0, 256, (total, 3, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    rows, names = ShardSpec(rank=rank, num_processes=num_processes).of(total), torch.arange(total)
    task = make_task().eval()
    with torch.no_grad():
        task.validation_step(Batch(images[rows], names[rows], names[rows], total, rows.start), 0)
    return task.validation_value()


def _loss_of_two(rank: int, num_processes: int) -> float:
    return validation_loss(2, rank, num_processes)


@pytest.mark.slow
def test_a_validation_batch_of_fewer_samples_than_processes(tmp_path):
    found = joined_by_gloo(_loss_of_two, 3, tmp_path, 3)
    assert found == [pytest.approx(validation_loss(2), rel=1e-5)] * 3


def test_the_backward_pass_is_outside_autocast(batch):
    """Inside it the products of the losses, which are float32, would go back in half precision."""
    inside, outside = (make_task(JointLossSettings(alpha=0.0, gamma=0.0)) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        inside.add_gradients(batch)
    with torch.autocast("cpu", torch.bfloat16):
        views, mask = outside._distorted(batch, outside._generator(0, 0))
        terms = outside._loss_terms(outside.model, outside.model.encode_features(views), batch, mask)
    terms.total.backward()
    expected, found = gradients(outside), gradients(inside)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


# Cached gradients under autocast.

LOSSES = {
    "joint": JointLossSettings(multi_view_scale=0.024, redundancy_scale=0.024),
    "alignment": JointLossSettings(alpha=0.0, gamma=0.0),
    "multi_view": JointLossSettings(beta=0.0, gamma=0.0),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("micro_batch_size", [1, 3, 4])
def test_cached_gradients_in_half_precision_are_those_of_the_whole_batch(batch, name, micro_batch_size):
    tasks = [make_task(LOSSES[name], None, GROUPED, micro_batch_size=size) for size in (None, micro_batch_size)]
    with torch.autocast("cpu", torch.bfloat16):
        for task in tasks:
            task.add_gradients(batch)
    whole, cached = (
        {name: p.grad for name, p in task.model.named_parameters() if p.grad is not None} for task in tasks
    )
    assert whole.keys() == cached.keys()
    assert any(name.startswith("tower") for name in whole)
    for key, gradient in whole.items():
        # Of 8 bits: sums over pieces round otherwise than sums over the batch.
        apart = (cached[key] - gradient).norm() / gradient.norm().clamp_min(1e-6)
        assert apart < 0.05, (key, float(apart))


@pytest.mark.parametrize("precision", [torch.bfloat16, None])
@pytest.mark.parametrize("is_on", [True, False])
def test_no_weight_in_half_precision_is_cached_while_gradients_are(batch, monkeypatch, precision, is_on):
    task, seen = make_task(None, None, GROUPED, micro_batch_size=3), []
    encode = task.model.encode_features

    def encode_features(views):
        state = torch.is_autocast_cache_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        seen.append((torch.is_grad_enabled(), *state))
        return encode(views)

    monkeypatch.setattr(task.model, "encode_features", encode_features)
    with torch.autocast("cpu", precision, enabled=is_on):
        task.add_gradients(batch)
        assert torch.is_autocast_cache_enabled()
    assert seen == [(with_gradient, False, is_on, torch.bfloat16) for with_gradient in (False,) * 3 + (True,) * 3]


# What several processes tell each other.

COUNTED = ("all_reduce", "all_gather")
SHARED = {"all": None, "some": 5, "none": 0}


def _count_collectives(rank: int) -> dict[tuple[str, str], int]:
    """Collectives of the forward pass whose result is read: of whole numbers, as counts of rows are."""
    counted: list[torch.dtype] = []

    def recorded(name):
        original = getattr(dist, name)

        def call(*arguments, **options):
            tensor = arguments[-1] if name == "all_gather" else arguments[0]
            counted.append(tensor.dtype)
            return original(*arguments, **options)

        return call

    for name in COUNTED:
        setattr(dist, name, recorded(name))
    images = torch.randint(0, 256, (7, 3, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    rows = ShardSpec(rank=rank, num_processes=2).of(7)
    found = {}
    for name, num_paired in SHARED.items():
        for loss, settings in LOSSES.items():
            task = make_task(dataclasses.replace(settings, normalise_terms=True), None, GROUPED)
            task._all_paired = num_paired is None
            prompts = torch.where(torch.arange(7) < (7 if num_paired is None else num_paired), torch.arange(7), -1)
            counted.clear()
            task.add_gradients(Batch(images[rows], prompts[rows], torch.full((7,), -1)[rows], 7, rows.start))
            found[name, loss] = sum(not dtype.is_floating_point for dtype in counted)
    return found


def test_no_step_asks_for_counts_that_are_known(tmp_path):
    # Only how many samples have a prompt is not known beforehand, and is asked for once.
    expected = {(name, loss): int(name != "all") for name in SHARED for loss in LOSSES}
    assert joined_by_gloo(_count_collectives, 2, tmp_path) == [expected] * 2


STEPS = {
    "literal": JointLossSettings(redundancy_scale=0.024),
    "bank": JointLossSettings(
        negatives="prompt_bank", multi_positive=True, positives="class", learned_temperature=True
    ),
    "first phase": JointLossSettings(beta=0.0, gamma=0.0),
}


def _gradients_of_a_step(rank: int, num_processes: int) -> dict[str, dict[str, torch.Tensor]]:
    images = torch.randint(0, 256, (7, 3, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    rows = ShardSpec(rank=rank, num_processes=num_processes).of(7)
    # Of two processes the second has no prompt.
    prompts = torch.where(torch.arange(7) < 4, torch.arange(7), -1)
    found = {}
    for name, loss in STEPS.items():
        task = make_task(loss, None, GROUPED).double()
        task.add_gradients(Batch(images[rows], prompts[rows], torch.full((7,), -1)[rows], 7, rows.start))
        average_gradients(task.parameters())
        found[name] = {key: p.grad for key, p in task.named_parameters() if p.grad is not None}
    return found


def test_a_step_of_two_processes_is_that_of_one(tmp_path):
    expected = _gradients_of_a_step(0, 1)
    for found in joined_by_gloo(_gradients_of_a_step, 2, tmp_path, 2):
        for name, gradients in expected.items():
            assert found[name].keys() == gradients.keys()
            for key, gradient in gradients.items():
                torch.testing.assert_close(found[name][key], gradient, rtol=1e-9, atol=1e-11)


class NoWaiting(TorchDispatchMode):
    """Fails where the host would wait for a GPU: a value read, or a shape that depends on values."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in self.WAITS, f"{func} waits for the GPU"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("loss", "optimiser"),
    [
        ({}, {}),
        ({"learned_temperature": True, "symmetric": True}, {"clip_norm": 1.0, "ema_decay": 0.9}),
        ({"normalise_terms": True}, {"micro_batch_size": 3, "ema_decay": 0.5}),
    ],
)
def test_no_step_waits_for_a_gpu(batch, loss, optimiser):
    # On a CPU blurred images are chosen by number; a GPU computes all, see `replace_where`.
    distortions = DistortionSettings(blur=0, downsample_probability=0)
    scales = {"multi_view_scale": 0.024, "redundancy_scale": 0.024}
    task = make_task(JointLossSettings(**scales, **loss), distortions, GROUPED, **optimiser)
    task._all_paired = True
    adam = torch.optim.Adam(task.parameter_groups(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1.0)
    task.optimizers = lambda: adam
    task.lr_schedulers = lambda: schedule
    # What is read once, at the beginning, is read here.
    task.training_step(batch, 0)
    with NoWaiting():
        for number in (1, 2):
            shown = task.training_step(batch, number)
    assert torch.isfinite(shown["loss_total"])


def test_a_value_that_is_read_is_found():
    with NoWaiting(), pytest.raises(AssertionError, match="waits"):
        torch.ones(1).item()
