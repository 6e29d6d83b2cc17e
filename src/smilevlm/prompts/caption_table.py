"""A few captions for each of many faces, drawn once, as rows of a table of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from smilevlm.labels import FACIAL_ACTIONS, ActionIntensities
from smilevlm.prompts.captions import draw_captions
from smilevlm.prompts.pairing import NO_PROMPT


@dataclass(frozen=True, kw_only=True)
class FaceActions:
    """What is recorded of one sample.

    Args:
        name: Of the sample; decides with the seed which captions are drawn.
        actions: What the face does; None where it is not recorded.
        unjudged: Actions that nobody looked for: no caption says that they are absent.
    """

    name: str
    actions: ActionIntensities | None
    unjudged: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class CaptionTable:
    """Captions of many samples.

    Args:
        texts: Each once.
        rows: Where a sample's captions stand behind the prompts, or which prompts they are; `NO_PROMPT` for a sample
            without recorded actions. Equal texts have equal rows.
    """

    texts: tuple[str, ...]
    rows: Int64[np.ndarray, "sample caption"]


def draw_caption_table(
    faces: Sequence[FaceActions], *, per_sample: int, seed: int, prompts: Sequence[str] = ()
) -> CaptionTable:
    """Draw the captions of each face.

    They follow from the seed and the sample's name alone, so that every fold, process and resumed run has the same.

    Args:
        faces: Of which captions are drawn.
        per_sample: Captions of each.
        seed: Of the draws.
        prompts: Texts of the rows before the captions.
    """
    row_of = {text: row for row, text in enumerate(prompts)}
    rows = np.full((len(faces), per_sample), NO_PROMPT, np.int64)
    for place, face in enumerate(faces):
        if face.actions is None:
            continue
        name = int.from_bytes(hashlib.sha256(face.name.encode()).digest()[:8], "big")
        generator = np.random.default_rng([seed, name])
        coded = [code for code in FACIAL_ACTIONS if code not in face.unjudged]
        texts = draw_captions(face.actions, generator, per_sample, coded=coded)
        rows[place] = [row_of.setdefault(text, len(row_of)) for text in texts]
    return CaptionTable(texts=tuple(row_of)[len(prompts) :], rows=rows)
