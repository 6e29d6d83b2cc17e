"""The command line: help, one clear line for what a user can mend, and output for people and programs."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

from processes import run_python
from smilevlm.cli import main
from smilevlm.datasets import index_data_set
from smilevlm.labels import BASIC_EXPRESSIONS
from smilevlm.synthesis import MARKER_NAME

COMMANDS = (
    "synthesize", "check", "prepare", "train", "evaluate", "analyse", "tasks", "language", "report", "reproduce",
    "predict", "serve", "export", "prompts", "doctor",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    """Tables are not folded to the width of whatever runs the tests."""
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture(scope="module")
def scans(synthetic_faces) -> list[Path]:
    return [record.path for record in index_data_set("bu3dfe", synthetic_faces).recordings][:2]


@pytest.fixture
def command(capsys):
    """Run a command; gives its exit code, stdout and the lines of stderr."""

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


def test_an_override_that_undoes_the_method(command, prepared_store, tmp_path):
    code, _, lines = command(
        "train", "demo", "--method", "without_alignment", "--set", "loss.beta=1", "--store", prepared_store,
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 1
    assert lines == ["smilevlm train: error: --set undoes what --method without_alignment stands for"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Example: smilevlm {name} " in text
    assert f"usage: smilevlm {name}" in text


def test_the_examples_parse(capsys):
    import shlex

    from smilevlm.cli.main import _COMMANDS, build_parser

    assert tuple(_COMMANDS) == COMMANDS
    for module in _COMMANDS.values():
        build_parser().parse_args(shlex.split(module.EXAMPLE)[1:])
    assert capsys.readouterr().err == ""


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["predict"], ["prepare", "lidar", "a", "b"], ["train", "demo"]]
)
def test_what_cannot_be_parsed_ends_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: smilevlm" in capsys.readouterr().err


BAD_INPUT = {
    "train on no store": (["train", "demo", "--store", "{tmp}/no", "--out", "{tmp}/run"], "{tmp}/no"),
    "no such recipe": (["train", "dem", "--store", "{store}", "--out", "{tmp}/run"], "'dem'"),
    "run is there": (["train", "demo", "--store", "{store}", "--out", "{run}"], "--resume"),
    "bad override": (
        ["train", "demo", "--store", "{store}", "--out", "{tmp}/run", "--set", "optimiser.epoch=5"],
        "optimiser.epoch=5",
    ),
    "override without value": (
        ["train", "demo", "--store", "{store}", "--out", "{tmp}/run", "--set", "optimiser.epochs"],
        "SETTING=VALUE",
    ),
    "store made otherwise": (["train", "demo", "--store", "{store}", "--out", "{tmp}/run"], "size is 48"),
    "fold out of range": (["train", "demo", "--store", "{store}", "--out", "{tmp}/run", "--fold", "9"], "fold 9"),
    "prepare nothing": (["prepare", "bu3dfe", "{tmp}/no", "{tmp}/store"], "{tmp}/no"),
    "prepare another layout": (["prepare", "bu3dfe", "{full}", "{tmp}/store"], "no BU-3DFE scan"),
    "prepare one folder too low": (["prepare", "bu3dfe", "{faces}/F0001", "{tmp}/store"], "no BU-3DFE scan"),
    "prepare into the data set": (["prepare", "bu3dfe", "{faces}", "{faces}/store"], "lies in the data set"),
    "prepare another data set's protocol": (
        ["prepare", "bu3dfe", "{faces}", "{tmp}/store", "--protocol", "bosphorus"],
        "protocol bosphorus is one of bosphorus, the data set is bu3dfe",
    ),
    "prepare into a file": (["prepare", "bu3dfe", "{faces}", "{full}/thesis.tex"], "thesis.tex"),
    "prepare into another store": (["prepare", "bu3dfe", "{faces}", "{store}", "--size", "64"], "other settings"),
    "synthesize into a full folder": (["synthesize", "bu3dfe", "{full}", "--subjects", "1"], "not empty"),
    "synthesize no such level": (["synthesize", "bu3dfe", "{tmp}/faces", "--levels", "7"], "levels"),
    "evaluate no run": (["evaluate", "{tmp}/no", "--store", "{store}"], "no run folder"),
    "evaluate on no store": (["evaluate", "{run}", "--store", "{tmp}/no"], "no finished store"),
    "report on nothing": (["report", "{tmp}/no", "--out", "{tmp}/report"], "{tmp}/no"),
    "report on no run": (["report", "{tmp}", "--out", "{tmp}/report"], "results.json"),
    "predict without a model": (["predict", "{scan}", "--model", "{tmp}"], "no trained model"),
    "predict no scan": (["predict", "{tmp}/no.wrl", "--model", "{run}"], "{tmp}/no.wrl"),
    "predict an empty folder": (["predict", "{tmp}", "--model", "{run}"], "no mesh below this folder"),
    "prompt without a class": (["predict", "{scan}", "--model", "{run}", "--prompt", "pain"], 'CLASS="TEXT"'),
    "prompt without a text": (["predict", "{scan}", "--model", "{run}", "--prompt", "pain="], 'CLASS="TEXT"'),
}


@pytest.mark.parametrize("case", list(BAD_INPUT))
def test_what_a_user_can_mend_is_one_line(case, command, tmp_path, trained_run, prepared_store, synthetic_faces, scans):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    places = {
        "tmp": tmp_path, "store": prepared_store, "run": trained_run, "faces": synthetic_faces,
        "full": tmp_path / "full", "scan": scans[0],
    }  # fmt: skip
    arguments, expected = BAD_INPUT[case]
    code, out, lines = command(*(argument.format(**places) for argument in arguments))
    assert code == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"smilevlm {arguments[0]}: error: ")
    assert expected.format(**places) in lines[0]
    assert "Traceback" not in out
    assert not out
    assert (tmp_path / "full" / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BrokenExecutor("a stack of hints"), "a worker process was killed"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/locked"), "/data/locked: permission denied"),
        (OSError("no name"), "no name"),
        (MemoryError(), "out of memory"),
    ],
)
def test_what_the_system_refuses_is_one_line(command, monkeypatch, error, message):
    def fail(arguments):
        raise error

    monkeypatch.setattr("smilevlm.cli.check.run", fail)
    code, _, lines = command("check", "bu3dfe", "faces")
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"smilevlm check: error: {message}")


@pytest.mark.parametrize(("name", "advice"), [("prepare", "run it again"), ("check", "stopped")])
def test_a_stopped_command_says_what_is_kept(command, monkeypatch, name, advice):
    def stop(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"smilevlm.cli.{name}.run", stop)
    code, _, lines = command(name, "bu3dfe", "faces", *(["store"] if name == "prepare" else []))
    assert code == 130
    assert lines[-1].endswith(advice)


def test_predict_prints_json_lines(command, trained_run, scans):
    code, out, lines = command("predict", *scans, "--model", trained_run, "--json")
    assert code == 0
    assert lines == []
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["scan"] for answer in answers] == [str(scan) for scan in scans]
    for answer in answers:
        assert answer["label"] in BASIC_EXPRESSIONS
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert set(answer["view_weights"]) == {"-30", "0", "30"}
        assert answer["trained_on_synthetic_faces"] is True
        assert answer["face"]["unit"] == "mm"
        assert 0 < answer["face"]["template_coverage"] <= 1
        assert 0 < answer["face"]["confidence"] <= 1
        assert np.allclose(np.linalg.det(answer["face"]["rotation"]), 1, atol=1e-3)
        assert answer["frames"] == 1
        assert answer["confidence"] == max(answer["probabilities"].values())
        assert min(answer["seconds"].values()) > 0


def test_predict_shows_a_table(command, trained_run, scans):
    import smilevlm

    code, out, _ = command("predict", scans[0], "--model", trained_run)
    assert code == 0
    assert smilevlm.load(trained_run).predict(scans[0]).label in out
    assert "trained on synthetic faces" in out
    assert scans[0].name in out
    assert "-30 / +0 / +30" in out


def test_predict_with_words_of_one_s_own(command, trained_run, scans):
    words = ["--prompt", "pain=a face in pain", "--prompt", "pain=it hurts", "--prompt", "calm=a calm face"]
    code, out, _ = command("predict", scans[0], "--model", trained_run, "--json", *words)
    assert code == 0
    assert set(json.loads(out)["probabilities"]) == {"pain", "calm"}


def test_predict_with_classes_by_name_alone(command, trained_run, scans):
    code, out, _ = command("predict", scans[0], "--model", trained_run, "--json", "--classes", "calm,tired")
    assert code == 0
    answer = json.loads(out)
    assert set(answer["probabilities"]) == {"calm", "tired"}
    assert answer["calibrated"] is False
    code, _, lines = command("predict", scans[0], "--model", trained_run, "--classes", "calm", "--prompt", "a=b")
    assert (code, len(lines)) == (1, 1)
    assert "exclude each other" in lines[0]


def test_predict_writes_a_table_for_programs(command, trained_run, scans, tmp_path):
    broken = tmp_path / "broken.wrl"
    broken.write_text("nothing")
    code, out, _ = command("predict", broken, *scans[:2], "--model", trained_run, "--csv")
    assert code == 1
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["scan"] for row in rows] == [str(broken), *map(str, scans[:2])]
    assert rows[0]["error"]
    assert rows[0]["label"] == ""
    for row in rows[1:]:
        assert row["error"] == ""
        assert float(row[row["label"]]) == float(row["confidence"])
        assert sum(float(row[name]) for name in BASIC_EXPRESSIONS) == pytest.approx(1, abs=1e-4)
        assert sum(float(row[f"weight_{angle}"]) for angle in ("-30", "+0", "+30")) == pytest.approx(1, abs=1e-4)
    code, out, _ = command("predict", broken, "--model", trained_run, "--csv")
    assert code == 1
    assert list(csv.DictReader(io.StringIO(out))) == [{"scan": str(broken), "remarks": "", "error": ANY}]


def test_predict_says_where_the_time_went(command, trained_run, scans):
    code, out, _ = command("predict", scans[0], "--model", trained_run, "--verbose")
    assert code == 0
    for word in ("unit mm", "face confidence", "read", "views", "network", "total"):
        assert word in out


def test_predict_finds_scans_and_sequences_below_a_folder(command, trained_run, scans, tmp_path):
    (tmp_path / "clip").mkdir()
    for number in range(6):
        shutil.copy(scans[number % len(scans)], tmp_path / "clip" / f"{number:03d}.wrl")
    shutil.copy(scans[0], tmp_path / "alone.wrl")
    (tmp_path / "labels.csv").write_text("file,label\nalone.wrl,happy\n")
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 and no more")
    code, out, _ = command("predict", tmp_path, "--model", trained_run, "--json")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [(Path(each["scan"]).name, each["frames"]) for each in found] == [("alone.wrl", 1), ("clip", 6)]
    passed_over = (
        f"2 files in {tmp_path.name} passed over: 1 .csv beside meshes, 1 damaged archive (broken.zip: not a "
        "readable zip archive: its table of contents is missing)"
    )
    assert found[0]["remarks"] == [passed_over]
    sequence = 'sequence of 6 frames; for a row each: --scans (in Python numbered_as="scans")'
    assert found[1]["remarks"] == [sequence, passed_over]
    code, out, _ = command("predict", tmp_path, "--model", trained_run, "--csv")
    assert [row["remarks"] for row in csv.DictReader(io.StringIO(out))] == [passed_over, f"{sequence}; {passed_over}"]
    code, out, _ = command("predict", tmp_path, "--model", trained_run)
    assert (code, out.count(passed_over), out.count("sequence of 6 frames")) == (0, 1, 2)
    assert f"remark: {tmp_path / 'clip'}: {sequence}" in out


def test_predict_reads_numbered_files_as_it_is_told(command, trained_run, scans, tmp_path):
    for number in range(3):
        shutil.copy(scans[number % len(scans)], tmp_path / f"pose_{number}.wrl")
    code, out, _ = command("predict", tmp_path, "--model", trained_run)
    assert code == 0
    assert all(f"pose_{number}.wrl" in out for number in range(3))
    assert (
        "3 numbered files (pose_0.wrl to pose_2.wrl) were read as single scans: fewer than 8; --sequence reads" in out
    )
    code, out, _ = command("predict", tmp_path, "--model", trained_run, "--json", "--sequence")
    assert (code, json.loads(out)["frames"]) == (0, 3)
    code, out, _ = command("predict", tmp_path, "--model", trained_run, "--json", "--scans")
    assert [json.loads(line)["remarks"] for line in out.splitlines()] == [[], [], []]


def test_axes_with_a_minus_are_no_options(command, trained_run, scans):
    code, out, _ = command("predict", scans[0], "--model", trained_run, "--json", "--up", "+y", "--front", "+z")
    assert code == 0
    assert json.loads(out)["face"]["confidence"] > 0.5
    code, _, lines = command("predict", scans[0], "--model", trained_run, "--up", "-y", "--front", "-y")
    assert code == 1
    assert "different axes" in lines[0]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_can_complete(shell, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--completion", shell])
    assert ended.value.code == 0
    assert "predict" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_one_broken_scan_does_not_take_the_good_one_along(command, trained_run, scans, tmp_path, options):
    broken = tmp_path / "broken.wrl"
    broken.write_bytes(scans[0].read_bytes()[:2000])
    code, out, lines = command("predict", broken, scans[0], "--model", trained_run, *options)
    assert code == 1
    assert len(lines) == 1
    assert str(broken) in lines[0]
    assert "1 of 2" in lines[0]
    if options:
        bad, good = (json.loads(line) for line in out.splitlines())
        assert bad["scan"] == str(broken)
        assert bad["error"]
        assert good["label"] in BASIC_EXPRESSIONS
    else:
        assert scans[0].name in out
        assert "broken.wrl" not in out


def test_evaluate_says_synthetic_and_ends_with_the_result_file(command, trained_run, prepared_store, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    code, out, lines = command("evaluate", run, "--store", prepared_store)
    assert code == 0
    assert lines == []
    assert out.splitlines()[-1] == str(run / "results.json")
    assert "synthetic" in out
    assert "chance" in out
    assert "shuffled prompts" in out


def test_prepare_lists_what_it_skips(command, synthetic_faces, tmp_path):
    root = tmp_path / "faces"
    root.mkdir()
    shutil.copy(synthetic_faces / MARKER_NAME, root)
    subject = shutil.copytree(synthetic_faces / "F0001", root / "F0001")
    broken = sorted(subject.glob("*_F3D.wrl"))[0]
    broken.write_text("#VRML V2.0 utf8\nnonsense")
    code, out, _ = command("prepare", "bu3dfe", root, tmp_path / "store", "--size", "32", "--jobs", "1")
    assert code == 0
    assert "6 synthetic samples of 1 subjects prepared, 1 scans or sequences skipped, 0 bad frames" in out
    assert f"skipped {broken.name.removesuffix('_F3D.wrl')}: {broken.name}:" in out, "the file is named once"


def test_resume_says_that_nothing_was_left(command, trained_run, prepared_store, tiny_overrides, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    settings = [part for override in tiny_overrides for part in ("--set", override)]
    code, out, _ = command("train", "demo", "--store", prepared_store, "--out", run, "--resume", *settings)
    assert code == 0
    assert "nothing, all was complete" in out


HEAVY = ("torch", "numba", "transformers", "pytorch_lightning", "matplotlib", "sklearn", "anny", "pyarrow", "datasets")


@pytest.mark.parametrize(
    "script",
    ["import smilevlm; dir(smilevlm)", "from smilevlm.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"]
    + [f"from smilevlm.cli import main\ntry: main(['{name}', '--help'])\nexcept SystemExit: pass" for name in COMMANDS],
    ids=["import", "help", *COMMANDS],
)
def test_nothing_heavy_is_imported_before_it_is_needed(script):
    check = f"\nimport sys; print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    done = run_python("-c", script + check)
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert done.stderr == ""


def test_the_module_runs_too():
    import smilevlm

    assert run_python("-m", "smilevlm", "--version").stdout.strip() == f"smilevlm {smilevlm.__version__}"


def test_a_reader_that_has_seen_enough_is_no_error(trained_run, scans):
    done = subprocess.run(
        f'"{sys.executable}" -m smilevlm predict "{scans[0]}" --model "{trained_run}" --json | true',
        shell=True, capture_output=True, text=True, check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )  # fmt: skip
    assert done.stderr == ""
