"""What a prepared set says about itself: settings, sources, counts, and what was skipped."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from smilevlm.dynamics import DynamicSettings
from smilevlm.errors import StoreError
from smilevlm.files import write_atomically
from smilevlm.geometry import NormaliseSettings
from smilevlm.labels import ActionSource, action_source
from smilevlm.views import ViewSettings

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 3
"""Of manifest and parts. 3: the hash is over labels and textures as well."""
PIPELINE_VERSION = 3
"""Raised when normalisation or rendering changes what the same settings give: older stores are other stores then.

Poses that differ by less than 0.01 degrees for most scans, as by another order of sums or an earlier end of the same
fit, are no change.
"""


class _NoUnknownFields:
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class BadFile(_NoUnknownFields):
    """A file that could not be used, and why: it cost a whole scan or sequence, or one frame of a sequence.

    Args:
        sample_id: The recording it belongs to.
        path: Relative to the recording's folder, so that a store does not depend on where the data set lies.
        reason: One line for people.
    """

    sample_id: str
    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Remark(_NoUnknownFields):
    """What should be known of a recording that is in the store.

    Args:
        sample_id: The recording.
        text: One sentence: elements of a mesh that were left out, a face that was found only barely.
    """

    sample_id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """Everything that decides what the prepared images look like.

    Args:
        views: How a scan becomes images.
        normalise: How its face frame is found.
        dynamics: How the frames of a sequence become dynamic images; without effect on single scans.
    """

    views: ViewSettings
    normalise: NormaliseSettings
    dynamics: DynamicSettings = field(default_factory=DynamicSettings)

    @property
    def digest(self) -> str:
        """sha256 of the settings; a store made with others is another store."""
        values = _plain(self)
        if self.dynamics.apex == "labels":  # what older stores, which do not know the setting, have
            del values["dynamics"]["apex"]
        return _digest({"pipeline": PIPELINE_VERSION, **values})


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The header of a store.

    Args:
        layout: Name of the data set's layout.
        synthetic: Whether the faces are synthetic.
        settings: How the views were made.
        parts: Names of the parts that hold samples, sorted.
        subjects: Subject names, sorted.
        num_samples: Prepared scans and dynamic images.
        content_hash: sha256 over the settings and, of every sample, its labels and the mesh files and textures it was
            made from.
        skipped: Scans and sequences that are not in the store.
        bad_frames: Frames that could not be used in sequences that are in the store.
        remarks: On recordings that are in the store; those of a sequence's frames are counted.
        actions_digest: sha256 of the table of facial actions beside the manifest; empty where none are recorded.
    """

    layout: str
    synthetic: bool
    settings: PrepareSettings
    parts: tuple[str, ...]
    subjects: tuple[str, ...]
    num_samples: int
    content_hash: str
    skipped: tuple[BadFile, ...]
    bad_frames: tuple[BadFile, ...] = ()
    remarks: tuple[Remark, ...] = ()
    actions_digest: str = ""

    @property
    def action_source(self) -> ActionSource | None:
        """Where the facial actions come from; None where none are recorded."""
        return action_source(synthetic=self.synthetic) if self.actions_digest else None


def write_manifest(store: Path, manifest: Manifest) -> None:
    values = {"format_version": FORMAT_VERSION, "settings_digest": manifest.settings.digest, **_plain(manifest)}
    write_atomically(store / MANIFEST_NAME, json.dumps(values, indent=2, sort_keys=True) + "\n")


def read_manifest(store: Path) -> Manifest:
    """Read a finished store's manifest."""
    path = store / MANIFEST_NAME
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(
            f"{store} is no finished store: {MANIFEST_NAME} is missing; run `smilevlm prepare` (again) to finish it"
        ) from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise StoreError(f"{path} is no manifest: expected an object, found {type(values).__name__}")
    if values.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"{path}: format version {values.get('format_version')}, expected {FORMAT_VERSION}; run `smilevlm prepare` "
            "into another folder"
        )
    try:
        settings = prepare_settings_from(values["settings"])
        manifest = read_fields(Manifest, values | {"settings": settings})
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: field missing or of the wrong kind: {error}") from None
    if values.get("settings_digest") != settings.digest:
        raise StoreError(f"{path}: the settings do not match their digest; the file was edited")
    return manifest


Fields = TypeVar("Fields")


def read_fields(kind: type[Fields], values: Mapping[str, Any]) -> Fields:
    """A dataclass of JSON values, those of its own parts included; parts that are made already may stand among them.

    Raises:
        ValueError: A field is missing or of the wrong kind; the message begins with its path.
    """
    return _validated(lambda: _type_adapter(kind).validate_python(dict(values)))


def read_json_fields(kind: type[Fields], values: Mapping[str, Any]) -> Fields:
    """The same of JSON values alone, of which strict parts, such as those of results, take objects for dataclasses."""
    return _validated(lambda: _type_adapter(kind).validate_json(json.dumps(values), context={}))


def _validated(validate: Callable[[], Fields]) -> Fields:
    from pydantic import ValidationError

    try:
        return validate()
    except ValidationError as invalid:
        first = invalid.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


@functools.cache
def _type_adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    """Kept, for a store may have thousands of parts."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def prepare_settings_from(values: Mapping[str, Any]) -> PrepareSettings:
    """Settings as JSON gives them back.

    Raises:
        KeyError, TypeError: A field is missing, unknown or of the wrong kind.
        SettingsError: A value is outside its range.
    """
    return PrepareSettings(
        views=ViewSettings(**_tuples(values["views"])),
        normalise=NormaliseSettings(**_tuples(values["normalise"])),
        dynamics=DynamicSettings(**_tuples(values["dynamics"])),
    )


def content_hash(settings: PrepareSettings, sample_digests: Mapping[str, str]) -> str:
    """One hash for a whole store, from sample ids and the digest of each one's labels and sources."""
    return _digest({"settings": settings.digest, "samples": dict(sorted(sample_digests.items()))})


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> dict[str, Any]:  # noqa: ANN401
    return json.loads(json.dumps(asdict(value)))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def differing_settings(got: PrepareSettings, want: PrepareSettings, origin: str) -> str:
    """Which settings of how views are made differ, each as `views.size is 64, ORIGIN 224`."""
    return "; ".join(
        f"{group.name}.{setting.name} is {getattr(ours, setting.name)!r}, {origin} {getattr(theirs, setting.name)!r}"
        for group in fields(want)
        for ours, theirs in [(getattr(got, group.name), getattr(want, group.name))]
        for setting in fields(theirs)
        if getattr(ours, setting.name) != getattr(theirs, setting.name)
    )
