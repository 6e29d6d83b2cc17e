"""Rigs by what a user types: `anny`, `ict=PATH`, `gnm=PATH`, or the path of a rig file of their own."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.errors import SettingsError
from smilevlm.synthesis.rigs.anny import AnnyRig
from smilevlm.synthesis.rigs.ict import files_of_ict, load_ict
from smilevlm.synthesis.rigs.rig import Rig

BUILT_IN = "anny"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One way to load a rig from a path.

    Args:
        load: Path to rig.
        files: Path to all the files that it is read from.
    """

    load: Callable[[Path], Rig]
    files: Callable[[Path], Sequence[Path]]


_KINDS: Mapping[str, _Kind] = {
    "ict": _Kind(load=load_ict, files=files_of_ict),
}


@functools.cache
def load_rig(text: str) -> Rig:
    """The rig of a word or a path; loaded once per process.

    Args:
        text: `anny`, `ict=PATH`.

    Raises:
        SettingsError: There is no such rig, or its files are missing or broken.
    """
    if text == BUILT_IN:
        return AnnyRig()
    kind, path = _find(text)
    return kind.load(path)


def load_rigs(texts: Sequence[str]) -> tuple[Rig, ...]:
    """Several rigs, whose names differ.

    Raises:
        SettingsError: See `load_rig`; or two have the same name.
    """
    rigs = tuple(load_rig(text) for text in texts)
    names = [rig.name for rig in rigs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"two rigs have the name {', '.join(twice)}; each needs its own")
    return rigs


def rig_identities(texts: Sequence[str]) -> list[str]:
    """What a rig is, wherever its files lie: its kind, and a hash of their names and contents."""
    return [_identity(text) for text in texts]


def _identity(text: str) -> str:
    if text == BUILT_IN:
        return text
    kind, path = _find(text)
    digest = hashlib.sha256()
    for file in kind.files(path):
        digest.update(file.name.encode() if path.is_dir() else b"")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{text.partition('=')[0]}:{digest.hexdigest()}"


def _find(text: str) -> tuple[_Kind, Path]:
    word, separator, place = text.partition("=")
    if not separator or word not in _KINDS:
        known = ", ".join([BUILT_IN, *(f"{kind}=PATH" for kind in _KINDS)])
        raise SettingsError(f"rig {text!r} is not known; expected {known}")
    path = Path(place)
    if not path.exists():
        raise SettingsError(f"rig {text!r}: {path} does not exist")
    return _KINDS[word], path
