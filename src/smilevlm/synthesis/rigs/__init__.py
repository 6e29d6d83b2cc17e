"""Head models behind one interface: people drawn at random, facial actions in, heads out.

`rig.Rig` says what a head model gives; `loading.load_rig` makes one of a word or a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smilevlm.lazy import lazy_attributes

if TYPE_CHECKING:
    from smilevlm.synthesis.rigs.loading import load_rig, load_rigs
    from smilevlm.synthesis.rigs.rig import ARKIT_ACTIONS, Rig, RigSurface

_LAZY_IMPORTS = {
    "ARKIT_ACTIONS": "rig", "Rig": "rig", "RigSurface": "rig", "load_rig": "loading", "load_rigs": "loading",
}  # fmt: skip

__all__ = ["ARKIT_ACTIONS", "Rig", "RigSurface", "load_rig", "load_rigs"]

__getattr__ = lazy_attributes(__name__, _LAZY_IMPORTS)
