"""Result files beside `results.json`: dataclasses to JSON and back, checked field by field against their types."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from smilevlm.errors import ResultError
from smilevlm.files import write_atomically
from smilevlm.results.files import dump_plain, read_text
from smilevlm.results.node import as_relative_path
from smilevlm.results.record import ResultFile

File = TypeVar("File", bound=ResultFile)


def write_record(path: Path, record: ResultFile) -> None:
    """Write a result dataclass in one step; the same record gives the same bytes.

    Raises:
        ResultError: It does not read back as what it is. Nothing is written.
    """
    text = dump_plain(record, str(path))
    _parse(type(record), text, path)
    write_atomically(path, text)


def read_record(path: Path, kind: type[File]) -> File:
    """Read a file that `write_record` wrote.

    Args:
        path: The file.
        kind: What is expected; the default of its `schema_version` is the version that is read.

    Raises:
        ResultError: The file is missing or breaks the schema; names the file and the field.
    """
    return _parse(kind, read_text(path), path)


def relative_file(path: Path, name: str) -> Path:
    """The file that a result file names.

    Raises:
        ResultError: The name leads out of the result file's folder.
    """
    return path.parent / as_relative_path(name, str(path))


def _parse(kind: type[File], text: str, path: Path) -> File:
    from pydantic import TypeAdapter, ValidationError

    try:
        record = TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ResultError(f"{place}: {first['msg'].lower()}", path=path) from None
    expected = next(field.default for field in fields(kind) if field.name == "schema_version")
    if record.schema_version != expected:
        raise ResultError(f"this program reads version {expected}, found {record.schema_version}", path=path)
    return record
