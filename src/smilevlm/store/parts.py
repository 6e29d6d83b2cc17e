"""One subject's prepared views on disk: an Arrow file and the digests of what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from smilevlm.errors import StoreError
from smilevlm.files import folder_in_one_piece
from smilevlm.store.manifest import SkippedScan
from smilevlm.store.records import ScanRecord
from smilevlm.typing import ViewImages

_ROWS_NAME = "views.arrow"
_INFO_NAME = "part.json"
_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("expression", pa.string()),
        pa.field("level", pa.int32()),
        pa.field("shape", pa.list_(pa.int32(), 4)),
        pa.field("views", pa.binary()),
    ]
)
_CODEC = "zstd"


@dataclass(frozen=True, kw_only=True)
class PreparedScan:
    """A scan's record, the digest of its file, and its views."""

    record: ScanRecord
    digest: str
    images: ViewImages


@dataclass(frozen=True, kw_only=True)
class PartInfo:
    """What a part holds.

    Args:
        subject: Whose scans.
        settings_digest: Of the settings it was made with.
        sources: (sample id, file name, size in bytes, sha256) per prepared scan.
        skipped: Scans of this subject that could not be prepared.
    """

    subject: str
    settings_digest: str
    sources: tuple[tuple[str, str, int, str], ...]
    skipped: tuple[SkippedScan, ...]


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_part(
    folder: Path,
    *,
    subject: str,
    settings_digest: str,
    scans: Sequence[PreparedScan],
    skipped: Sequence[SkippedScan],
) -> None:
    """Write one subject in one piece: either the whole part is there, or nothing of it."""
    codec = pa.Codec(_CODEC, compression_level=3)
    table = pa.table(
        {
            "sample_id": [s.record.sample_id for s in scans],
            "subject": [s.record.subject for s in scans],
            "expression": [s.record.expression for s in scans],
            "level": [s.record.level for s in scans],
            "shape": [list(s.images.shape) for s in scans],
            "views": [codec.compress(s.images.tobytes(), asbytes=True) for s in scans],
        },
        schema=_SCHEMA,
    )
    info = PartInfo(
        subject=subject,
        settings_digest=settings_digest,
        sources=tuple((s.record.sample_id, s.record.path.name, s.record.path.stat().st_size, s.digest) for s in scans),
        skipped=tuple(skipped),
    )
    with folder_in_one_piece(folder) as scratch:
        with pa.OSFile(str(scratch / _ROWS_NAME), "wb") as sink, pa.ipc.new_stream(sink, _SCHEMA) as writer:
            writer.write_table(table)
        (scratch / _INFO_NAME).write_text(json.dumps(asdict(info), indent=1) + "\n")


def read_part_info(folder: Path) -> PartInfo:
    """Raises:
    StoreError: The part is damaged.
    """
    path = folder / _INFO_NAME
    try:
        values = json.loads(path.read_text())
        return PartInfo(
            subject=values["subject"],
            settings_digest=values["settings_digest"],
            sources=tuple((str(a), str(b), int(c), str(d)) for a, b, c, d in values["sources"]),
            skipped=tuple(SkippedScan(**entry) for entry in values["skipped"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete {folder} and prepare again") from None


def rows_path(folder: Path) -> Path:
    return folder / _ROWS_NAME


def decode_views(data: bytes, shape: Sequence[int]) -> ViewImages:
    """The images of one row."""
    num_views, height, width, channels = (int(n) for n in shape)
    size = num_views * height * width * channels
    raw = pa.Codec(_CODEC).decompress(data, decompressed_size=size, asbytes=True)
    return np.frombuffer(raw, np.uint8).reshape(num_views, height, width, channels)
