"""Excel workbooks (`.xlsx`) as rows of named cells, and back. openpyxl is loaded on first use."""

from __future__ import annotations

import datetime
import io
import itertools
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from smilevlm.errors import MeshError, TableError
from smilevlm.files import write_atomically
from smilevlm.readers.archives import read_file

if TYPE_CHECKING:
    from openpyxl import Workbook

CellValue = str | int | float | bool | datetime.datetime | datetime.date | datetime.time | datetime.timedelta | None
_TIMES = (datetime.date, datetime.time, datetime.timedelta)

MAX_WORKBOOK_BYTES = 2**24
MAX_UNPACKED_BYTES = 2**26
MAX_TAGS = 2_000_000
"""Opening and closing ones in all parts; each costs the parser some 200 bytes of memory."""
MAX_UNPACKED_RATIO = 400
MAX_PARTS = 10_000
MAX_ROWS = 100_000
MAX_COLUMNS = 512

# What zipfile, the XML parser and openpyxl raise on broken bytes.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, ParseError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, EOFError, NotImplementedError, RuntimeError, OSError,
)  # fmt: skip
_TYPE_DEFINITION = re.compile(rb"<\0?!\0?D\0?O\0?C\0?T\0?Y\0?P\0?E")
_MODIFIED = re.compile(rb"(<dcterms:modified[^>]*>)[^<]*")
_LONG_AGO = datetime.datetime(2000, 1, 1)
_FIRST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """One row of a sheet: its number in the spreadsheet program, and its values by header, None for empty cells."""

    number: int
    cells: Mapping[str, CellValue]


def read_workbook(path: str | os.PathLike[str], *, sheet: str | None = None) -> tuple[SheetRow, ...]:
    """Read one sheet, whose first row that is not empty holds the headers.

    Headers lose surrounding blanks; a second column of one name becomes `name.1`, a column without a name is left out
    when it is empty and becomes `column 7` when it is not. Empty rows are passed over. Of a formula the value that the
    spreadsheet program stored is taken.

    Args:
        path: An `.xlsx` file.
        sheet: Its name, or None for the first.
    """
    path = Path(path)
    try:
        data = read_file(path)
    except MeshError as error:
        raise TableError(error.message, path=path) from error
    parts = _checked_parts(data, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl remarks on styles and dates that it does not know
        try:
            rows = _value_rows(parts, path, sheet)
        except _BROKEN as error:
            raise TableError(f"not a readable workbook: {type(error).__name__}: {error}", path=path) from error
    return _named(rows, path)


def _checked_parts(data: bytes, path: Path) -> io.BytesIO:
    """The workbook's XML as an archive without compression: what is in it has been counted and looked at."""
    if len(data) > MAX_WORKBOOK_BYTES:
        raise TableError(f"{len(data)} bytes, at most {MAX_WORKBOOK_BYTES} are read", path=path)
    checked, num_tags = io.BytesIO(), 0
    budget = min(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * max(len(data), 1024))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(checked, "w") as copy:
            infos = {info.filename: info for info in archive.infolist()}
            if len(infos) > MAX_PARTS:
                raise TableError(f"{len(infos)} parts in the workbook, at most {MAX_PARTS}", path=path)
            for name, info in infos.items():
                if not name.lower().endswith((".xml", ".rels")):
                    continue  # pictures and macros
                content = _part(archive, info, path, limit=budget + 1)
                budget -= len(content)
                num_tags += content.count(b"<")
                if budget < 0 or num_tags > MAX_TAGS:
                    raise TableError(f"{len(data)} bytes unpack to far too much; refused", path=path)
                copy.writestr(zipfile.ZipInfo(name), content)
    except _BROKEN as error:
        raise TableError(f"not a readable workbook: {error}", path=path) from error
    checked.seek(0)
    return checked


def _part(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, *, limit: int) -> bytes:
    """One part, cut at `limit` bytes whatever size the archive announces."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TableError(f"{info.filename[:80]!r} is packed by method {info.compress_type}", path=path)
    with archive.open(info) as part:
        content = part.read(limit)
    if _TYPE_DEFINITION.search(content):
        raise TableError(f"{info.filename[:80]!r} has a document type, which workbooks never do", path=path)
    return content


def _value_rows(parts: io.BytesIO, path: Path, sheet: str | None) -> list[tuple[int, tuple[CellValue, ...]]]:
    """Rows with something in them, by their number."""
    from openpyxl import load_workbook

    workbook = load_workbook(parts, read_only=True, data_only=True, keep_links=False)
    try:
        worksheet = _find_sheet(workbook, path, sheet)
        worksheet.reset_dimensions()  # the size that a sheet claims may be a lie
        rows: list[tuple[int, tuple[CellValue, ...]]] = []
        for number, values in enumerate(worksheet.iter_rows(values_only=True), 1):
            if number > MAX_ROWS:
                raise TableError(f"more than {MAX_ROWS} rows", path=path, line=number)
            width = max((column for column, value in enumerate(values, 1) if value is not None), default=0)
            if width > MAX_COLUMNS:
                raise TableError(f"{width} columns, at most {MAX_COLUMNS}", path=path, line=number)
            if width:
                rows.append((number, tuple(_plain(value) for value in values[:width])))
        return rows
    finally:
        workbook.close()


def _plain(value: object) -> CellValue:
    if value is None or isinstance(value, (str, int, float, *_TIMES)):
        return value
    return str(value)  # a formula over several cells, which has no stored value


def _find_sheet(workbook: Workbook, path: Path, sheet: str | None):  # noqa: ANN202  (openpyxl has several kinds)
    if not workbook.worksheets:
        raise TableError("a workbook without a sheet", path=path)
    if sheet is None:
        return workbook.worksheets[0]
    for candidate in workbook.worksheets:
        if candidate.title == sheet:
            return candidate
    names = ", ".join(repr(candidate.title) for candidate in workbook.worksheets[:20])
    raise TableError(f"no sheet {sheet!r}, there are {names}", path=path)


def _named(rows: Sequence[tuple[int, tuple[CellValue, ...]]], path: Path) -> tuple[SheetRow, ...]:
    if not rows:
        raise TableError("an empty sheet, expected headers in its first row", path=path)
    width = max(len(values) for _, values in rows)
    padded = [(number, values + (None,) * (width - len(values))) for number, values in rows]
    used = [column for column in range(width) if any(values[column] is not None for _, values in padded)]
    headers = _headers({column: padded[0][1][column] for column in used})
    return tuple(
        SheetRow(number=number, cells={header: values[column] for column, header in headers.items()})
        for number, values in padded[1:]
    )


def _headers(written: Mapping[int, CellValue]) -> dict[int, str]:
    """One distinct name per column, by the column's place."""
    names: dict[int, str] = {}
    for column, value in written.items():
        base = name = ("" if value is None else str(value).strip()) or f"column {column + 1}"
        repeat = 0
        while name in names.values():
            repeat += 1
            name = f"{base}.{repeat}"
        names[column] = name
    return names


def write_workbook(
    path: str | os.PathLike[str],
    headers: Sequence[str | None],
    rows: Iterable[Sequence[CellValue]],
    *,
    sheet: str = "Sheet1",
) -> None:
    """Write one sheet; the same rows give the same bytes, whenever they are written.

    Args:
        path: The `.xlsx` file, replaced in one piece; its folder is made.
        headers: The first row.
        rows: Below it, each as long as the headers.
        sheet: The sheet's name.
    """
    from openpyxl import Workbook
    from openpyxl.utils.exceptions import IllegalCharacterError

    workbook = Workbook()
    workbook.properties.created = _LONG_AGO
    worksheet = workbook.worksheets[0]
    worksheet.title = sheet
    for number, row in enumerate(itertools.chain([headers], rows), 1):
        if len(row) != len(headers):
            raise TableError(f"{len(row)} cells, expected {len(headers)}", path=path, line=number)
        try:
            worksheet.append(list(row))
        except (ValueError, TypeError, IllegalCharacterError) as error:
            raise TableError(f"a cell cannot be written: {error}", path=path, line=number) from error
        for cell in worksheet[number]:
            if cell.data_type == "f":  # a text that begins with "=" is a text
                cell.data_type = "s"
    file = io.BytesIO()
    workbook.save(file)
    write_atomically(Path(path), _without_times(file))


def _without_times(written: io.BytesIO) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(written) as archive, zipfile.ZipFile(result, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "docProps/core.xml":
                content = _MODIFIED.sub(rb"\g<1>" + _LONG_AGO.isoformat().encode() + b"Z", content)
            info = zipfile.ZipInfo(name, date_time=_FIRST_ZIP_DATE)
            copy.writestr(info, content, compress_type=zipfile.ZIP_DEFLATED)
    return result.getvalue()
