"""What a worker process does with one request: check, read, predict, explain."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from smilevlm.evaluation import overlay_scale, pixel_relevance, relevance_overlay
from smilevlm.geometry import rotation_from_axes
from smilevlm.predict import Model, Prediction, PreparedScan, prepare_scan
from smilevlm.readers import read_mesh
from smilevlm.web.checks import check_upload, check_vertices
from smilevlm.web.pictures import MAX_SHOWN_VERTICES, thinned
from smilevlm.web.settings import WebSettings

Prompts = Mapping[str, Sequence[str]] | None
Overlays = UInt8[np.ndarray, "view 224 224 3"]


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """A prediction, and what is needed to ask again.

    Args:
        prepared: Views and face; the mesh is thinned, for the page only shows it.
        prediction: Of the model.
    """

    prepared: PreparedScan
    prediction: Prediction


@dataclass(frozen=True, kw_only=True)
class Recognise:
    """Read a file and recognise its expression.

    Args:
        path: The upload or an example.
        prompts: Classes of the user's own; None for the trained ones.
        up: See `smilevlm.predict.Model.predict`.
        front: See there.
    """

    path: Path
    prompts: Prompts = None
    up: str | None = None
    front: str | None = None

    def __call__(self, model: Model, settings: WebSettings) -> Recognition:
        prepared = self._prepare(model, settings)
        prepared = replace(
            prepared,
            face=replace(prepared.face, mesh=thinned(prepared.face.mesh, MAX_SHOWN_VERTICES)),
            # What is said of a frame begins with the upload's place on the server.
            bad_frames=tuple((name, reason.replace(f"{self.path}/", "")) for name, reason in prepared.bad_frames),
            remarks=tuple(remark.replace(f"{self.path}/", "") for remark in prepared.remarks),
        )
        return Compare(prepared=prepared, prompts=self.prompts)(model, settings)

    def _prepare(self, model: Model, settings: WebSettings) -> PreparedScan:
        scan = check_upload(self.path, settings)
        prepare = model.bundle.prepare
        start = None if self.up is None or self.front is None else rotation_from_axes(self.up, self.front)
        if scan.is_sequence:
            return prepare_scan(scan, prepare, start)
        begun = time.perf_counter()
        (frame,) = scan.frames
        mesh = read_mesh(frame.path, load_texture=prepare.views.kind == "texture")
        # Not every format says in its header how many vertices follow.
        check_vertices(mesh.num_vertices, frame.path, settings)
        read_s = time.perf_counter() - begun
        prepared = prepare_scan(mesh, prepare, start)
        return replace(prepared, read_s=read_s, remarks=(*scan.remarks, *prepared.remarks))


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Predict from views that were made before.

    Args:
        prepared: From an earlier recognition.
        prompts: See `Recognise`.
    """

    prepared: PreparedScan
    prompts: Prompts = None

    def __call__(self, model: Model, settings: WebSettings) -> Recognition:
        del settings
        (prediction,) = model.predict_prepared([self.prepared], model.compare_with(self.prompts))
        return Recognition(prepared=self.prepared, prediction=prediction)


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Which parts of the views speak for the predicted label.

    Args:
        recognition: What was predicted.
        prompts: The classes it was compared with.
    """

    recognition: Recognition
    prompts: Prompts = None

    def __call__(self, model: Model, settings: WebSettings) -> Overlays:
        del settings
        prediction, comparison = self.recognition.prediction, model.compare_with(self.prompts)
        pixels = pixel_relevance(
            model.bundle,
            prediction.views,
            prediction.label,
            prototypes=comparison.prototypes,
            candidates=comparison.candidates,
            dynamic=prediction.is_sequence,
        ).pixels
        scale = overlay_scale(pixels)
        views = zip(prediction.views, pixels, strict=True)
        return np.stack([relevance_overlay(view, part, scale=scale) for view, part in views])
