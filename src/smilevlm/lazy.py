"""Names of a package that are loaded when they are first used, so that importing it stays light."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def lazy_attributes(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """A `__getattr__` for a package, see PEP 562.

    Args:
        package: Its own name.
        modules: Name to the module of the package that has it.
    """

    def getattribute(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return getattribute
