"""Rig files of NumPy: arrays by name, checked before anything is made of them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from smilevlm.errors import SettingsError

Shape = tuple[str | int, ...]


def read_arrays(path: Path, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file.

    Args:
        path: The file; nothing pickled is read.
        shapes: Per array that must be there its axes; an axis of the same word has the same size everywhere.

    Returns:
        All arrays of the file by name.

    Raises:
        SettingsError: The file cannot be read, or an array is missing, of another shape, or no finite numbers.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, Mapping):
                raise SettingsError(f"{path} holds a single array without a name; expected an archive (numpy.savez)")
            arrays = {name: archive[name] for name in archive}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SettingsError(f"{path} cannot be read as a rig of NumPy arrays: {error}") from None
    check_arrays(path, arrays, shapes)
    return arrays


def check_arrays(path: Path, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Shape]) -> None:
    """Check the arrays of a file, see `read_arrays`.

    Raises:
        SettingsError: An array is missing, of another shape, or no finite numbers.
    """
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise SettingsError(f"{path} has no array {name!r}; it holds {', '.join(arrays) or 'none'}")
        _check_shape(path, name, arrays[name], shape, sizes)


def _check_shape(path: Path, name: str, array: np.ndarray, shape: Shape, sizes: dict[str, int]) -> None:
    wanted = " x ".join(f"{axis}={sizes[axis]}" if axis in sizes else str(axis) for axis in shape)
    fits = array.ndim == len(shape) and all(
        size == (axis if isinstance(axis, int) else sizes.setdefault(axis, size))
        for axis, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise SettingsError(f"{path}: array {name!r} is {' x '.join(map(str, array.shape))}; expected {wanted}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SettingsError(f"{path}: array {name!r} holds values that are no finite numbers")


def check_vertex_numbers(path: Path, name: str, numbers: np.ndarray, num_vertices: int, *, low: int = 0) -> None:
    """Raises:
    SettingsError: A number names a vertex that is not there.
    """
    if numbers.dtype.kind not in "iu":
        raise SettingsError(f"{path}: array {name!r} is of {numbers.dtype}; expected vertex numbers")
    if numbers.size and not (numbers.min() >= low and numbers.max() < num_vertices):
        raise SettingsError(f"{path}: array {name!r} names a vertex that is not there; there are {num_vertices}")
