"""Data set indexes, protocols and subject-independent folds."""

from smilevlm.datasets.check import CheckReport, Count, check_data_set
from smilevlm.datasets.folds import check_shared_subjects, subject_folds, validation_subjects
from smilevlm.datasets.index import DataIndex, Expected, Problem
from smilevlm.datasets.layouts import LAYOUTS, index_data_set
from smilevlm.datasets.leaks import check_leaks
from smilevlm.datasets.protocols import (
    PROTOCOLS,
    EvaluationProtocol,
    find_protocol,
    protocol_folds,
    train_elsewhere_split,
)

__all__ = [
    "LAYOUTS",
    "PROTOCOLS",
    "CheckReport",
    "Count",
    "DataIndex",
    "EvaluationProtocol",
    "Expected",
    "Problem",
    "check_data_set",
    "check_leaks",
    "check_shared_subjects",
    "find_protocol",
    "index_data_set",
    "protocol_folds",
    "subject_folds",
    "train_elsewhere_split",
    "validation_subjects",
]
