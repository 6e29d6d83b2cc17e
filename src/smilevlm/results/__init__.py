"""The result file: its schema, and how it is written and read."""

from smilevlm.results.check import class_f1, class_recall
from smilevlm.results.files import read_results, read_timing, write_results, write_timing
from smilevlm.results.schema import (
    LEVELS,
    MAX_EXAMPLES,
    PAIRING_MODES,
    SCHEMA_VERSION,
    ConfusionMatrix,
    ControlResult,
    Example,
    ExperimentResult,
    FoldProposals,
    FoldResult,
    FoldsSummary,
    Interval,
    PairingMode,
    PairingTeacher,
    Spread,
    honest_pairing_name,
)

__all__ = [
    "LEVELS",
    "MAX_EXAMPLES",
    "PAIRING_MODES",
    "SCHEMA_VERSION",
    "ConfusionMatrix",
    "ControlResult",
    "Example",
    "ExperimentResult",
    "FoldProposals",
    "FoldResult",
    "FoldsSummary",
    "Interval",
    "PairingMode",
    "PairingTeacher",
    "Spread",
    "class_f1",
    "class_recall",
    "honest_pairing_name",
    "read_results",
    "read_timing",
    "write_results",
    "write_timing",
]
