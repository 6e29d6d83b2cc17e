"""The graph gives what torch gives, for any number of samples and views, and needs nothing of this package."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from builders_bundle import CLASSES, DIM, OWNERS, SIZE, TEXTS, random_views, tiny_bundle
from builders_clip import build_tiny_clip
from processes import run_python
from smilevlm.errors import CheckpointError, MissingExtraError, SettingsError
from smilevlm.models import class_prototypes, probabilities, zero_shot_scores
from smilevlm.predict import export
from smilevlm.predict.export import (
    GRAPH_FILE,
    METADATA_KEY,
    ONNX_FILES,
    OUTPUTS,
    TOLERANCE,
    build_graph,
    compare,
    export_onnx,
    probability_tolerance,
)

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "onnx_example.py"


@pytest.fixture(scope="module")
def bundle():
    return tiny_bundle()


@pytest.fixture(scope="module")
def exported(bundle, tmp_path_factory) -> tuple[Path, export.OnnxExport]:
    """Read only."""
    folder = tmp_path_factory.mktemp("onnx") / "exported"
    return folder, export_onnx(bundle, folder)


@pytest.fixture(scope="module")
def folder(exported) -> Path:
    return exported[0]


@pytest.fixture(scope="module")
def session(folder):
    return onnxruntime.InferenceSession(folder / GRAPH_FILE, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return build_tiny_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.mark.parametrize("batch", [1, 2, 5, 7])
@pytest.mark.parametrize("views", [1, 2, 3, 6])
def test_the_graph_gives_what_predict_computes(bundle, session, batch, views):
    images = random_views(batch, views)
    shares, scores, embedding, weights = session.run(list(OUTPUTS), {"images": images})
    embedded = bundle.embed(images)
    expected = zero_shot_scores(embedded.z_fused, bundle.prototypes)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    np.testing.assert_allclose(shares, probabilities(expected, bundle.temperature), atol=TOLERANCE)
    np.testing.assert_allclose(weights, embedded.view_weights, atol=TOLERANCE)
    assert embedding.shape == (batch, DIM)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


def test_what_the_export_says_of_itself(exported):
    folder, said = exported
    assert sorted(path.name for path in folder.iterdir()) == sorted(ONNX_FILES)
    assert said.num_bytes == (folder / GRAPH_FILE).stat().st_size
    assert tuple(said.differences) == OUTPUTS
    assert 0 < said.largest_difference < TOLERANCE
    assert said.num_compared == 16
    page = (folder / "README.md").read_text()
    assert said.differences_in_words in page
    assert "synthetic faces" in page
    assert "Licence: not stated" in page


def test_names_types_and_free_axes(session):
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", "view", SIZE, SIZE, 3])
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes == {
        "probabilities": ["batch", len(CLASSES)],
        "scores": ["batch", len(CLASSES)],
        "embedding": ["batch", DIM],
        "view_weights": ["batch", "view"],
    }


def test_images_of_another_size_are_refused_by_the_graph(session):
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="images"):
        session.run(None, {"images": random_views(size=SIZE * 2)})


def test_the_order_of_the_views_does_not_matter(session):
    images = random_views()
    shares, weights = session.run(["probabilities", "view_weights"], {"images": images})
    turned, turned_weights = session.run(
        ["probabilities", "view_weights"], {"images": np.ascontiguousarray(images[:, ::-1])}
    )
    np.testing.assert_allclose(turned, shares, atol=1e-5)
    np.testing.assert_allclose(turned_weights, weights[:, ::-1], atol=1e-5)


def test_the_graph_says_what_it_means(bundle, folder, session):
    values = json.loads((folder / "metadata.json").read_text())
    assert json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY]) == values
    assert values["classes"] == list(CLASSES)
    assert values["temperature"] == bundle.temperature
    assert values["trained_on_synthetic_faces"] is True
    assert values["licence"] == "other"
    assert (values["calibrated"], values["abstain_threshold"]) == (False, 0.0)
    assert values["view_angles_deg"] == [-30.0, 0.0, 30.0]
    assert values["prepare"]["views"]["size"] == values["image_size"] == SIZE
    assert [(each["class"], each["text"]) for each in values["prompts"]] == list(zip(OWNERS, TEXTS, strict=True))


def test_the_prompts_vectors_give_the_scores_again(bundle, folder, session):
    with np.load(folder / "prompts.npz", allow_pickle=False) as arrays:
        vectors, mean, prototypes = arrays["vectors"], arrays["mean"], arrays["prototypes"]
    scores, embedding = session.run(["scores", "embedding"], {"images": random_views()})
    np.testing.assert_allclose(embedding @ prototypes.T, scores, atol=1e-5)
    again = class_prototypes(vectors, OWNERS, CLASSES).vectors
    np.testing.assert_allclose(again, prototypes, atol=1e-6)
    np.testing.assert_array_equal(mean, bundle.prompts.mean)


def test_the_graph_tells_nothing_of_this_machine(folder):
    data = (folder / GRAPH_FILE).read_bytes()
    assert b"site-packages" not in data
    assert str(ROOT).encode() not in data
    assert b".py" not in data


def test_the_example_says_when_it_is_not_sure(folder, tmp_path):
    model = onnx.load(folder / GRAPH_FILE)
    entry = next(each for each in model.metadata_props if each.key == METADATA_KEY)
    entry.value = json.dumps({**json.loads(entry.value), "abstain_threshold": 1.1})
    onnx.save(model, tmp_path / GRAPH_FILE)
    np.save(tmp_path / "views.npy", random_views(1))
    said = run_example(folder, str(tmp_path / "views.npy"), str(tmp_path / GRAPH_FILE))
    assert said.splitlines()[0].endswith("(not sure)")
    assert "not sure" not in run_example(folder, str(tmp_path / "views.npy"))


def run_example(folder: Path, *words: str) -> str:
    return run_python("-W", "error", folder / "example.py", *words, cwd=folder.parent).stdout


def test_the_example_names_the_expression(folder, session, tmp_path):
    images = random_views()
    np.save(tmp_path / "views.npy", images[0])
    np.savez(tmp_path / "faces.npz", views=images)
    shares = session.run(["probabilities"], {"images": images})[0]
    labels = [CLASSES[index] for index in shares.argmax(axis=1)]
    one = run_example(folder, str(tmp_path / "views.npy"))
    assert one.splitlines()[0] == f"face 0: {labels[0]}"
    assert "synthetic" in one
    assert f"{shares[0, 0]:.3f}".rstrip("0") in one
    several = run_example(folder, str(tmp_path / "faces.npz"), str(folder / GRAPH_FILE))
    named = [line for line in several.splitlines() if line.startswith("face")]
    assert named == [f"face {number}: {label}" for number, label in enumerate(labels)]


def test_the_example_is_thirty_lines_of_onnxruntime_and_numpy(folder):
    source = (folder / "example.py").read_text()
    assert source == EXAMPLE.read_text(), "docs/examples has another version than the package"
    assert len(source.splitlines()) <= 30
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def check_any_size(bundle, *, size=SIZE):
    graph = build_graph(bundle)
    assert compare(graph, bundle).largest_difference < TOLERANCE
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    images = random_views(3, 4, size)
    weights = session.run(["view_weights"], {"images": images})[0]
    np.testing.assert_allclose(weights, bundle.embed(images).view_weights, atol=TOLERANCE)


def test_a_clip_tower(clip):
    check_any_size(tiny_bundle(clip=clip))


@pytest.mark.slow
@pytest.mark.parametrize(("grid", "size"), [(2, 32), (2, 48), (3, 64), (7, 112)])
def test_a_tower_that_averages_over_cells(grid, size):
    """Cells of one size, and cells that overlap because they do not divide the map."""
    check_any_size(tiny_bundle(grid=grid, size=size), size=size)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["mean", "cross_view", "text_guided"])
def test_every_fusion(fusion):
    check_any_size(tiny_bundle(fusion=fusion, norm="group"))


@pytest.mark.slow
@pytest.mark.parametrize(("tuning", "size"), [("lora", SIZE), ("frozen", SIZE + 16)])
def test_a_clip_with_adapters_and_one_of_another_image_size(clip, tuning, size):
    check_any_size(tiny_bundle(clip=clip, tuning=tuning, size=size), size=size)


def test_the_same_model_gives_the_same_bytes_and_stays_as_it_was(bundle, folder):
    metadata = json.loads((folder / "metadata.json").read_text())
    model = bundle.model
    model.train()
    try:
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        state = torch.random.get_rng_state()
        assert build_graph(bundle, metadata) == (folder / GRAPH_FILE).read_bytes()
        assert model.training
        assert torch.equal(torch.random.get_rng_state(), state)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    finally:
        model.eval()


def test_a_graph_of_another_model_is_not_kept(bundle, folder):
    graph = (folder / GRAPH_FILE).read_bytes()
    with pytest.raises(CheckpointError, match=r"differs from torch by more than 0\.0001: probabilities"):
        compare(graph, replace(bundle, temperature=0.5))
    with pytest.raises(CheckpointError, match=r"view_weights|embedding"):
        compare(graph, tiny_bundle(fusion="mean"))


# How far probabilities may differ follows from the temperature.

TEMPERATURES = [0.002, 0.01, 0.07, 0.5, 5.0, 100.0]


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_scores_within_the_tolerance_give_probabilities_within_theirs(temperature, num_classes):
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1, 1, (2000, num_classes)) * rng.uniform(0, 5 * temperature, (2000, 1)).clip(max=1)
    moved = scores + TOLERANCE * rng.choice([-1.0, 1.0], scores.shape)
    apart = np.abs(probabilities(scores, temperature) - probabilities(moved, temperature)).max()
    assert apart <= probability_tolerance(temperature)
    # Two classes of about equal score, moved against each other, come close to the bound.
    worst = probabilities(np.array([[1.0, -1.0]]) * TOLERANCE / 2, temperature)
    far = np.abs(worst - probabilities(np.array([[-1.0, 1.0]]) * TOLERANCE / 2, temperature)).max()
    assert far > 0.8 * min(1.0, TOLERANCE / (2 * temperature))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_difference_within_the_scores_tolerance_is_kept_at_any_temperature(bundle, folder, monkeypatch, temperature):
    """Scores that differ by a little less than allowed, and probabilities that follow from them."""
    graph, at_it = (folder / GRAPH_FILE).read_bytes(), replace(bundle, temperature=temperature)
    scores, shares = outputs_of(graph, monkeypatch, temperature, moved=0.9 * TOLERANCE)
    export_ = compare(graph, at_it)
    assert 0.5 * TOLERANCE < export_.differences["scores"] < TOLERANCE
    assert scores.shape == shares.shape


@pytest.mark.parametrize("temperature", TEMPERATURES[2:])
def test_probabilities_of_another_temperature_are_not_kept(bundle, folder, monkeypatch, temperature):
    graph, at_it = (folder / GRAPH_FILE).read_bytes(), replace(bundle, temperature=temperature)
    outputs_of(graph, monkeypatch, 0.9 * temperature, moved=0.0)
    with pytest.raises(CheckpointError, match="differs from torch"):
        compare(graph, at_it)


def outputs_of(graph: bytes, monkeypatch, temperature: float, *, moved: float) -> tuple[np.ndarray, np.ndarray]:
    """Let onnxruntime give scores that are moved, and their probabilities at a temperature; the first of them."""
    given = onnxruntime.InferenceSession

    class Moved:
        def __init__(self, *arguments, **options):
            self._session = given(*arguments, **options)

        def run(self, names, inputs):
            outputs = dict(zip(names, self._session.run(names, inputs), strict=True))
            outputs["scores"] = outputs["scores"] + moved * np.array([1, -1, -1], np.float32)
            outputs["probabilities"] = probabilities(outputs["scores"].astype(np.float64), temperature)
            return [outputs[name] for name in names]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Moved)
    session = Moved(graph, providers=["CPUExecutionProvider"])
    shares, scores, *_ = session.run(list(OUTPUTS), {"images": random_views(2, 3)})
    return scores, shares


def test_a_graph_that_gives_no_number_is_not_kept(bundle, folder):
    model = onnx.load(folder / GRAPH_FILE)
    for tensor in model.graph.initializer:
        if list(tensor.dims) == [16, 32]:
            broken = np.full((16, 32), np.nan, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(broken, tensor.name))
    changed = model.SerializeToString()
    if changed == (folder / GRAPH_FILE).read_bytes():
        pytest.fail("the weights to break were not found")
    with pytest.raises(CheckpointError, match="inf"):
        compare(changed, bundle)


def test_bytes_that_are_no_graph_are_refused(bundle):
    with pytest.raises(CheckpointError, match="onnxruntime refuses"):
        compare(b"no graph", bundle)


def test_a_failed_export_leaves_the_earlier_one(bundle, folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / GRAPH_FILE).write_bytes(b"earlier")
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    monkeypatch.setattr(export, "build_graph", lambda *_: (folder / GRAPH_FILE).read_bytes())
    with pytest.raises(CheckpointError, match="differs"):
        export_onnx(bundle, out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / GRAPH_FILE).read_bytes() == b"earlier"


def test_what_is_there_is_kept_unless_told(bundle, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "build_graph", lambda *_: (folder / GRAPH_FILE).read_bytes())
    out = tmp_path / "out"
    out.mkdir()
    export_onnx(bundle, out, licence="apache-2.0")
    assert "Licence: apache-2.0." in (out / "README.md").read_text()
    with pytest.raises(SettingsError, match=r"is not empty.*--overwrite"):
        export_onnx(bundle, out)
    export_onnx(bundle, out, overwrite=True)
    assert "Licence: not stated" in (out / "README.md").read_text()
    (out / "thesis.tex").write_text("dear")
    with pytest.raises(SettingsError, match=r"thesis\.tex"):
        export_onnx(bundle, out, overwrite=True)
    with pytest.raises(SettingsError, match="is a file"):
        export_onnx(bundle, out / "README.md", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_missing_extra_is_named(bundle, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(MissingExtraError, match=r"needs onnxscript: pip install 'smilevlm\[onnx\]'"):
        export_onnx(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_weights_than_one_file_holds_are_refused(bundle, monkeypatch):
    monkeypatch.setattr(export, "_PROTOBUF_LIMIT", 1000)
    with pytest.raises(CheckpointError, match="less than 2 GiB"):
        build_graph(bundle)


def test_a_tower_that_cannot_be_traced_is_refused_in_one_line():
    class Undecided(torch.nn.Module):
        def __init__(self, tower):
            super().__init__()
            self.tower = tower

        def forward(self, images):
            return self.tower(images) if images.mean() > 0 else self.tower(-images)

    undecided = tiny_bundle()
    undecided.model.tower = Undecided(undecided.model.tower)
    with pytest.raises(CheckpointError, match="tower 'conv' cannot be written as an ONNX graph") as caught:
        build_graph(undecided)
    assert "\n" not in str(caught.value)
