"""Load `anny` quietly, and its first time in seconds instead of a minute.

`anny` parses 1,100 text files of shape offsets line by line when its cache is built. The same numbers, bit for bit,
come from one NumPy call per file, so that function is replaced while the model is built, and only when its source is
the one this replacement was written for; any other version of `anny` takes its own way.
"""

from __future__ import annotations

import gzip
import hashlib
import inspect
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from smilevlm.caches import is_writable, writable_cache
from smilevlm.errors import SettingsError

_KNOWN_LOADER = "8672c29d9597a9cc84ac221590d13b74cf833b37248e5ae7612aef2c39744f76"
"""sha256 of the source of `anny.models.full_model.load_blend_shape` in anny 0.6.2."""


def load_anny_head() -> Any:  # noqa: ANN401
    """`anny`'s head with all its shapes and facial actions."""
    logging.getLogger("anny").setLevel(logging.ERROR)
    with warnings.catch_warnings(), native_messages_held_back():
        warnings.simplefilter("ignore")
        _choose_cache_of_warp()
        import anny
        from anny.models import full_model

        _choose_cache()
        with _fast_loader(full_model):
            return anny.Anny(
                rig="makehuman-head", topology="head", local_changes="all", facial_actions="all", phenotypes="all"
            )


def _choose_cache_of_warp() -> None:
    """The same for `warp`, which makes its folder when it is imported."""
    base = os.environ.get("XDG_CACHE_HOME")
    own = (Path(base) if base else Path.home() / ".cache") / "warp"
    if "WARP_CACHE_PATH" in os.environ or is_writable(own):
        return
    folder = writable_cache("warp")
    if folder is not None:
        os.environ["WARP_CACHE_PATH"] = str(folder)


def _choose_cache() -> None:
    """Leave `anny` the cache that it has, unless that is empty and cannot be written to."""
    from anny import paths

    own = paths.get_anny_cache_path()
    if own is None or any(own.glob("v*/*.safetensors")) or is_writable(own):
        return
    folder = writable_cache("anny")
    if folder is None:
        raise SettingsError(
            f"{own} cannot be written to, where the head model is kept; set SMILEVLM_CACHE_DIR (or ANNY_CACHE_DIR) to "
            "a folder that can be written to"
        )
    paths.set_anny_cache_path(folder)


def head_cache_files() -> list[Path]:
    """Of `anny`'s cache, none where it has no cache; the model must have been loaded."""
    from anny import paths

    own = paths.get_anny_cache_path()
    return [] if own is None else sorted(own.glob("v*/*.safetensors"))


@contextmanager
def _fast_loader(full_model: Any) -> Iterator[None]:  # noqa: ANN401
    own = full_model.load_blend_shape
    if hashlib.sha256(inspect.getsource(own).encode()).hexdigest() != _KNOWN_LOADER:
        yield
        return
    full_model.load_blend_shape = _load_blend_shape
    try:
        yield
    finally:
        full_model.load_blend_shape = own


def _load_blend_shape(filename: Any, vertices_count: int, world_transformation: Any, dtype: Any) -> Any:  # noqa: ANN401
    import torch

    with gzip.open(filename, "rt") as archive:
        rows = np.array(archive.read().split(), np.float64).reshape(-1, 4)
    vertices = rows[:, 0].astype(np.int64)
    assert len(rows) == 0 or (vertices.min() >= 0 and vertices.max() < vertices_count)
    blend_shape = torch.zeros((vertices_count, 3), dtype=dtype)
    blend_shape[torch.from_numpy(vertices)] = torch.from_numpy(rows[:, 1:].copy()).to(dtype)
    return world_transformation.apply(blend_shape)


@contextmanager
def native_messages_held_back() -> Iterator[None]:
    """Keep what native libraries write to stdout and stderr back, unless the block fails.

    `warp`, which skins the head, prints a banner and, on machines without a GPU, a warning about the driver.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(1), "wb") as out, os.fdopen(os.dup(2), "wb") as error:
        os.dup2(held.fileno(), 1)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            error.write(held.read())
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(out.fileno(), 1)
            os.dup2(error.fileno(), 2)
