"""The two forms of the correlation losses against the literal one: values, gradients, memory, precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from smilevlm.losses import expected_if_unrelated, multi_view_barlow_twins, redundancy_minimization
from smilevlm.losses.correlation import correlation_loss, gram_pays
from smilevlm.losses.reference import reference_multi_view_barlow_twins, reference_redundancy_minimization

FORMS = pytest.mark.parametrize("use_gram", [True, False], ids=["gram", "correlation"])
LAMBD = 0.0051


def pair(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z_a = torch.randn(*shape, generator=generator, dtype=dtype) * 2 + 1
    return z_a, z_a + torch.randn(*shape, generator=generator, dtype=dtype) - 3


def value_and_gradients(loss, *inputs: torch.Tensor, **options) -> tuple[torch.Tensor, list[torch.Tensor]]:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    value = loss(*leaves, **options)
    return value.detach(), list(torch.autograd.grad(value, leaves))


@FORMS
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("shape", [(6, 3, 4), (4, 2, 50), (2, 1, 3), (9, 1, 9), (5, 3, 1)])
def test_both_forms_are_the_literal_one(shape, standardize, use_gram):
    z_a, z_b = pair(*shape)
    options = {"lambd": 0.3, "standardize": standardize}
    value, gradients = value_and_gradients(correlation_loss, z_a, z_b, use_gram=use_gram, **options)
    expected, expected_gradients = value_and_gradients(reference_multi_view_barlow_twins, z_a, z_b, **options)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-10, atol=1e-11)


# The last person has one row.
SUBJECTS = {"person": torch.tensor([7, 3, 7, 3, 3, 5]), "none": None}
OPTIONS = [("cross", "none"), ("same", "person"), ("cross", "person")]


@FORMS
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("dim", [4, 50])
@pytest.mark.parametrize(("pairs", "centre"), OPTIONS)
def test_options_are_the_literal_ones_in_both_forms(pairs, centre, dim, standardize, use_gram):
    z_a, z_b = pair(6, 3, dim)
    options = {"lambd": 0.3, "standardize": standardize, "pairs": pairs, "subjects": SUBJECTS[centre]}
    value, gradients = value_and_gradients(correlation_loss, z_a, z_b, use_gram=use_gram, **options)
    expected, expected_gradients = value_and_gradients(reference_multi_view_barlow_twins, z_a, z_b, **options)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-10, atol=1e-11)
    assert not torch.isclose(value, correlation_loss(z_a, z_b, lambd=0.3, standardize=standardize))


@pytest.mark.parametrize("dim", [4, 50])
@pytest.mark.parametrize(("pairs", "centre"), [("same", "none"), *OPTIONS])
def test_more_distortions_are_the_mean_over_their_pairs(pairs, centre, dim):
    z = [*pair(6, 3, dim), *pair(6, 3, dim, seed=1)]
    options = {"lambd": 0.3, "pairs": pairs, "subjects": SUBJECTS[centre]}
    value, gradients = value_and_gradients(multi_view_barlow_twins, *z, **options)
    expected, expected_gradients = value_and_gradients(reference_multi_view_barlow_twins, *z, **options)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("use_gram", [True, False])
def test_centring_keeps_five_digits_in_float32_where_people_are_far_apart(use_gram):
    generator = torch.Generator().manual_seed(2)
    people = torch.arange(8).repeat(4)
    z_a = 50 * torch.randn(8, 3, 64, generator=generator)[people] + torch.randn(32, 3, 64, generator=generator)
    z_b = z_a + 0.5 * torch.randn(32, 3, 64, generator=generator)
    options = {"lambd": LAMBD, "standardize": True, "subjects": people}
    value, gradients = value_and_gradients(correlation_loss, z_a, z_b, use_gram=use_gram, **options)
    expected, references = value_and_gradients(reference_multi_view_barlow_twins, z_a.double(), z_b.double(), **options)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    for gradient, reference in zip(gradients, references, strict=True):
        assert float((gradient - reference).abs().max()) < 1e-4 * float(reference.abs().max())


@FORMS
@pytest.mark.parametrize("standardize", [True, False])
def test_gradcheck(use_gram, standardize):
    leaves = [tensor.requires_grad_() for tensor in pair(4, 2, 5)]
    assert gradcheck(
        lambda a, b: correlation_loss(a, b, lambd=0.2, standardize=standardize, use_gram=use_gram) * 1.7, leaves
    )


def embeddings(kind: str, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)

    def noise(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator)

    batch, views, dim = shape
    z = noise(*shape)
    line = noise(batch, views, 1) @ noise(1, dim)
    point = noise(dim)
    pairs = {
        "unrelated": (z, noise(*shape)),
        "correlated": (z, z + 0.1 * noise(*shape)),
        "equal": (z, z.clone()),
        "far_from_zero": (z + 100, z + 100 + 0.1 * noise(*shape)),
        "low_rank": (noise(batch, views, 4) @ noise(4, dim),) * 2,
        "one_line": (line, line + 0.01 * noise(*shape)),
        "exactly_one_line": (line, line.clone()),
        "nearly_one_point": (point + 1e-3 * noise(*shape), point + 1e-3 * noise(*shape)),
    }
    return pairs[kind]


@pytest.mark.parametrize(
    ("shape", "use_gram"), [((32, 3, 384), True), ((32, 3, 384), False), ((64, 3, 128), False), ((64, 3, 256), True)]
)
@pytest.mark.parametrize(
    "kind",
    [
        "unrelated", "correlated", "equal", "far_from_zero", "low_rank", "one_line", "exactly_one_line",
        "nearly_one_point",
    ],
)  # fmt: skip
def test_float32_keeps_five_digits(kind, shape, use_gram):
    """On one line the gradient all but vanishes beside what it is the difference of, in the literal form as well."""
    z_a, z_b = embeddings(kind, shape)
    options = {"lambd": LAMBD, "standardize": True}
    value, gradients = value_and_gradients(correlation_loss, z_a, z_b, use_gram=use_gram, **options)
    literal = value_and_gradients(reference_multi_view_barlow_twins, z_a, z_b, **options)[1]
    expected, references = value_and_gradients(reference_multi_view_barlow_twins, z_a.double(), z_b.double(), **options)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    for gradient, single, reference in zip(gradients, literal, references, strict=True):
        largest = float(reference.abs().max())
        allowed = max(1e-5, 3 * float((single - reference).abs().max()) / largest) if "one_line" in kind else 1e-5
        assert float((gradient - reference).abs().max()) < allowed * largest


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_gram_form_does_not_cancel_where_the_matrix_is_diagonal(scale):
    """As many features as the bound allows each have a sample of their own, so nothing is off the diagonal."""
    z = torch.zeros(24, 1, 32)
    z[torch.arange(24), 0, torch.arange(24)] = math.sqrt(24) * scale
    options = {"lambd": 1.0, "standardize": False}
    assert gram_pays(num_rows=24, dim=32)
    value = correlation_loss(z, z, use_gram=True, **options)
    assert float(value) == pytest.approx(24 * (scale**2 - 1) ** 2 + 8, rel=1e-6)


class LargestTensor(TorchDispatchMode):
    """The number of entries of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return result


@pytest.mark.parametrize(
    ("loss", "shape"), [(multi_view_barlow_twins, (8, 3, 200)), (redundancy_minimization, (24, 200))]
)
def test_a_narrow_batch_never_makes_the_matrix(loss, shape):
    z_a, z_b = (tensor.requires_grad_() for tensor in pair(*shape))
    with LargestTensor() as largest:
        loss(z_a, z_b).backward()
    assert largest.size == 24 * 200
    with LargestTensor() as largest:
        correlation_loss(z_a.reshape(8, 3, 200), z_b.reshape(8, 3, 200), lambd=1.0, standardize=True, use_gram=False)
    assert largest.size == 200 * 200


@pytest.mark.parametrize(("num_rows", "dim", "gram"), [(96, 384, True), (192, 256, True), (193, 256, False)])
def test_the_form_goes_by_size(num_rows, dim, gram):
    assert gram_pays(num_rows=num_rows, dim=dim) is gram
    z_a, z_b = (tensor.requires_grad_() for tensor in pair(num_rows, 1, dim, dtype=torch.float32))
    with LargestTensor() as largest:
        multi_view_barlow_twins(z_a, z_b).backward()
    assert largest.size == (num_rows * dim if gram else max(num_rows * dim, dim * dim))


def test_a_second_derivative_of_the_gram_form_is_refused():
    z_a, z_b = (tensor.requires_grad_() for tensor in pair(4, 2, 3))
    for standardize in (True, False):
        loss = correlation_loss(z_a, z_b, lambd=0.1, standardize=standardize, use_gram=True)
        with pytest.raises(NotImplementedError, match="once"):
            torch.autograd.grad(loss, z_a, create_graph=True)


@pytest.mark.parametrize("standardize", [True, False])
def test_the_plain_form_can_be_differentiated_twice(standardize):
    leaves = [tensor.requires_grad_() for tensor in pair(4, 2, 3)]
    assert gradgradcheck(
        lambda a, b: correlation_loss(a, b, lambd=0.2, standardize=standardize, use_gram=False), leaves
    )


@FORMS
def test_autocast_keeps_float32(use_gram):
    leaves = [tensor.requires_grad_() for tensor in pair(16, 3, 64, dtype=torch.float32)]
    options = {"lambd": LAMBD, "standardize": True, "use_gram": use_gram}
    expected = torch.autograd.grad(correlation_loss(*leaves, **options), leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = correlation_loss(*leaves, **options)
    for gradient, reference in zip(torch.autograd.grad(loss, leaves), expected, strict=True):
        assert torch.equal(gradient, reference)


@FORMS
@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_side_needs_no_gradient(use_gram, frozen):
    both = value_and_gradients(correlation_loss, *pair(6, 1, 9), lambd=0.1, standardize=True, use_gram=use_gram)[1]
    leaves = list(pair(6, 1, 9))
    leaves[1 - frozen].requires_grad_()
    correlation_loss(*leaves, lambd=0.1, standardize=True, use_gram=use_gram).backward()
    assert leaves[frozen].grad is None
    torch.testing.assert_close(leaves[1 - frozen].grad, both[1 - frozen])


def test_redundancy_is_the_literal_one():
    z_fused, z_text = pair(12, 40)
    value, gradients = value_and_gradients(redundancy_minimization, z_fused, z_text, lambd=0.2)
    expected, references = value_and_gradients(reference_redundancy_minimization, z_fused, z_text, lambd=0.2)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, references, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(("batch", "views", "dim"), [(4, 3, 6), (8, 1, 5), (3, 2, 12)])
def test_value_for_unrelated_embeddings(batch, views, dim, standardize):
    lambd, trials = 0.5, 1000
    generator = torch.Generator().manual_seed(0)
    z_a, z_b = torch.randn(2, trials, batch, views, dim, generator=generator, dtype=torch.float64)
    values = torch.stack(
        [correlation_loss(a, b, lambd=lambd, standardize=standardize) for a, b in zip(z_a, z_b, strict=True)]
    )
    expected = expected_if_unrelated(dim=dim, batch=batch, num_views=views, lambd=lambd, standardize=standardize)
    uncertainty = float(values.std()) / math.sqrt(trials)
    assert uncertainty < 0.04 * expected
    assert float(values.mean()) == pytest.approx(expected, abs=4 * uncertainty)


@pytest.mark.parametrize(("pairs", "centre"), OPTIONS)
def test_value_for_unrelated_embeddings_with_options(pairs, centre):
    trials, generator = 1000, torch.Generator().manual_seed(0)
    z_a, z_b = torch.randn(2, trials, 6, 3, 8, generator=generator, dtype=torch.float64)
    options = {"lambd": 0.5, "standardize": True, "pairs": pairs}
    values = torch.stack(
        [correlation_loss(a, b, subjects=SUBJECTS[centre], **options) for a, b in zip(z_a, z_b, strict=True)]
    )
    num_subjects = 3 if centre == "person" else 1
    expected = expected_if_unrelated(dim=8, batch=6, num_views=3, num_subjects=num_subjects, **options)
    uncertainty = float(values.std()) / math.sqrt(trials)
    assert uncertainty < 0.02 * expected
    assert float(values.mean()) == pytest.approx(expected, abs=4 * uncertainty)


def test_nothing_is_left_of_people_with_one_row_each():
    z_a, z_b = (tensor.requires_grad_() for tensor in pair(5, 3, 4))
    loss = correlation_loss(z_a, z_b, lambd=0.5, standardize=True, subjects=torch.arange(5))
    loss.backward()
    sizes = {"dim": 4, "batch": 5, "num_views": 3, "lambd": 0.5, "standardize": True}
    assert float(loss.detach()) == expected_if_unrelated(num_subjects=5, **sizes) == 4.0
    assert not z_a.grad.any()


def test_unrelated_holds_for_texts_of_few_prompts():
    """The variance 1/(B - 1) asks only that one side be dealt out at random: here the texts are two prompts."""
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    values = []
    for _ in range(1500):
        z_fused = torch.randn(6, 7, generator=generator, dtype=torch.float64)
        values.append(float(redundancy_minimization(z_fused, prompts[[0, 0, 1, 1, 1, 1]], lambd=0.5)))
    expected = expected_if_unrelated(dim=7, batch=6, num_views=1, lambd=0.5, standardize=True)
    assert sum(values) / len(values) == pytest.approx(expected, rel=0.05)
