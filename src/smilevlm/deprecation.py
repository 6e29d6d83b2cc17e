"""Names of earlier versions: they work for one release, with a warning that says the name of today."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping


def warn_renamed(old: str, new: str) -> None:
    """Say that a name is deprecated."""
    warnings.warn(
        f"{old} is deprecated and will be removed in the next release; use {new}", FutureWarning, stacklevel=3
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
