"""An answer as files to take home: JSON, CSV, the views as PNG, in one zip."""

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
    answer: Prediction, *, name: str, prompts: Prompts, facts: ModelFacts, overlays: Overlays | None = None
) -> bytes:
    """The whole result as an archive.

    Args:
        answer: Of the model.
        name: What the user calls the file.
        prompts: The classes it was compared with; None for the trained ones.
        facts: About the model.
        overlays: The relevance on the views, where it was asked for.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in _members(answer, name, prompts, facts, overlays):
            archive.writestr(member, data)
    return out.getvalue()


def _members(
    answer: Prediction, name: str, prompts: Prompts, facts: ModelFacts, overlays: Overlays | None
) -> Iterator[tuple[str, str | bytes]]:
    yield "result.json", json.dumps(_plain(answer, name, prompts, facts), indent=2, ensure_ascii=False) + "\n"
    yield "probabilities.csv", _table(answer)
    for number, angle in enumerate(answer.view_weights):
        kind = "dynamic_image" if answer.is_sequence else "view"
        yield f"{kind}_{angle:+g}.png", png(answer.views[number])
        if overlays is not None:
            yield f"relevance_{angle:+g}.png", png(overlays[number])


def _table(answer: Prediction) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("class", "probability"))
    writer.writerows((label, f"{share:.6f}") for label, share in answer.probabilities.items())
    return out.getvalue()


def _plain(answer: Prediction, name: str, prompts: Prompts, facts: ModelFacts) -> dict[str, Any]:
    return {
        "scan": name,
        **answer.to_dict(),
        "prompts": None if prompts is None else {label: list(texts) for label, texts in prompts.items()},
        "trained_on_synthetic_faces": facts.synthetic,
        "smilevlm": __version__,
    }
