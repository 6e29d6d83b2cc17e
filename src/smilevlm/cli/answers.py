"""Answers on standard output: a table for people, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smilevlm.evaluation.recogniser import Recogniser
    from smilevlm.predict import Answer

Found = Iterable[tuple[Path, "Answer | str"]]
"""Path of each scan or sequence, and its answer or what went wrong."""


def write_json(found: Found, recogniser: Recogniser) -> None:
    """One line per scan, written as it comes."""
    for path, answer in found:
        print(json.dumps(_plain(path, answer, recogniser)), flush=True)


def write_csv(found: Found, recogniser: Recogniser) -> None:
    """A header and a row per scan, written as it comes; of a scan that failed only path and error."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    head: list[str] | None = None
    waiting: list[tuple[Path, str]] = []

    def fail(path: Path, message: str, head: list[str]) -> None:
        writer.writerow([str(path), *[""] * (len(head) - 2), message])

    for path, answer in found:
        if isinstance(answer, str):
            if head is None:
                waiting.append((path, answer))
            else:
                fail(path, answer, head)
            continue
        if head is None:
            views = [f"weight_{angle:+g}" for angle in answer.view_weights]
            head = ["scan", "label", "sure", "confidence", *answer.probabilities, *views, "frames", "bad_frames",
                    "unit", "face_confidence", "trained_on_synthetic_faces", "error"]  # fmt: skip
            writer.writerow(head)
            for earlier in waiting:
                fail(*earlier, head)
        numbers = [answer.confidence, *answer.probabilities.values(), *answer.view_weights.values()]
        writer.writerow(
            [str(path), answer.label, answer.sure, *(f"{number:.6f}" for number in numbers), answer.num_frames,
             len(answer.bad_frames), answer.face.unit, f"{answer.face.confidence:.3f}", recogniser.synthetic, ""]
        )  # fmt: skip
        sys.stdout.flush()
    if head is None:
        writer.writerow(["scan", "error"])
        for path, message in waiting:
            writer.writerow([str(path), message])


def write_table(found: Found, recogniser: Recogniser, *, verbose: bool) -> None:
    """A table of all answers; nothing when there is none."""
    rows: list[list[str]] = []
    first: Answer | None = None
    for path, answer in found:
        # The strings alone are kept, for an answer holds a mesh.
        if not isinstance(answer, str):
            first = first or answer
            rows.append(_row(path, answer, verbose=verbose))
    if first is None:
        return
    from rich.table import Table

    from smilevlm.cli.progress import table_console

    notes = ["model trained on synthetic faces"] * recogniser.synthetic
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
    table_console().print(table)


def _row(path: Path, answer: Answer, *, verbose: bool) -> list[str]:
    shares = [f"{share:.0%}" for share in answer.probabilities.values()]
    weights = " / ".join(f"{weight:.2f}" for weight in answer.view_weights.values())
    label = answer.label if answer.sure else f"not sure ({answer.label}?)"
    return [str(path), label, *shares, weights, *[_details(answer)] * verbose]


def _details(answer: Answer) -> str:
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


def _plain(path: Path, answer: Answer | str, recogniser: Recogniser) -> dict[str, object]:
    if isinstance(answer, str):
        return {"scan": str(path), "error": answer}
    return {"scan": str(path), **answer.as_plain(), "trained_on_synthetic_faces": recogniser.synthetic}
