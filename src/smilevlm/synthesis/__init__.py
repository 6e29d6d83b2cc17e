"""Synthetic faces on disk, in the licensed data sets' own layouts. Nothing here needs a licensed file."""

from smilevlm.synthesis.marker import MARKER_NAME

__all__ = ["MARKER_NAME"]
