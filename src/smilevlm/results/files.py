"""Result files on disk: written whole or not at all, and the same bytes for the same result."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import NoReturn

from smilevlm.errors import ResultError
from smilevlm.files import write_atomically
from smilevlm.results.check import check_result
from smilevlm.results.decode import decode_result
from smilevlm.results.node import Node, angle_key
from smilevlm.results.schema import ExperimentResult


def write_results(path: str | os.PathLike[str], result: ExperimentResult) -> None:
    """Write a result file; an existing one is replaced in one step, so a reader never sees half of it.

    Keys are sorted and floats are written as `repr`, which reads back to the same bits.

    Raises:
        ResultError: The result breaks the schema. Nothing is written.
    """
    text = dump_plain(result, str(path))
    # What is written must be readable: the reader's own checks are the only definition of valid.
    _parse(text, str(path))
    write_atomically(Path(path), text)


def read_results(path: str | os.PathLike[str]) -> ExperimentResult:
    """Read and validate a result file.

    Raises:
        ResultError: The file is not there, is not JSON, or breaks the schema; names the file and the field.
    """
    return _parse(read_text(Path(path)), str(path))


def write_timing(path: str | os.PathLike[str], seconds: Mapping[str, float]) -> None:
    """Write durations, named by stage (`fold 0`, `evaluation`), apart from the results: they are never the same twice.

    Raises:
        ResultError: A duration is negative or not finite.
    """
    text = _dump({"seconds": _plain(seconds, "seconds", str(path))}, "") + "\n"
    _parse_timing(text, str(path))
    write_atomically(Path(path), text)


def read_timing(path: str | os.PathLike[str]) -> dict[str, float]:
    """Read durations in seconds by stage.

    Raises:
        ResultError: The file is not there or breaks the schema.
    """
    return _parse_timing(read_text(Path(path)), str(path))


def dump_plain(value: object, file: str) -> str:
    """A dataclass as JSON text: sorted keys, floats as `repr`, lists of plain values on one line.

    Raises:
        ResultError: It holds something that has no place in a result file.
    """
    return _dump(_plain(value, "", file), "") + "\n"


def _parse(text: str, file: str) -> ExperimentResult:
    result = decode_result(Node(value=_load(text, file), place="", file=file))
    check_result(result, file)
    return result


def _parse_timing(text: str, file: str) -> dict[str, float]:
    seconds = Node(value=_load(text, file), place="", file=file).fields(["seconds"])["seconds"]
    return {name: node.number(0.0, 1e12) for name, node in seconds.members().items()}


def read_text(path: Path) -> str:
    """A result file's text.

    Raises:
        ResultError: It is not there, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ResultError("there is no such result file", path=path) from None
    except UnicodeDecodeError as error:
        raise ResultError("expected UTF-8 text", path=path, offset=error.start) from None
    except OSError as error:
        raise ResultError(f"cannot be read: {error.strerror}", path=path) from None


def _load(text: str, file: str) -> object:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                raise ResultError(f"field {key!r} is there twice in one object", path=file)
            found[key] = value
        return found

    def constant(word: str) -> NoReturn:
        raise ResultError(f"{word} is not a JSON number", path=file)

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise ResultError(f"not JSON: {error.msg}", path=file, line=error.lineno) from None
    except (RecursionError, ValueError) as error:
        # Python refuses integers of thousands of digits with a bare ValueError.
        raise ResultError(f"not JSON that can be read: {error}", path=file) from None


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
