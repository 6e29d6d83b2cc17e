"""Data set indexes, protocols and subject-independent folds."""

from smilevlm.datasets.folds import refuse_shared_subjects, subject_folds, validation_subjects
from smilevlm.datasets.index import DataIndex
from smilevlm.datasets.layouts import LAYOUTS, find_layout
from smilevlm.datasets.protocols import PROTOCOLS, EvaluationProtocol, find_protocol

__all__ = [
    "LAYOUTS",
    "PROTOCOLS",
    "DataIndex",
    "EvaluationProtocol",
    "find_layout",
    "find_protocol",
    "refuse_shared_subjects",
    "subject_folds",
    "validation_subjects",
]
