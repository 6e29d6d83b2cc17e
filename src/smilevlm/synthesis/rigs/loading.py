"""Rigs by what a user types: `anny`, `ict=PATH`, `gnm=PATH`, or the path of a rig file of their own."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.errors import SettingsError
from smilevlm.synthesis import amplitudes
from smilevlm.synthesis.rigs import anny, scan_fit
from smilevlm.synthesis.rigs.anny import AnnyRig
from smilevlm.synthesis.rigs.blendshapes import BlendshapeRig
from smilevlm.synthesis.rigs.gnm import load_gnm
from smilevlm.synthesis.rigs.ict import files_of_ict, load_ict
from smilevlm.synthesis.rigs.own import files_of_own, load_own
from smilevlm.synthesis.rigs.rig import Rig
from smilevlm.synthesis.rigs.rig_file import read_rig_file

BUILT_IN = "anny"
_TAKES_DONORS = "gnm"
_RIG_FILES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One way to load a rig from a path.

    Args:
        load: Path, and the texts of the donors of its actions and people, to rig.
        files: Path to all the files that it is read from.
        name: Path to the rig's name, without loading it.
    """

    load: Callable[[Path, Sequence[str]], Rig]
    files: Callable[[Path], Sequence[Path]]
    name: Callable[[Path], str]


_OWN = "own"
_KINDS: Mapping[str, _Kind] = {
    "ict": _Kind(load=lambda path, _: load_ict(path), files=files_of_ict, name=lambda _: "ict"),
    _TAKES_DONORS: _Kind(
        load=lambda path, donors: load_gnm(path, [load_rig(donor) for donor in donors], rig_identities(donors)),
        files=lambda path: [path],
        name=lambda _: _TAKES_DONORS,
    ),
    _OWN: _Kind(
        load=lambda path, _: load_own(path, load_rig(BUILT_IN).surface),
        files=files_of_own,
        name=lambda path: read_rig_file(path).name,
    ),
}


@functools.cache
def load_rig(text: str, donors: tuple[str, ...] = (BUILT_IN,)) -> Rig:
    """The rig of a word or a path; loaded once per process.

    Args:
        text: `anny`, `ict=PATH`, `gnm=PATH`, or the path of a rig file.
        donors: Rigs whose actions and people `gnm` gets, which has none of its own.

    Raises:
        SettingsError: There is no such rig, or its files are missing or broken.
    """
    if text == BUILT_IN:
        return AnnyRig()
    kind, path = _find(text)
    return kind.load(path, donors)


def load_rigs(texts: Sequence[str]) -> tuple[Rig, ...]:
    """Several rigs, whose names differ; the others are donors of a rig without actions and people of its own.

    Raises:
        SettingsError: See `load_rig`; or two have the same name.
    """
    others = tuple(text for text in texts if not text.startswith(f"{_TAKES_DONORS}="))
    # Called as elsewhere for the other rigs, so that the cache holds one of each.
    rigs = tuple(load_rig(text) if text in others or not others else load_rig(text, others) for text in texts)
    _check_distinct([rig.name for rig in rigs])
    return rigs


def rig_names(texts: Sequence[str]) -> tuple[str, ...]:
    """The names of several rigs, none of which is loaded.

    Raises:
        SettingsError: There is no such rig, a rig file is wrong, or two have the same name.
    """
    names = tuple(_name(text) for text in texts)
    _check_distinct(names)
    return names


def _name(text: str) -> str:
    if text == BUILT_IN:
        return text
    kind, path = _find(text)
    return kind.name(path)


def _check_distinct(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"two rigs have the name {', '.join(twice)}; each needs its own")


def rig_identities(texts: Sequence[str]) -> list[str]:
    """What a rig is, wherever its files lie.

    Its kind, and a hash of the names and contents of its files and of all that scales its actions.
    """
    return [_identity(text) for text in texts]


def _identity(text: str) -> str:
    digest = hashlib.sha256(_scales().encode())
    if text == BUILT_IN:
        return f"{text}:{digest.hexdigest()[:8]}"
    kind, path = _find(text)
    for file in kind.files(path):
        digest.update(file.name.encode() if file != path else b"")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    word = _OWN if text.lower().endswith(_RIG_FILES) else text.partition("=")[0]
    return f"{word}:{digest.hexdigest()}"


def _scales() -> str:
    """What scales the actions of rigs, as text: sets of other scales are other sets."""
    of_rigs = (anny.FULL_WEIGHTS, scan_fit.FULL_MM, scan_fit.SCALE_LIMITS)
    ranges = [(rig.amplitudes, rig.log_gain) for rig in (anny.AnnyRig, BlendshapeRig)]
    of_people = (sorted(amplitudes.AT_THEIR_END), amplitudes.PERSON_SPREAD, amplitudes.SCAN_SPREAD)
    return json.dumps([of_rigs, ranges, of_people], sort_keys=True)


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
