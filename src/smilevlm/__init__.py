"""3D and 4D facial expressions: scans to views, views to embeddings, embeddings to words.

The names below are loaded when first used, so that importing the package is instant and only models need torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from smilevlm.deprecation import renamed_attributes
from smilevlm.extras import explained_imports
from smilevlm.version import __version__

if TYPE_CHECKING:
    from smilevlm.dynamics import approximate_rank_pooling, exact_rank_pooling, rank_pooling_coefficients
    from smilevlm.errors import SmileVlmError
    from smilevlm.experiment import TrainedRun, evaluate, train
    from smilevlm.geometry import Mesh
    from smilevlm.predict import Model, Prediction, find_scans, load, to_frame
    from smilevlm.readers import read_mesh
    from smilevlm.views import render_views

_LAZY_IMPORTS = {
    "Prediction": "smilevlm.predict",
    "Mesh": "smilevlm.geometry",
    "Model": "smilevlm.predict",
    "SmileVlmError": "smilevlm.errors",
    "TrainedRun": "smilevlm.experiment",
    "approximate_rank_pooling": "smilevlm.dynamics",
    "evaluate": "smilevlm.experiment",
    "exact_rank_pooling": "smilevlm.dynamics",
    "find_scans": "smilevlm.predict",
    "load": "smilevlm.predict",
    "rank_pooling_coefficients": "smilevlm.dynamics",
    "read_mesh": "smilevlm.readers",
    "render_views": "smilevlm.views",
    "to_frame": "smilevlm.predict",
    "train": "smilevlm.experiment",
}

__all__ = [
    "Mesh",
    "Model",
    "Prediction",
    "SmileVlmError",
    "TrainedRun",
    "__version__",
    "approximate_rank_pooling",
    "evaluate",
    "exact_rank_pooling",
    "find_scans",
    "load",
    "rank_pooling_coefficients",
    "read_mesh",
    "render_views",
    "to_frame",
    "train",
]


def __getattr__(name: str) -> object:
    if name in _LAZY_IMPORTS:
        with explained_imports():
            return getattr(importlib.import_module(_LAZY_IMPORTS[name]), name)
    return renamed_attributes(__name__, {"Answer": "smilevlm.predict.Prediction"})(name)


def __dir__() -> list[str]:
    return sorted(__all__)
