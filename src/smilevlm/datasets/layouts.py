"""Which layouts can be read, in one visible place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from smilevlm.datasets.bu3dfe import index_bu3dfe, read_bu3dfe_scan
from smilevlm.datasets.index import DataIndex
from smilevlm.errors import SettingsError
from smilevlm.store.prepare import ReadScan


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a data set is found on disk and how one of its scans is read."""

    index: Callable[[Path], DataIndex]
    read_scan: ReadScan
    read_textured_scan: ReadScan


LAYOUTS: dict[str, Layout] = {
    "bu3dfe": Layout(
        index=index_bu3dfe, read_scan=read_bu3dfe_scan, read_textured_scan=partial(read_bu3dfe_scan, load_texture=True)
    ),
}


def find_layout(name: str) -> Layout:
    """Raises:
    SettingsError: No layout has this name.
    """
    if name not in LAYOUTS:
        raise SettingsError(f"no layout {name!r}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
