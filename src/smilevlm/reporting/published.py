"""The tables that the paper prints, to stand above this project's own rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from smilevlm.errors import ResultError
from smilevlm.labels import MICRO_EXPRESSIONS
from smilevlm.results import Record, validate_json

PUBLISHED_PATH = Path(__file__).parent / "data" / "published.yaml"
PUBLISHED_DATA = "published, real faces"
"""What stands in the data column of every row that is the paper's."""
Supervision = Literal["supervised", "unsupervised"]
PaperTable = Literal["II", "III", "IVa", "IVb"]


@dataclass(frozen=True, kw_only=True)
class PublishedRow(Record):
    """One method of Tables II to IV.

    Attributes:
        reference: Number in the paper's list of references; None for the paper's own method.
        experimental_setting: As printed; None where the table has no such column.
        accuracy: Setting to per cent.
        gain: Setting to what SMILE-VLM is ahead by, in points, as printed: negative where it is behind.
    """

    method: str
    reference: int | None = None
    supervision: Supervision
    experimental_setting: str | None = None
    accuracy: dict[str, float]
    gain: dict[str, float] | None = None

    @property
    def cited(self) -> str:
        """As the paper cites it: `MiFaR [48]`."""
        return f"{self.method} (the paper)" if self.reference is None else f"{self.method} [{self.reference}]"


@dataclass(frozen=True, kw_only=True)
class PublishedComparison(Record):
    """One of the Tables II to IV, or a part of it; the last row is SMILE-VLM."""

    table: PaperTable
    title: str
    settings: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True, kw_only=True)
class PublishedProfile(Record):
    """One model or profile of Table V.

    Attributes:
        f1: Class to a fraction.
        accuracy: Class to per cent.
    """

    profile: str
    reference: int | None = None
    supervision: Supervision
    f1: dict[str, float]
    average_f1: float
    accuracy: dict[str, float]
    average_accuracy: float

    @property
    def cited(self) -> str:
        """As the paper cites it: `Left [56]`."""
        return f"{self.profile}, the paper" if self.reference is None else f"{self.profile} [{self.reference}]"


@dataclass(frozen=True, kw_only=True)
class PublishedMicroExpressions(Record):
    """Table V."""

    table: Literal["V"]
    title: str
    rows: tuple[PublishedProfile, ...]


@dataclass(frozen=True, kw_only=True)
class PublishedStatement(Record):
    """What the paper says of Figs. 2 and 3, whose own numbers are not printed.

    Attributes:
        gain: In points, where a number is printed.
    """

    where: str
    says: str
    setting: str | None = None
    gain: float | None = None


@dataclass(frozen=True, kw_only=True)
class Published(Record):
    """All that the paper prints of results."""

    paper: str
    arxiv_id: str
    comparisons: tuple[PublishedComparison, ...]
    micro_expressions: PublishedMicroExpressions
    statements: tuple[PublishedStatement, ...]

    @property
    def source(self) -> str:
        """For captions."""
        return f"{self.paper}, arXiv {self.arxiv_id}"

    def comparison(self, *settings: str) -> PublishedComparison:
        """The table of exactly these settings."""
        return next(each for each in self.comparisons if each.settings == settings)


def load_published(path: Path = PUBLISHED_PATH) -> Published:
    """Read the published tables.

    Raises:
        ResultError: The file is missing, is no YAML, breaks the schema, or a row lacks a number; names the file.
    """
    try:
        text = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise ResultError(f"the published tables cannot be read: {error}", path=path) from None
    # By way of JSON, where a list is what a tuple is read from.
    published = validate_json(text, Published, path)
    for comparison in published.comparisons:
        for row in comparison.rows:
            _check(row.accuracy, comparison.settings, f"table {comparison.table}, {row.cited}", 100.0, path)
    for profile in published.micro_expressions.rows:
        _check(profile.f1, MICRO_EXPRESSIONS, f"table V, {profile.cited}, f1", 1.0, path)
        _check(profile.accuracy, MICRO_EXPRESSIONS, f"table V, {profile.cited}, accuracy", 100.0, path)
    return published


def _check(values: dict[str, float], names: tuple[str, ...], place: str, highest: float, path: Path) -> None:
    if set(values) != set(names):
        raise ResultError(f"{place}: expected {', '.join(names)}, found {', '.join(values)}", path=path)
    for name, value in values.items():
        if not 0.0 < value <= highest:
            raise ResultError(f"{place}: {name} is {value:g}, expected above 0 and at most {highest:g}", path=path)
