"""onnxruntime against torch on the same graph's work: one thread each, both in one run, and how far apart they are.

Command: python benchmarks/onnx_runtime.py [MODEL] [--size 64] [--width 32] [--batches 1,8,64]

MODEL is what `smilevlm predict --model` takes. Without one the tower of the recipe `demo` has random weights, which
takes the same time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch

from smilevlm.geometry import NormaliseSettings
from smilevlm.models import ConvTowerSettings, ModelBundle, ModelSettings, build_model, probabilities, zero_shot_scores
from smilevlm.predict import load
from smilevlm.predict.export import build_graph, compare
from smilevlm.prompts import PromptEmbeddings
from smilevlm.store import PrepareSettings
from smilevlm.views import ViewSettings

_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise")


def random_bundle(size: int, width: int) -> ModelBundle:
    torch.manual_seed(0)
    model = build_model(ModelSettings(tower_settings=ConvTowerSettings(width=width))).eval()
    raw = np.random.default_rng(0).normal(size=(len(_CLASSES), model.settings.embedding_dim)).astype(np.float32)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    return ModelBundle(
        model=model,
        prompts=PromptEmbeddings(texts=_CLASSES, classes=_CLASSES, raw=raw, mean=raw.mean(axis=0)),
        text_digest="",
        text_tower="minilm",
        classes=_CLASSES,
        prepare=PrepareSettings(views=ViewSettings(size=size), normalise=NormaliseSettings()),
        temperature=0.07,
        synthetic=False,
    )


def milliseconds(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median time of each; they take turns, so that other work on the machine meets both alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + 1):
        for own, work in zip(times, works, strict=True):
            start = time.perf_counter()
            work()
            own.append(1000 * (time.perf_counter() - start))
    return [statistics.median(own[1:]) for own in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batches", default="1,8,64")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    given = arguments.model
    bundle = random_bundle(arguments.size, arguments.width) if given is None else load(given).bundle
    torch.set_num_threads(1)
    start = time.perf_counter()
    graph = build_graph(bundle)
    print(f"graph: {len(graph) / 1e6:.2f} MB, written in {time.perf_counter() - start:.1f} s")
    print(f"apart: {compare(graph, bundle).differences_in_words}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    print(f"onnxruntime {onnxruntime.__version__} reads it in {1000 * (time.perf_counter() - start):.0f} ms")
    views, prototypes = bundle.prepare.views, bundle.prototypes
    for batch in (int(part) for part in arguments.batches.split(",")):
        shape = (batch, len(views.angles_deg), views.size, views.size, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

        def by_torch(images: np.ndarray = images) -> np.ndarray:
            scores = zero_shot_scores(bundle.embed(images).z_fused, prototypes)
            return probabilities(scores, bundle.temperature)

        def by_graph(images: np.ndarray = images) -> object:
            return session.run(["probabilities"], {"images": images})

        ours, graphs = milliseconds([by_torch, by_graph], arguments.repeats)
        print(
            f"batch {batch:3}: torch {torch.__version__} {ours:7.1f} ms, onnxruntime {graphs:7.1f} ms; "
            f"{ours / graphs:.2f} times as fast, {1000 * batch / graphs:.0f} samples/s"
        )


if __name__ == "__main__":
    main()
