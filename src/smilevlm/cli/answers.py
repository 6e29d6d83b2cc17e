"""Answers on standard output: a table for people, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from smilevlm.models import ModelBundle
    from smilevlm.predict import Prediction


@dataclass(frozen=True, kw_only=True)
class Row:
    """One scan or sequence.

    Args:
        path: As it was given or found.
        result: The answer, or what went wrong.
        remarks: See `Answer.remarks`; of a scan that failed those of its folder.
    """

    path: Path
    result: Prediction | str
    remarks: tuple[str, ...] = ()


def write_json(found: Iterable[Row], bundle: ModelBundle) -> None:
    """One line per scan, written as it comes."""
    for row in found:
        print(json.dumps(_plain(row, bundle)), flush=True)


def write_csv(found: Iterable[Row], bundle: ModelBundle) -> None:
    """A header and a row per scan, written as it comes; of a scan that failed only path, remarks and error."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    head: list[str] | None = None
    waiting: list[Row] = []

    def fail(row: Row, head: list[str]) -> None:
        writer.writerow([str(row.path), *[""] * (len(head) - 3), "; ".join(row.remarks), row.result])

    for row in found:
        path, answer = row.path, row.result
        if isinstance(answer, str):
            if head is None:
                waiting.append(row)
            else:
                fail(row, head)
            continue
        if head is None:
            views = [f"weight_{angle:+g}" for angle in answer.view_weights]
            head = [
                "scan", "label", "is_confident", "confidence", *answer.probabilities, *views, "frames", "bad_frames",
                "unit", "face_confidence", "trained_on_synthetic_faces", "remarks", "error",
            ]  # fmt: skip
            writer.writerow(head)
            for earlier in waiting:
                fail(earlier, head)
        numbers = [answer.confidence, *answer.probabilities.values(), *answer.view_weights.values()]
        writer.writerow(
            [str(path), answer.label, answer.is_confident, *(f"{number:.6f}" for number in numbers), answer.num_frames,
             len(answer.bad_frames), answer.face.unit, f"{answer.face.confidence:.3f}", bundle.synthetic,
             "; ".join(row.remarks), ""]
        )  # fmt: skip
        sys.stdout.flush()
    if head is None:
        head = ["scan", "remarks", "error"]
        writer.writerow(head)
        for row in waiting:
            fail(row, head)


def write_table(found: Iterable[Row], bundle: ModelBundle, *, verbose: bool) -> None:
    """A table of all answers, nothing when there is none; below it each remark once, with the scans it is on."""
    rows: list[list[str]] = []
    first: Prediction | None = None
    remarks: dict[str, list[Path]] = {}
    for row in found:
        for remark in row.remarks:
            remarks.setdefault(remark, []).append(row.path)
        # The strings alone are kept, for an answer holds a mesh.
        if not isinstance(row.result, str):
            first = first or row.result
            rows.append(_row(row.path, row.result, verbose=verbose))
    from smilevlm.cli.progress import table_console

    console = table_console()
    if first is not None:
        console.print(_table(rows, first, bundle, verbose=verbose))
    for remark, paths in remarks.items():
        where = f"{paths[0]}: " if len(paths) == 1 < len(rows) else ""
        console.print(f"remark: {where}{remark}", soft_wrap=True, markup=False, highlight=False)


def _table(rows: Sequence[Sequence[str]], first: Prediction, bundle: ModelBundle, *, verbose: bool) -> Table:
    from rich.table import Table

    notes = ["model trained on synthetic faces"] * bundle.synthetic
    notes.append("calibrated on people held back" if first.calibrated else "probabilities not calibrated")
    table = Table(title=f"expression ({'; '.join(notes)})")
    table.add_column("scan", overflow="fold")
    table.add_column("label")
    for name in first.probabilities:
        table.add_column(name, justify="right")
    table.add_column("view weights " + " / ".join(f"{angle:+g}" for angle in first.view_weights))
    if verbose:
        table.add_column("how it was found")
    for row in rows:
        table.add_row(*row)
    return table


def _row(path: Path, answer: Prediction, *, verbose: bool) -> list[str]:
    shares = [f"{share:.0%}" for share in answer.probabilities.values()]
    weights = " / ".join(f"{weight:.2f}" for weight in answer.view_weights.values())
    label = answer.label if answer.is_confident else f"not sure ({answer.label}?)"
    name = f"{path}\nsequence of {answer.num_frames} frames" if answer.is_sequence else str(path)
    return [name, label, *shares, weights, *[_details(answer)] * verbose]


def _details(answer: Prediction) -> str:
    took = answer.seconds
    parts = [f"{name} {1000 * value:.0f}" for name, value in (
        ("read", took.read), ("face", took.face), ("views", took.views), ("network", took.network),
    )]  # fmt: skip
    frames = f"{answer.num_frames} frames, " if answer.is_sequence else ""
    if answer.bad_frames:
        frames += (
            f"{len(answer.bad_frames)} more could not be used ({'; '.join(name for name, _ in answer.bad_frames)}), "
        )
    return (
        f"{frames}unit {answer.face.unit}, face confidence {answer.face.confidence:.2f}; "
        f"ms: {', '.join(parts)}, total {1000 * took.total:.0f}"
    )


def _plain(row: Row, bundle: ModelBundle) -> dict[str, object]:
    if isinstance(row.result, str):
        return {"scan": str(row.path), "error": row.result, "remarks": list(row.remarks)}
    return {"scan": str(row.path), **row.result.to_dict(), "trained_on_synthetic_faces": bundle.synthetic}
