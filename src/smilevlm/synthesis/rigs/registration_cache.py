"""Registrations between rigs, kept on disk: each costs seconds, and every process of a run needs them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from smilevlm.caches import writable_cache
from smilevlm.files import locked, write_atomically

Arrays = Mapping[str, np.ndarray]
_DIGEST_BYTES = 32
_PACKAGES = ("smilevlm", "anny", "numpy", "scipy", "torch")
_ROOMS = ("geometry", "labels", "synthesis")
_log = logging.getLogger("smilevlm")


def cached_arrays(file: Path, identities: Sequence[str], make: Callable[[], Arrays]) -> Arrays:
    """The arrays that `make` gives, from the cache where they were made before.

    One process makes them, others wait for it. An entry is found by the contents of `file`, `identities`, the sources
    of `_ROOMS` and the versions of the packages that decide the numbers. A damaged entry is made again with
    a warning. Where no cache can be written to, nothing is kept.

    Args:
        file: What the arrays are made from.
        identities: What they depend on beside it, see `loading.rig_identities`.
        make: Makes them.
    """
    folder = writable_cache("registrations")
    if folder is None:
        return make()
    entry = folder / f"{_key(file, identities)}.safetensors"
    if (found := _read(entry)) is not None:
        return found
    with locked(entry):
        if (found := _read(entry)) is not None:
            return found
        made = make()
        data = save({name: np.ascontiguousarray(array) for name, array in made.items()})
        try:
            write_atomically(entry, hashlib.sha256(data).digest() + data)
        except OSError as error:
            _log.warning("%s cannot be written (%s); it will be made again", entry, error)
    return made


def _key(file: Path, identities: Sequence[str]) -> str:
    digest = hashlib.sha256(file.read_bytes())
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
    digest.update("\n".join([*identities, *versions]).encode())
    package = Path(__file__).parents[2]
    for room in _ROOMS:
        for source in sorted((package / room).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _read(entry: Path) -> Arrays | None:
    """The arrays of an entry; None where there is none, or a damaged one."""
    try:
        content = entry.read_bytes()
    except FileNotFoundError:
        return None
    data = content[_DIGEST_BYTES:]
    try:
        if hashlib.sha256(data).digest() == content[:_DIGEST_BYTES]:
            return load(data)
        reason = "the checksum does not fit"
    except SafetensorError as error:
        reason = str(error)
    _log.warning("%s: damaged cache entry, made again: %s", entry, reason)
    return None
