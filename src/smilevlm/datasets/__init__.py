"""Data set indexes, protocols and subject-independent folds."""

from smilevlm.datasets.folds import refuse_shared_subjects, subject_folds, validation_subjects
from smilevlm.datasets.index import DataIndex, Expected, Problem
from smilevlm.datasets.layouts import LAYOUTS, index_data_set
from smilevlm.datasets.protocols import PROTOCOLS, EvaluationProtocol, find_protocol

__all__ = [
    "LAYOUTS",
    "PROTOCOLS",
    "DataIndex",
    "EvaluationProtocol",
    "Expected",
    "Problem",
    "find_protocol",
    "index_data_set",
    "refuse_shared_subjects",
    "subject_folds",
    "validation_subjects",
]
