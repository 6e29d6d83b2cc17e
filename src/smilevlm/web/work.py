"""What a worker process does with one request: check, read, look, compare, explain."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from smilevlm.evaluation.relevance import overlay_scale, relevance, relevance_overlay
from smilevlm.geometry.axes import rotation_from_axes
from smilevlm.predict import Model, Prediction, PreparedScan, prepare_scan
from smilevlm.readers import read_mesh
from smilevlm.web.checks import check_upload, check_vertices
from smilevlm.web.pictures import MAX_SHOWN_VERTICES, thinned
from smilevlm.web.settings import WebSettings

Prompts = Mapping[str, Sequence[str]] | None
Overlays = UInt8[np.ndarray, "view 224 224 3"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """An answer, and what is needed to ask again.

    Args:
        seen: Views and face; the mesh is thinned, for the page only shows it.
        answer: Of the model.
    """

    seen: PreparedScan
    answer: Prediction


@dataclass(frozen=True, kw_only=True)
class Recognise:
    """Read a file and answer.

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

    def __call__(self, model: Model, settings: WebSettings) -> Found:
        scan = check_upload(self.path, settings)
        prepare = model.bundle.prepare
        start = None if self.up is None or self.front is None else rotation_from_axes(self.up, self.front)
        if scan.is_sequence:
            seen = prepare_scan(scan, prepare, start)
        else:
            begun = time.perf_counter()
            (frame,) = scan.frames
            mesh = read_mesh(frame.path, load_texture=prepare.views.kind == "texture")
            # Not every format says in its header how many vertices follow.
            check_vertices(mesh.num_vertices, frame.path, settings)
            read_s = time.perf_counter() - begun
            seen = prepare_scan(mesh, prepare, start)
            seen = replace(seen, read_s=read_s, remarks=(*scan.remarks, *seen.remarks))
        seen = replace(
            seen,
            face=replace(seen.face, mesh=thinned(seen.face.mesh, MAX_SHOWN_VERTICES)),
            # What is said of a frame begins with the upload's place on the server.
            bad_frames=tuple((name, said.replace(f"{self.path}/", "")) for name, said in seen.bad_frames),
            remarks=tuple(remark.replace(f"{self.path}/", "") for remark in seen.remarks),
        )
        return Compare(seen=seen, prompts=self.prompts)(model, settings)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Answer from views that were made before.

    Args:
        seen: From an earlier answer.
        prompts: See `Recognise`.
    """

    seen: PreparedScan
    prompts: Prompts = None

    def __call__(self, model: Model, settings: WebSettings) -> Found:
        del settings
        (answer,) = model.predict_prepared([self.seen], model.compare_with(self.prompts))
        return Found(seen=self.seen, answer=answer)


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Which parts of the views speak for the answer's label.

    Args:
        found: The answer.
        prompts: The classes it was compared with.
    """

    found: Found
    prompts: Prompts = None

    def __call__(self, model: Model, settings: WebSettings) -> Overlays:
        del settings
        answer, comparison = self.found.answer, model.compare_with(self.prompts)
        pixels = relevance(
            model.bundle,
            answer.views,
            answer.label,
            prototypes=comparison.prototypes,
            candidates=comparison.candidates,
            dynamic=answer.is_sequence,
        ).pixels
        scale = overlay_scale(pixels)
        return np.stack(
            [relevance_overlay(view, part, scale=scale) for view, part in zip(answer.views, pixels, strict=True)]
        )


Task = Recognise | Compare | Explain
