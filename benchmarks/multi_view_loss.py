"""The multi-view loss, forward and backward, against the textbook form: time, extra peak memory, values, gradients.

Command: OMP_NUM_THREADS=1 python benchmarks/multi_view_loss.py [--lightly]

The textbook form makes one correlation matrix per view, then their mean. Both get the same embeddings in one process,
turn by turn, and the medians of their CPU times are compared, so that other work on the machine counts little. Memory
is that of a fresh process each, which runs one forward and backward pass: its largest resident size during the pass
less its size before, gradients of the embeddings included. What the libraries keep for themselves has been claimed by
a small pass before. Values and gradients are held against the textbook form in float64; gradients by the largest entry.

With `--lightly` the yardstick is also lightly's loss, once per view and summed, which is another loss: it does not take
the mean of the matrices. It needs lightly and torchvision, in an environment of their own.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from smilevlm.losses import multi_view_barlow_twins
from smilevlm.losses.correlation import correlation_loss, gram_pays
from smilevlm.losses.reference import reference_multi_view_barlow_twins

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
BATCH, VIEWS = 64, 3
SIZES = ((BATCH, 512), (BATCH, 8192))
SMALL_SIZES = ((32, 384), (8, 64))
TABLE = {16: (128, 256, 512, 1024), 64: (128, 256, 512, 1024, 2048, 4096, 8192), 256: (128, 512, 1024, 2048)}


def lightly_summed() -> Loss:
    """lightly's loss of each view, summed; torchvision's build may lack the operators that it names on import."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from lightly.loss import BarlowTwinsLoss

    loss = BarlowTwinsLoss(lambda_param=0.0051)
    return lambda a, b: torch.stack([loss(a[:, view], b[:, view]) for view in range(a.shape[1])]).sum()


def find_loss(name: str) -> Loss:
    return {
        "ours": lambda: multi_view_barlow_twins,
        "textbook": lambda: reference_multi_view_barlow_twins,
        "lightly": lightly_summed,
    }[name]()


def embeddings(batch: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two distortions that agree in part, as in training."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(batch, VIEWS, dim, generator=generator)
    noise = torch.randn(2, batch, VIEWS, dim, generator=generator)
    z_a, z_b = common + noise
    return z_a.requires_grad_(), z_b.requires_grad_()


def seconds(loss: Loss, pair: tuple[torch.Tensor, torch.Tensor]) -> float:
    started = time.process_time()
    torch.autograd.grad(loss(*pair), pair)
    return time.process_time() - started


def median_ms(losses: dict[str, Loss], pair: tuple[torch.Tensor, torch.Tensor], repeats: int) -> dict[str, float]:
    """Turn by turn, so that other work on the machine meets all of them; the first turn is not counted."""
    turns = [[seconds(loss, pair) for loss in losses.values()] for _ in range(repeats + 1)]
    return dict(zip(losses, 1000 * np.median(turns[1:], axis=0), strict=True))


def status_mb(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return float(line.split()[1]) * 1024 / 1e6


def extra_peak_mb(name: str, batch: int, dim: int) -> float:
    """For a fresh process: how far one pass raises the resident size above where it was."""
    loss = find_loss(name)
    seconds(loss, embeddings(8, 64))
    pair = embeddings(batch, dim)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = status_mb("VmRSS")
    seconds(loss, pair)
    return status_mb("VmHWM") - before


def extra_peak_elsewhere_mb(name: str, batch: int, dim: int) -> float:
    command = [sys.executable, __file__, "--memory", name, str(batch), str(dim)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def differences(batch: int, dim: int) -> tuple[float, float]:
    """Of our value, relative, and of our gradient, by its largest entry, from the textbook form in float64."""
    pair = embeddings(batch, dim)
    double = [tensor.detach().double().requires_grad_() for tensor in pair]
    value, reference = multi_view_barlow_twins(*pair), reference_multi_view_barlow_twins(*double)
    gradients = torch.stack(torch.autograd.grad(value, pair))
    references = torch.stack(torch.autograd.grad(reference, double))
    of_gradient = (gradients - references).abs().max() / references.abs().max()
    return abs(value.item() - reference.item()) / reference.item(), of_gradient.item()


def compare(names: list[str]) -> None:
    losses = {name: find_loss(name) for name in names}
    print("batch  width  loss           ms  times ours  extra MB  times ours")
    for batch, dim in (*SMALL_SIZES, *SIZES):
        times = median_ms(losses, embeddings(batch, dim), repeats=3 if dim > 1024 else 51)
        memory = {name: extra_peak_elsewhere_mb(name, batch, dim) if dim > 1024 else 0.0 for name in names}
        for name in names:
            row = f"{batch:5d}  {dim:5d}  {name:8s} {times[name]:8.2f}  {times[name] / times['ours']:10.2f}"
            held = f"  {memory[name]:8.1f}  {memory[name] / memory['ours']:10.1f}" if memory[name] else ""
            print(row + held)
        of_value, of_gradient = differences(batch, dim)
        print(f"{'':14s}ours differs from float64 by {of_value:.1e} in value, {of_gradient:.1e} in gradient")


def table() -> None:
    """Milliseconds of both forms and of the textbook; the form that is taken in brackets."""
    print("\nbatch  width  samples x views / width     Gram  correlation  textbook")
    for batch, widths in TABLE.items():
        for dim in widths:
            losses: dict[str, Loss] = {
                "gram": lambda a, b: correlation_loss(a, b, lambd=0.0051, standardize=True, use_gram=True),
                "correlation": lambda a, b: correlation_loss(a, b, lambd=0.0051, standardize=True, use_gram=False),
                "textbook": reference_multi_view_barlow_twins,
            }
            times = median_ms(losses, embeddings(batch, dim), repeats=1 if dim > 2048 else 7)
            taken = "gram" if gram_pays(num_rows=batch * VIEWS, dim=dim) else "correlation"
            cells = [f"[{times[name]:.2f}]" if name == taken else f"{times[name]:.2f} " for name in losses]
            share = batch * VIEWS / dim
            print(f"{batch:5d}  {dim:5d}  {share:23.2f}  {cells[0]:>8s}   {cells[1]:>9s}  {cells[2]:>8s}")


if __name__ == "__main__":
    if "--memory" in sys.argv:
        print(extra_peak_mb(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        print(f"{VIEWS} views, torch {torch.__version__}, {torch.get_num_threads()} threads")
        compare(["ours", "textbook"] + ["lightly"] * ("--lightly" in sys.argv))
        table()
