"""A whole training step (distortions, tower, projector, fusion, losses, backward, Adam) against a plain one.

Command: python benchmarks/training_step.py [--profile NAME] [--threads 1] [--repeats 7] [--batch 8]

`plain_training_step.py` is the yardstick. Loss and gradients of both are compared first; then they take turns. With one
thread the times are those of the processor, so that other work on the machine counts less. Each step's arithmetic is
counted and shown as a share of what a large product of the same precision reaches on the same threads between the
turns. On a GPU the step is also shown with the tower compiled, and with memory.
"""

import argparse
import copy
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from plain_training_step import plain_distortions, plain_loss
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from smilevlm.augment.distortions import Distortions, DistortionSettings
from smilevlm.losses import JointLoss, JointLossSettings
from smilevlm.models import ModelSettings, SmileVlm, build_model
from smilevlm.models.clip_tower import CLIP_IMAGE_MEAN, CLIP_IMAGE_STD, ClipTower, ClipTowerSettings
from smilevlm.models.conv_tower import ConvTowerSettings, Normalisation
from smilevlm.models.fusion import build_fusion
from smilevlm.models.projector import Projector
from smilevlm.training.heap import freed_memory_kept

ANGLES_DEG = (-30.0, 0.0, 30.0)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DISTORTIONS = DistortionSettings()
LOSS = JointLossSettings(multi_view_scale=0.024, redundancy_scale=0.024)
PRODUCT_SIDE = 8192 if DEVICE.type == "cuda" else 2048
COMPARED = 2
"""Samples over which the two are compared."""
Step = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Profile:
    build: Callable[[], SmileVlm]
    size: int
    batch: int


def tiny_model(norm: Normalisation, width: int = 32) -> SmileVlm:
    return build_model(ModelSettings(tower_settings=ConvTowerSettings(norm=norm, width=width)))


def paper_model() -> SmileVlm:
    """CLIP ViT-B/32 with random weights."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    settings = ModelSettings(
        embedding_dim=512,
        tower="clip",
        tower_settings=ClipTowerSettings(),
        image_mean=CLIP_IMAGE_MEAN,
        image_std=CLIP_IMAGE_STD,
    )
    tower = ClipTower(CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=512)), ClipTowerSettings())
    projector = Projector(tower.feature_dim, 512)
    return SmileVlm(tower=tower, projector=projector, fusion=build_fusion(512), settings=settings)


PROFILES = {
    # The tower of the recipe demo, of the tiny ones, and of the bundled weights at their views and batch.
    "tiny": Profile(build=partial(tiny_model, "batch"), size=64, batch=32),
    "tiny_16": Profile(build=partial(tiny_model, "batch", 16), size=64, batch=32),
    "bundled": Profile(build=partial(tiny_model, "batch"), size=96, batch=64),
    "tiny_group": Profile(build=partial(tiny_model, "group"), size=64, batch=32),
    "paper": Profile(build=paper_model, size=224, batch=64 if DEVICE.type == "cuda" else 8),
}


def our_images(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return Distortions(DISTORTIONS, ANGLES_DEG).views_and_pairs(images, generator)[0]


def our_loss(model: SmileVlm, views: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The joint loss from the parts that training uses."""
    z_views, *z_distorted = model.encode_views(views).split(len(text))
    z_fused, _ = model.fuse(z_views)
    return JointLoss(LOSS)(z_distorted=z_distorted, z_views=z_views, z_fused=z_fused, z_text=text).total


def compare(model: SmileVlm, images: torch.Tensor, text: torch.Tensor) -> None:
    """Print how far the distorted images are apart, loss and gradients of the same images in float64, and how far those
    in float32 are from them.

    Fresh features hardly differ between samples and are standardised, so that rounding in the images would show a
    thousandfold in the gradients.

    Raises:
        RuntimeError: Too far.
    """
    views = our_images(images, torch.Generator(device=DEVICE).manual_seed(0))
    passes = plain_distortions(images, torch.Generator(device=DEVICE).manual_seed(0), DISTORTIONS)
    images_apart = float((views - torch.cat([torch.stack(each, dim=1) for each in passes])).abs().max())
    same = [list(each.unbind(dim=1)) for each in views.split(len(images))]
    ours, plain = copy.deepcopy(model).double(), plain_copy(model).double()
    values = [our_loss(ours, views, text.double()), plain_loss(plain, same, text.double(), LOSS, joined=True)]
    for value in values:
        value.backward()
    a, b = (torch.cat([p.grad.flatten() for p in side.parameters() if p.grad is not None]) for side in (ours, plain))
    loss_apart, gradient_apart = abs(values[0].item() / values[1].item() - 1), float((a - b).norm() / b.norm())
    print(
        f"apart: images {images_apart:.1e}; in float64 loss {loss_apart:.1e}, gradients {gradient_apart:.1e} relative"
    )
    rounding = {}
    for name, side in (("ours", copy.deepcopy(model)), ("plain", plain_copy(model))):
        loss = our_loss(side, views, text) if name == "ours" else plain_loss(side, same, text, LOSS, joined=True)
        loss.backward()
        of_side = torch.cat([p.grad.flatten() for p in side.parameters() if p.grad is not None])
        rounding[name] = float((of_side - b).norm() / b.norm())
    shown = ", ".join(f"{name} {each:.1e}" for name, each in rounding.items())
    print(f"gradients in float32 from those in float64: {shown} relative")
    if rounding["ours"] > max(5 * rounding["plain"], 1e-4):
        raise RuntimeError("our step rounds more than the plain one")
    if images_apart > 1e-4 or max(loss_apart, gradient_apart) > 1e-9:
        raise RuntimeError("the two steps are not the same")


def plain_copy(model: SmileVlm) -> SmileVlm:
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]


def timed(step: Step) -> float:
    """Seconds."""
    clock = time.process_time if DEVICE.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    step()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def take_turns(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Median seconds of each step; the first of each two and the first turn do not count.

    Training keeps freed memory for the next step, and so do ours.
    """
    seconds = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            with freed_memory_kept() if name.startswith("ours") else nullcontext():
                step()
                seconds[name].append(timed(step))
    return {name: float(torch.tensor(each[1:]).median()) for name, each in seconds.items()}


def whole_step(model: SmileVlm, images: torch.Tensor, text: torch.Tensor, precision: str, *, plain: bool) -> Step:
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-5, fused=not plain)
    generator = torch.Generator(device=DEVICE).manual_seed(0)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            if plain:
                loss = plain_loss(model, plain_distortions(images, generator, DISTORTIONS), text, LOSS)
            else:
                loss = our_loss(model, our_images(images, generator), text)
        loss.backward()
        optimiser.step()

    return step


def print_shares(steps: dict[str, Step], seconds: dict[str, float], batch: int) -> None:
    """Arithmetic of each step as a share of what a large product reaches here; on a GPU memory too."""
    with FlopCounterMode(display=False) as counter:
        steps["ours"]()  # a compiled step does the same arithmetic, unseen by the counter
    work, peak = counter.get_total_flops(), 2 * PRODUCT_SIDE**3 / seconds["product"]
    print(f"  {work / 1e9:.2f} GFLOP a step; a product of {PRODUCT_SIDE} reaches {peak / 1e9:.0f} GFLOP/s")
    for name in steps.keys() - {"product"}:
        memory = ""
        if DEVICE.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            steps[name]()
            memory = f", {torch.cuda.max_memory_allocated() / 1e9:.2f} GB"
        print(f"  {name}: {batch / seconds[name]:.1f} samples/s, {work / seconds[name] / peak:.1%} of it{memory}")


def measure(name: str, batch: int | None, repeats: int) -> None:
    profile = PROFILES[name]
    batch = batch or profile.batch
    torch.manual_seed(0)
    images = (255 * interpolate(torch.rand(batch * 3, 3, 8, 8), size=profile.size, mode="bilinear")).to(torch.uint8)
    images[..., : profile.size // 5] = 0  # a background
    images = images.unflatten(0, (batch, 3)).to(DEVICE)
    model = profile.build().to(DEVICE)
    text = torch.randn(batch, model.settings.embedding_dim, device=DEVICE)
    print(f"{name}: {profile.size} px, batch {batch}, 3 views, {torch.get_num_threads()} threads, {DEVICE}")
    compare(model, images[:COMPARED], text[:COMPARED])
    for precision in ("float32", "bf16"):
        steps = {
            "ours": whole_step(copy.deepcopy(model), images, text, precision, plain=False),
            "plain": whole_step(plain_copy(model), images, text, precision, plain=True),
        }
        if DEVICE.type == "cuda":
            compiled = copy.deepcopy(model)
            compiled.tower.compile()
            steps["ours, tower compiled"] = whole_step(compiled, images, text, precision, plain=False)
        matrix = torch.randn(PRODUCT_SIDE, PRODUCT_SIDE, device=DEVICE)
        matrix = matrix.to(torch.bfloat16 if precision == "bf16" else torch.float32)
        steps["product"] = partial(torch.matmul, matrix, matrix)
        seconds = take_turns(steps, repeats)
        shown = ", ".join(f"{name} {1000 * seconds[name]:.0f} ms" for name in steps)
        print(f"{precision}: {shown}; {seconds['plain'] / seconds['ours']:.2f} times as many samples as plain")
        print_shares(steps, seconds, batch)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", choices=sorted(PROFILES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for chosen in [arguments.profile] if arguments.profile else list(PROFILES):
        measure(chosen, arguments.batch, arguments.repeats)
