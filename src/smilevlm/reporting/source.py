"""The runs of a report: result files, and the training logs and images that they point to."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError

from smilevlm.errors import ResultError
from smilevlm.results import ExperimentResult, FoldsSummary, Interval, read_results, read_timing

LOSSES: Mapping[str, str] = {
    "loss_total": "Total",
    "loss_multi_view": "Multi-view Barlow Twins",
    "loss_alignment": "Vision-language alignment",
    "loss_redundancy": "Redundancy minimisation",
}
"""Column of the training log to its title."""
REQUIRED_COLUMNS = ("step", "epoch", *LOSSES, "learning_rate")
VALIDATION_COLUMNS: Mapping[str, str] = {
    "validation_accuracy": "Validation accuracy (%)",
    "validation_loss": "Validation loss",
}
"""The same of what the validation subjects are measured by, once an epoch; a log has one of them or none."""
_MAX_IMAGE_SIZE_PX = 224


@dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """One fold's training log. NaN where a cell is empty: a loss that is switched off, an epoch not validated."""

    steps: Float[np.ndarray, " row"]
    columns: Mapping[str, Float[np.ndarray, " row"]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One result file ready to report.

    Attributes:
        label: What it is called in tables; unique in the report.
        slug: The same for file names.
        logs: Fold to its log; folds without one are absent.
        images: Path in the result file to the PNG's bytes.
        seconds: Stage to duration, empty when there is no `timing.json` beside the result file.
    """

    result: ExperimentResult
    label: str
    slug: str
    logs: Mapping[int, TrainingLog]
    images: Mapping[str, bytes]
    seconds: Mapping[str, float]

    @property
    def data(self) -> str:
        """The data's name; says synthetic where it is."""
        return f"{self.result.layout} (synthetic)" if self.result.synthetic else self.result.layout

    @property
    def summary(self) -> FoldsSummary:
        """What the folds say together."""
        return self.result.summary

    @property
    def fused_interval(self) -> Interval | None:
        """Over folds, or over the subjects of the only fold; None when that fold has a single subject."""
        folds = self.result.folds
        return self.summary.accuracy.interval or (folds[0].accuracy_interval if len(folds) == 1 else None)


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """Read result files and everything they point to.

    Raises:
        ResultError: There are no files, one is given twice, or a result, training log or image is missing or malformed.
    """
    if not paths:
        raise ResultError("a report needs at least one result file")
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise ResultError("the result file is given twice", path=path)
    results = [read_results(path) for path in paths]
    labels = _labels([result.recipe for result in results], [path.parent.name for path in resolved])
    return [
        Run(
            result=result,
            label=label,
            slug=slug,
            logs=_logs(result, path.parent),
            images={
                name: small_png(path.parent / name) for example in result.examples for name in example.images.values()
            },
            seconds=read_timing(timing) if (timing := path.parent / "timing.json").exists() else {},
        )
        for path, result, label, slug in zip(resolved, results, labels, _slugs(labels), strict=True)
    ]


def read_training_log(path: Path) -> TrainingLog:
    """Read a training log; columns beyond the known ones are left alone.

    Raises:
        ResultError: The file is missing, lacks a column, has no rows, or a cell is no number; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"the training log cannot be read: {error}", path=path) from None
    rows = csv.DictReader(text.splitlines())
    header = rows.fieldnames or []
    if missing := [name for name in REQUIRED_COLUMNS if name not in header]:
        raise ResultError(f"the training log lacks the columns {', '.join(missing)}", path=path, line=1)
    names = [*REQUIRED_COLUMNS, *(name for name in VALIDATION_COLUMNS if name in header)]
    values: dict[str, list[float]] = {name: [] for name in names}
    for row in rows:
        for name in names:
            values[name].append(_cell(row[name], name, path, rows.line_num))
    if not values["step"]:
        raise ResultError("the training log has no rows", path=path)
    columns = {name: np.array(column, dtype=np.float64) for name, column in values.items()}
    return TrainingLog(steps=columns["step"], columns=columns)


def small_png(path: Path) -> bytes:
    """An image as PNG bytes, no larger than 224 pixels on a side.

    Raises:
        ResultError: The image is missing or damaged.
    """
    image = read_image(path, "the example image")
    image.thumbnail((_MAX_IMAGE_SIZE_PX, _MAX_IMAGE_SIZE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def read_image(path: Path, what: str) -> Image.Image:
    """An image in RGB.

    Args:
        path: The file.
        what: What it shows, for the error.

    Raises:
        ResultError: The image is missing or damaged.
    """
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ResultError(f"{what} cannot be read: {error}", path=path) from None


def _cell(text: str | None, name: str, path: Path, line: int) -> float:
    if text is None:
        raise ResultError(f"the row ends before column {name!r}", path=path, line=line)
    if not text.strip():
        if name == "step":
            raise ResultError("the step is empty", path=path, line=line)
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise ResultError(f"column {name!r}: {text!r} is no number", path=path, line=line) from None


def _logs(result: ExperimentResult, folder: Path) -> dict[int, TrainingLog]:
    return {
        fold.fold: read_training_log(folder / fold.metrics_csv) for fold in result.folds if fold.metrics_csv is not None
    }


def _labels(recipes: Sequence[str], folders: Sequence[str]) -> list[str]:
    labels = [
        recipe if recipes.count(recipe) == 1 else f"{recipe} [{folder}]"
        for recipe, folder in zip(recipes, folders, strict=True)
    ]
    return [
        label if labels.count(label) == 1 else f"{label} #{labels[: index + 1].count(label)}"
        for index, label in enumerate(labels)
    ]


def _slugs(labels: Sequence[str]) -> list[str]:
    slugs = [re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "run" for label in labels]
    return [slug if slugs.count(slug) == 1 else f"{slug}_{index}" for index, slug in enumerate(slugs)]
