"""`smilevlm export`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "write a model for use elsewhere: an ONNX graph, or the Hugging Face hub's layout"
DESCRIPTION = (
    "Write a trained model as a folder of its own. As onnx: one graph with the scaling of pixels, the prompts' "
    "embeddings and the temperature inside, checked against torch, with an example that needs only onnxruntime and "
    "NumPy. As hub: safetensors, JSON and a model card, which `smilevlm predict --model` takes again."
)
EXAMPLE = "smilevlm export run exported"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="RUN", help="whatever `smilevlm predict --model` takes: a run folder, default, or a hub id")
    add("out", metavar="OUT", type=Path, help="folder to write; it must be missing or empty")
    add("--format", choices=("onnx", "hub"), default="onnx", help="what to write")
    licence_help = "of the weights, such as apache-2.0; other: not stated, it depends on the faces it was trained on"
    add("--licence", default="other", metavar="SPDX", help=licence_help)
    add("--overwrite", action="store_true", help="replace an earlier export of the same format in OUT")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.predict import load
    from smilevlm.predict.hub import faces_in_words, save_pretrained

    bundle = load(arguments.source).bundle
    options = {"licence": arguments.licence, "overwrite": arguments.overwrite}
    if arguments.format == "hub":
        save_pretrained(bundle, arguments.out, **options)
    else:
        from smilevlm.predict.export import export_onnx

        export = export_onnx(bundle, arguments.out, **options)
        print(
            f"graph of {export.num_bytes / 1e6:.1f} MB; largest difference from torch over {export.num_compared} "
            f"samples: {export.differences_in_words}",
            file=sys.stderr,
        )
    print(f"the model was trained on {faces_in_words(bundle)}", file=sys.stderr)
    print(arguments.out)
