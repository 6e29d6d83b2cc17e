"""The weights in the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

DEFAULT = "default"
"""What `load` takes for them."""


def bundled_folder() -> Path:
    """The folder of the bundled model: the same files that every trained fold has, and its model card."""
    return Path(str(resources.files("smilevlm.predict").joinpath("weights")))
