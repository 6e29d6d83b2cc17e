"""Settings as the marker of a synthetic data set has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

OMIT_DEFAULT: Mapping[str, bool] = {"later": True}
"""Metadata of a settings field that older sets on disk do not know: it is recorded where it is not the default."""


def settings_record(settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """The values of a settings dataclass and of those within it, by name."""
    values: dict[str, Any] = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        assert each.metadata != OMIT_DEFAULT or each.default is not MISSING
        if each.metadata == OMIT_DEFAULT and value == each.default:
            continue
        values[each.name] = settings_record(value) if is_dataclass(value) else value
    return values
