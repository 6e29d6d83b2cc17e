"""Listing one folder of a zip archive of 100,000 members, against `zipfile` reading its table of contents.

Command: python benchmarks/list_archive.py
"""

import tempfile
import time
import zipfile
from pathlib import Path

from smilevlm.readers import list_folder

NUM_MEMBERS = 100_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "F001.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
            for number in range(NUM_MEMBERS):
                file.writestr(f"F001/T{number % 8 + 1}/{number:05d}.obj", b"x")
        started = time.process_time()
        found = list_folder(path / "F001" / "T3")
        ours = time.process_time() - started
        started = time.process_time()
        with zipfile.ZipFile(path) as file:
            names = [name for name in file.namelist() if name.startswith("F001/T3/")]
        theirs = time.process_time() - started
        assert len(found) == len(names)
        print(f"{NUM_MEMBERS} members, {len(found)} in the folder: {ours:.2f} s")
        print(f"zipfile, table of contents and names alone: {theirs:.2f} s, {theirs / ours:.1f} times ours")


if __name__ == "__main__":
    main()
