"""Optional dependencies: which extra of the package brings which library, and the message where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from smilevlm.errors import MissingExtraError

EXTRAS = {
    "anny": "synthesis",
    "captum": "train",
    "datasets": "train",
    "distributed": "distributed",
    "gradio": "web",
    "joblib": "train",
    "jsonargparse": "train",
    "matplotlib": "reports",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "openai": "prompts",
    "openpyxl": "train",
    "pandas": "reports",
    "peft": "towers",
    "pxr": "usd",
    "pyarrow": "train",
    "pytorch_lightning": "train",
    "sklearn": "train",
    "tensorboard": "train",
    "threadpoolctl": "train",
    "timm": "timm",
    "trimesh": "web",
}
"""Module that is imported to the extra that installs it."""


@contextmanager
def explained_imports() -> Iterator[None]:
    """Say which extra is missing where the block imports a library that is not installed.

    Raises:
        MissingExtraError: It names the library and the extra to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        message = f"this needs {module}, which is not installed: pip install 'smilevlm[{EXTRAS[module]}]'"
        raise MissingExtraError(message) from error
