"""How many synthetic faces a minute: per stage and rig, as files or straight to a store, and against another checkout.

Command: OMP_NUM_THREADS=1 python benchmarks/synthesis.py stages [--people 8] [--ict FILE] [--gnm FILE]
         python benchmarks/synthesis.py whole [--people 30] [--rounds 2] [--before CHECKOUT] [--ict FILE] [--gnm FILE]

`stages` makes people of each rig in one process and says where the time goes. `whole` runs the commands with two
processes, start-up included, in turn: `synthesize` and `prepare`, `synthesize --as-store`, and the former of another
checkout. Seconds are of the processor, child processes included, so that other work on the machine changes them
little; faces a minute are those of two cores that do nothing else. A face is a single scan, since nobody is filmed.
All faces are synthetic.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

STAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "person": (("synthesis.varied", "draw_varied_person"), ("synthesis.varied", "VariedPerson.heads")),
    "appearance": (("synthesis.varied", "draw_appearance"), ("synthesis.varied", "apply_appearance")),
    "write": (("synthesis.varied", "write_mesh"),),
    "index": (("datasets.synthetic_store", "index_folder"),),
    "read": (("store.work", "read_frame"),),
    "find": (("store.rendering", "normalise"),),
    "render": (("store.rendering", "render_normalised"),),
    "pack": (("store.work", "pack"), ("store.work", "write_part")),
}
"""Functions per stage, by module and name."""
RECIPE = "bundled"
CORES = 2
MANY = 10_000


class StageClock:
    """Seconds per stage; times the functions of `STAGES` from its making on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        for stage, functions in STAGES.items():
            for module, name in functions:
                owner: Any = __import__(f"smilevlm.{module}", fromlist=["_"])
                *classes, last = name.split(".")
                for each in classes:
                    owner = getattr(owner, each)
                setattr(owner, last, self._timed(stage, getattr(owner, last)))

    def _timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*values: Any, **options: Any) -> Any:  # noqa: ANN401
            begun = time.process_time()
            try:
                result = function(*values, **options)
            finally:
                self.seconds[stage] += time.process_time() - begun
            return self._timed_iterator(stage, result) if isinstance(result, Iterator) else result

        return timed

    def _timed_iterator(self, stage: str, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            begun = time.process_time()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.seconds[stage] += time.process_time() - begun
            yield item


def stages(rigs: dict[str, str], people: int) -> str:
    from smilevlm.datasets.synthetic_store import synthesize_store
    from smilevlm.recipes import find_recipe
    from smilevlm.synthesis import VariedSettings
    from smilevlm.synthesis.face_model import head_model
    from smilevlm.synthesis.rigs import load_rig

    views = find_recipe(RECIPE).prepare
    clock = StageClock()
    names = (*STAGES, "other")
    lines = [
        "| rig | loading, s | " + " | ".join(f"{name}, ms" for name in names) + " | all, ms | faces a minute | "
        f"{MANY:,} faces, minutes |",
        "|---|" + "---:|" * (len(names) + 4),
    ]  # fmt: skip
    head_model()
    for name, rig in rigs.items():
        begun = time.process_time()
        load_rig(rig)
        loading = time.process_time() - begun
        with tempfile.TemporaryDirectory() as folder:
            # The first people compile and fill caches.
            for seed, number in ((1, 2), (2, people)):
                faces = VariedSettings(num_subjects=number, seed=seed, filmed_share=0.0, rigs=(rig,))
                clock.seconds.clear()
                begun = time.process_time()
                manifest = synthesize_store(Path(folder) / str(seed), faces, views).manifest
                total = time.process_time() - begun
        num_faces = manifest.num_samples + len(manifest.skipped)
        clock.seconds["other"] = total - sum(clock.seconds.values())
        cells = [f"{1000 * clock.seconds[stage] / num_faces:.1f}" for stage in names]
        rate = CORES * 60 * num_faces / total
        lines.append(
            f"| {name} | {loading:.1f} | " + " | ".join(cells)
            + f" | {1000 * total / num_faces:.1f} | {rate:.0f} | {MANY / rate:.1f} |"
        )  # fmt: skip
    return "\n".join(lines)


def run(source: Path, *arguments: str) -> float:
    """Run the command of a checkout's sources; CPU seconds of all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "smilevlm", *arguments, "--jobs", str(CORES)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def count_faces(store: Path) -> int:
    from smilevlm.store import read_manifest

    manifest = read_manifest(store)
    return manifest.num_samples + len(manifest.skipped)


def as_files(source: Path, folder: Path, options: list[str]) -> tuple[int, float]:
    """Faces and CPU seconds of `synthesize` and `prepare`."""
    faces, store = folder / "faces", folder / "store"
    seconds = run(source, "synthesize", "folder", str(faces), *options)
    seconds += run(source, "prepare", "folder", str(faces), str(store), "--recipe", RECIPE)
    return count_faces(store), seconds


def as_store(source: Path, folder: Path, options: list[str]) -> tuple[int, float]:
    """Faces and CPU seconds of `synthesize --as-store`."""
    store = folder / "store"
    seconds = run(source, "synthesize", "folder", str(store), "--as-store", RECIPE, *options)
    return count_faces(store), seconds


def whole(rigs: dict[str, str], people: int, rounds: int, before: Path | None) -> str:
    here = Path(__file__).resolve().parent.parent / "src"
    mixed = [part for rig in rigs.values() for part in ("--rig", rig)]
    ways: dict[str, tuple[Callable[..., tuple[int, float]], Path, list[str]]] = {}
    if before is not None:
        ways["before: files, then prepare; anny"] = (as_files, before / "src", [])
    ways["files, then prepare; anny"] = (as_files, here, [])
    ways["straight to a store; anny"] = (as_store, here, [])
    if len(rigs) > 1:
        ways[f"files, then prepare; {', '.join(rigs)}"] = (as_files, here, mixed)
        ways[f"straight to a store; {', '.join(rigs)}"] = (as_store, here, mixed)
    rates: dict[str, list[float]] = defaultdict(list)
    num_faces: dict[str, int] = {}
    for number in range(rounds):
        for name, (make, source, options) in ways.items():
            common = ["--subjects", str(people), "--seed", str(number), "--filmed", "0"]
            with tempfile.TemporaryDirectory() as folder:
                num_faces[name], seconds = make(source, Path(folder), [*common, *options])
            rates[name].append(60 * CORES * num_faces[name] / seconds)
            print(f"round {number + 1}, {name}: {rates[name][-1]:.0f} faces a minute", file=sys.stderr, flush=True)
    reference = next(iter(ways))
    lines = [
        f"| way | faces | faces a minute, median of {rounds} | ratio | {MANY:,} faces, minutes |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, each in rates.items():
        ratio = statistics.median(a / b for a, b in zip(each, rates[reference], strict=True))
        rate = statistics.median(each)
        lines.append(f"| {name} | {num_faces[name]} | {rate:.0f} | {ratio:.2f} | {MANY / rate:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["stages", "whole"])
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="whole: another checkout to compare with")
    parser.add_argument("--ict", metavar="FILE")
    parser.add_argument("--gnm", metavar="FILE")
    arguments = parser.parse_args()
    given = {"ict": arguments.ict, "gnm": arguments.gnm}
    rigs = {"anny": "anny"} | {name: f"{name}={path}" for name, path in given.items() if path is not None}
    if arguments.what == "stages":
        print(stages(rigs, arguments.people))
    else:
        print(whole(rigs, arguments.people, arguments.rounds, arguments.before))


if __name__ == "__main__":
    main()
