"""The one writer of synthetic data sets: a marked folder of their own, and one job per part, resumable.

A layout says which parts it has (a folder per subject or recording) and how the files of one are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from smilevlm.errors import LayoutError, SettingsError
from smilevlm.files import folder_in_one_piece, write_atomically
from smilevlm.labels import ActionIntensities
from smilevlm.parallel import ProgressCallback, parallel_map
from smilevlm.readers import RecordedActions
from smilevlm.synthesis.face_model import build_head_cache
from smilevlm.synthesis.marker import MARKER_NAME, OMIT_DEFAULT, RECORD
from smilevlm.synthesis.people import TEMPLATE_SEED
from smilevlm.synthesis.population import DEFAULT, Population
from smilevlm.synthesis.recording import gather_actions, record_part


@dataclass(frozen=True, kw_only=True)
class DataSetSettings:
    """What to write. Every layout of a licensed data set has these, beside its own.

    Args:
        num_subjects: People.
        seed: Same seed, same bytes, whatever the number of processes.
        population: Which people there are.
    """

    MAX_SUBJECTS: ClassVar[int] = 999
    num_subjects: int
    seed: int = 0
    population: Population = field(default=DEFAULT, metadata=OMIT_DEFAULT)

    def __post_init__(self) -> None:
        check_range("num_subjects", self.num_subjects, 1, self.MAX_SUBJECTS)
        check_seed(self.seed)


class Part(Protocol):
    """What is written in one piece: a subject, a sequence or a clip."""

    @property
    def path(self) -> str:
        """Its folder below the root."""
        ...


@dataclass(frozen=True, kw_only=True)
class SubjectFolder:
    """A part that is one subject.

    Args:
        number: Of the person, from 0.
        path: The subject's name.
    """

    number: int
    path: str


_Settings = TypeVar("_Settings")
_Part = TypeVar("_Part", bound=Part)


@dataclass(frozen=True, kw_only=True)
class Layout(Generic[_Settings, _Part]):
    """How a data set stores its faces.

    Args:
        name: As the marker has it.
        plan: The parts to write.
        write: Writes one part: (root, folder that gets the part's path when it is complete, part, settings). Returns
            what the face does in each of its scans and sequences (at the apex), by the index's sample id.
        contents: What a complete copy holds beside `num_subjects` and `num_recordings`, for the marker; None for a
            layout whose copies need no such list.
        write_shared: Writes what lies beside the parts.
        judged: Actions of `NOT_IN_ARKIT` that it records wherever its faces do them.
    """

    name: str
    plan: Callable[[_Settings], Sequence[_Part]]
    write: Callable[[Path, Path, _Part, _Settings], Mapping[str, ActionIntensities | RecordedActions]]
    contents: Callable[[_Settings, Sequence[_Part]], Mapping[str, Any]] | None = None
    write_shared: Callable[[Path, _Settings, Sequence[_Part]], None] | None = None
    judged: tuple[str, ...] = ()

    def synthesize(
        self, root: Path, settings: _Settings, *, jobs: int = 1, progress: ProgressCallback | None = None
    ) -> int:
        """Write the data set; parts already there are left alone, so an interrupted run goes on.

        Args:
            root: Folder to write; made if missing.
            settings: What to write.
            jobs: Processes.
            progress: Called with (parts done, parts in all).

        Returns:
            The number of parts written now.

        Raises:
            LayoutError: The folder holds something else, or faces made with other settings.
        """
        parts = self.plan(settings)
        claim_folder(root, self.name, settings_record(settings), contents=self._contents(settings, parts))
        if self.write_shared is not None:
            self.write_shared(root, settings, parts)
        return self.write_parts(root, settings, parts, jobs=jobs, progress=progress)

    def write_parts(
        self,
        root: Path,
        settings: _Settings,
        parts: Sequence[_Part],
        *,
        jobs: int,
        progress: ProgressCallback | None = None,
    ) -> int:
        """Write those of some parts that are missing; see `synthesize`."""
        calls = [(root, part, settings) for part in parts if not (root / part.path).is_dir()]
        num_done = len(parts) - len(calls)
        if progress:
            progress(num_done, len(parts))
        if calls:
            build_head_cache()
        for _ in parallel_map(self.write_part, calls, jobs=jobs, progress=progress, num_done=num_done, ordered=False):
            pass
        gather_actions(root)
        return len(calls)

    def write_part(self, root: Path, part: _Part, settings: _Settings) -> None:
        """Write one part's folder in one piece."""
        with folder_in_one_piece(root / part.path) as folder:
            record_part(root, part.path, self.write(root, folder, part, settings), judged=self.judged)

    def _contents(self, settings: _Settings, parts: Sequence[_Part]) -> dict[str, Any] | None:
        if self.contents is None:
            return None
        assert isinstance(settings, DataSetSettings)
        counts = {"num_subjects": settings.num_subjects, "num_recordings": len(parts), "missing": []}
        return counts | dict(self.contents(settings, parts))


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
    if found == identity:
        return
    if found.get("layout") != layout:
        raise LayoutError(f"{root} holds synthetic faces in the layout {found.get('layout')}; choose another folder")
    keys = (identity.keys() | found.keys()) - {"contents"}
    changed = sorted(key for key in keys if identity.get(key) != found.get(key))
    how = f"with other settings ({', '.join(changed)})" if changed else "by another version of smilevlm"
    if "rigs" in changed:
        how += "; rigs change with their files and, from version to version, with how far their actions move"
    raise LayoutError(f"{root} holds synthetic faces made {how}; choose another folder")


def settings_record(settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """The values of a settings dataclass and of those within it, by name."""
    values: dict[str, Any] = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        may_be_omitted = OMIT_DEFAULT.items() <= each.metadata.items()
        assert not may_be_omitted or each.default is not MISSING
        if may_be_omitted and value == each.default:
            continue
        if RECORD in each.metadata:
            value = each.metadata[RECORD](value)
        values[each.name] = settings_record(value) if is_dataclass(value) else value
    return values


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
    """Raises:
    SettingsError: The setting is out of range.
    """
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value}; expected {low} to {high}")
