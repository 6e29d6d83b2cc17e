"""Saliency maps of some test samples of a fold: pixel relevance by integrated gradients, with the pictures."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from smilevlm.evaluation.examples import draw_examples
from smilevlm.evaluation.fold_score import predict
from smilevlm.evaluation.relevance import METHOD, PixelRelevance, overlay_scale, pixel_relevance, relevance_overlay
from smilevlm.evaluation.trained_fold import TrainedFold
from smilevlm.files import write_atomically
from smilevlm.results import Relevance
from smilevlm.store import Sample
from smilevlm.typing import ViewImages


def draw_explained(fold: TrainedFold, num_samples: int) -> list[int]:
    """Which test samples are explained: the classes take turns, blind to the prediction."""
    truth = [sample.expression for sample in fold.samples]
    return draw_examples(truth, fold.prototypes.classes, num_examples=num_samples, seed=fold.config.seed)


def explain_sample(fold: TrainedFold, row: int, run: Path, pictures: str, notes: list[str]) -> list[Relevance]:
    """Relevance of one test sample for its class and, where that is another, for the predicted one.

    Args:
        fold: What is analysed.
        row: Which of its test samples.
        run: The run folder.
        pictures: Folder in it for the PNGs.
        notes: Gets a sentence where there is no relevance, or where it does not add up.
    """
    sample = fold.samples[row]
    images = fold.prepared.images(fold.indices[row])
    predicted = fold.prototypes.classes[int(predict(fold.bundle.embed(images[None]).z_fused, fold.prototypes)[0])]
    explained = []
    for target in dict.fromkeys((sample.expression, predicted)):
        found = pixel_relevance(fold.bundle, images, target, prototypes=fold.prototypes, dynamic=sample.is_dynamic)
        if not found.pixels.any():
            notes.append(f"Relevance of {sample.sample_id} for {target} was left out: no pixel changes the score.")
            continue
        if not found.adds_up:
            notes.append(
                f"Relevance of {sample.sample_id} for {target} misses its score by {found.completeness_error:+.3f}."
            )
        angles = fold.config.prepare.views.angles_deg
        names = [f"{pictures}/{sample.sample_id}_{target}_{angle:+g}.png" for angle in angles]
        _write_overlays([run / name for name in names], images, found)
        explained.append(_result(sample, predicted, target, found, dict(zip(angles, names, strict=True))))
    return explained


def _write_overlays(paths: list[Path], images: ViewImages, found: PixelRelevance) -> None:
    scale = overlay_scale(found.pixels)
    for path, image, pixels in zip(paths, images, found.pixels, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(relevance_overlay(image, pixels, scale=scale)).save(buffer, format="PNG")
        write_atomically(path, buffer.getvalue())


def _result(sample: Sample, predicted: str, target: str, found: PixelRelevance, images: dict[float, str]) -> Relevance:
    return Relevance(
        sample_id=sample.sample_id,
        subject=sample.subject,
        truth=sample.expression,
        predicted=predicted,
        target=target,
        method=METHOD,
        score=found.score,
        baseline_score=found.baseline_score,
        view_share=dict(zip(images, found.view_share.tolist(), strict=True)),
        images=images,
    )
