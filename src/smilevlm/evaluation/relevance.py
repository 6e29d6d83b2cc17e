"""Saliency: which pixels of which view raise the score of a class.

Integrated gradients through tower, projector and fusion; unlike Grad-CAM they fit every tower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image
from scipy import ndimage

from smilevlm.deprecation import renamed_attributes
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.models import Prototypes, unit_rows
from smilevlm.threads import one_thread
from smilevlm.typing import RgbImage, ViewImages

if TYPE_CHECKING:
    import torch

    from smilevlm.models import ModelBundle

METHOD = "integrated gradients"
OVERLAY_SIZE_PX = 224
_NO_CHANGE = 128
"""What a dynamic image shows where nothing moves."""
_STEPS = (32, 64, 128, 256, 512)
"""Points on the path from the baseline to the image, more of them until the relevance adds up."""
_POSITIVE, _NEGATIVE = (213, 94, 0), (0, 114, 178)
_BACKGROUND = 236
_STRONGEST = 0.8
"""Share of the colour where the relevance is strongest; the rest is the face."""


@dataclass(frozen=True, kw_only=True)
class PixelRelevance:
    """What each pixel of one sample's views adds to the score of one class.

    Args:
        pixels: Summed over the colour channels; above 0 raises the score of the class, below 0 lowers it.
        score: Cosine of the fused embedding with the class minus the mean cosine with the other classes.
        baseline_score: The same of the baseline's views.
        num_steps: Points on the path from the baseline to the views.
    """

    pixels: Float32[np.ndarray, "view height width"]
    score: float
    baseline_score: float
    num_steps: int

    @property
    def completeness_error(self) -> float:
        """By how much the sum over all pixels misses `score` - `baseline_score`; zero in exact arithmetic."""
        return float(self.pixels.sum(dtype=np.float64)) - (self.score - self.baseline_score)

    @property
    def adds_up(self) -> bool:
        """Whether the sum misses by 2 % of the difference and 0.002 at most."""
        return abs(self.completeness_error) <= 0.02 * abs(self.score - self.baseline_score) + 0.002

    @property
    def view_share(self) -> Float[np.ndarray, " view"]:
        """Share of the absolute relevance in each view; sums to one. No relevance at all is a `CheckpointError`."""
        absolute = np.abs(self.pixels).sum(axis=(1, 2), dtype=np.float64)
        if not absolute.any():
            raise CheckpointError("no pixel of the views changes the score; the model does not look at them")
        return absolute / absolute.sum()


def pixel_relevance(
    bundle: ModelBundle,
    images: ViewImages,
    target: str | Float[np.ndarray, " dim"],
    *,
    prototypes: Prototypes | None = None,
    candidates: Float32[np.ndarray, "prompt dim"] | None = None,
    dynamic: bool = False,
    batch_steps: int = 8,
) -> PixelRelevance:
    """Attribute the score of one sample for one class to the pixels of its views.

    Args:
        bundle: A trained model; works with every image tower and fusion.
        images: The sample's views.
        target: A class, whose score is compared with those of the others; or a direction, compared with all classes.
        prototypes: The classes that are compared; None for those of the bundle.
        candidates: Prompts, centred, that a text-guided fusion attends to; None for those the model was trained with.
        dynamic: Whether the views are dynamic images. Their baseline is mid-grey, nothing moves; that of scans is
            black, no surface.
        batch_steps: Points of the path that are in memory at a time.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, arXiv 1703.01365, with Gauss-Legendre points;
    they are doubled until the relevance adds up to the score, or are 512.
    """
    import torch

    score = _score_of(bundle, target, prototypes or bundle.prototypes, candidates)
    device = bundle.model.image_mean.device
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))[None]
    views = torch.from_numpy(pixels).to(device).float() / 255
    baseline = torch.full_like(views, _NO_CHANGE / 255 if dynamic else 0.0)
    with one_thread():
        with torch.no_grad():
            reached, begun = (float(score(batch)[0]) for batch in (views, baseline))

        def at(num_steps: int) -> PixelRelevance:
            pixels = _integrated(score, views, baseline, num_steps, batch_steps)
            return PixelRelevance(pixels=pixels, score=reached, baseline_score=begun, num_steps=num_steps)

        found = at(_STEPS[0])
        for num_steps in _STEPS[1:]:
            if found.adds_up:
                break
            found = at(num_steps)
    return found


def _integrated(
    score: Callable[[torch.Tensor], torch.Tensor],
    views: torch.Tensor,
    baseline: torch.Tensor,
    num_steps: int,
    batch_steps: int,
) -> Float32[np.ndarray, "view height width"]:
    from captum.attr import IntegratedGradients

    attribution = IntegratedGradients(score).attribute(
        views, baseline, n_steps=num_steps, method="gausslegendre", internal_batch_size=batch_steps
    )
    return attribution.detach()[0].sum(dim=1).cpu().numpy().astype(np.float32)


def _score_of(
    bundle: ModelBundle,
    target: str | np.ndarray,
    prototypes: Prototypes,
    candidates: np.ndarray | None,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The explained score of a batch of samples, from images in [0, 1]."""
    import torch

    model = bundle.model.eval()
    device = model.image_mean.device

    def rows(vectors: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(vectors, dtype=np.float32)).to(device)

    by_class = {
        name: rows(prototypes.vectors[prototypes.class_index == number])
        for number, name in enumerate(prototypes.classes)
    }
    wanted = by_class.pop(target, None) if isinstance(target, str) else rows(_direction(target, prototypes))
    if wanted is None:
        raise SettingsError(f"{target!r} is none of the classes {', '.join(prototypes.classes)}")
    others = list(by_class.values())
    text = rows(bundle.prompts.centred if candidates is None else candidates)

    def score(images: torch.Tensor) -> torch.Tensor:
        fused = torch.nn.functional.normalize(model(images, text=text).z_fused, dim=-1)
        # Where every prompt is kept by itself, the nearest one gives its class's score.
        cosine = (fused @ wanted.T).amax(dim=1)
        if not others:
            return cosine
        return cosine - torch.stack([(fused @ each.T).amax(dim=1) for each in others]).mean(dim=0)

    return score


def _direction(target: np.ndarray, prototypes: Prototypes) -> np.ndarray:
    if target.shape != prototypes.vectors.shape[1:]:
        raise SettingsError(f"the target is {target.shape} wide, the prototypes {prototypes.vectors.shape[1:]}")
    return unit_rows(target[None], "target")


def overlay_scale(pixels: Float[np.ndarray, "view height width"]) -> float:
    """The relevance that is drawn strongest: the 99th percentile of one sample's smoothed absolute relevance."""
    return float(np.percentile(np.abs([_smoothed(view) for view in pixels]), 99))


def relevance_overlay(
    image: RgbImage, pixels: Float[np.ndarray, "height width"], *, scale: float
) -> UInt8[np.ndarray, "224 224 3"]:
    """Relevance on the face: orange raises the score of the class, blue lowers it, the face itself is grey.

    Args:
        image: The view; pixels without surface, black in all channels, stay plain.
        pixels: Relevance of the view.
        scale: Relevance of the full colour, from `overlay_scale` of all views of the sample; 0 draws the face alone.
    """
    strength = np.clip(_smoothed(pixels) / scale, -1, 1) if scale > 0 else np.zeros(pixels.shape)
    strength = _enlarged(strength)[..., None]
    grey = _enlarged(_shaded(image))
    colour = np.where(strength > 0, _POSITIVE, _NEGATIVE)
    share = _STRONGEST * np.abs(strength)
    face = (1 - share) * grey[..., None] + share * colour
    covered = _enlarged(np.asarray(image.any(axis=2)))[..., None] > 0.5
    return np.clip(np.rint(np.where(covered, face, _BACKGROUND)), 0, 255).astype(np.uint8)


def _shaded(image: RgbImage) -> np.ndarray:
    """The view as grey, stretched so that the face's darkest and brightest parts differ."""
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float32)
    covered = image.any(axis=2)
    low, high = np.percentile(grey[covered], (2, 98)) if covered.any() else (0, 255)
    stretched = np.clip((grey - low) / max(high - low, 1.0), 0, 1)
    # Empty pixels as bright as the background keep the outline from being drawn dark.
    return np.where(covered, 70 + 165 * stretched, _BACKGROUND)


def _smoothed(pixels: np.ndarray) -> np.ndarray:
    """With a standard deviation of 1.6 pixels of a 64-pixel view: the towers' patches would show as a pattern."""
    return ndimage.gaussian_filter(np.asarray(pixels, dtype=np.float64), sigma=pixels.shape[1] / 40)


def _enlarged(values: np.ndarray) -> np.ndarray:
    size = (OVERLAY_SIZE_PX, OVERLAY_SIZE_PX)
    return np.asarray(
        Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR), dtype=np.float64
    )


__getattr__ = renamed_attributes(__name__, {"relevance": f"{__name__}.pixel_relevance"})
