"""Predictions as a table, a figure and HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

from smilevlm.errors import MissingExtraError
from smilevlm.predict.prediction import Prediction
from smilevlm.typing import RgbImage
from smilevlm.views import ViewSettings, render_normalised

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OTHER_COLUMNS = ("label", "is_confident", "confidence", "frames", "remarks", "error")
_MESH_PX = 224
_SHADING = 1
"""The channel of views of kind `geometry` that looks like a surface: its shading by a light at the camera."""
_PANEL_INCHES = 2.2
_BAR_INCHES = 0.3
_LABEL_COLOUR, _OTHER_COLOUR, _UNSURE_COLOUR = "#2166ac", "#b8c4d0", "#8c8c8c"
_CELL_STYLE = "text-align:left;padding:1px 8px"


def to_frame(predictions: Prediction | Iterable[Prediction | Exception]) -> pd.DataFrame:
    """A table with one row a prediction, in their order.

    The columns are called as in `smilevlm predict --csv`: `label`, `is_confident`, `confidence`, the probability of
    each class under its name, `weight_-30` and so on for the views, `frames`, `remarks` (joined by `; `) and `error`.
    A class with the name of another column becomes `probability_NAME`.

    Args:
        predictions: Of `Model.predict` or `Model.predict_each`; an error of the latter becomes a row with `error`.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("a table of predictions needs pandas: pip install 'smilevlm[reports]'") from None
    rows = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    columns: dict[str, None] = dict.fromkeys(("label", "is_confident", "confidence"))
    for row in rows:
        if isinstance(row, Prediction):
            columns |= dict.fromkeys(_numbers(row))
    columns |= dict.fromkeys(("frames", "remarks", "error"))
    return pd.DataFrame([_row(row) for row in rows], columns=list(columns))


def _row(prediction: Prediction | Exception) -> dict[str, object]:
    if isinstance(prediction, Exception):
        return {"remarks": "", "error": str(prediction)}
    return {
        "label": prediction.label,
        "is_confident": prediction.is_confident,
        "confidence": prediction.confidence,
        **_numbers(prediction),
        "frames": prediction.num_frames,
        "remarks": "; ".join(prediction.remarks),
        "error": "",
    }


def _numbers(prediction: Prediction) -> dict[str, float]:
    """Probabilities and view weights by the names of their columns."""
    weights = {f"weight_{angle:+g}": weight for angle, weight in prediction.view_weights.items()}
    taken = {*_OTHER_COLUMNS, *weights}
    named = {
        f"probability_{name}" if name in taken else name: value for name, value in prediction.probabilities.items()
    }
    return named | weights


def plot(prediction: Prediction) -> Figure:
    """See `Prediction.plot`."""
    from matplotlib.figure import Figure

    num_panels = 1 + len(prediction.views)
    bars_inches = _BAR_INCHES * (len(prediction.probabilities) + 2)
    figure = Figure(figsize=(_PANEL_INCHES * num_panels, _PANEL_INCHES + 0.9 + bars_inches), layout="constrained")
    grid = figure.add_gridspec(2, num_panels, height_ratios=(_PANEL_INCHES + 0.5, bars_inches))
    # Text of users is no formula, whatever dollars it holds.
    figure.suptitle(_headline(prediction), parse_math=False)
    _draw_image(figure.add_subplot(grid[0, 0]), _mesh_image(prediction), "mesh\nfrom the front")
    for panel, (title, view) in enumerate(_titled_views(prediction), 1):
        _draw_image(figure.add_subplot(grid[0, panel]), view, title.replace(", ", "\n"))
    _draw_probabilities(figure.add_subplot(grid[1, :]), prediction)
    return figure


def _draw_image(axes: Axes, image: RgbImage, title: str) -> None:
    axes.imshow(image)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _draw_probabilities(axes: Axes, prediction: Prediction) -> None:
    """Horizontal bars, the most probable class on top."""
    ranked = _ranked(prediction)
    chosen = _LABEL_COLOUR if prediction.is_confident else _UNSURE_COLOUR
    colours = [chosen if name == prediction.label else _OTHER_COLOUR for name, _ in ranked]
    places = range(len(ranked))
    bars = axes.barh(places, [value for _, value in ranked], color=colours)
    axes.bar_label(bars, [f"{value:.2f}" for _, value in ranked], padding=3, fontsize=9)
    axes.set_yticks(places, [name for name, _ in ranked], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    axes.set_xticks((0, 0.25, 0.5, 0.75, 1))
    axes.set_xlabel("probability" if prediction.calibrated else "probability (not calibrated)")
    axes.spines[["top", "right"]].set_visible(False)


def to_html(prediction: Prediction) -> str:
    """A small piece of HTML: headline, the views as images inside it, probabilities, remarks."""
    images = [("mesh, from the front", _mesh_image(prediction)), *_titled_views(prediction)]
    figures = "".join(
        f'<figure style="display:inline-block;margin:0 6px 6px 0"><img width="112" alt="{escape(title)}" '
        f'src="data:image/png;base64,{_png_base64(image)}"><figcaption>{escape(title)}</figcaption></figure>'
        for title, image in images
    )
    rows = "".join(
        f'<tr><td style="{_CELL_STYLE}">{escape(name)}</td><td style="{_CELL_STYLE}">{value:.3f}</td></tr>'
        for name, value in _ranked(prediction)
    )
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in prediction.remarks)
    unit = "probability" if prediction.calibrated else "probability (not calibrated)"
    return (
        f"<div><p><strong>{escape(_headline(prediction))}</strong></p><div>{figures}</div>"
        f'<table><thead><tr><th style="{_CELL_STYLE}">class</th><th style="{_CELL_STYLE}">{unit}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{f'<ul>{remarks}</ul>' if remarks else ''}</div>"
    )


def _headline(prediction: Prediction) -> str:
    verdict = prediction.label if prediction.is_confident else f"not sure ({prediction.label}?)"
    return f"{verdict}, probability {prediction.confidence:.2f}"


def _ranked(prediction: Prediction) -> list[tuple[str, float]]:
    return sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])


def _titled_views(prediction: Prediction) -> Iterator[tuple[str, RgbImage]]:
    kind = "dynamic image" if prediction.is_sequence else "view"
    for (angle, weight), view in zip(prediction.view_weights.items(), prediction.views, strict=True):
        yield f"{kind} {angle:+g}°, weight {weight:.2f}", view


def _mesh_image(prediction: Prediction) -> RgbImage:
    settings = ViewSettings(angles_deg=(0.0,), size=_MESH_PX)
    shading = render_normalised(prediction.face.mesh, settings)[0, :, :, _SHADING]
    return shading[:, :, None].repeat(3, axis=2)


def _png_base64(image: RgbImage) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
