"""Expression of a face from its views, with onnxruntime and NumPy alone: python example.py views.npy [model.onnx]."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main(views: str, model: str) -> None:
    images = np.load(views)
    images = images[images.files[0]] if isinstance(images, np.lib.npyio.NpzFile) else images
    if images.ndim == 4:  # one face: (view, height, width, 3); several: (face, view, height, width, 3)
        images = images[None]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    known = json.loads(session.get_modelmeta().custom_metadata_map["smilevlm"])
    outputs = session.run(["probabilities", "view_weights"], {"images": images})
    probabilities, weights = (np.asarray(output, float) for output in outputs)
    for face, shares in enumerate(probabilities):
        doubt = " (not sure)" if shares.max() < known["abstain_threshold"] else ""
        print(f"face {face}: {known['classes'][shares.argmax()]}{doubt}")
        print("  probabilities", dict(zip(known["classes"], shares.round(3).tolist(), strict=True)))
        print("  view weights ", weights[face].round(3).tolist())
    if known["trained_on_synthetic_faces"]:
        print("(model trained on synthetic faces)")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(Path(__file__).with_name("model.onnx")))
