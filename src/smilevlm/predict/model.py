"""A trained model: from scans and sequences to predictions."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, TypeGuard, Unpack, cast, overload

import numpy as np
from jaxtyping import Float, Float32, Int

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
from smilevlm.predict.preprocessing import PreparedScan, prepare_scan
from smilevlm.prompts import CachedTextTower, find_fault, load_text_tower
from smilevlm.store import NumberedAs

if TYPE_CHECKING:
    import torch

Prompts = Mapping[str, Sequence[str]]
DEFAULT_BATCH_SIZE = 32
"""Scans that go through the network together, and at most wait for it."""
_EXPECTED_MANY = "one scan where many are expected: give a list of them, or smilevlm.find_scans(folder)"


class PredictOptions(TypedDict, total=False):
    """The keyword arguments of `Model.predict`, which explains them."""

    prompts: Prompts | None
    up: str | None
    front: str | None
    numbered_as: NumberedAs
    device: str | torch.device | None
    batch_size: int


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
    def predict(self, scan: Scan | ScanFiles, **options: Unpack[PredictOptions]) -> Prediction: ...

    @overload
    def predict(self, scan: Sequence[Scan | ScanFiles], **options: Unpack[PredictOptions]) -> list[Prediction]: ...

    def predict(
        self,
        scan: Scan | ScanFiles | Sequence[Scan | ScanFiles],
        *,
        prompts: Prompts | None = None,
        up: str | None = None,
        front: str | None = None,
        numbered_as: NumberedAs = "auto",
        device: str | torch.device | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
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
            device: Where the network runs, such as `cuda`, `cuda:1` or `cpu`. The model is moved there and stays there;
                None leaves it where it is.
            batch_size: Scans that go through the network together.

        Raises:
            MeshError: A file cannot be read, a scan has no vertices and faces, or there is no face in it.
            PromptError: A class has no description.
            SettingsError: The axes are none, or parallel; the device is unknown or missing; `batch_size` is below 1.
        """
        is_single = _is_one(scan)
        predictions = []
        for prediction in self.predict_each(
            [scan] if is_single else cast("Sequence[Scan | ScanFiles]", scan),
            prompts=prompts,
            up=up,
            front=front,
            numbered_as=numbered_as,
            device=device,
            batch_size=batch_size,
        ):
            if not isinstance(prediction, Prediction):
                raise prediction
            predictions.append(prediction)
        return predictions[0] if is_single else predictions

    def predict_each(
        self,
        scans: Iterable[Scan | ScanFiles],
        *,
        prompts: Prompts | None = None,
        up: str | None = None,
        front: str | None = None,
        jobs: int = 1,
        numbered_as: NumberedAs = "auto",
        device: str | torch.device | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> Iterator[Prediction | SmileVlmError | OSError]:
        """Predictions as they come, in the order of the scans; a scan that fails gives its error, the others go on.

        Args:
            scans: Many of what `predict` takes; drawn from as needed, so that memory does not grow with their number.
            prompts: See `predict`.
            up: See `predict`.
            front: See `predict`.
            jobs: Threads that read, find faces and render; with more than one the next scans are read while the network
                works.
            numbered_as: See `predict`.
            device: See `predict`.
            batch_size: See `predict`; so many scans are read before the first of them is answered.

        Raises:
            PromptError: A class has no description.
            SettingsError: The axes are none, or parallel; `scans` is one scan; `jobs` or `batch_size` is less than one;
                the device is unknown or missing.
        """
        if _is_one(scans):
            raise SettingsError(_EXPECTED_MANY)
        for name, value in (("jobs", jobs), ("batch_size", batch_size)):
            if value < 1:
                raise SettingsError(f"{name} is {value}; expected at least 1")
        comparison = self.compare_with(prompts)
        start = _start(up, front)
        prepare = functools.partial(prepare_scan, settings=self.bundle.prepare, start=start, numbered_as=numbered_as)
        if device is not None:
            self.to(device)
        return self._predict_in_batches(scans, comparison, prepare, jobs, batch_size)

    def _predict_in_batches(
        self,
        scans: Iterable[Scan | ScanFiles],
        comparison: Comparison,
        prepare: Callable[[Scan | ScanFiles], PreparedScan],
        jobs: int,
        batch_size: int,
    ) -> Iterator[Prediction | SmileVlmError | OSError]:
        remaining = iter(scans)
        with ThreadPoolExecutor(jobs) as pool:

            def submit_batch() -> list[Future[PreparedScan | SmileVlmError | OSError]]:
                return [pool.submit(_try, prepare, scan) for scan in itertools.islice(remaining, batch_size)]

            batch = submit_batch()
            while batch:
                results = [future.result() for future in batch]
                # With threads to spare the next scans are read while the network works on these.
                batch = submit_batch() if jobs > 1 else []
                prepared = [result for result in results if isinstance(result, PreparedScan)]
                # A sequence may have several dynamic images: at most twice as many go through the network at a time.
                predictions = iter(self.predict_prepared(prepared, comparison, batch_size=2 * batch_size))
                for result in results:
                    yield next(predictions) if isinstance(result, PreparedScan) else result
                batch = batch or submit_batch()

    def to(self, device: str | torch.device) -> Model:
        """Move the network to a device, where it stays.

        Args:
            device: As torch names it, such as `cuda`, `cuda:1`, `mps` or `cpu`.

        Returns:
            This model.

        Raises:
            SettingsError: There is no such device, or this machine does not have it.
        """
        import torch

        try:
            target = torch.device(device)
        except (RuntimeError, ValueError, TypeError):
            raise SettingsError(f"device {str(device)!r} is unknown; expected cpu, cuda, cuda:1 or the like") from None
        try:
            torch.zeros(1, device=target).cpu()
        # Torch without CUDA asserts; the device `meta` holds no values to copy back.
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).split("\n")[0].split(". ")[0]
            raise SettingsError(f"device {str(device)!r} is not available on this machine: {reason}") from None
        self.bundle.model.to(target)
        return self

    def predict_prepared(
        self, scans: Sequence[PreparedScan], comparison: Comparison, *, batch_size: int = 2 * DEFAULT_BATCH_SIZE
    ) -> list[Prediction]:
        """The network's part: views in, predictions out.

        Args:
            scans: From `smilevlm.predict.prepare_scan`.
            comparison: From `compare_with`.
            batch_size: Sets of views that go through the network together.
        """
        if not scans:
            return []
        begun = time.perf_counter()
        owners = np.repeat(np.arange(len(scans)), [len(scan.images) for scan in scans])
        images = np.stack([views for scan in scans for views in scan.images])
        embedded = self.bundle.embed(images, candidates=comparison.candidates, batch_size=batch_size)
        scores = _mean_by_owner(zero_shot_scores(embedded.z_fused, comparison.prototypes), owners)
        weights = _mean_by_owner(embedded.view_weights, owners)
        distributions = probabilities(scores, self.bundle.temperature)
        network_s = (time.perf_counter() - begun) / len(scans)
        labels = predicted_classes(scores).tolist()
        return [
            self._prediction(scan, comparison, label, distribution, weight, network_s)
            for scan, label, distribution, weight in zip(scans, labels, distributions, weights, strict=True)
        ]

    def answer(self, seen: Sequence[PreparedScan], compared: Comparison) -> list[Prediction]:
        """Deprecated name of `predict_prepared`."""
        warn_renamed("Model.answer", "predict_prepared")
        return self.predict_prepared(seen, compared)

    def _prediction(
        self,
        scan: PreparedScan,
        comparison: Comparison,
        label: int,
        distribution: np.ndarray,
        weights: np.ndarray,
        network_s: float,
    ) -> Prediction:
        classes, angles = comparison.prototypes.classes, self.bundle.prepare.views.angles_deg
        # The threshold belongs to the classes that the probabilities were fitted for.
        reaches_threshold = comparison.is_own or bool(distribution[label] >= self.bundle.abstain_threshold)
        return Prediction(
            label=classes[label],
            probabilities=dict(zip(classes, distribution.tolist(), strict=True)),
            is_confident=reaches_threshold and not scan.is_barely_found,
            calibrated=comparison.calibrated,
            view_weights=dict(zip(angles, weights.tolist(), strict=True)),
            views=scan.images[len(scan.images) // 2],
            face=scan.face,
            num_frames=scan.num_frames,
            bad_frames=scan.bad_frames,
            remarks=scan.remarks,
            seconds=Timings(read=scan.read_s, face=scan.face_s, views=scan.views_s, network=network_s),
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
            fused = self.bundle.embed(
                np.stack(prepare_scan(scan, self.bundle.prepare, numbered_as=numbered_as).images)
            ).z_fused
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


def _mean_by_owner(
    values: Float[np.ndarray, "image column"], owners: Int[np.ndarray, " image"]
) -> Float[np.ndarray, "scan column"]:
    """The mean over each scan's images: several dynamic images of one sequence count alike."""
    sums = np.stack([np.bincount(owners, weights=column) for column in values.T], axis=1)
    return sums / np.bincount(owners)[:, None]


def _try(
    prepare: Callable[[Scan | ScanFiles], PreparedScan], scan: Scan | ScanFiles
) -> PreparedScan | SmileVlmError | OSError:
    try:
        return prepare(scan)
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
