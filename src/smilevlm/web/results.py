"""A prediction as files to download: JSON, CSV, the views as PNG, in one zip."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from smilevlm.predict import Prediction
from smilevlm.version import __version__
from smilevlm.web.jobs import ModelFacts
from smilevlm.web.pictures import png
from smilevlm.web.work import Overlays, Prompts


def result_zip(
    prediction: Prediction, *, name: str, prompts: Prompts, facts: ModelFacts, overlays: Overlays | None = None
) -> bytes:
    """The whole result as an archive.

    Args:
        prediction: Of the model.
        name: What the user calls the file.
        prompts: The classes it was compared with; None for the trained ones.
        facts: About the model.
        overlays: The relevance on the views, where it was asked for.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in _members(prediction, name, prompts, facts, overlays):
            archive.writestr(member, data)
    return out.getvalue()


def _members(
    prediction: Prediction, name: str, prompts: Prompts, facts: ModelFacts, overlays: Overlays | None
) -> Iterator[tuple[str, str | bytes]]:
    yield "result.json", json.dumps(_as_json(prediction, name, prompts, facts), indent=2, ensure_ascii=False) + "\n"
    yield "probabilities.csv", _table(prediction)
    for number, angle in enumerate(prediction.view_weights):
        kind = "dynamic_image" if prediction.is_sequence else "view"
        yield f"{kind}_{angle:+g}.png", png(prediction.views[number])
        if overlays is not None:
            yield f"relevance_{angle:+g}.png", png(overlays[number])


def _table(prediction: Prediction) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("class", "probability"))
    writer.writerows((label, f"{share:.6f}") for label, share in prediction.probabilities.items())
    return out.getvalue()


def _as_json(prediction: Prediction, name: str, prompts: Prompts, facts: ModelFacts) -> dict[str, Any]:
    return {
        "scan": name,
        **prediction.to_dict(),
        "prompts": None if prompts is None else {label: list(texts) for label, texts in prompts.items()},
        "trained_on_synthetic_faces": facts.synthetic,
        "smilevlm": __version__,
    }
