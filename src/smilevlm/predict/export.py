"""A trained model as one ONNX graph: views in, probabilities out, with everything between them inside."""

from __future__ import annotations

import copy
import importlib.util
import io
import itertools
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from smilevlm.errors import CheckpointError, MissingExtraError
from smilevlm.files import write_atomically
from smilevlm.models import ModelBundle, probabilities, zero_shot_scores
from smilevlm.predict.hub import (
    CARD_FILE,
    UNSTATED_LICENCE,
    describe,
    export_folder,
    faces_in_words,
    first_line,
    licence_note,
    probabilities_in_words,
)
from smilevlm.threads import one_thread
from smilevlm.version import __version__

if TYPE_CHECKING:
    import torch

GRAPH_FILE = "model.onnx"
METADATA_FILE = "metadata.json"
PROMPTS_FILE = "prompts.npz"
EXAMPLE_FILE = "example.py"
ONNX_FILES = (CARD_FILE, EXAMPLE_FILE, GRAPH_FILE, METADATA_FILE, PROMPTS_FILE)
METADATA_KEY = "smilevlm"
"""Of the graph's own metadata, which hold what `metadata.json` holds: the file may travel alone."""
TOLERANCE = 1e-4
"""Largest absolute difference between onnxruntime and torch in scores, embedding and view weights of a graph that is
kept; that of the probabilities follows from it, see `probability_tolerance`."""
_SOFTMAX_ROUNDING = 1e-6
"""Of a softmax in float32, several times over."""
OUTPUTS = ("probabilities", "scores", "embedding", "view_weights")
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_NOISY_LOGGERS = ("torch.onnx", "torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir")
_PROTOBUF_LIMIT = 2**31 - 2**24
"""No protobuf message may reach 2 GiB; a little is left for the graph around the weights."""
_TRACED_BATCH, _TRACED_VIEWS = 2, 3
_CHECKED_BATCHES, _CHECKED_VIEWS = (1, 2, 5), (1, 3)
_BLOCK_PX = 8
_FUSION_NOTE = (
    " This model's view weights depend on the prompts that are compared; inside the graph these are the trained ones."
)


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """What was written.

    Attributes:
        num_bytes: Of the graph.
        differences: Largest absolute difference between onnxruntime and torch, by output.
        num_compared: Samples that were compared.
    """

    num_bytes: int
    differences: Mapping[str, float]
    num_compared: int

    @property
    def largest_difference(self) -> float:
        """Over all outputs."""
        return max(self.differences.values())

    @property
    def differences_in_words(self) -> str:
        """Each output and its difference."""
        return ", ".join(f"{name} {difference:.1e}" for name, difference in self.differences.items())


def export_onnx(
    bundle: ModelBundle,
    folder: str | os.PathLike[str],
    *,
    licence: str = UNSTATED_LICENCE,
    overwrite: bool = False,
) -> OnnxExport:
    """Write a folder with the graph, what it means, the prompts' vectors, an example and a page on its use.

    Args:
        bundle: The model.
        folder: Appears in one piece, after the graph has given what torch gives.
        licence: SPDX identifier of the weights in lower case; nothing is assumed.
        overwrite: Replace an earlier export.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
        CheckpointError: The model cannot be a graph of this kind, or the graph gives something else than torch.
        SettingsError: The folder holds something already.
    """
    _require_packages()
    metadata = _metadata(bundle, licence)
    with export_folder(Path(folder), ONNX_FILES, overwrite=overwrite) as scratch:
        graph = build_graph(bundle, metadata)
        export = compare(graph, bundle)
        write_atomically(scratch / GRAPH_FILE, graph)
        write_atomically(scratch / METADATA_FILE, json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")
        write_atomically(scratch / PROMPTS_FILE, _prompt_vectors(bundle))
        write_atomically(scratch / EXAMPLE_FILE, _data("onnx_example.py"))
        write_atomically(scratch / CARD_FILE, _page(bundle, export, licence))
    return export


def probability_tolerance(temperature: float) -> float:
    """How far probabilities may differ where their scores differ by `TOLERANCE` at most.

    A probability is p_k = σ(u) with u = s_k/τ - ln Σ_{j≠k} exp(s_j/τ). With all scores within ε, u is within 2ε/τ; the
    slope of σ is 1/4 at most, so p_k is within ε/(2τ). At the smallest temperatures that is more than 1, and the scores
    alone are checked.

    Args:
        temperature: τ of the softmax, above 0.
    """
    return TOLERANCE / (2 * temperature) + _SOFTMAX_ROUNDING


def build_graph(bundle: ModelBundle, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The serialised graph.

    Input `images`, uint8 (batch, view, height, width, 3) as `render_views` gives them, batch and view of any size.
    Outputs `probabilities` and `scores` (batch, class), `embedding` (batch, dim) of unit length, `view_weights`
    (batch, view). Scaling of pixels, prompt embeddings and temperature are inside.

    Args:
        bundle: The model.
        metadata: Kept inside the graph as JSON.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
        CheckpointError: The weights are too many for one file, or torch cannot trace or translate the model.
    """
    _require_packages()
    import onnx

    program = _trace(bundle)
    inside = program.model.graph
    nodes = list(inside.all_nodes())
    for value in [*inside.initializers.values(), *(value for node in nodes for value in node.outputs)]:
        # The exporter does not see to it that the layers' own names differ from those of the outputs.
        if value.name in OUTPUTS and not value.is_graph_output():
            value.name = f"inner_{value.name}"
    for node in nodes:
        # Among them is where in this machine's files each line of the model's source lies.
        node.metadata_props.clear()
    if metadata is not None:
        program.model.metadata_props[METADATA_KEY] = json.dumps(metadata, ensure_ascii=False)
    graph = program.model_proto
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString(deterministic=True)


def _trace(bundle: ModelBundle) -> torch.onnx.ONNXProgram:
    import torch

    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in bundle.model.state_dict().values())
    if num_bytes > _PROTOBUF_LIMIT:
        raise CheckpointError(f"the weights are {num_bytes / 1e9:.1f} GB; one ONNX file holds less than 2 GiB")
    size = bundle.prepare.views.size
    images = torch.zeros((_TRACED_BATCH, _TRACED_VIEWS, size, size, 3), dtype=torch.uint8)
    with torch.no_grad(), one_thread(), _quiet():
        try:
            program = torch.onnx.export(
                _with_head(bundle),
                (images,),
                dynamo=True,
                external_data=False,
                input_names=["images"],
                output_names=list(OUTPUTS),
                dynamic_shapes={"images": {0: "batch", 1: "view"}},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            tower = bundle.model.settings.tower
            raise CheckpointError(
                f"a model with the tower {tower!r} cannot be written as an ONNX graph: {_root_reason(error)}"
            ) from error
    assert program is not None
    return program


def compare(graph: bytes, bundle: ModelBundle) -> OnnxExport:
    """Run a graph beside the model on random images of several numbers of samples and views.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
        CheckpointError: An output differs by more than `TOLERANCE`, the probabilities by more than follows from it, or
            onnxruntime refuses the graph.
    """
    _require_packages()
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NotImplemented

    rng = np.random.default_rng(0)
    differences: dict[str, float] = dict.fromkeys(OUTPUTS, 0.0)
    try:
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf, NotImplemented) as error:
        raise CheckpointError(f"onnxruntime refuses the graph: {first_line(error)}") from error
    for num_views, batch in itertools.product(_CHECKED_VIEWS, _CHECKED_BATCHES):
        images = _random_images(rng, batch, num_views, bundle.prepare.views.size)
        outputs = session.run(list(OUTPUTS), {"images": images})
        for name, output, expected in zip(OUTPUTS, outputs, _expected(bundle, images), strict=True):
            given = np.asarray(output)
            if given.shape != expected.shape:
                raise CheckpointError(f"the graph's {name} are {given.shape}, those of torch {expected.shape}")
            # NaN would be lost in every comparison.
            difference = float(np.nan_to_num(np.abs(given - expected), nan=np.inf).max())
            differences[name] = max(differences[name], difference)
    num_compared = len(_CHECKED_VIEWS) * sum(_CHECKED_BATCHES)
    export = OnnxExport(num_bytes=len(graph), differences=differences, num_compared=num_compared)
    tolerances = dict.fromkeys(OUTPUTS, TOLERANCE) | {"probabilities": probability_tolerance(bundle.temperature)}
    if any(differences[name] > tolerances[name] for name in OUTPUTS):
        raise CheckpointError(
            f"the graph differs from torch by more than {TOLERANCE:g}: {export.differences_in_words}; of the "
            f"probabilities {tolerances['probabilities']:.1e} would be the same at temperature "
            f"{bundle.temperature:g}"
        )
    return export


def _with_head(bundle: ModelBundle) -> torch.nn.Module:
    """The model with scaling of images before it and comparison with the classes behind it."""
    import torch
    from torch.nn.functional import normalize

    class WithHead(torch.nn.Module):
        prototypes: torch.Tensor
        candidates: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            # A copy, so that device and mode of the caller's stay as they are.
            self.model = copy.deepcopy(bundle.model).cpu()
            self.register_buffer("prototypes", torch.from_numpy(bundle.prototypes.vectors).float())
            self.register_buffer("candidates", torch.from_numpy(bundle.prompts.centred))
            self.temperature = bundle.temperature

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output = self.model(images.permute(0, 1, 4, 2, 3), text=self.candidates)
            embedding = normalize(output.z_fused, dim=1)
            scores = (embedding @ self.prototypes.T).clamp(-1, 1)
            return torch.softmax(scores / self.temperature, dim=1), scores, embedding, output.view_weights

    return WithHead().eval()


def _expected(
    bundle: ModelBundle, images: UInt8[np.ndarray, "sample view height width 3"]
) -> tuple[Float[np.ndarray, "sample _"], ...]:
    """What `predict` computes from the same images, in the order of `OUTPUTS`."""
    embedded = bundle.embed(images)
    scores = zero_shot_scores(embedded.z_fused, bundle.prototypes)
    unit = embedded.z_fused / np.linalg.norm(embedded.z_fused, axis=1, keepdims=True)
    return probabilities(scores, bundle.temperature), scores, unit, embedded.view_weights


def _random_images(
    rng: np.random.Generator, batch: int, num_views: int, size: int
) -> UInt8[np.ndarray, "sample view height width 3"]:
    """Noise, and as many of random squares: a tower tells those apart better."""
    noise = rng.integers(0, 256, (batch, num_views, size, size, 3), dtype=np.uint8)
    coarse = -(-size // _BLOCK_PX)
    squares = rng.integers(0, 256, (batch, num_views, coarse, coarse, 3), dtype=np.uint8)
    squares = squares.repeat(_BLOCK_PX, axis=2).repeat(_BLOCK_PX, axis=3)[:, :, :size, :size]
    # Each sample of one kind, and the number of samples that is to be checked.
    return np.where((np.arange(batch) % 2 == 0)[:, None, None, None, None], squares, noise)


def _metadata(bundle: ModelBundle, licence: str) -> dict[str, Any]:
    prompts, size = bundle.prompts, bundle.prepare.views.size
    return {
        **describe(bundle, licence),
        "input": {"name": "images", "dtype": "uint8", "shape": ["batch", "view", size, size, 3]},
        "outputs": list(OUTPUTS),
        "prompts": [{"class": owner, "text": text} for owner, text in zip(prompts.classes, prompts.texts, strict=True)],
        "text_tower": bundle.text_tower,
        "text_tower_sha256": bundle.text_digest,
        "fusion": bundle.model.settings.fusion.kind,
        "prepare": asdict(bundle.prepare),
    }


def _prompt_vectors(bundle: ModelBundle) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        vectors=bundle.prompts.centred,
        mean=bundle.prompts.mean,
        prototypes=bundle.prototypes.vectors.astype(np.float32),
    )
    return buffer.getvalue()


def _page(bundle: ModelBundle, export: OnnxExport, licence: str) -> str:
    views, settings = bundle.prepare.views, bundle.model.settings
    return _data("onnx_readme.md").format(
        version=__version__,
        faces=faces_in_words(bundle),
        megabytes=export.num_bytes / 1e6,
        dim=settings.embedding_dim,
        size=views.size,
        kind=views.kind,
        angles=", ".join(f"{angle:g}" for angle in views.angles_deg),
        num_classes=len(bundle.classes),
        classes=", ".join(bundle.classes),
        probabilities=probabilities_in_words(bundle),
        text_tower=bundle.text_tower,
        fusion_note=_FUSION_NOTE if settings.fusion.kind == "text_guided" else "",
        num_compared=export.num_compared,
        differences=export.differences_in_words,
        licence_note=licence_note(bundle, licence),
    )


def _data(name: str) -> str:
    return files("smilevlm.predict").joinpath("data", name).read_text(encoding="utf-8")


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"writing ONNX needs {', '.join(missing)}: pip install 'smilevlm[onnx]'")


def _root_reason(error: BaseException) -> str:
    """What went wrong first; the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own code and on libraries that this package does without."""
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
