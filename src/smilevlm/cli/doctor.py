"""`smilevlm doctor`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smilevlm.cli.machine import MachineReport, Place

HELP = "what this machine and this installation have, and how fast they are"
DESCRIPTION = (
    "Prints versions, processor and GPUs, memory, which extras are installed, caches and free disk space, whether the "
    "bundled weights can be used, how many images a second the bundled tower embeds (about ten seconds), and one line "
    "of advice. Writes nothing. Ends with 1 if the bundled weights cannot be used."
)
EXAMPLE = "smilevlm doctor --no-speed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-speed", action="store_true", help="measure no speed: quicker")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs, sizes in bytes")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.machine import advise, examine_machine
    from smilevlm.errors import CheckpointError

    report = examine_machine(with_speed=not arguments.no_speed)
    if arguments.json:
        print(json.dumps({**asdict(report), "has_bf16": report.has_bf16, "advice": advise(report)}, indent=1))
    else:
        _print_report(report)
    if report.weights is not None:
        raise CheckpointError(f"the bundled weights: {report.weights}")


def _print_report(report: MachineReport) -> None:
    from smilevlm.cli.machine import advise, as_size
    from smilevlm.cli.tables import print_note, print_table

    rows = [*report.versions.items(), ("cores", f"{report.cores}, torch uses {report.torch_threads} thread(s)")]
    if report.load is not None:
        rows.append(("load, last minute", f"{report.load:.1f}"))
    rows.append(("instruction sets", ", ".join(report.cpu_flags) or "not known"))
    rows.append(("bfloat16 on the CPU", "yes" if report.has_bf16 else "emulated, slow" if report.cpu_flags else "?"))
    if report.memory_bytes is not None:
        total, available = map(as_size, report.memory_bytes)
        rows.append(("memory", f"{total}, {available} available"))
    for gpu in report.gpus:
        free = f"{as_size(gpu.free_bytes)} of {as_size(gpu.total_bytes)} free"
        rows.append(("GPU", f"{gpu.name}, {free}, bfloat16: {'yes' if gpu.has_bf16 else 'no'}"))
    if not report.gpus:
        rows.append(("GPU", "there, but this torch cannot use it" if report.unused_gpu else "none"))
    rows.append(("bundled weights", "ok" if report.weights is None else report.weights))
    print_table(["machine", ""], rows=rows)
    extras = [
        (each.name, "installed" if not each.missing else f"lacks {', '.join(each.missing)}: {each.install}")
        for each in report.extras
    ]
    print_table(["extra", ""], rows=extras)
    print_table(["cache", "folder"], ["size"], map(_place_row, report.caches))
    print_table(["disk of", "folder"], ["free"], map(_place_row, report.free))
    if report.speed:
        speeds = [(each.device, each.threads, each.precision, f"{each.images_per_second:.0f}") for each in report.speed]
        print_table(["device"], ["threads", "precision", "images/s"], speeds, title="bundled tower, forward")
    print_note(f"Advice: {advise(report)}")


def _place_row(place: Place) -> tuple[str, str, str]:
    from smilevlm.cli.machine import as_size

    return place.name, place.path, "-" if place.num_bytes is None else as_size(place.num_bytes)
