"""The file at the root of every synthetic data set that says what it is; no licensed data set has it."""

MARKER_NAME = "synthesis.json"
