"""A trained model as a folder of its own, in the layout of the Hugging Face hub; and where to find one."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.files import folder_in_one_piece, write_atomically
from smilevlm.models import ModelBundle, description_path, first_fold, save_bundle
from smilevlm.version import __version__

CARD_FILE = "README.md"
HUB_CONFIG_FILE = "config.json"
"""What the hub counts downloads by, and a person reads; nothing is loaded from it."""
_BUNDLE_FILES = ("model.json", "model.safetensors", "prompts.safetensors", "bundle.json")
HUB_FILES = (CARD_FILE, HUB_CONFIG_FILE, *_BUNDLE_FILES)
"""All that is written, and all that is ever fetched: JSON, safetensors and the card, no code and no pickles."""
UNSTATED_LICENCE = "other"
_HUB_ID = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")


def save_pretrained(
    bundle: ModelBundle,
    folder: str | os.PathLike[str],
    *,
    card: str | None = None,
    licence: str = UNSTATED_LICENCE,
    overwrite: bool = False,
) -> None:
    """Write a model as a self-contained folder: the files of a fold, a `config.json` and a model card.

    Args:
        bundle: The model.
        folder: Appears in one piece when all is written.
        card: Markdown for `README.md`, front matter included; None writes one from what the model knows of itself.
        licence: SPDX identifier in lower case, as the hub has it. Whether weights may be passed on depends on the faces
            they were trained on, so nothing is assumed.
        overwrite: Replace what an earlier call wrote there.

    Raises:
        SettingsError: The folder holds something already.
    """
    with export_folder(Path(folder), HUB_FILES, overwrite=overwrite) as scratch:
        save_bundle(bundle, scratch)
        config = {"model_type": "smilevlm", **describe(bundle, licence)}
        write_atomically(scratch / HUB_CONFIG_FILE, json.dumps(config, indent=2) + "\n")
        write_atomically(scratch / CARD_FILE, card if card is not None else model_card(bundle, licence))


def push_to_hub(
    bundle: ModelBundle,
    repository: str,
    *,
    card: str | None = None,
    licence: str = UNSTATED_LICENCE,
    private: bool = True,
) -> str:
    """Upload a model as `save_pretrained` writes it, with the account that `hf auth login` left.

    Args:
        bundle: The model.
        repository: `owner/name`; made where it is missing.
        card: As for `save_pretrained`.
        licence: As for `save_pretrained`.
        private: Of a repository that is made; one that is there stays as it is.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: It is no such id, or the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    match = _HUB_ID.fullmatch(repository)
    if match is None or match["revision"] is not None:
        raise CheckpointError(f"{repository}: expected the id of a repository, such as owner/name")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_pretrained(bundle, folder, card=card, licence=licence)
        api = HfApi(library_name="smilevlm", library_version=__version__)
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            message = f"smilevlm {__version__}"
            commit = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message=message, allow_patterns=list(HUB_FILES)
            )
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{repository}: the model cannot be uploaded: {first_line(error)}") from error
    return commit.commit_url


def resolve_source(source: str | os.PathLike[str]) -> Path:
    """The folder that holds the model someone names.

    Args:
        source: A run folder (its first trained fold), a fold's folder, a folder of `save_pretrained`, or a hub id
            `owner/name` or `owner/name@revision`. A folder goes before an id of the same name. What the hub once gave
            is read from its cache where the hub cannot be reached, or `HF_HUB_OFFLINE=1` is set.

    Raises:
        CheckpointError: There is no such folder, or the hub does not give a model of this package.
    """
    folder = Path(source)
    if folder.is_dir():
        return first_fold(folder)
    match = None if folder.exists() else _HUB_ID.fullmatch(folder.as_posix())
    if match is None:
        raise CheckpointError(
            f"{folder} is no folder; expected a run folder, the folder of one fold or of a saved model, or a hub id "
            "such as owner/name"
        )
    fetched = _fetch(match["repository"], match["revision"])
    if not description_path(fetched).is_file():
        raise CheckpointError(f"{folder.as_posix()}: this repository of the hub holds no smilevlm model")
    return fetched


def describe(bundle: ModelBundle, licence: str) -> dict[str, Any]:
    """What everyone who uses the model should know of it; JSON values."""
    views = bundle.prepare.views
    return {
        "library_name": "smilevlm",
        "smilevlm_version": __version__,
        "licence": licence,
        "trained_on_synthetic_faces": bundle.synthetic,
        "classes": list(bundle.classes),
        "temperature": bundle.temperature,
        "calibrated": bundle.calibrated,
        "abstain_threshold": bundle.abstain_threshold,
        "embedding_dim": bundle.model.settings.embedding_dim,
        "image_size": views.size,
        "view_kind": views.kind,
        "view_angles_deg": list(views.angles_deg),
    }


def model_card(bundle: ModelBundle, licence: str = UNSTATED_LICENCE) -> str:
    """A card that says no more than the model knows of itself."""
    import yaml

    views, settings = bundle.prepare.views, bundle.model.settings
    tags = ["smilevlm", "facial-expression-recognition", "3d"]
    front: dict[str, Any] = {
        "license": licence,
        "library_name": "smilevlm",
        # The hub's name for classes that are given as texts; what is zero-shot of it is said by the card.
        "pipeline_tag": "zero-shot-image-classification",
        "tags": [*tags, "synthetic-faces"] if bundle.synthetic else tags,
    }
    if licence == UNSTATED_LICENCE:
        front["license_name"] = "not-stated"
    weights = sum(weight.numel() for weight in bundle.model.parameters())
    rows = {
        "classes": ", ".join(bundle.classes),
        "image tower": f"{settings.tower}, {weights:,} weights with projector and fusion",
        "views": f"{views.kind}, {views.size} px, at {', '.join(f'{angle:g}' for angle in views.angles_deg)} degrees",
        "text tower": f"{bundle.text_tower}, needed only for words of your own",
        "trained on": _trained_on(bundle),
        "probabilities": probabilities_in_words(bundle),
        "written by": f"smilevlm {__version__}",
    }
    return "\n".join(
        (
            "---",
            yaml.safe_dump(front, sort_keys=False).rstrip(),
            "---",
            "",
            "# A SMILE-VLM model: facial expressions of 3D scans",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "",
            "```python",
            "import smilevlm",
            "",
            'model = smilevlm.load("owner/name")  # this repository, or a folder with these files',
            'answer = model.predict("scan.wrl")',
            "print(answer.label, answer.probabilities, answer.view_weights)",
            "```",
            "",
            "An expression is a shape of the face. It does not tell what a person feels or intends: decide nothing",
            "about anyone by it.",
            "",
            licence_note(bundle, licence),
            "",
        )
    )


def faces_in_words(bundle: ModelBundle) -> str:
    """What kind of faces it was trained on; a model that began with a synthetic one counts as such."""
    return "synthetic faces, at least in part" if bundle.synthetic else "faces that are not synthetic"


def probabilities_in_words(bundle: ModelBundle) -> str:
    """Where they come from, and from where on they are to be believed."""
    fitted = "fitted to people held back from training" if bundle.calibrated else "not calibrated"
    unsure = f'; a highest one below {bundle.abstain_threshold:g} means "not sure"' if bundle.abstain_threshold else ""
    return f"softmax of cosines / {bundle.temperature:g}, {fitted}{unsure}"


def licence_note(bundle: ModelBundle, licence: str) -> str:
    """One sentence on whether the weights may be passed on."""
    if licence != UNSTATED_LICENCE:
        return f"Licence: {licence}."
    known = bundle.trained_on
    data = f" ({known.layout})" if known is not None and known.layout else ""
    return (
        f"Licence: not stated. Whether these weights may be passed on depends on the faces they were trained on{data}; "
        "licensed data sets often forbid it."
    )


@contextmanager
def export_folder(target: Path, names: Collection[str], *, overwrite: bool) -> Iterator[Path]:
    """A scratch folder that becomes `target` when the block ends without an error.

    Args:
        target: Missing, empty, or with `overwrite` what an earlier export wrote, which stays until the block has ended.
        names: Of the files that an export writes.
        overwrite: Replace an earlier export.

    Raises:
        SettingsError: Something is there that may not be replaced.
    """
    target = target.resolve()
    _check_replaceable(target, names, overwrite=overwrite)
    replaced = target.with_name(f".{target.name}.replaced")
    with folder_in_one_piece(target) as scratch:
        yield scratch
        # Looked at again: another process may have written there meanwhile.
        _check_replaceable(target, names, overwrite=overwrite)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.replace(replaced)
    shutil.rmtree(replaced, ignore_errors=True)


def _check_replaceable(target: Path, names: Collection[str], *, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise SettingsError(f"{target} is a file; expected a folder to write to")
    there = sorted(path.name for path in target.iterdir())
    if there and not overwrite:
        raise SettingsError(f"{target} is not empty; name another folder, or replace an earlier export by --overwrite")
    if strangers := [name for name in there if name not in names]:
        raise SettingsError(f"{target} holds {strangers[0]}, which no such export wrote; it is not replaced")


def _fetch(repository: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = repository if revision is None else f"{repository}@{revision}"
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(HUB_FILES)))
    except GatedRepoError:
        reason = "its owner grants access on request: ask on its page, then `hf auth login`"
    except RepositoryNotFoundError:
        reason = "the hub has no such repository, or it is private: `hf auth login`"
    except RevisionNotFoundError:
        reason = "the hub has the repository, but not this revision"
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        reason = "it is not in the hub's cache on this machine, and the hub cannot be reached or HF_HUB_OFFLINE is set"
    except (OSError, ValueError, HTTPError) as error:
        reason = f"the hub does not give it: {first_line(error)}"
    raise CheckpointError(f"{where}: no such folder, and as a hub id: {reason}")


def first_line(error: BaseException) -> str:
    """Of an error's message; its type where it has none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _trained_on(bundle: ModelBundle) -> str:
    known, start = bundle.trained_on, bundle.started_from
    layout = f"{known.layout}, " if known is not None and known.layout else ""
    people = f", {len(known.subjects)} people" if known is not None else ""
    begun = f"; training began with a model of {start.layout}" if start is not None else ""
    return f"{layout}{faces_in_words(bundle)}{people}{begun}"
