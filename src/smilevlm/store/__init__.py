"""Prepared views on disk: written in parallel, resumable, read at random."""

from smilevlm.store.frames import LoadedFrame, read_frame
from smilevlm.store.manifest import BadFile, Manifest, PrepareSettings, Remark, read_manifest
from smilevlm.store.parts import Sample
from smilevlm.store.prepare import PrepareOutcome, prepare
from smilevlm.store.reader import PreparedSet
from smilevlm.store.records import FrameFile, Phases, Recording
from smilevlm.store.work import sample_of

__all__ = [
    "BadFile",
    "FrameFile",
    "LoadedFrame",
    "Manifest",
    "Phases",
    "PrepareOutcome",
    "PrepareSettings",
    "PreparedSet",
    "Recording",
    "Remark",
    "Sample",
    "prepare",
    "read_frame",
    "read_manifest",
    "sample_of",
]
