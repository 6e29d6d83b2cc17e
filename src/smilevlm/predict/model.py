"""Scan in, answer out: the way of the data for one scan, many, or sequences."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeGuard, cast, overload

import numpy as np
from jaxtyping import Float, Float32

from smilevlm.deprecation import warn_renamed
from smilevlm.errors import CheckpointError, PromptError, SettingsError, SmileVlmError
from smilevlm.geometry import rotation_from_axes
from smilevlm.models import (
    ModelBundle,
    Prototypes,
    class_prototypes,
    load_bundle,
    predicted_classes,
    probabilities,
    zero_shot_scores,
)
from smilevlm.predict.bundled import DEFAULT, bundled_folder
from smilevlm.predict.hub import resolve_source
from smilevlm.predict.inputs import Scan, ScanFiles
from smilevlm.predict.meshes import is_mesh_like
from smilevlm.predict.prediction import Prediction, Timings
from smilevlm.predict.preprocessing import PreparedScan, see
from smilevlm.prompts import CachedTextTower, load_text_tower
from smilevlm.prompts.prompt_set import find_fault
from smilevlm.store.numbering import NumberedAs

Prompts = Mapping[str, Sequence[str]]
_BATCH = 32
"""Scans that go through the network together, and at most wait for it."""
_EXPECTED_MANY = "one scan where many are expected: give a list of them, or smilevlm.find_scans(folder)"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What faces are compared with.

    Args:
        prototypes: The classes as directions.
        candidates: All their prompts, centred, which a text-guided fusion looks at.
        calibrated: Whether the model's temperature was fitted for these classes.
        is_own: Whether these are the user's classes, not those that the model was trained with.
    """

    prototypes: Prototypes
    candidates: Float32[np.ndarray, "prompt dim"]
    calibrated: bool
    is_own: bool


class Model:
    """A trained model ready for scans; see `load`."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle

    @property
    def recogniser(self) -> ModelBundle:
        """Deprecated name of `bundle`."""
        warn_renamed("Model.recogniser", "bundle")
        return self.bundle

    @overload
    def predict(
        self,
        scan: Scan | ScanFiles,
        *,
        prompts: Prompts | None = None,
        up: str | None = None,
        front: str | None = None,
        numbered_as: NumberedAs = "auto",
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        scan: Sequence[Scan | ScanFiles],
        *,
        prompts: Prompts | None = None,
        up: str | None = None,
        front: str | None = None,
        numbered_as: NumberedAs = "auto",
    ) -> list[Prediction]: ...

    def predict(
        self,
        scan: Scan | ScanFiles | Sequence[Scan | ScanFiles],
        *,
        prompts: Prompts | None = None,
        up: str | None = None,
        front: str | None = None,
        numbered_as: NumberedAs = "auto",
    ) -> Prediction | list[Prediction]:
        """Recognise the expression of a 3D scan or a 4D sequence, or of several at once.

        Args:
            scan: A mesh file of any format that `read_mesh` knows; a folder (or zip archive) of a sequence's numbered
                frames; a scan in memory: a `Mesh`, an (n, 3) array, a pair (vertices, faces), or an object of trimesh,
                Open3D or PyVista, see `as_mesh`; or a list of these. In any unit, turned any way.
            prompts: Classes of your own, each with one or more descriptions; the trained ones by default. New words
                need the text tower, which is loaded on first use.
            up: The scan's axis that points up, such as `+z`, where it is known; needs `front`. The face is then looked
                for in this pose alone, give or take 30 degrees.
            front: The scan's axis that points out of the face.
            numbered_as: How a folder of numbered files is read, see `find_scans`; `sequence` makes one of however few.

        Raises:
            MeshError: A file cannot be read, a scan has no vertices and faces, or there is no face in it.
            PromptError: A class has no description.
            SettingsError: The axes are none, or parallel.
        """
        if _is_one(scan):
            return self.predict([scan], prompts=prompts, up=up, front=front, numbered_as=numbered_as)[0]
        answers = []
        scans = cast("Sequence[Scan | ScanFiles]", scan)
        for answer in self.predict_each(scans, prompts=prompts, up=up, front=front, numbered_as=numbered_as):
            if not isinstance(answer, Prediction):
                raise answer
            answers.append(answer)
        return answers

    def predict_each(
        self,
        scans: Iterable[Scan | ScanFiles],
        *,
        prompts: Prompts | None = None,
        up: str | None = None,
        front: str | None = None,
        jobs: int = 1,
        numbered_as: NumberedAs = "auto",
    ) -> Iterator[Prediction | SmileVlmError | OSError]:
        """Answers as they come, in the order of the scans; one that fails gives its error and does not end the rest.

        Args:
            scans: Many of what `predict` takes; drawn from as needed, so that memory does not grow with their number.
            prompts: See `predict`.
            up: See `predict`.
            front: See `predict`.
            jobs: Threads that read, find faces and render; with more than one the next scans are read while the network
                works.
            numbered_as: See `predict`.

        Raises:
            PromptError: A class has no description.
            SettingsError: The axes are none, or parallel; `scans` is one scan; `jobs` is less than one.
        """
        if _is_one(scans):
            raise SettingsError(_EXPECTED_MANY)
        if jobs < 1:
            raise SettingsError(f"jobs is {jobs}; expected at least 1")
        compared = self.compare_with(prompts)
        see_each = functools.partial(
            see, settings=self.bundle.prepare, start=_start(up, front), numbered_as=numbered_as
        )
        return self._answers(scans, compared, see_each, jobs)

    def _answers(
        self,
        scans: Iterable[Scan | ScanFiles],
        compared: Comparison,
        see_each: Callable[[Scan | ScanFiles], PreparedScan],
        jobs: int,
    ) -> Iterator[Prediction | SmileVlmError | OSError]:
        waiting = iter(scans)
        with ThreadPoolExecutor(jobs) as pool:

            def begin() -> list[Future[PreparedScan | SmileVlmError | OSError]]:
                return [pool.submit(_try, see_each, scan) for scan in itertools.islice(waiting, _BATCH)]

            batch = begin()
            while batch:
                seen = [each.result() for each in batch]
                # With threads to spare the next scans are read while the network works on these.
                batch = begin() if jobs > 1 else []
                answers = iter(self.answer([each for each in seen if isinstance(each, PreparedScan)], compared))
                for each in seen:
                    yield next(answers) if isinstance(each, PreparedScan) else each
                batch = batch or begin()

    def answer(self, seen: Sequence[PreparedScan], compared: Comparison) -> list[Prediction]:
        """The network's part: views in, answers out.

        Args:
            seen: From `smilevlm.predict.preprocessing.see`.
            compared: From `compare_with`.
        """
        if not seen:
            return []
        begun = time.perf_counter()
        owners = np.repeat(np.arange(len(seen)), [len(each.images) for each in seen])
        images = np.stack([views for each in seen for views in each.images])
        embedded = self.bundle.embed(images, candidates=compared.candidates)
        scores = zero_shot_scores(embedded.z_fused, compared.prototypes)
        # Several dynamic images of one sequence count alike.
        counts = np.bincount(owners)[:, None]
        scores = np.stack([np.bincount(owners, weights=column) for column in scores.T], axis=1) / counts
        weights = np.stack([np.bincount(owners, weights=column) for column in embedded.view_weights.T], axis=1) / counts
        shares = probabilities(scores, self.bundle.temperature)
        network_s = (time.perf_counter() - begun) / len(seen)
        return [
            self._answer(each, compared, label, share, weight, network_s)
            for each, label, share, weight in zip(
                seen, predicted_classes(scores).tolist(), shares, weights, strict=True
            )
        ]

    def _answer(
        self,
        seen: PreparedScan,
        compared: Comparison,
        label: int,
        shares: np.ndarray,
        weights: np.ndarray,
        network_s: float,
    ) -> Prediction:
        classes, angles = compared.prototypes.classes, self.bundle.prepare.views.angles_deg
        return Prediction(
            label=classes[label],
            probabilities=dict(zip(classes, shares.tolist(), strict=True)),
            # The level belongs to the classes that the probabilities were fitted for.
            is_confident=not seen.is_barely_found
            and (compared.is_own or bool(shares[label] >= self.bundle.abstain_threshold)),
            calibrated=compared.calibrated,
            view_weights=dict(zip(angles, weights.tolist(), strict=True)),
            views=seen.images[len(seen.images) // 2],
            face=seen.face,
            num_frames=seen.num_frames,
            bad_frames=seen.bad_frames,
            remarks=seen.remarks,
            seconds=Timings(read=seen.read_s, face=seen.face_s, views=seen.views_s, network=network_s),
        )

    def embed(
        self, scans: Sequence[Scan | ScanFiles], *, numbered_as: NumberedAs = "auto"
    ) -> Float32[np.ndarray, "scan dim"]:
        """Fused embeddings of scans and sequences, unit length.

        Args:
            scans: See `predict`.
            numbered_as: See `predict`.

        Raises:
            MeshError: A file cannot be read, or holds no face.
            SettingsError: `scans` is one scan.
        """
        if _is_one(scans):
            raise SettingsError(_EXPECTED_MANY)
        if not scans:
            return np.zeros((0, self.bundle.model.settings.embedding_dim), np.float32)
        rows = []
        for scan in scans:
            fused = self.bundle.embed(np.stack(see(scan, self.bundle.prepare, numbered_as=numbered_as).images)).z_fused
            mean = (fused / np.linalg.norm(fused, axis=1, keepdims=True)).mean(axis=0)
            rows.append(mean / np.linalg.norm(mean))
        return np.stack(rows).astype(np.float32)

    @functools.cached_property
    def _text_tower(self) -> CachedTextTower:
        return CachedTextTower(load_text_tower(self.bundle.text_tower))

    def compare_with(self, prompts: Prompts | None) -> Comparison:
        """Encode classes of one's own; None for those the model was trained with, which need no text tower.

        Raises:
            PromptError: A class has no description.
            CheckpointError: Another text tower is installed than the model was trained with.
        """
        if prompts is None:
            return Comparison(
                prototypes=self.bundle.prototypes,
                candidates=self.bundle.prompts.centred,
                calibrated=self.bundle.calibrated,
                is_own=False,
            )
        if not isinstance(prompts, Mapping):
            raise PromptError(f'prompts are a {type(prompts).__name__}; expected {{"pain": ["a face in pain"], ...}}')
        if fault := find_fault(prompts):
            raise PromptError(fault.message)
        tower = self._text_tower
        if tower.digest != self.bundle.text_digest:
            raise CheckpointError("the model was trained with another text tower than the one installed")
        texts = [text for group in prompts.values() for text in group]
        owners = [name for name, group in prompts.items() for _ in group]
        embedded = self.bundle.prompts.embed(texts, tower)
        return Comparison(
            prototypes=class_prototypes(embedded, owners, tuple(prompts)),
            candidates=embedded,
            calibrated=False,
            is_own=True,
        )


def _is_one(scan: object) -> TypeGuard[Scan | ScanFiles]:
    """Whether a value stands for one scan, not for many."""
    return isinstance(scan, (str, os.PathLike, ScanFiles)) or is_mesh_like(scan) or not isinstance(scan, Iterable)


def _try(
    see_each: Callable[[Scan | ScanFiles], PreparedScan], scan: Scan | ScanFiles
) -> PreparedScan | SmileVlmError | OSError:
    try:
        return see_each(scan)
    except (SmileVlmError, OSError) as error:
        return error


def _start(up: str | None, front: str | None) -> Float[np.ndarray, "3 3"] | None:
    if up is None and front is None:
        return None
    if up is None or front is None:
        raise SettingsError("up and front belong together: give both axes, such as up=+z front=-y")
    if not (isinstance(up, str) and isinstance(front, str)):
        raise SettingsError(f"up is {up!r} and front is {front!r}; expected names of axes, such as '+z' and '-y'")
    return rotation_from_axes(up, front)


def load(source: str | os.PathLike[str] = DEFAULT) -> Model:
    """Load a trained model.

    Args:
        source: `default` for the weights in the package (`./default` is a folder of that name); a run folder (its first
            trained fold is used), the folder of one fold, a folder that was saved for the hub, or a hub id
            `owner/name`, `owner/name@revision`.

    Raises:
        CheckpointError: There is no trained model.
    """
    return Model(load_bundle(bundled_folder() if source == DEFAULT else resolve_source(source)))
