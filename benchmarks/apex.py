"""How many frames the automatic apex is off, on synthetic micro-expressions whose apex is known, by amplitude.

For each amplitude the synthetic 4DME is written (people and clips are the same), each frame is rendered as for
`smilevlm prepare`, and `find_apex` looks for the frame that the label names. Beside it: the middle of the clip, and the
frame that differs most from the first one (mean absolute difference of the views), which is what there is without
whitening, rigid motion and shape in time.

Command: python benchmarks/apex.py --folder FOLDER --amplitudes 0.5 1 2 --subjects 24 --seed 2
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilevlm.datasets import index_data_set
from smilevlm.dynamics import find_apex
from smilevlm.recipes import find_recipe
from smilevlm.reproduction.data import REPLICAS
from smilevlm.store import FaceFinder, PrepareSettings, Recording, read_frame
from smilevlm.store.rendering import scan_views
from smilevlm.synthesis.fourdme import FourdmeSettings, synthesize_4dme


def views_of(recording: Recording, settings: PrepareSettings) -> np.ndarray:
    """(frame, view, height, width, 3)."""
    find = FaceFinder(settings)
    meshes = (read_frame(frame, load_texture=False).mesh for frame in recording.frames)
    return np.stack([scan_views(mesh, settings, find)[0] for mesh in meshes])


def errors_of(recording: Recording, settings: PrepareSettings) -> tuple[int, int, int]:
    """Frames off: the method, the middle, the largest change from the first frame."""
    assert recording.phases is not None
    frames = views_of(recording, settings)
    numbers = [frame.number for frame in recording.frames]
    change = np.abs(frames.astype(np.float32) - frames[0]).mean(axis=(1, 2, 3, 4))
    found = (find_apex(frames), (len(frames) - 1) // 2, int(change.argmax()))
    first, second, third = (abs(numbers[index] - recording.phases.apex) for index in found)
    return first, second, third


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the faces go; gone on with")
    parser.add_argument("--amplitudes", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--subjects", type=int, default=24)
    parser.add_argument("--clips", type=int, default=8, help="per subject")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    plain, _ = REPLICAS["4dme"].writer()
    assert isinstance(plain, FourdmeSettings)
    prepared = find_recipe("tiny_4dme").prepare
    for amplitude in arguments.amplitudes:
        faces = arguments.folder / f"amplitude_{amplitude:g}" / "faces"
        settings = replace(
            plain,
            amplitude=amplitude,
            num_subjects=arguments.subjects,
            clips_per_subject=arguments.clips,
            seed=arguments.seed,
        )
        synthesize_4dme(faces, settings, jobs=arguments.jobs)
        recordings = index_data_set("4dme", faces).recordings
        errors = np.array([errors_of(recording, prepared) for recording in recordings])
        for name, off in zip(("find_apex", "middle", "largest change"), errors.T, strict=True):
            median, high, mean = np.median(off), np.percentile(off, 90), off.mean()
            print(
                f"amplitude {amplitude:g}, {len(off)} clips, {name}: median {median:g}, 90 % {high:g}, mean {mean:.2f} "
                f"frames, within 2 {np.mean(off <= 2):.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
