"""From nothing to a report and a prediction, by the commands a user types, on four synthetic people."""

from __future__ import annotations

import json

from smilevlm.cli import main
from smilevlm.labels import BASIC_EXPRESSIONS


def test_from_nothing_to_a_report(tmp_path, capsys, monkeypatch, tiny_overrides):
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> list[str]:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out.splitlines()

    small = ["--levels", "4", "--vertices", "2500", "--texture-size", "64", "--only-cropped"]
    command("synthesize", "bu3dfe", "faces", "--subjects", "4", "--jobs", "1", *small)
    *_, said, picture = command("prepare", "bu3dfe", "faces", "store", "--size", "48", "--jobs", "1")
    assert said.startswith("28 synthetic samples of 4 subjects prepared, 0 scans or sequences skipped")
    assert (tmp_path / picture).is_file()
    settings = [part for override in tiny_overrides for part in ("--set", override)]
    (said,) = command("train", "demo", "--store", "store", "--out", "run", *settings)
    assert "fold 0, fold 1, control, fold 0" in said

    lines = command("evaluate", "run", "--store", "store")
    assert lines[-1] == "run/results.json"
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["synthetic"] is True
    assert sum(fold["num_test_samples"] for fold in results["folds"]) == 24
    for fold in results["folds"]:
        assert not set(fold["train_subjects"]) & set(fold["test_subjects"])

    lines = command("report", "run", "--out", "report")
    page = tmp_path / lines[-1]
    assert page == tmp_path / "report" / "index.html"
    text = page.read_text()
    assert "synthetic" in text
    assert "shuffled prompts" in text
    assert list((tmp_path / "report" / "tables").glob("*.csv"))
    assert list((tmp_path / "report" / "figures").glob("*.svg"))

    scan = next((tmp_path / "faces" / "F0001").glob("*_HA04*_F3D.wrl"))
    (line,) = command("predict", str(scan), "--model", "run", "--json")
    answer = json.loads(line)
    assert answer["label"] in BASIC_EXPRESSIONS
    assert answer["trained_on_synthetic_faces"] is True

    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", "report", "run", "store"]
