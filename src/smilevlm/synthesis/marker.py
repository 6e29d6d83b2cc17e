"""The file at the root of every synthetic data set that says what it is; no licensed data set has it."""

from __future__ import annotations

from collections.abc import Mapping

MARKER_NAME = "synthesis.json"
OMIT_DEFAULT: Mapping[str, bool] = {"later": True}
"""Metadata of a settings field that older sets on disk do not know: it is recorded where it is not the default."""
RECORD = "record"
"""Key of a settings field's metadata: a function from its value to what the marker records of it."""
