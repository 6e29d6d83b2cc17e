"""What all synthetic data sets share: a marked folder of their own, and one job per part, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smilevlm.errors import LayoutError
from smilevlm.files import write_atomically
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.marker import MARKER_NAME

Progress = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""


def claim_folder(
    root: Path, layout: str, settings: Mapping[str, Any], *, contents: Mapping[str, Any] | None = None
) -> None:
    """Make the folder and write the marker that says its faces are synthetic, and how they were made.

    Args:
        root: Folder of the data set.
        layout: Name of the layout.
        settings: Everything that decides the bytes, as plain values.
        contents: What a complete copy holds, for `smilevlm check`: `num_subjects`, `num_recordings`, and under
            `missing` the paths of recordings that are left out on purpose.

    Raises:
        LayoutError: The folder holds something else, or faces made with other settings.
    """
    root.mkdir(parents=True, exist_ok=True)
    identity = {"layout": layout, "synthetic": True, **json.loads(json.dumps(settings))}
    if contents is not None:
        identity["contents"] = json.loads(json.dumps(contents))
    marker = root / MARKER_NAME
    if not marker.exists():
        if any(root.iterdir()):
            raise LayoutError(
                f"{root} is not empty and has no {MARKER_NAME}; synthetic faces need a folder of their own"
            )
        write_atomically(marker, json.dumps(identity, indent=2, sort_keys=True) + "\n")
        return
    try:
        found = json.loads(marker.read_text())
    except ValueError as error:
        raise LayoutError(f"{marker} is damaged ({error}); choose another folder") from None
    if not isinstance(found, dict):
        raise LayoutError(f"{marker} is damaged: expected an object; choose another folder")
    if found != identity:
        if found.get("layout") != layout:
            raise LayoutError(
                f"{root} holds synthetic faces in the layout {found.get('layout')}; choose another folder"
            )
        changed = sorted(
            key for key in (identity.keys() | found.keys()) - {"contents"} if identity.get(key) != found.get(key)
        )
        how = f"with other settings ({', '.join(changed)})" if changed else "by another version of smilevlm"
        raise LayoutError(f"{root} holds synthetic faces made {how}; choose another folder")


def write_parts(
    write: Callable[..., None],
    calls: Sequence[tuple[Any, ...]],
    *,
    num_present: int,
    jobs: int,
    progress: Progress | None,
) -> int:
    """Call `write(*arguments)` for every missing part, in parallel.

    Args:
        write: Writes one part in one piece; importable, since it crosses processes.
        calls: Its arguments, per missing part.
        num_present: Parts that are there already.
        jobs: Processes.
        progress: Called with (parts done, parts in all).

    Returns:
        The number of parts written now.
    """
    from joblib import Parallel, delayed

    done, total = num_present, num_present + len(calls)
    if progress:
        progress(done, total)
    if not calls:
        return 0
    head_model()  # builds the model's cache once, before several processes would
    for _ in Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(write)(*call) for call in calls):
        done += 1
        if progress:
            progress(done, total)
    return len(calls)
