"""Which layouts can be read, in one visible place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from smilevlm.datasets.bosphorus import index_bosphorus
from smilevlm.datasets.bp4d import index_bp4d
from smilevlm.datasets.bu3dfe import index_bu3dfe
from smilevlm.datasets.bu4dfe import index_bu4dfe
from smilevlm.datasets.folder import index_folder
from smilevlm.datasets.fourdme import index_fourdme
from smilevlm.datasets.index import DataIndex
from smilevlm.errors import SettingsError
from smilevlm.store import NUMBERED_AS, NumberedAs

LAYOUTS: dict[str, Callable[[Path], DataIndex]] = {
    "bu3dfe": index_bu3dfe,
    "bu4dfe": index_bu4dfe,
    "bosphorus": index_bosphorus,
    "bp4d": index_bp4d,
    "4dme": index_fourdme,
    "folder": index_folder,
}


def index_data_set(layout: str, root: Path, *, numbered_as: NumberedAs = "auto") -> DataIndex:
    """Find the recordings of a data set on disk; `numbered_as` is for the layout `folder` alone, see `index_folder`.

    Raises:
        SettingsError: No layout has this name, or `numbered_as` is given for one that says itself what is a sequence.
        LayoutError: The folder is missing or holds nothing of the layout.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if numbered_as not in NUMBERED_AS:
        raise SettingsError(f"numbered_as is {numbered_as!r}, expected one of {', '.join(NUMBERED_AS)}")
    if layout == "folder":
        return index_folder(root, numbered_as=numbered_as)
    if numbered_as != "auto":
        raise SettingsError(f"--scans and --sequence are for the layout folder; {layout} says what is a sequence")
    return LAYOUTS[layout](root)
