"""A BU-4DFE-like VRML scan of 35,000 vertices from file to answer: warm, cold from the command line, and in bulk.

Command: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/file_to_answer.py [--model default] [--scans 1000]

Warm: the model is loaded and has answered once. Cold: a fresh process runs `smilevlm predict`, its imports and the
loading of the weights included; what numba compiled lies in its cache, as after the first call on a machine. In bulk:
the scans in one call of `predict_each`, against one call of `predict` each, and against a command each (ten are run).

"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from sequence_frames import make_frames, write_frames

import smilevlm
from smilevlm.predict import Model, Prediction, Timings

REPEATS, COMMANDS = 30, 10
STAGES = tuple(each.name for each in fields(Timings))


def milliseconds(values: Sequence[float]) -> str:
    ordered = sorted(1000 * value for value in values)
    return f"{statistics.median(ordered):.1f} (fastest {ordered[0]:.1f}, slowest {ordered[-1]:.1f})"


def warm(model: Model, paths: Sequence[Path]) -> None:
    model.predict(paths[0])
    took: dict[str, list[float]] = {name: [] for name in (*STAGES, "whole call")}
    for repeat in range(REPEATS):
        begun = time.perf_counter()
        answer = model.predict(paths[repeat % len(paths)])
        took["whole call"].append(time.perf_counter() - begun)
        for name in STAGES:
            took[name].append(getattr(answer.seconds, name))
    print("warm, ms, median over", REPEATS)
    for name, values in took.items():
        print(f"  {name:<12} {milliseconds(values)}")


def command(model: str, path: Path) -> list[str]:
    return [sys.executable, "-m", "smilevlm", "predict", str(path), "--model", model, "--json"]


def cold(model: str, path: Path) -> float:
    """Seconds of one command, the median of some."""
    took = []
    for _ in range(COMMANDS + 1):
        begun = time.perf_counter()
        subprocess.run(command(model, path), check=True, capture_output=True)
        took.append(time.perf_counter() - begun)
    print(f"cold, a command each, ms, {COMMANDS} after one that filled the caches: {milliseconds(took[1:])}")
    imported = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import torch"], check=True, capture_output=True, text=True
    ).stderr.splitlines()[-1]
    print(f"  of that importing torch: {int(imported.split('|')[1]) / 1000:.0f} ms")
    return statistics.median(took[1:])


def in_bulk(model: Model, paths: Sequence[Path], num_scans: int, one_command_s: float) -> None:
    scans = [paths[number % len(paths)] for number in range(num_scans)]
    begun = time.perf_counter()
    # Labels alone are kept: an answer holds a mesh, and a thousand of them a gigabyte.
    labels = [answer.label for answer in model.predict_each(scans) if isinstance(answer, Prediction)]
    together_s = time.perf_counter() - begun
    assert len(labels) == num_scans
    begun = time.perf_counter()
    for scan in scans:
        model.predict(scan)
    each_s = time.perf_counter() - begun
    print(f"{num_scans} scans, one core")
    print(f"  in one call:        {together_s:7.1f} s, {num_scans / together_s:.1f} scans a second")
    print(f"  a call each:        {each_s:7.1f} s, {each_s / together_s:.2f} times as long")
    whole = one_command_s * num_scans
    print(f"  a command each:     {whole:7.0f} s (from {COMMANDS}), {whole / together_s:.0f} times as long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--vertices", type=int, default=35_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_frames(Path(folder), make_frames(arguments.vertices))["plain"]
        counts = [smilevlm.read_mesh(path).num_vertices for path in paths]
        print(f"{len(paths)} VRML files of {min(counts)} to {max(counts)} vertices")
        model = smilevlm.load(arguments.model)
        warm(model, paths)
        in_bulk(model, paths, arguments.scans, cold(arguments.model, paths[0]))


if __name__ == "__main__":
    main()
