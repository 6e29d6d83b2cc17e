"""What all synthetic data sets share: a marked folder of their own, and one job per part, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smilevlm.errors import LayoutError, SettingsError
from smilevlm.files import write_atomically
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.marker import MARKER_NAME
from smilevlm.synthesis.people import TEMPLATE_SEED

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
    parts: Sequence[tuple[Path, tuple[Any, ...]]],
    *,
    jobs: int,
    progress: Progress | None,
) -> int:
    """Call `write(*arguments)` for every part whose folder is missing, in parallel.

    Args:
        write: Writes one part in one piece; importable, since it crosses processes.
        parts: Folder and arguments of each; a part whose folder is there is complete.
        jobs: Processes.
        progress: Called with (parts done, parts in all).

    Returns:
        The number of parts written now.
    """
    from joblib import Parallel, delayed

    calls = [arguments for folder, arguments in parts if not folder.is_dir()]
    done, total = len(parts) - len(calls), len(parts)
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


def subject_names(num_subjects: int, female_share: float, *, num_digits: int = 3) -> list[str]:
    """F001, F002, ..., M001, ... with a data set's share of women."""
    num_women = round(female_share * num_subjects)
    counts = {"F": num_women, "M": num_subjects - num_women}
    return [f"{sex}{n + 1:0{num_digits}d}" for sex, count in counts.items() for n in range(count)]


def check_seed(seed: int) -> None:
    """Raises:
    SettingsError: The seed is negative or the template's.
    """
    if seed < 0 or seed == TEMPLATE_SEED:
        raise SettingsError(f"seed is {seed}; expected 0 or more, and not the template's {TEMPLATE_SEED}")


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Check one whole number.

    Raises:
        SettingsError: It is out of range.
    """
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value}; expected {low} to {high}")
