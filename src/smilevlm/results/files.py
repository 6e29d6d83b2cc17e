"""Result files on disk: written whole or not at all, the same bytes for the same result, checked on reading.

Every function raises `ResultError`, which names the file and the field: where a file is missing, is not JSON or breaks
its schema, and where what is to be written would not read back; nothing is written then.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from smilevlm.errors import ResultError
from smilevlm.files import write_atomically
from smilevlm.results.fields import Record, ResultFile, angle_key, is_relative_path
from smilevlm.results.schema import ExperimentResult

File = TypeVar("File", bound=ResultFile)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class _Timing(Record):
    seconds: Mapping[str, Annotated[float, Field(ge=0.0, le=1e12)]]


def write_results(path: str | os.PathLike[str], result: ExperimentResult) -> None:
    """Write a `results.json`; an existing one is replaced in one step, so a reader never sees half of it.

    Keys are sorted and floats are written as `repr`, which reads back to the same bits.
    """
    write_record(path, result)


def read_results(path: str | os.PathLike[str]) -> ExperimentResult:
    """Read and validate a `results.json`."""
    return read_record(path, ExperimentResult)


def write_record(path: str | os.PathLike[str], record: ResultFile) -> None:
    """Write a result file of any kind in one step; the same record gives the same bytes."""
    text = _to_json(record, str(path))
    # What is written must be readable: the reader's own checks are the only definition of valid.
    _parse_record(text, type(record), path)
    write_atomically(Path(path), text)


def read_record(path: str | os.PathLike[str], kind: type[File]) -> File:
    """Read a file that `write_record` wrote.

    Args:
        path: The file.
        kind: What is expected; the default of its `schema_version` is the version that is read.
    """
    return _parse_record(_read_text(Path(path)), kind, path)


def relative_file(path: Path, name: str) -> Path:
    """The file that a result file names; it must lie in the result file's folder."""
    if not name.strip() or not is_relative_path(name):
        expected = "a relative POSIX path that stays below the result file's folder"
        raise ResultError(f"expected {expected}, found {name!r}", path=path)
    return path.parent / name


def write_timing(path: str | os.PathLike[str], seconds: Mapping[str, float]) -> None:
    """Write durations, named by stage (`fold 0`, `evaluation`), apart from the results: they are never the same twice.

    Args:
        path: The file.
        seconds: Stage to its duration.
    """
    text = _to_json({"seconds": seconds}, str(path))
    validate_json(text, _Timing, path)
    write_atomically(Path(path), text)


def read_timing(path: str | os.PathLike[str]) -> dict[str, float]:
    """Read durations in seconds by stage."""
    text = _read_text(Path(path))
    _load(text, str(path))
    return dict(validate_json(text, _Timing, path).seconds)


def validate_json(text: str, kind: type[T], path: str | os.PathLike[str]) -> T:
    """A dataclass of `Record`s from JSON text; types and ranges are checked strictly, nothing is converted.

    Args:
        text: The JSON.
        kind: The dataclass.
        path: Of the file, for the error.
    """
    try:
        return TypeAdapter(kind).validate_json(text, strict=True, context={})
    except ValidationError as error:
        raise ResultError(_describe(error.errors(include_url=False)[0]), path=path) from None


def _parse_record(text: str, kind: type[File], path: str | os.PathLike[str]) -> File:
    found = _load(text, str(path))
    expected = next(field.default for field in fields(kind) if field.name == "schema_version")
    if not isinstance(found, dict):
        raise ResultError(f"expected an object, found {_shown(found)}", path=path)
    if (version := found.get("schema_version", "none")) != expected:
        hint = f"; run `{kind.WRITTEN_BY}` again" if kind.WRITTEN_BY else ""
        message = f"schema_version: this program reads version {expected}, found {version!r}{hint}"
        raise ResultError(message, path=path)
    return validate_json(text, kind, path)


def _describe(error: ErrorDetails) -> str:
    """The field path of a fault, as `folds[2].accuracy`, and what is wrong there."""
    steps = [step for step in error["loc"] if step != "[key]"]
    context = error.get("ctx", {})
    if error["type"] == "contradiction":
        steps.append(context["place"])
        message = context["message"]
    elif error["type"] in ("missing", "unexpected_keyword_argument"):
        kind = "field" if isinstance(steps[-1], str) else "item"
        message = f"{kind} {steps.pop()!r} is {'missing' if error['type'] == 'missing' else 'unknown'}"
    else:
        message = f"{error['msg'].replace('Input should be', 'expected').lower()}, found {_shown(error['input'])}"
    place = ""
    for step in steps:
        place += f"[{step}]" if isinstance(step, int) else step if step[:1] in ("", "[") else f".{step}"
    place = place.removeprefix(".")
    return f"{place}: {message}" if place else message


def _shown(value: Any) -> str:  # noqa: ANN401
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ResultError("there is no such result file", path=path) from None
    except UnicodeDecodeError as error:
        raise ResultError("expected UTF-8 text", path=path, offset=error.start) from None
    except OSError as error:
        raise ResultError(f"cannot be read: {error.strerror}", path=path) from None


def _load(text: str, file: str) -> object:
    """Parse JSON, without what Python's parser and pydantic's let pass: fields twice, NaN and infinities."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                raise ResultError(f"field {key!r} is there twice in one object", path=file)
            found[key] = value
        return found

    def constant(word: str) -> NoReturn:
        raise ResultError(f"{word} is not a JSON number", path=file)

    def finite(word: str) -> float:
        return number if math.isfinite(number := float(word)) else constant(word)

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=constant, parse_float=finite)
    except json.JSONDecodeError as error:
        raise ResultError(f"not JSON: {error.msg}", path=file, line=error.lineno) from None
    except (RecursionError, ValueError) as error:
        # Python refuses integers of thousands of digits with a bare ValueError.
        raise ResultError(f"not JSON that can be read: {error}", path=file) from None


def _to_json(value: object, file: str) -> str:
    return _dump(_plain(value, "", file), "") + "\n"


def _plain(value: object, place: str, file: str) -> object:
    """Dataclasses and tuples to what JSON knows; anything else is refused, never turned into text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), f"{place}.{field.name}" if place else field.name, file)
            for field in fields(value)
        }
    if isinstance(value, Mapping):
        plain = {}
        for key, item in value.items():
            if isinstance(key, bool) or not isinstance(key, str | int | float):
                raise ResultError(f"{place}: a key must be text or an angle, found {key!r}", path=file)
            name = key if isinstance(key, str) else angle_key(key)
            if name in plain:
                raise ResultError(f"{place}: two keys are spelled {name!r}", path=file)
            plain[name] = _plain(item, f"{place}.{name}", file)
        return plain
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]", file) for index, item in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ResultError(f"{place}: expected a finite number, found {value!r}", path=file)
        return float(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    raise ResultError(f"{place}: {type(value).__name__} has no place in a result file: {value!r}", path=file)


def _dump(value: object, indent: str) -> str:
    """Sorted, indented JSON with lists of plain values on one line: a matrix reads as a matrix, a diff stays short."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{deeper}{json.dumps(k, ensure_ascii=False)}: {_dump(value[k], deeper)}" for k in sorted(value)]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n" + ",\n".join(deeper + _dump(item, deeper) for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
