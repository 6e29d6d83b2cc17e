"""Predictions as a table, a figure and HTML."""

from __future__ import annotations

import base64
import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import smilevlm
from smilevlm.errors import MeshError, MissingExtraError
from smilevlm.predict import Prediction, to_frame

EXAMPLES = Path(smilevlm.__file__).parent / "web" / "examples"


@pytest.fixture(scope="module")
def model():
    return smilevlm.load()


@pytest.fixture(scope="module")
def prediction(model) -> Prediction:
    return model.predict(EXAMPLES / "happy_scan.ply")


def test_a_table_has_one_row_a_prediction(prediction):
    remarked = replace(prediction, is_confident=False, remarks=("one thing.", "another"))
    frame = to_frame([prediction, remarked])
    classes = list(prediction.probabilities)
    weights = ["weight_-30", "weight_+0", "weight_+30"]
    head = ["label", "is_confident", "confidence"]
    assert list(frame.columns) == [*head, *classes, *weights, "frames", "remarks", "error"]
    assert frame["label"].tolist() == ["happy", "happy"]
    assert frame["is_confident"].tolist() == [True, False]
    assert frame["confidence"].tolist() == [prediction.confidence] * 2
    assert frame.loc[0, classes].tolist() == list(prediction.probabilities.values())
    assert frame.loc[0, weights].tolist() == list(prediction.view_weights.values())
    assert frame["frames"].tolist() == [1, 1]
    assert frame["remarks"].tolist() == ["", "one thing.; another"]
    assert smilevlm.to_frame is to_frame
    assert to_frame(prediction).equals(to_frame([prediction]))


def test_a_table_of_a_stream_has_rows_of_errors(model):
    frame = to_frame(model.predict_each([EXAMPLES / "missing.ply", EXAMPLES / "happy_scan.ply"]))
    assert frame["label"].isna().tolist() == [True, False]
    assert "missing.ply" in frame.loc[0, "error"]
    assert frame.loc[1, "error"] == ""
    assert to_frame([]).empty
    assert to_frame([MeshError("no face")])["error"].tolist() == ["no face"]


def test_a_class_that_is_called_like_a_column_keeps_it_apart(prediction):
    other = replace(prediction, label="frames", probabilities={"frames": 0.75, "weight_+0": 0.25})
    frame = to_frame([other, prediction])
    assert frame.loc[0, ["probability_frames", "probability_weight_+0", "frames"]].tolist() == [0.75, 0.25, 1]
    assert np.isnan(frame.loc[1, "probability_frames"])


def test_a_table_without_pandas(prediction, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'smilevlm\[reports\]'"):
        to_frame([prediction])


def test_a_figure_shows_the_mesh_the_views_and_the_probabilities(prediction):
    figure = prediction.plot()
    *panels, bars = figure.axes
    assert panels[0].get_title() == "mesh\nfrom the front"
    weights = list(prediction.view_weights.values())
    assert [panel.get_title() for panel in panels[1:]] == [
        f"view {angle}°\nweight {weight:.2f}" for angle, weight in zip(("-30", "+0", "+30"), weights, strict=True)
    ]
    for panel, view in zip(panels[1:], prediction.views, strict=True):
        np.testing.assert_array_equal(panel.get_images()[0].get_array(), view)
    assert np.ptp(panels[0].get_images()[0].get_array()) > 100, "the mesh is shaded"
    ranked = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])
    assert [label.get_text() for label in bars.get_yticklabels()] == [name for name, _ in ranked]
    assert [bar.get_width() for bar in bars.patches] == [value for _, value in ranked]
    assert bars.get_xlabel() == "probability"
    assert figure.get_suptitle().startswith("happy, probability 1.00")
    buffer = io.BytesIO()
    figure.savefig(buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_a_figure_says_what_is_uncertain_and_takes_any_name(prediction):
    name = "a $5 $frown_"
    unsure = replace(
        prediction, is_confident=False, calibrated=False, num_frames=6, label=name, probabilities={name: 0.6, "b": 0.4}
    )
    figure = unsure.plot()
    assert figure.get_suptitle() == f"not sure ({name}?), probability 0.60"
    assert figure.axes[-1].get_xlabel() == "probability (not calibrated)"
    assert figure.axes[1].get_title().startswith("dynamic image -30°")
    figure.savefig(io.BytesIO())


def test_html_holds_the_views_and_escapes_what_others_wrote(prediction):
    evil = replace(prediction, remarks=("<script>alert(1)</script> & more",), probabilities={"<b>": 0.1, "happy": 0.9})
    html = evil._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "&lt;b&gt;" in html
    assert "<strong>happy, probability 0.90</strong>" in html
    assert "0.900" in html
    encoded = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(encoded) == 1 + len(prediction.views)
    for data, view in zip(encoded[1:], prediction.views, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), view)
    assert "not sure (happy?)" in replace(prediction, is_confident=False)._repr_html_()
    assert "<ul>" not in prediction._repr_html_()
