"""`smilevlm check`: a table for people, JSON for programs, and an exit code for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import builders_layouts
from smilevlm.cli import main
from smilevlm.datasets import LAYOUTS
from smilevlm.synthesis import MARKER_NAME


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture
def check(capsys):
    """Run `smilevlm check --no-faces`; gives its exit code, stdout and the lines of stderr without the progress bar."""

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        code = main(["check", *(str(argument) for argument in arguments), "--no-faces", "--jobs", "1"])
        captured = capsys.readouterr()
        return code, captured.out, [line for line in captured.err.splitlines() if line.startswith("smilevlm")]

    return run


@pytest.fixture
def faces(tmp_path) -> Path:
    """A sound copy of two people."""
    root = builders_layouts.bu4dfe(tmp_path / "faces", ("F001", "M001"))
    contents = {"num_subjects": 2, "num_recordings": 12, "missing": []}
    (root / MARKER_NAME).write_text(json.dumps({"contents": contents}))
    return root


def test_a_sound_copy_ends_with_0(check, faces):
    code, out, errors = check("bu4dfe", faces)
    assert code == 0
    assert errors == []
    assert "synthetic faces in the layout of bu4dfe" in out
    rows = [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]
    assert "subjects 2 2" in rows
    assert "recordings 12 12" in rows
    assert "happy 2 2" in rows
    assert rows[-1] == "36 frames read; nothing is missing or broken"


def test_what_is_missing_or_broken_ends_with_1(check, faces):
    (faces / "F001" / "Happy" / "001.wrl").write_text("#VRML V2.0 utf8\nnonsense")
    for path in (faces / "M001" / "Sad").iterdir():
        path.unlink()
    code, out, errors = check("bu4dfe", faces)
    assert code == 1
    assert errors == [f"smilevlm check: error: {faces}: 1 bad file and 2 problems in this copy"]
    assert "F001/Happy/001.wrl:" in out
    assert "M001/Sad: the sequence has no frame" in out
    assert "11 recordings found, a complete copy has 12" in out
    assert "Traceback" not in out


def test_json_has_everything(check, faces):
    (faces / "F001" / "Happy" / "001.jpg").unlink()
    (faces / "F001" / "Happy" / "002.wrl").write_bytes(b"")
    code, out, errors = check("bu4dfe", faces, "--json")
    assert code == 1
    assert len(errors) == 1
    found = json.loads(out)
    assert found["layout"] == "bu4dfe"
    assert found["synthetic"] is True
    assert found["is_clean"] is False
    assert found["subjects"] == {"found": 2, "expected": 2}
    assert found["classes"]["happy"] == {"found": 2, "expected": 2}
    assert found["per_subject"]["F001"]["happy"] == 1
    assert found["bad_files"] == [{"path": "F001/Happy/002.wrl", "reason": "empty file"}]
    assert [problem["path"] for problem in found["problems"]] == ["F001/Happy"]
    assert found["num_frames"] == 36
    assert any("BU4DFE_BND" in remark for remark in found["remarks"])


def test_a_long_list_is_cut_and_json_shows_all(check, faces):
    num_bad = 0
    for path in sorted(faces.rglob("*.wrl")):
        path.write_bytes(b"")
        num_bad += 1
    for path in sorted(faces.rglob("*.jpg")):
        path.unlink()
    for number in range(3, 6):
        for folder in sorted({path.parent for path in faces.rglob("*.wrl")}):
            (folder / f"{number:03d}.wrl").write_bytes(b"")
            num_bad += 1
    _, out, _ = check("bu4dfe", faces)
    assert f"{num_bad} bad files:" in out
    assert f"and {num_bad - 50} more; --json shows all of them" in out
    assert sum("empty file" in line for line in out.splitlines()) == 50
    _, out, _ = check("bu4dfe", faces, "--json")
    assert len(json.loads(out)["bad_files"]) == num_bad


def test_names_only_and_the_table_of_subjects(check, faces):
    (faces / "F001" / "Happy" / "001.wrl").write_bytes(b"")
    code, out, _ = check("bu4dfe", faces, "--names-only", "--subjects-table")
    assert code == 0
    assert "names looked at, no file read" in out
    rows = [line.replace("│", " ").split() for line in out.splitlines()]
    assert ["M001", "1", "1", "1", "1", "1", "1"] in rows


def test_every_layout_is_offered(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["check", "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Example: smilevlm check bu4dfe" in text
    assert all(name in text for name in LAYOUTS)


def test_a_folder_that_is_not_there(check, tmp_path):
    code, out, errors = check("bp4d", tmp_path / "nowhere")
    assert code == 1
    assert out == ""
    assert len(errors) == 1
    assert "nowhere is not a folder" in errors[0]
