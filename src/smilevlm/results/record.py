"""What the dataclasses of result files beside `results.json` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


class Record:
    """Base of a dataclass that is part of a result file: no unknown fields, no infinities, no converted types."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False, "strict": True}


@dataclass(frozen=True, kw_only=True)
class ResultFile(Record):
    """Base of the dataclass that is the whole of a result file; each sets its version as the default."""

    schema_version: int
