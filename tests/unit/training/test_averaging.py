from __future__ import annotations

import pytest
import torch

from smilevlm.training.averaging import moving_average


class Counter(torch.nn.Module):
    """A weight, and a count as batch normalisation has one."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([value], dtype=torch.float64))
        self.register_buffer("steps", torch.tensor(0))


def run_of(decay: float, values: list[float]) -> float:
    model = Counter(values[0])
    average = moving_average(model, decay)
    for value in values:
        with torch.no_grad():
            model.weight.fill_(value)
            model.steps += 1
        average.update_parameters(model)
    return average.module.weight.item()


def reference(decay: float, values: list[float]) -> float:
    average = values[0]
    for step, value in enumerate(values[1:], start=1):
        kept = min(decay, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * value
    return average


@pytest.mark.parametrize("decay", [0.05, 0.5, 0.9, 0.998, 0.9999])
@pytest.mark.parametrize("num_steps", [1, 2, 7, 60])
def test_it_is_the_average_written_as_a_loop(decay, num_steps):
    values = torch.randn(num_steps, generator=torch.Generator().manual_seed(num_steps), dtype=torch.float64).tolist()
    assert run_of(decay, values) == pytest.approx(reference(decay, values), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("num_steps", [10, 50, 200])
def test_a_short_run_does_not_keep_its_first_weights(num_steps):
    """All steps but the first have the weight 1: without the warm-up 0.998^n of the first, 0, would stay."""
    assert run_of(0.998, [0.0] + [1.0] * num_steps) > 0.99


def test_a_small_decay_is_as_it_was_without_warm_up():
    assert run_of(0.1, [1.0, 2.0, 3.0]) == pytest.approx(0.1 * (0.1 * 1 + 0.9 * 2) + 0.9 * 3)


def test_an_average_that_is_gone_on_with_continues_the_warm_up():
    values = [float(value) for value in range(1, 31)]
    whole = moving_average(Counter(1.0), 0.998)
    first = moving_average(Counter(1.0), 0.998)
    model = Counter(1.0)

    def update(average, value):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update_parameters(model)

    for value in values:
        update(whole, value)
    for value in values[:12]:
        update(first, value)
    second = moving_average(Counter(1.0), 0.998)
    second.load_state_dict(first.state_dict())
    for value in values[12:]:
        update(second, value)
    assert torch.equal(second.module.weight, whole.module.weight)
