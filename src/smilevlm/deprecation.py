"""Names of earlier versions: they work for one release, with a warning that says the name of today."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

_INSIDE = (str(Path(__file__).parent), "<frozen ")


def warn_renamed(old: str, new: str) -> None:
    """Say that a name is deprecated, at the line outside this package that used it."""
    frame = sys._getframe()
    while frame.f_code.co_filename.startswith(_INSIDE) and frame.f_back is not None:
        frame = frame.f_back
    warnings.warn_explicit(
        f"{old} is deprecated and will be removed in the next release; use {new}",
        FutureWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def renamed_attributes(module: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """A `__getattr__` for a module whose names have moved.

    Args:
        module: Its own name.
        names: Old name to the new one, as `package.module.name`.
    """

    def getattribute(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", names[name])
        home, _, attribute = names[name].rpartition(".")
        return getattr(importlib.import_module(home), attribute)

    return getattribute
