"""One part of a store on disk, a subject's scans or one sequence: an Arrow file and what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from smilevlm.errors import StoreError
from smilevlm.files import folder_in_one_piece
from smilevlm.labels import ActionIntensities
from smilevlm.store.manifest import FORMAT_VERSION, BadFile, Remark, read_fields
from smilevlm.store.records import Recording
from smilevlm.typing import ViewImages

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_NAME = "views.arrow"
_INFO_NAME = "part.json"
_COMPRESSION_LEVEL = 3
_KEPT_APART = ("actions", "unjudged_actions")
"""Fields of the store's own table of actions, which may change without a part being made anew."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One prepared scan or dynamic image without its pixels.

    Args:
        sample_id: Unique in the store.
        subject: Whose face it is.
        expression: Canonical class.
        level: Intensity, 0 where the data set has none.
        labels: Every class that applies; `expression` alone for data sets with one per sample.
        condition: What else the data set says, see `Recording`.
        recording: Sample id of the scan or sequence it was made from.
        first_frame, last_frame: Frame numbers it spans; 0 for a scan.
        digest: sha256 over the mesh files behind it.
        actions: What the face does, of a sequence at its apex; None where that is not recorded, as for one of several
            windows of a sequence, empty where nothing moves.
        unjudged_actions: Codes of actions that nobody looked for: not listed among the actions, and yet perhaps there.
    """

    sample_id: str
    subject: str
    expression: str
    level: int
    labels: tuple[str, ...] = ()
    condition: str = ""
    recording: str = ""
    first_frame: int = 0
    last_frame: int = 0
    digest: str = ""
    actions: ActionIntensities | None = field(default=None, hash=False)
    unjudged_actions: tuple[str, ...] = ()

    @property
    def is_dynamic(self) -> bool:
        """Whether its images are dynamic images of a sequence."""
        return (self.first_frame, self.last_frame) != (0, 0)

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class that applies, one at least."""
        return self.labels or (self.expression,)


@dataclass(frozen=True, kw_only=True)
class PartInfo:
    """What a part holds.

    Args:
        name: Of the part.
        settings_digest: Of the settings it was made with.
        sources: (sample id, digest of the listing of its files) per recording, skipped ones included.
        samples: (sample id, subject, `content_digest`) per prepared sample.
        skipped: Recordings that could not be prepared.
        bad_frames: Frames left out of sequences that could.
        remarks: On recordings that could be prepared.
        labels: (sample id, digest of its labels) per recording, skipped ones included.
    """

    name: str
    settings_digest: str
    sources: tuple[tuple[str, str], ...]
    samples: tuple[tuple[str, str, str], ...]
    skipped: tuple[BadFile, ...]
    bad_frames: tuple[BadFile, ...]
    labels: tuple[tuple[str, str], ...]
    remarks: tuple[Remark, ...]


def part_name(name: str) -> str:
    """A subject's or sequence's name as a folder name of any file system."""
    quoted = quote(name, safe=" +-_.,()")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def labels_digest(recording: Recording) -> str:
    """sha256 over what a recording says beside its files and its actions: subject, classes, intensity, phases."""
    names = [each.name for each in fields(recording) if each.name not in ("frames", *_KEPT_APART)]
    labels = {name: getattr(recording, name) for name in names}
    if recording.phases is not None:
        labels["phases"] = asdict(recording.phases)
    return _json_digest(labels)


def content_digest(sample: Sample, recording: Recording, textures: Sequence[str]) -> str:
    """sha256 over what a sample's images and labels follow from, beside the settings.

    Args:
        sample: With the digest of its mesh files.
        recording: What it was made from.
        textures: Digests of the texture images that were used, in the order of the frames.
    """
    return _json_digest([_labels_of_row(sample), labels_digest(recording), list(textures)])


def _json_digest(values: Any) -> str:  # noqa: ANN401
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def pack(sample: Sample, images: ViewImages) -> dict[str, Any]:
    """The row of one sample in the Arrow file: its labels, the shape of its images, and these as zstd of the bytes."""
    data = _codec().compress(np.ascontiguousarray(images).tobytes(), asbytes=True)
    return {**_labels_of_row(sample), "shape": list(images.shape), "views": data}


def _labels_of_row(sample: Sample) -> dict[str, Any]:
    return {name: value for name, value in asdict(sample).items() if name not in _KEPT_APART}


def write_part(folder: Path, info: PartInfo, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one part in one piece: either the whole part is there, or nothing of it.

    Args:
        folder: Of the part.
        info: What it holds.
        rows: Of `pack`.
    """
    import pyarrow as pa

    schema = _schema()
    with folder_in_one_piece(folder) as scratch:
        with pa.OSFile(str(scratch / _ROWS_NAME), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for row in rows:
                writer.write_batch(pa.RecordBatch.from_pylist([row], schema=schema))
        values = {"format_version": FORMAT_VERSION, **asdict(info)}
        (scratch / _INFO_NAME).write_text(json.dumps(values, indent=1) + "\n")
        for path in scratch.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def read_part_info(folder: Path) -> PartInfo:
    """What a part says of itself."""
    path = folder / _INFO_NAME
    try:
        values = json.loads(path.read_text())
        is_current = bool(values["name"]) and values.get("format_version") == FORMAT_VERSION
        info = read_fields(PartInfo, values) if is_current else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete {folder} and prepare again") from None
    if info is None:
        raise StoreError(
            f"{folder.parent.parent} was prepared by another version of smilevlm, whose stores cannot be gone on "
            "with; choose another folder or delete it"
        )
    return info


def rows_path(folder: Path) -> Path:
    return folder / _ROWS_NAME


def sample_from_row(row: dict[str, Any]) -> Sample:
    """The labels of one row of the Arrow file."""
    return Sample(**{**row, "labels": tuple(row["labels"])})


def decode_views(data: bytes, shape: Sequence[int]) -> ViewImages:
    """The images of one row."""
    num_views, height, width, channels = (int(n) for n in shape)
    size = num_views * height * width * channels
    raw = _codec().decompress(data, decompressed_size=size, asbytes=True)
    return np.frombuffer(raw, np.uint8).reshape(num_views, height, width, channels)


def _codec() -> pa.Codec:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=_COMPRESSION_LEVEL)


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = ("sample_id", "subject", "expression", "condition", "recording", "digest")
    types = dict.fromkeys(texts, pa.string()) | {
        "level": pa.int32(),
        "labels": pa.list_(pa.string()),
        "first_frame": pa.int64(),
        "last_frame": pa.int64(),
        "shape": pa.list_(pa.int32(), 4),
        "views": pa.binary(),
    }
    # In the order of the fields.
    names = [each.name for each in fields(Sample) if each.name not in _KEPT_APART]
    return pa.schema([(name, types[name]) for name in (*names, "shape", "views")])
