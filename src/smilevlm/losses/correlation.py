"""What the two correlation losses share: standardisation and the objective of Barlow Twins over the global batch.

The objective needs only the cross-correlation C = AᵀB/n of n rows, samples times views over all processes, and takes
one of two forms that are equal in value and gradient:

- wide batches: C itself, summed over processes, D x D;
- narrow batches: ‖C‖² = ⟨AAᵀ, BBᵀ⟩/n², where each process needs its own rows of the two n x n Gram matrices alone, so
  that nothing of the size D x D exists, forward or backward.

Both have their backward written by hand: it keeps few intermediates, and raises if it is to be differentiated again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float

from smilevlm.distributed import all_gather, all_reduce_sum, rank, row_counts, sum_over_processes_
from smilevlm.errors import SettingsError

STANDARDIZATION_EPSILON = 1e-5
"""Added to the variance, as `BatchNorm1d(affine=False)` of the Barlow Twins reference does."""


def full_precision(*tensors: Float[torch.Tensor, " ..."]) -> list[Float[torch.Tensor, " ..."]]:
    """The tensors in their common type, at least float32: sums of products over a batch drown in half precision."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def correlation_loss(
    z_a: Float[torch.Tensor, "batch view dim"],
    z_b: Float[torch.Tensor, "batch view dim"],
    *,
    lambd: float,
    standardize: bool,
    use_gram: bool | None = None,
    counts: Sequence[int] | None = None,
) -> Float[torch.Tensor, ""]:
    """Σ_k (C_kk - 1)² + λ Σ_{k≠l} C_kl² of the mean C over views of the cross-correlations over the global batch.

    Args:
        z_a: This process's samples; processes may hold different numbers of them, or none.
        z_b: Their counterparts.
        lambd: Weight of the off-diagonal sum, at least 0.
        standardize: Zero mean and unit variance along the global batch first, per view and feature.
        use_gram: The form; None chooses by size, see `gram_is_smaller`.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.

    Raises:
        SettingsError: The global batch is empty, or has fewer than two samples to standardise.
    """
    counts = row_counts(z_a, counts)
    (_, num_views, dim), num_samples = z_a.shape, sum(counts)
    if num_samples < 1 + standardize:
        need = "standardisation needs at least two samples" if standardize else "a correlation needs a sample"
        raise SettingsError(f"{need} in the global batch, got {num_samples}")
    if use_gram is None:
        use_gram = gram_is_smaller(num_rows=num_samples * num_views, dim=dim)
    with torch.autocast(device_type=z_a.device.type, enabled=False):
        z_a, z_b = full_precision(z_a, z_b)
        if standardize:
            z_a, z_b = _apply(_Standardize, z_a, num_samples), _apply(_Standardize, z_b, num_samples)
        # One product over all samples and views is the mean over views, since every view has the same batch.
        form = _GramObjective if use_gram else _CorrelationObjective
        return _apply(form, z_a.flatten(0, 1), z_b.flatten(0, 1), lambd, [num_views * count for count in counts])


def gram_is_smaller(*, num_rows: int, dim: int) -> bool:
    """Whether the form by Gram matrices is taken: four of its rows to three of the width at most.

    There the two forms need equally many multiplications, 4 n² D and 3 n D² for value and gradient. It also bounds the
    rounding of ‖C‖² - Σ C_kk²: a C of rank n leaves a loss of at least min(1, λ)(D - n), so the terms taken from each
    other are at most a few times larger than the result, however nearly diagonal C is.
    """
    return 4 * num_rows <= 3 * dim


def expected_if_unrelated(*, dim: int, batch: int, num_views: int, lambd: float, standardize: bool) -> float:
    """The mean of the correlation loss over embeddings whose two sides have nothing to do with each other.

        E = D + (D + λ D (D - 1)) / n_eff

    Each C_kl has mean 0 and variance 1/n_eff, so the diagonal sum gives D (1 + 1/n_eff) and the off-diagonal sum
    D (D - 1)/n_eff. The correlation of B samples after subtracting means has variance 1/(B - 1) whatever the
    distribution, if one side is dealt out at random; the mean over N views that are independent too divides that by N:
    n_eff = N (B - 1). Without standardisation n_eff = N B, for features of mean 0 and variance 1.
    """
    num_effective = num_views * (batch - 1 if standardize else batch)
    return dim + (dim + lambd * dim * (dim - 1)) / num_effective


def sampling_noise_floor(*, dim: int, batch: int, lambd: float = 0.0051) -> float:
    """λ D (D - 1) / B: what the off-diagonal sum of unrelated features costs through chance alone.

    Compare it with D, the largest value of the diagonal sum of unrelated features, and with ln B of the alignment loss,
    before choosing a width, a batch size and a scale (Assumption A9).

    Args:
        dim: Width of the embedding.
        batch: Number of samples in the global batch.
        lambd: Weight of the off-diagonal sum.
    """
    return lambd * dim * (dim - 1) / batch


def check_weight(name: str, value: float) -> None:
    """Refuse a weight that is negative or not a number.

    Raises:
        SettingsError: The value is not a finite number from zero up.
    """
    if not (math.isfinite(value) and value >= 0):
        raise SettingsError(f"{name} must be a finite number of at least 0, got {value}")


def check_shape(name: str, tensor: torch.Tensor, num_axes: int, axes: str) -> None:
    """Refuse a tensor with another number of axes, or with an empty one beside the first.

    A process may hold no row of the global batch, so its number of rows is checked once they are counted together.

    Raises:
        SettingsError: The tensor is not of the named shape.
    """
    if tensor.ndim != num_axes or 0 in tensor.shape[1:]:
        raise SettingsError(f"{name} must be ({axes}) and not empty, got shape {tuple(tensor.shape)}")


def _apply(function: type[torch.autograd.Function], *arguments: object) -> torch.Tensor:
    result = function.apply(*arguments)
    assert isinstance(result, torch.Tensor)
    return result


def _refuse_second_derivative() -> None:
    # Asked for with `create_graph`. `once_differentiable` would let it pass where the loss itself is what is
    # differentiated, for the 1 it starts from has no gradient, and the second derivative would lack this loss.
    if torch.is_grad_enabled():
        raise NotImplementedError("the correlation losses can be differentiated once only")


class _Standardize(torch.autograd.Function):
    """Subtract each feature's mean over the global batch, divide by its standard deviation (biased, eps 1e-5).

    A feature that is constant over the batch becomes zero and has a finite gradient. Assumption A7.
    """

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, num_samples: int) -> torch.Tensor:  # noqa: ANN401
        centred = z - sum_over_processes_(z.sum(dim=0)).div_(num_samples)
        # The mean of numbers far from zero is rounded; what is left of it is subtracted in a second turn.
        moments = torch.stack([centred.sum(dim=0), centred.square().sum(dim=0)])
        rest, square = sum_over_processes_(moments).div_(num_samples)
        inverse = (square - rest.square() + STANDARDIZATION_EPSILON).rsqrt()
        result = centred.sub_(rest).mul_(inverse)
        ctx.save_for_backward(result, inverse)
        ctx.num_samples = num_samples
        return result

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        _refuse_second_derivative()
        (gradient,), (result, inverse) = grad_outputs, ctx.saved_tensors
        work = gradient * result
        moments = torch.stack([gradient.sum(dim=0), work.sum(dim=0)])
        mean, along = sum_over_processes_(moments).div_(ctx.num_samples)
        # gradient - mean - result * along, in the one buffer.
        torch.mul(result, along, out=work)
        return torch.sub(gradient, work, out=work).sub_(mean).mul_(inverse), None


class _CorrelationObjective(torch.autograd.Function):
    """The objective by the correlation matrix: each process's own product, summed over processes."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, lambd: float, counts: list[int]) -> torch.Tensor:  # noqa: ANN401
        num_rows = sum(counts)
        off_diagonal = sum_over_processes_(a.T @ b).div_(num_rows)
        off_diagonal.fill_diagonal_(0)
        # Anew, for C_kk - 1 has as many correct digits as the sum that C_kk comes from, and this one is the better.
        diagonal = sum_over_processes_((a * b).sum(dim=0)).div_(num_rows)
        ctx.save_for_backward(a, b, off_diagonal, diagonal)
        ctx.lambd, ctx.num_rows = lambd, num_rows
        # Row by row, for one long sum of squares in float32 loses digits.
        squares = torch.linalg.vector_norm(off_diagonal, dim=1).square()
        return (diagonal - 1).square().sum() + lambd * squares.sum()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        _refuse_second_derivative()
        a, b, off_diagonal, diagonal = ctx.saved_tensors
        with torch.autocast(device_type=a.device.type, enabled=False):
            scale = 2 * all_reduce_sum(grad_outputs[0]) / ctx.num_rows
            along = (diagonal - 1) * scale
            across = ctx.lambd * scale
            grad_a = (b @ off_diagonal.T).mul_(across).addcmul_(b, along) if ctx.needs_input_grad[0] else None
            grad_b = (a @ off_diagonal).mul_(across).addcmul_(a, along) if ctx.needs_input_grad[1] else None
        return grad_a, grad_b, None, None


class _GramObjective(torch.autograd.Function):
    """The objective by Gram matrices: each process's own rows against those of all, which it gathers."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, lambd: float, counts: list[int]) -> torch.Tensor:  # noqa: ANN401
        num_rows = sum(counts)
        everyone_a, everyone_b = all_gather(a, counts), all_gather(b, counts)
        gram_a, gram_b = a @ everyone_a.T, b @ everyone_b.T
        norm = (gram_a * gram_b).sum(dim=1).sum(dim=0, keepdim=True) / num_rows
        sums = sum_over_processes_(torch.cat([(a * b).sum(dim=0), norm])).div_(num_rows)
        diagonal, squared_norm = sums[:-1], sums[-1]
        ctx.save_for_backward(everyone_a, everyone_b, gram_a, gram_b, diagonal)
        ctx.start = sum(counts[: rank()])
        ctx.lambd, ctx.num_rows = lambd, num_rows
        return (diagonal - 1).square().sum() + lambd * (squared_norm - diagonal.square().sum())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        _refuse_second_derivative()
        everyone_a, everyone_b, gram_a, gram_b, diagonal = ctx.saved_tensors
        own = slice(ctx.start, ctx.start + len(gram_a))
        with torch.autocast(device_type=gram_a.device.type, enabled=False):
            scale = 2 * all_reduce_sum(grad_outputs[0]) / ctx.num_rows
            along = (diagonal - 1 - ctx.lambd * diagonal) * scale
            across = ctx.lambd * scale / ctx.num_rows
            grad_a = grad_b = None
            if ctx.needs_input_grad[0]:
                grad_a = (gram_b @ everyone_a).mul_(across).addcmul_(everyone_b[own], along)
            if ctx.needs_input_grad[1]:
                grad_b = (gram_a @ everyone_b).mul_(across).addcmul_(everyone_a[own], along)
        return grad_a, grad_b, None, None
