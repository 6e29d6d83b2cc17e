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

LAYOUTS: dict[str, Callable[[Path], DataIndex]] = {
    "bu3dfe": index_bu3dfe,
    "bu4dfe": index_bu4dfe,
    "bosphorus": index_bosphorus,
    "bp4d": index_bp4d,
    "4dme": index_fourdme,
    "folder": index_folder,
}


def index_data_set(layout: str, root: Path) -> DataIndex:
    """Find the recordings of a data set on disk.

    Raises:
        SettingsError: No layout has this name.
        LayoutError: The folder is missing or holds nothing of the layout.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[layout](root)
