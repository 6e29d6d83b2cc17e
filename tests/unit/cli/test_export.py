"""The command: a folder out of a folder, one line on what it is worth, and nothing replaced unasked."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from builders_bundle import CLASSES, tiny_bundle
from processes import run_python
from smilevlm.cli import export
from smilevlm.cli.arguments import add_commands
from smilevlm.datasets import index_data_set
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.models import load_bundle, save_bundle
from smilevlm.predict import load
from smilevlm.predict.export import ONNX_FILES
from smilevlm.predict.hub import HUB_FILES


def parse(*words):
    parser = argparse.ArgumentParser()
    add_commands(parser, {"export": export}, dest="command")
    return parser.parse_args(["export", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("export") / "run"
    save_bundle(tiny_bundle(), run / "fold_00")
    return run


def test_arguments():
    parsed = parse("run", "out")
    assert (parsed.source, parsed.out, parsed.format) == ("run", Path("out"), "onnx")
    assert (parsed.licence, parsed.overwrite) == ("other", False)
    assert parse("owner/name@v1", "out", "--format", "hub").source == "owner/name@v1"
    for words in (("run",), ("run", "out", "--format", "pickle")):
        with pytest.raises(SystemExit):
            parse(*words)
    assert export.EXAMPLE.startswith("smilevlm export ")
    parse(*export.EXAMPLE.split()[2:])


def test_onnx(run_folder, tmp_path, capsys):
    export.run(parse(run_folder, tmp_path / "out"))
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}\n"
    assert "largest difference from torch over 16 samples: probabilities " in said.err
    assert "trained on synthetic faces" in said.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(ONNX_FILES)
    with pytest.raises(SettingsError, match="--overwrite"):
        export.run(parse(run_folder, tmp_path / "out"))


def test_hub(run_folder, tmp_path, capsys):
    export.run(parse(run_folder, tmp_path / "out", "--format", "hub", "--licence", "apache-2.0"))
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(HUB_FILES)
    assert "license: apache-2.0" in (tmp_path / "out" / "README.md").read_text()
    assert load_bundle(tmp_path / "out").classes == CLASSES
    export.run(parse(tmp_path / "out", tmp_path / "out", "--format", "hub", "--overwrite"))
    assert "license: other" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(SettingsError, match="no such export wrote"):
        export.run(parse(run_folder, tmp_path / "out", "--overwrite"))


def test_no_model(tmp_path):
    with pytest.raises(CheckpointError):
        export.run(parse(tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_trained_run_answers_alike_without_this_package(trained_run, synthetic_faces, tmp_path):
    """From a scan's views, as someone would save them, to the label that `predict` gives."""
    export.run(parse(trained_run, tmp_path / "out"))
    model = load(trained_run)
    scans = [record.path for record in index_data_set("bu3dfe", synthetic_faces).recordings][:6]
    answers = model.predict(scans)
    np.save(tmp_path / "views.npy", np.stack([answer.views for answer in answers]))
    said = run_python(tmp_path / "out" / "example.py", tmp_path / "views.npy").stdout
    labels = [line.split(": ")[1].removesuffix(" (not sure)") for line in said.splitlines() if line.startswith("face")]
    assert labels == [answer.label for answer in answers]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    shares = session.run(["probabilities"], {"images": np.load(tmp_path / "views.npy")})[0]
    expected = [list(answer.probabilities.values()) for answer in answers]
    np.testing.assert_allclose(shares, expected, atol=1e-4)
