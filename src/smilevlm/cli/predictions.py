"""Predictions on standard output: a table for people, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smilevlm.models import ModelBundle
    from smilevlm.predict import Prediction


@dataclass(frozen=True, kw_only=True)
class Row:
    """One scan or sequence.

    Args:
        path: As it was given or found.
        result: The prediction, or what went wrong.
        remarks: See `Prediction.remarks`; of a scan that failed those of its folder.
    """

    path: Path
    result: Prediction | str
    remarks: tuple[str, ...] = ()


def write_json(rows: Iterable[Row], bundle: ModelBundle) -> None:
    """One line per scan, written as it comes."""
    for row in rows:
        if isinstance(row.result, str):
            values: dict[str, object] = {"error": row.result, "remarks": list(row.remarks)}
        else:
            values = {**row.result.to_dict(), "trained_on_synthetic_faces": bundle.synthetic}
        print(json.dumps({"scan": str(row.path), **values}), flush=True)


def write_csv(rows: Iterable[Row], bundle: ModelBundle) -> None:
    """A header and a row per scan, written as it comes; of a scan that failed only path, remarks and error."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    columns: list[str] = []
    # Which columns there are is known with the first prediction.
    waiting: list[Row] = []

    def write_failed() -> None:
        for row in waiting:
            writer.writerow([row.path, *[""] * (len(columns) - 3), "; ".join(row.remarks), row.result])
        waiting.clear()

    for row in rows:
        prediction = row.result
        if isinstance(prediction, str):
            waiting.append(row)
            if columns:
                write_failed()
            continue
        if not columns:
            weights = [f"weight_{angle:+g}" for angle in prediction.view_weights]
            columns += [
                "scan", "label", "is_confident", "confidence", *prediction.probabilities, *weights, "frames",
                "bad_frames", "unit", "face_confidence", "trained_on_synthetic_faces", "remarks", "error",
            ]  # fmt: skip
            writer.writerow(columns)
            write_failed()
        shares = [prediction.confidence, *prediction.probabilities.values(), *prediction.view_weights.values()]
        writer.writerow(
            [row.path, prediction.label, prediction.is_confident, *(f"{share:.6f}" for share in shares),
             prediction.num_frames, len(prediction.bad_frames), prediction.face.unit,
             f"{prediction.face.confidence:.3f}", bundle.synthetic, "; ".join(row.remarks), ""]
        )  # fmt: skip
        sys.stdout.flush()
    if not columns:
        columns += ["scan", "remarks", "error"]
        writer.writerow(columns)
        write_failed()


def write_table(rows: Iterable[Row], bundle: ModelBundle, *, verbose: bool) -> None:
    """A table of all predictions, nothing when there is none; below it each remark once, with the scans it is on."""
    from smilevlm.cli.tables import print_table

    cells: list[list[str]] = []
    first: Prediction | None = None
    remarks: dict[str, list[Path]] = {}
    for row in rows:
        for remark in row.remarks:
            remarks.setdefault(remark, []).append(row.path)
        # The strings alone are kept, for a prediction holds a mesh.
        if not isinstance(row.result, str):
            first = first or row.result
            cells.append(_cells(row.path, row.result, verbose=verbose))
    if first is not None:
        notes = ["model trained on synthetic faces"] * bundle.synthetic
        notes.append("calibrated on people held back" if first.calibrated else "probabilities not calibrated")
        print_table(
            ["scan", "label"],
            list(first.probabilities),
            cells,
            last_columns=[
                "view weights " + " / ".join(f"{angle:+g}" for angle in first.view_weights),
                *["how it was found"] * verbose,
            ],
            title=f"expression ({'; '.join(notes)})",
        )
    for remark, paths in remarks.items():
        where = f"{paths[0]}: " if len(paths) == 1 < len(cells) else ""
        print(f"remark: {where}{remark}")


def _cells(path: Path, prediction: Prediction, *, verbose: bool) -> list[str]:
    shares = [f"{share:.0%}" for share in prediction.probabilities.values()]
    weights = " / ".join(f"{weight:.2f}" for weight in prediction.view_weights.values())
    label = prediction.label if prediction.is_confident else f"not sure ({prediction.label}?)"
    name = f"{path}\nsequence of {prediction.num_frames} frames" if prediction.is_sequence else str(path)
    return [name, label, *shares, weights, *[_details(prediction)] * verbose]


def _details(prediction: Prediction) -> str:
    seconds, bad = prediction.seconds, prediction.bad_frames
    frames = f"{prediction.num_frames} frames, " if prediction.is_sequence else ""
    if bad:
        frames += f"{len(bad)} more could not be used ({'; '.join(name for name, _ in bad)}), "
    parts = {"read": seconds.read, "face": seconds.face, "views": seconds.views, "network": seconds.network}
    times = ", ".join(f"{name} {1000 * value:.0f}" for name, value in parts.items())
    return (
        f"{frames}unit {prediction.face.unit}, face confidence {prediction.face.confidence:.2f}; "
        f"ms: {times}, total {1000 * seconds.total:.0f}"
    )
