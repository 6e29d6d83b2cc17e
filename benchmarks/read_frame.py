"""What the step before every reader and the policy for bad elements cost: a BU-4DFE-like frame by `parse_mesh`.

Command: OMP_NUM_THREADS=1 python benchmarks/read_frame.py [VERTICES]

Frames of `sequence_frames.py` in memory, without and with texCoordIndex. Three calls take turns on each, so that
other work on the machine meets all alike: `read_vrml` that takes its vertices as they are; `read_vrml`, which looks for
those that cannot be used; and `parse_mesh`, which before it unpacks, decodes and sniffs. Times are CPU times of the
process; the ratios are of medians within the run.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sequence_frames import make_frames, write_frames

from smilevlm.geometry import Mesh, sanitize
from smilevlm.readers import elements, parse_mesh
from smilevlm.readers.vrml import read_vrml

REPEATS = 60


def without_policy(data: bytes, path: Path) -> Mesh:
    """`read_vrml` that takes its vertices as they are."""
    checked = elements.drop_invalid_vertices
    elements.drop_invalid_vertices = lambda mesh: mesh
    try:
        return read_vrml(data, path=path, load_texture=False)
    finally:
        elements.drop_invalid_vertices = checked


def medians_ms(calls: list[Callable[[], object]]) -> list[float]:
    """Of calls that take turns, so that no one meets a quieter machine."""
    seconds = np.empty((REPEATS, len(calls)))
    for call in calls:
        call()
    for row in seconds:
        for column, call in enumerate(calls):
            started = time.process_time()
            call()
            row[column] = time.process_time() - started
    return (1000 * np.median(seconds, axis=0)).tolist()


def main(num_vertices: int) -> None:
    assert sanitize.drop_invalid_vertices is elements.drop_invalid_vertices
    with tempfile.TemporaryDirectory() as folder:
        paths = write_frames(Path(folder), make_frames(num_vertices))
        for kind in ("plain", "indexed"):
            path = paths[kind][0]
            data = path.read_bytes()
            bare, reader, parse = medians_ms(
                [
                    lambda data=data, path=path: without_policy(data, path),
                    lambda data=data, path=path: read_vrml(data, path=path, load_texture=False),
                    lambda data=data, path=path: parse_mesh(data, path, load_texture=False),
                ]
            )
            print(
                f"{kind}: {len(data) / 1e6:.1f} MB; bare reader {bare:.2f} ms, with the policy {reader:.2f} ms "
                f"({reader / bare:.3f}), parse_mesh {parse:.2f} ms ({parse / bare:.3f})"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 35_000)
