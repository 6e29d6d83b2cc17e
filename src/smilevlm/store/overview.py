"""A contact sheet of a prepared set: people look at it before they train on it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from smilevlm.files import write_atomically
from smilevlm.store.parts import Sample
from smilevlm.store.reader import PreparedSet

OVERVIEW_NAME = "overview.png"
_SAMPLES_PER_CLASS = 2
_MOST_CLASSES = 12
_CELL_PX = 112
_LABEL_PX = 18
_GAP_PX = 6
_FONT_PX = 11


def write_overview(prepared: PreparedSet) -> Path:
    """Write `overview.png` into the store: per class two samples of different people where there are, all views each.

    Returns:
        The picture's path.
    """
    chosen = _choose(prepared.samples)
    num_views = len(prepared.manifest.settings.views.angles_deg)
    block = num_views * _CELL_PX + _GAP_PX
    rows = sorted(chosen)
    sheet = Image.new(
        "RGB", (_SAMPLES_PER_CLASS * block, len(rows) * (_CELL_PX + _LABEL_PX) + _LABEL_PX), (255, 255, 255)
    )
    draw, font = ImageDraw.Draw(sheet), _font()
    manifest = prepared.manifest
    faces = "synthetic faces" if manifest.synthetic else "faces"
    angles = " ".join(f"{angle:+g}" for angle in manifest.settings.views.angles_deg)
    moving = "dynamic images of " if any(sample.last_frame > sample.first_frame for sample in prepared.samples) else ""
    title = f"{manifest.layout}: {faces}, {moving}{manifest.settings.views.kind} views at {angles} deg"
    draw.text((2, 2), title, fill=(0, 0, 0), font=font)
    for row, name in enumerate(rows):
        top = _LABEL_PX + row * (_CELL_PX + _LABEL_PX)
        for column, index in enumerate(chosen[name]):
            left = column * block
            sample = prepared.samples[index]
            draw.text((left + 2, top + 2), f"{name}: {sample.sample_id}", fill=(0, 0, 0), font=font)
            for view, image in enumerate(prepared.images(index)):
                small = Image.fromarray(np.ascontiguousarray(image)).resize((_CELL_PX, _CELL_PX))
                sheet.paste(small, (left + view * _CELL_PX, top + _LABEL_PX))
    data = BytesIO()
    sheet.save(data, format="PNG")
    path = prepared.path / OVERVIEW_NAME
    write_atomically(path, data.getvalue())
    return path


def _font() -> ImageFont.FreeTypeFont:
    """A font that knows more than ASCII, and is the same on every machine."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), _FONT_PX)


def _choose(samples: tuple[Sample, ...]) -> dict[str, list[int]]:
    """Sample indices per class, the strongest of each person first, at most one per person."""
    order = sorted(range(len(samples)), key=lambda i: (-samples[i].level, i))
    chosen: dict[str, list[int]] = {}
    for index in order:
        sample = samples[index]
        of_class = chosen.setdefault(sample.expression, [])
        if len(of_class) < _SAMPLES_PER_CLASS and sample.subject not in {samples[i].subject for i in of_class}:
            of_class.append(index)
    return {name: chosen[name] for name in sorted(chosen)[:_MOST_CLASSES]}
