"""Peak memory of preparing one BU-4DFE-like sequence of 10 frames and of 500, all frames taken.

Command: python benchmarks/sequence_memory.py [VERTICES]

Each sequence is prepared in a process of its own, whose largest resident size counts. The yardstick is what holding the
rendered frames would take, as pooling them after the last one needs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from smilevlm.dynamics import DynamicSettings
from smilevlm.geometry import NormaliseSettings
from smilevlm.store import FrameFile, PrepareSettings, Recording, prepare
from smilevlm.views import ViewSettings

LENGTHS = (10, 500)
VIEWS = ViewSettings(size=224)


def peak_mb(folder: Path, num_frames: int) -> float:
    """Prepare a sequence of so many of the folder's frames, over and over, and say how large this process became."""
    files = sorted(folder.glob("plain_*.wrl"))
    frames = tuple(FrameFile(path=files[n % len(files)], number=n) for n in range(num_frames))
    recording = Recording(sample_id="F001_Happy", subject="F001", expression="happy", frames=frames, is_sequence=True)
    settings = PrepareSettings(views=VIEWS, normalise=NormaliseSettings(), dynamics=DynamicSettings(num_frames=None))
    prepare([recording], folder / f"store_{num_frames}", settings, layout="bu4dfe", synthetic=True)
    return high_water_mark_mb()


def high_water_mark_mb() -> float:
    """Linux' own count; that of `resource` would hold the largest size of the process that started this one."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return float(line.split()[1]) * 1024 / 1e6


def main(num_vertices: int) -> None:
    from sequence_frames import make_frames, write_frames

    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder), make_frames(num_vertices))
        peaks = {}
        for num_frames in LENGTHS:
            command = [sys.executable, __file__, "--sequence", folder, str(num_frames)]
            out = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
            peaks[num_frames] = float(out)
            held = num_frames * len(VIEWS.angles_deg) * VIEWS.size**2 * 3 * 4 / 1e6
            print(f"{num_frames:4d} frames: peak {peaks[num_frames]:7.1f} MB; all views as float32 {held:7.1f} MB")
        print(f"the longer needs {peaks[LENGTHS[1]] - peaks[LENGTHS[0]]:.1f} MB more")


if __name__ == "__main__":
    if "--sequence" in sys.argv:
        print(peak_mb(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 35_000)
