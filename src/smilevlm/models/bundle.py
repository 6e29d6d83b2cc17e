"""A trained model with everything needed to use it: how views are made, the prompts' embeddings, the classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from smilevlm.errors import CheckpointError, PromptError, SettingsError
from smilevlm.files import write_atomically
from smilevlm.models.zero_shot import Prototypes, class_prototypes
from smilevlm.prompts import PromptEmbeddings
from smilevlm.results import OtherTrainingData
from smilevlm.store import PrepareSettings, prepare_settings_from, read_json_fields
from smilevlm.threads import one_thread, torch_threads

if TYPE_CHECKING:
    from smilevlm.models.smile_vlm import SmileVlm

_DESCRIPTION_NAME = "bundle.json"
_FORMER_DESCRIPTION_NAME = "recogniser.json"
_PROMPTS_NAME = "prompts.safetensors"
_SHORT_DIGEST = 16
"""Hexadecimal digits kept of a sample's digest: 64 bits, enough to tell any two scans apart."""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Embeddings of samples in the space of the prompts.

    Args:
        features: The tower's, before the projector.
        z_views: Per view.
        z_fused: Fused over the views.
        view_weights: Share of each view in the fused embedding; rows sum to one.
    """

    features: Float32[np.ndarray, "sample view feature"]
    z_views: Float32[np.ndarray, "sample view dim"]
    z_fused: Float32[np.ndarray, "sample dim"]
    view_weights: Float32[np.ndarray, "sample view"]


@dataclass(frozen=True, kw_only=True)
class TrainingProvenance:
    """Whom a model knows: where it proposes prompts for others, none of these may be tested.

    Args:
        manifest_hash: Of the prepared set.
        subjects: Its training subjects, and those that an epoch was chosen on.
        layout: Of the set, empty where that is not known.
        digests: Of the samples of these subjects, as `Sample.digest` has them; they are kept shortened.
    """

    manifest_hash: str
    subjects: tuple[str, ...]
    layout: str
    digests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """What `predict` and `evaluate` work with.

    Args:
        model: In evaluation mode.
        prompts: Of the classes it was trained for.
        text_digest: Of the text tower that embedded them; words typed later need the same tower.
        text_tower: Its name, as `load_text_tower` takes it.
        classes: In the order of the results.
        prepare: How the views it was trained on were made.
        temperature: Of the softmax over cosines that probabilities come from; no part of training.
        calibrated: Whether the temperature was fitted to people held back from training.
        abstain_threshold: A highest probability below this is to be read as "not sure".
        synthetic: Whether it, or a model that it began with or was taught by, was trained on synthetic faces.
        started_from: The data set of the model whose weights its training began with, if any.
        trained_on: Whom it was trained on; None in folders of versions that did not keep it.
        threads: CPU threads that `embed` works on. On one the bits do not depend on the machine. Not kept in a folder.
    """

    model: SmileVlm
    prompts: PromptEmbeddings
    text_digest: str
    text_tower: str
    classes: tuple[str, ...]
    prepare: PrepareSettings
    temperature: float
    synthetic: bool
    started_from: OtherTrainingData | None = None
    trained_on: TrainingProvenance | None = None
    calibrated: bool = False
    abstain_threshold: float = 0.0
    threads: int = 1

    @property
    def prototypes(self) -> Prototypes:
        """The classes as directions, from the mean of each one's prompts. Assumption A6."""
        return class_prototypes(self.prompts.centred, self.prompts.classes, self.classes)

    def fuse(
        self,
        z_views: Float32[np.ndarray, "sample view dim"],
        present: Bool[np.ndarray, "sample view"] | None = None,
    ) -> tuple[Float32[np.ndarray, "sample dim"], Float32[np.ndarray, "sample view"]]:
        """Fuse embeddings of views, such as some of `embed`, on one thread.

        Args:
            z_views: Per view; any number of views.
            present: Which views are there, one of each sample at least; None for all.

        Returns:
            The fused embeddings, and the share of each view in them, 0 of those that are missing.
        """
        import torch

        self.model.eval()
        device = self.model.image_mean.device
        text = torch.from_numpy(self.prompts.centred).to(device)
        mask = None if present is None else torch.from_numpy(present).to(device)
        with torch.inference_mode(), one_thread():
            fused = self.model.fuse(torch.from_numpy(np.ascontiguousarray(z_views)).to(device), mask, text)
        z_fused, weights = (part.cpu().numpy() for part in fused)
        return z_fused, weights

    def embed(
        self,
        images: UInt8[np.ndarray, "sample view height width 3"],
        *,
        batch_size: int = 64,
        candidates: Float32[np.ndarray, "prompt dim"] | None = None,
    ) -> Embedded:
        """Embed views, on the device that the model is on.

        Args:
            images: RGB views.
            batch_size: Samples at a time.
            candidates: Prompts to choose among, centred, which a text-guided fusion looks at; None for those the model
                was trained with.
        """
        import torch

        self.model.eval()
        device = self.model.image_mean.device
        text = torch.from_numpy(self.prompts.centred if candidates is None else candidates).to(device)
        pieces = []
        with torch.inference_mode(), torch_threads(self.threads):
            for start in range(0, len(images), batch_size):
                batch = np.ascontiguousarray(images[start : start + batch_size].transpose(0, 1, 4, 2, 3))
                features = self.model.encode_features(torch.from_numpy(batch).to(device))
                z_views = self.model.project(features)
                pieces.append((features, z_views, *self.model.fuse(z_views, text=text)))
        if not pieces:
            raise CheckpointError("there are no images to embed")
        features, z_views, z_fused, weights = (torch.cat(part).cpu().numpy() for part in zip(*pieces, strict=True))
        return Embedded(features=features, z_views=z_views, z_fused=z_fused, view_weights=weights)


@dataclass(frozen=True, kw_only=True)
class _Description:
    """What `bundle.json` holds; the defaults are for files of versions that did not write the field."""

    classes: tuple[str, ...]
    prompt_texts: tuple[str, ...]
    prompt_classes: tuple[str, ...]
    text_digest: str
    text_tower: str = "minilm"
    prepare: dict[str, Any]
    temperature: float
    calibrated: bool = False
    abstain_threshold: float = 0.0
    synthetic: bool
    started_from: OtherTrainingData | None = None
    trained_on: TrainingProvenance | None = None


def save_bundle(bundle: ModelBundle, folder: Path) -> None:
    """Write weights (safetensors), prompt embeddings (safetensors) and description (JSON)."""
    from safetensors.numpy import save

    from smilevlm.models.checkpoint import save_model

    save_model(bundle.model, folder)
    # safetensors writes the bytes as they lie in memory, whatever their order.
    kept = {"raw": bundle.prompts.raw, "mean": bundle.prompts.mean}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in kept.items()}
    write_atomically(folder / _PROMPTS_NAME, save(tensors))
    description = {
        "classes": bundle.classes,
        "prompt_texts": bundle.prompts.texts,
        "prompt_classes": bundle.prompts.classes,
        "text_digest": bundle.text_digest,
        "text_tower": bundle.text_tower,
        "prepare": asdict(bundle.prepare),
        "temperature": bundle.temperature,
        "calibrated": bundle.calibrated,
        "abstain_threshold": bundle.abstain_threshold,
        "synthetic": bundle.synthetic,
        "started_from": None if bundle.started_from is None else asdict(bundle.started_from),
        "trained_on": None if bundle.trained_on is None else _described(bundle.trained_on),
    }
    write_atomically(folder / _DESCRIPTION_NAME, json.dumps(description, indent=2, sort_keys=True) + "\n")


def first_fold(folder: Path) -> Path:
    """The folder of a run's first trained fold; any other folder is taken for that of a fold itself."""
    trained = sorted(path for path in folder.glob("fold_[0-9][0-9]") if path.is_dir())
    return trained[0] if trained else folder


def load_bundle(folder: Path) -> ModelBundle:
    """Read what `save_bundle` wrote.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from smilevlm.models.checkpoint import load_model

    path = description_path(folder)
    try:
        values = json.loads(path.read_text())
        values.setdefault("abstain_threshold", values.pop("unsure_below", 0.0))
        known = read_json_fields(_Description, values)
        tensors = load((folder / _PROMPTS_NAME).read_bytes())
        return ModelBundle(
            model=load_model(folder),
            prompts=PromptEmbeddings(
                texts=known.prompt_texts, classes=known.prompt_classes, raw=tensors["raw"], mean=tensors["mean"]
            ),
            text_digest=known.text_digest,
            text_tower=known.text_tower,
            classes=known.classes,
            prepare=prepare_settings_from(known.prepare),
            temperature=known.temperature,
            calibrated=known.calibrated,
            abstain_threshold=known.abstain_threshold,
            synthetic=known.synthetic,
            started_from=known.started_from,
            trained_on=known.trained_on,
        )
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} holds no trained model: {Path(error.filename).name} is missing") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        SafetensorError,
        SettingsError,
        PromptError,
    ) as error:
        raise CheckpointError(f"{folder}: the trained model is damaged: {error}") from None


def description_path(folder: Path) -> Path:
    """The description of a bundle, under its former name where an older version wrote it."""
    current, former = folder / _DESCRIPTION_NAME, folder / _FORMER_DESCRIPTION_NAME
    return former if former.is_file() and not current.is_file() else current


def bundle_digest(folder: Path) -> str:
    """sha256 over the files of a bundle.

    Raises:
        CheckpointError: One of them is missing.
    """
    from smilevlm.models.checkpoint import CONFIG_FILE, WEIGHTS_FILE

    whole = hashlib.sha256()
    for path in (description_path(folder), *(folder / name for name in (_PROMPTS_NAME, CONFIG_FILE, WEIGHTS_FILE))):
        try:
            whole.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    return whole.hexdigest()


def short_digests(digests: Iterable[str]) -> tuple[str, ...]:
    """Digests of samples as `TrainingProvenance` keeps them: sorted, shortened, without that of an unknown file."""
    return tuple(sorted({digest[:_SHORT_DIGEST] for digest in digests if digest}))


def _described(trained_on: TrainingProvenance) -> dict[str, Any]:
    return {**asdict(trained_on), "digests": short_digests(trained_on.digests)}
