"""What the templates of the pages share."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined

from smilevlm.reporting.figure_theme import FigureImage
from smilevlm.reporting.published import PUBLISHED_DATA
from smilevlm.reporting.table import Missing, angle_text, cell_text


def page_environment() -> Environment:
    """Templates with everything escaped, and a name that is not given an error."""
    environment = Environment(
        loader=PackageLoader("smilevlm.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell_text": cell_text, "angle": angle_text, "percent": _percent, "data_uri": _data_uri}
    environment.tests |= {
        "missing": lambda cell: isinstance(cell, Missing),
        "drawn": lambda figure: isinstance(figure, FigureImage),
        "published": lambda row: PUBLISHED_DATA in row,
    }
    return environment


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f}"


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
