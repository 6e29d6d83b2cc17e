"""A folder of one's own scans, from the files to a report, with the recipe that fits itself to them."""

from __future__ import annotations

import json
import shutil

import pytest

from smilevlm.cli import main
from smilevlm.store import PreparedSet

SMALL = (
    "--set", "model.tower_settings.width=8", "--set", "model.projector.hidden_dim=32", "--set",
    "model.fusion.hidden_dim=8", "--set", "optimiser.epochs=2",
)  # fmt: skip
PEOPLE = ("anna", "bob")


@pytest.fixture
def command(capsys):
    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def own_folder(synthetic_faces, root, words: dict[str, str]):
    """Two people's scans as `PERSON/WORD/scan.wrl`; several per class where several words stand for one."""
    for name, person in zip(PEOPLE, sorted(path for path in synthetic_faces.iterdir() if path.is_dir()), strict=True):
        for code, word in words.items():
            (scan,) = person.glob(f"*_{code}*_F3D.wrl")
            folder = root / name / word
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(scan, folder / f"{code}.wrl")
    return root


def test_two_people_with_two_classes_of_ones_own_names(command, synthetic_faces, tmp_path):
    words = {"HA04": "Grinning", "SU04": "Jaw dropped"}
    scans = own_folder(synthetic_faces, tmp_path / "scans", words)
    store, run = tmp_path / "store", tmp_path / "run"
    code, _, _ = command("prepare", "folder", scans, store, "--size", "48", "--jobs", "1")
    assert code == 0
    code, (said,), _ = command("train", "folder", "--store", store, "--out", run, *SMALL)
    assert code == 0
    assert "fold 0, fold 1, control, fold 0" in said
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert settings["protocol"] == "folder"
    assert settings["prompt_set"] == "class_names"
    assert settings["num_folds"] == 2
    assert settings["optimiser"]["batch_size"] == 2
    assert settings["prepare"]["views"]["size"] == 48

    assert command("train", "folder", "--store", store, "--out", run, "--resume", *SMALL)[0] == 0
    code, lines, _ = command("evaluate", run, "--store", store)
    assert code == 0
    assert lines[-1] == str(run / "results.json")
    results = json.loads((run / "results.json").read_text())
    assert results["classes"] == ["grinning", "jaw dropped"]
    assert sum(fold["num_test_samples"] for fold in results["folds"]) == 4
    code, lines, _ = command("report", run, "--out", tmp_path / "report")
    assert code == 0
    assert "jaw dropped" in (tmp_path / "report" / "index.html").read_text()
    code, (line,), _ = command("predict", scans / "anna" / "Grinning" / "HA04.wrl", "--model", run, "--json")
    assert code == 0
    assert set(json.loads(line)["probabilities"]) == {"grinning", "jaw dropped"}


def test_settings_that_the_user_gives_stay(command, synthetic_faces, tmp_path):
    scans = own_folder(synthetic_faces, tmp_path / "scans", {"HA04": "happy", "SU04": "surprised", "NE00": "neutral"})
    store, run = tmp_path / "store", tmp_path / "run"
    assert command("prepare", "folder", scans, store, "--size", "48", "--jobs", "1")[0] == 0
    given = ("--set", "prompt_set=class_names", "--set", "optimiser.batch_size=3", "--set", "num_control_folds=0")
    assert command("train", "folder", "--store", store, "--out", run, "--fold", "0", *SMALL, *given)[0] == 0
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert settings["prompt_set"] == "class_names"
    assert settings["optimiser"]["batch_size"] == 3
    code, _, (line,) = command(
        "train", "folder", "--store", store, "--out", tmp_path / "other", "--set", "num_folds=5",
        "--set", "optimiser.batch_size=50",
    )  # fmt: skip
    assert code == 1
    assert "in 2 things" in line
    assert "--set num_folds=2 --set optimiser.batch_size=3" in line
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("people", "words", "said"),
    [
        (("anna",), {"HA04": "happy", "SU04": "surprise"}, "1 subject(s) and 2 class(es)"),
        (PEOPLE, {"HA04": "happy"}, "2 subject(s) and 1 class(es)"),
    ],
)
def test_too_few_people_or_classes_are_one_clear_line(command, synthetic_faces, tmp_path, people, words, said):
    scans = own_folder(synthetic_faces, tmp_path / "scans", words)
    for folder in scans.iterdir():
        if folder.name not in people:
            shutil.rmtree(folder)
    store = tmp_path / "store"
    assert command("prepare", "folder", scans, store, "--size", "48", "--jobs", "1")[0] == 0
    code, _, (line,) = command("train", "folder", "--store", store, "--out", tmp_path / "run")
    assert code == 1
    assert said in line
    assert not (tmp_path / "run").exists()
    assert len(PreparedSet(store)) == len(people) * len(words)
