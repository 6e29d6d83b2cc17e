"""USD, `.usdz` and its parts: Apple's scans and AR files, through the library of the extra `usd`.

The library is C++ that aborts, hangs or fills the memory on some damaged files; it runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from smilevlm.geometry import Mesh
from smilevlm.readers import _usd_worker
from smilevlm.readers._source import MEMORY_FREE_BYTES, MEMORY_PER_FILE_BYTE, Source
from smilevlm.readers.elements import cut_into_triangles, usable_mesh

SUFFIXES = {b"PXR-USDC": ".usdc", b"PK\3\4": ".usdz", b"#usda": ".usda"}
"""First bytes to the suffix by which the library tells the encoding."""
SECONDS = 60
"""That reading one file may take; a scan takes about two."""


def read_usd(data: bytes, *, path: Path) -> Mesh:
    """Read all meshes that the file shows as one, or all its points where it has no mesh.

    Prims are placed by their transforms, left-handed and mirrored ones turned over; guides, proxies and what is
    invisible are passed over. Of animated points the first frame counts. Textures are not read.

    Returns:
        The unit and up axis of the file.
    """
    source = Source(data, path)
    if find_spec("pxr") is None:
        raise source.error(
            "reading USD needs usd-core: pip install 'smilevlm[usd]'; or export it as .glb, .ply or .obj"
        )
    suffix = next((suffix for magic, suffix in SUFFIXES.items() if data.startswith(magic)), None)
    if suffix is None:
        raise source.error("no USD file: it begins neither as .usda, .usdc nor .usdz")
    most_bytes = MEMORY_PER_FILE_BYTE * source.size + MEMORY_FREE_BYTES
    with tempfile.TemporaryDirectory(prefix="smilevlm_usd_") as folder:
        scan, out = Path(folder) / f"scan{suffix}", Path(folder) / "arrays.npz"
        scan.write_bytes(data)
        command = [sys.executable, "-P", _usd_worker.__file__, str(scan), str(out), str(most_bytes)]
        environment = {**os.environ, "PXR_WORK_THREAD_LIMIT": "1"}
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=environment, check=False)
        except subprocess.TimeoutExpired as error:
            raise source.error(f"the USD library did not read it within {SECONDS} s; is it damaged?") from error
        if done.returncode == _usd_worker.REFUSED:
            raise source.error(done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2])
        if done.returncode != 0 or not out.is_file():
            raise source.error(f"the USD library failed on it (exit status {done.returncode}); is it damaged?")
        with np.load(out, allow_pickle=False) as arrays:
            points, corners = arrays["points"], arrays["corners"]
    if not len(corners):
        return usable_mesh(path, points)
    too_many = source.error("more faces than a few name points that are not there")
    return usable_mesh(path, points, cut_into_triangles(source, corners, len(points), bad_index=lambda _: too_many))
