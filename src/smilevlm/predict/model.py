"""Scan in, answer out: the way of the data for one scan."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import CheckpointError, MeshError, PromptError
from smilevlm.evaluation import Prototypes, class_prototypes, predicted_classes, probabilities, zero_shot_scores
from smilevlm.evaluation.recogniser import Recogniser, first_fold, load_recogniser
from smilevlm.geometry import Mesh, NormalisedFace, normalise
from smilevlm.prompts import CachedTextTower, load_text_tower
from smilevlm.prompts.prompt_set import find_fault
from smilevlm.readers import read_mesh
from smilevlm.typing import ViewImages
from smilevlm.views import render_normalised

Scan = str | os.PathLike[str] | Mesh
Prompts = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model says of one scan.

    Args:
        label: The most probable class.
        probabilities: Class to probability; sums to one. From a softmax over cosines, not calibrated.
        view_weights: View angle in degrees to its share in the fused embedding.
        views: The images the model saw.
        face: How the face was found: unit, pose, share of the mean face that the scan covers.
    """

    label: str
    probabilities: Mapping[str, float]
    view_weights: Mapping[float, float]
    views: ViewImages
    face: NormalisedFace


class Model:
    """A trained model ready for scans; see `load`."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser

    @overload
    def predict(self, scan: Scan, *, prompts: Prompts | None = None) -> Answer: ...

    @overload
    def predict(self, scan: Sequence[Scan], *, prompts: Prompts | None = None) -> list[Answer]: ...

    def predict(self, scan: Scan | Sequence[Scan], *, prompts: Prompts | None = None) -> Answer | list[Answer]:
        """Recognise the expression of one 3D scan, or of several at once.

        Args:
            scan: A mesh file of any format that `read_mesh` knows, or a mesh; or a list of them, embedded together.
            prompts: Classes of your own, each with one or more descriptions; the trained ones by default. New words
                need the text tower, which is loaded on first use.

        Raises:
            MeshError: The file cannot be read, or holds no face.
            PromptError: A class has no description.
        """
        prototypes, candidates = self._compared(prompts)
        if isinstance(scan, (str, os.PathLike, Mesh)):
            return self._answers([scan], prototypes, candidates)[0]
        return self._answers(scan, prototypes, candidates)

    def _answers(
        self, scans: Sequence[Scan], prototypes: Prototypes, candidates: Float32[np.ndarray, "prompt dim"]
    ) -> list[Answer]:
        if not scans:
            return []
        faces = [self._face(scan) for scan in scans]
        views = [render_normalised(face.mesh, self.recogniser.prepare.views) for face in faces]
        embedded = self.recogniser.embed(np.stack(views), candidates=candidates)
        scores = zero_shot_scores(embedded.z_fused, prototypes)
        shares = probabilities(scores, self.recogniser.temperature)
        angles = self.recogniser.prepare.views.angles_deg
        return [
            Answer(
                label=prototypes.classes[label],
                probabilities=dict(zip(prototypes.classes, share.tolist(), strict=True)),
                view_weights=dict(zip(angles, weights.tolist(), strict=True)),
                views=images,
                face=face,
            )
            for label, share, weights, images, face in zip(
                predicted_classes(scores).tolist(), shares, embedded.view_weights, views, faces, strict=True
            )
        ]

    def embed(self, scans: Sequence[Scan]) -> Float32[np.ndarray, "scan dim"]:
        """Fused embeddings of scans, unit length."""
        if not scans:
            return np.zeros((0, self.recogniser.model.settings.embedding_dim), np.float32)
        views = [render_normalised(self._face(scan).mesh, self.recogniser.prepare.views) for scan in scans]
        fused = self.recogniser.embed(np.stack(views)).z_fused
        return fused / np.linalg.norm(fused, axis=1, keepdims=True)

    def _face(self, scan: Scan) -> NormalisedFace:
        needs_texture = self.recogniser.prepare.views.kind == "texture"
        mesh = scan if isinstance(scan, Mesh) else read_mesh(scan, load_texture=needs_texture)
        try:
            return normalise(mesh, self.recogniser.prepare.normalise)
        except MeshError as error:
            if isinstance(scan, Mesh) or error.path is not None:
                raise
            raise MeshError(error.message, path=scan) from None

    @functools.cached_property
    def _text_tower(self) -> CachedTextTower:
        return CachedTextTower(load_text_tower(self.recogniser.text_tower))

    def _compared(self, prompts: Prompts | None) -> tuple[Prototypes, Float32[np.ndarray, "prompt dim"]]:
        """The classes as directions, and all their prompts."""
        if prompts is None:
            return self.recogniser.prototypes, self.recogniser.prompts.centred
        if fault := find_fault(prompts):
            raise PromptError(fault.message)
        tower = self._text_tower
        if tower.digest != self.recogniser.text_digest:
            raise CheckpointError("the model was trained with another text tower than the one installed")
        texts = [text for group in prompts.values() for text in group]
        owners = [name for name, group in prompts.items() for _ in group]
        embedded = self.recogniser.prompts.embed(texts, tower)
        return class_prototypes(embedded, owners, tuple(prompts)), embedded


def load(source: str | os.PathLike[str]) -> Model:
    """Load a trained model.

    Args:
        source: A run folder (its first trained fold is used) or the folder of one fold.

    Raises:
        CheckpointError: There is no trained model.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder; expected a run folder or the folder of one fold")
    return Model(load_recogniser(first_fold(folder)))
