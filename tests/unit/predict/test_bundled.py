"""The weights in the package: small, no pickles, no text tower, right on the synthetic examples however they lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import smilevlm
from smilevlm.geometry import Mesh
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.predict import Model, bundled_folder, find_scans
from smilevlm.predict.hub import HUB_FILES
from smilevlm.readers import read_mesh, write_mesh
from smilevlm.recipes import find_recipe

EXAMPLES = Path(smilevlm.__file__).parent / "web" / "examples"
SAID = {"angry": "angry", "disgust": "disgust", "happy": "happy", "neutral": NEUTRAL, "surprised": "surprise"}


@pytest.fixture(scope="module")
def model() -> Model:
    return smilevlm.load("default")


@pytest.fixture(scope="module")
def happy() -> Mesh:
    return read_mesh(EXAMPLES / "happy_scan.ply")


def test_what_is_there():
    files = {path.name: path.stat().st_size for path in bundled_folder().iterdir()}
    assert set(files) == set(HUB_FILES)
    assert sum(files.values()) <= 10_000_000
    card = (bundled_folder() / "README.md").read_text()
    assert "synthetic faces alone" in card
    assert "license: apache-2.0" in card


def test_it_is_the_committed_recipe_s(model):
    recipe, bundle = find_recipe("bundled"), model.bundle
    assert bundle.prepare == recipe.prepare
    assert bundle.model.settings == recipe.model
    assert set(bundle.classes) == {*BASIC_EXPRESSIONS, NEUTRAL}
    assert bundle.synthetic
    assert bundle.calibrated
    assert bundle.abstain_threshold == recipe.abstain_threshold
    description = json.loads((bundled_folder() / "bundle.json").read_text())
    assert description["trained_on"]["layout"] == "folder"


def test_the_examples_are_recognised_without_a_text_tower(model, monkeypatch):
    monkeypatch.setattr("smilevlm.predict.model.load_text_tower", lambda name: pytest.fail("the text tower was loaded"))
    scans = find_scans(EXAMPLES)
    assert len(scans) == 6
    for scan, answer in zip(scans, model.predict(scans), strict=True):
        assert answer.label == SAID[scan.path.name.split("_")[0]], scan.path.name
        assert answer.is_confident
        assert answer.calibrated
        assert answer.is_sequence == scan.is_sequence


TURNS = {
    "lying": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "upside down": np.diag([-1, -1, 1]),
    "along x": np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
    "as a camera sees it": np.diag([1, -1, -1]),
}


@pytest.mark.parametrize("turn", list(TURNS))
def test_a_turned_face_has_the_same_expression(model, happy, turn):
    moved = happy.transformed(TURNS[turn].astype(np.float32), np.array([400, -300, 900], np.float32))
    answer = model.predict(moved)
    assert answer.label == "happy"
    assert answer.face.confidence > 0.4


@pytest.mark.parametrize("mm_per_unit", [10.0, 1000.0, 25.4, 183.0])
def test_the_unit_does_not_matter(model, happy, mm_per_unit):
    moved = happy.transformed(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 1 / mm_per_unit)
    assert model.predict(moved).label == "happy"


@pytest.mark.parametrize("suffix", ["obj", "ply", "off", "stl"])
def test_the_format_does_not_matter(model, happy, tmp_path, suffix):
    write_mesh(happy, tmp_path / f"scan.{suffix}")
    assert model.predict(tmp_path / f"scan.{suffix}").label == "happy"


def test_the_order_of_vertices_and_triangles_does_not_matter(model, happy):
    rng = np.random.default_rng(0)
    order = rng.permutation(happy.num_vertices)
    place = np.argsort(order)
    faces = place[happy.faces][rng.permutation(happy.num_faces)].astype(np.int32)
    shuffled = Mesh(vertices=happy.vertices[order], faces=faces)
    before, after = model.predict(happy), model.predict(shuffled)
    assert after.label == before.label
    np.testing.assert_allclose(list(after.probabilities.values()), list(before.probabilities.values()), atol=0.05)
