"""Prepared views on disk: written in parallel, resumable, read at random.

A store that is missing, damaged, or made with other settings is a `StoreError`, which says what to do.
"""

from smilevlm.store.frames import LoadedFrame, read_frame
from smilevlm.store.manifest import (
    MANIFEST_NAME,
    BadFile,
    Manifest,
    PrepareSettings,
    Remark,
    differing_settings,
    prepare_settings_from,
    read_json_fields,
    read_manifest,
)
from smilevlm.store.numbering import (
    MIN_FRAMES,
    NUMBERED_AS,
    NumberedAs,
    Numbering,
    counted_remarks,
    read_numbering,
    remark_kind,
)
from smilevlm.store.parts import Sample
from smilevlm.store.prepare import PrepareOutcome, prepare
from smilevlm.store.reader import PreparedSet
from smilevlm.store.records import FrameFile, Phases, Recording
from smilevlm.store.rendering import FaceFinder, sequence_views
from smilevlm.store.work import sample_of

__all__ = [
    "MANIFEST_NAME",
    "MIN_FRAMES",
    "NUMBERED_AS",
    "BadFile",
    "FaceFinder",
    "FrameFile",
    "LoadedFrame",
    "Manifest",
    "NumberedAs",
    "Numbering",
    "Phases",
    "PrepareOutcome",
    "PrepareSettings",
    "PreparedSet",
    "Recording",
    "Remark",
    "Sample",
    "counted_remarks",
    "differing_settings",
    "prepare",
    "prepare_settings_from",
    "read_frame",
    "read_json_fields",
    "read_manifest",
    "read_numbering",
    "remark_kind",
    "sample_of",
    "sequence_views",
]
