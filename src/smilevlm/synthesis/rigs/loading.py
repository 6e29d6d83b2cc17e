"""Rigs by what a user types: `anny`, `ict=PATH`, `gnm=PATH`, or the path of a rig file of their own."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.errors import SettingsError
from smilevlm.synthesis.rigs.anny import AnnyRig
from smilevlm.synthesis.rigs.gnm import load_gnm
from smilevlm.synthesis.rigs.ict import files_of_ict, load_ict
from smilevlm.synthesis.rigs.own import files_of_own, load_own
from smilevlm.synthesis.rigs.rig import Rig

BUILT_IN = "anny"
_BORROWER = "gnm"
_RIG_FILES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One way to load a rig from a path.

    Args:
        load: Path, and the rigs that lend it actions and people, to rig.
        files: Path to all the files that it is read from.
    """

    load: Callable[[Path, Sequence[Rig]], Rig]
    files: Callable[[Path], Sequence[Path]]


_OWN = "own"
_KINDS: Mapping[str, _Kind] = {
    "ict": _Kind(load=lambda path, _: load_ict(path), files=files_of_ict),
    _BORROWER: _Kind(load=load_gnm, files=lambda path: [path]),
    _OWN: _Kind(load=lambda path, _: load_own(path, AnnyRig().surface), files=files_of_own),
}


@functools.cache
def load_rig(text: str, lenders: tuple[str, ...] = (BUILT_IN,)) -> Rig:
    """The rig of a word or a path; loaded once per process.

    Args:
        text: `anny`, `ict=PATH`, `gnm=PATH`, or the path of a rig file.
        lenders: Rigs whose actions and people `gnm` gets, which has none of its own.

    Raises:
        SettingsError: There is no such rig, or its files are missing or broken.
    """
    if text == BUILT_IN:
        return AnnyRig()
    kind, path = _find(text)
    borrowed = [load_rig(lender) for lender in lenders] if text.startswith(f"{_BORROWER}=") else []
    return kind.load(path, borrowed)


def load_rigs(texts: Sequence[str]) -> tuple[Rig, ...]:
    """Several rigs, whose names differ; a rig without actions and people of its own borrows those of the others.

    Raises:
        SettingsError: See `load_rig`; or two have the same name.
    """
    others = tuple(text for text in texts if not text.startswith(f"{_BORROWER}="))
    # Called as elsewhere for the other rigs, so that the cache holds one of each.
    rigs = tuple(load_rig(text) if text in others or not others else load_rig(text, others) for text in texts)
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
        digest.update(file.name.encode() if file != path else b"")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    word = _OWN if text.lower().endswith(_RIG_FILES) else text.partition("=")[0]
    return f"{word}:{digest.hexdigest()}"


def _find(text: str) -> tuple[_Kind, Path]:
    word, separator, place = text.partition("=")
    if text.lower().endswith(_RIG_FILES) and word not in _KINDS:
        word, place = _OWN, text
    elif not separator or word not in _KINDS:
        known = ", ".join([BUILT_IN, *(f"{kind}=PATH" for kind in _KINDS if kind != _OWN), "RIG.yaml"])
        raise SettingsError(f"rig {text!r} is not known; expected {known}")
    path = Path(place)
    if not path.exists():
        raise SettingsError(f"rig {text!r}: {path} does not exist")
    return _KINDS[word], path
