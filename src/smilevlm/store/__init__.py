"""Prepared views on disk: written in parallel, resumable, read at random."""

from smilevlm.store.manifest import Manifest, PrepareSettings, SkippedScan, read_manifest
from smilevlm.store.prepare import PrepareOutcome, prepare
from smilevlm.store.reader import PreparedSet, Sample
from smilevlm.store.records import ScanRecord

__all__ = [
    "Manifest",
    "PrepareOutcome",
    "PrepareSettings",
    "PreparedSet",
    "Sample",
    "ScanRecord",
    "SkippedScan",
    "prepare",
    "read_manifest",
]
