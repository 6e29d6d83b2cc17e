"""`smilevlm reproduce` on a set of its own: a report of everything that was asked for, and nothing lost when killed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from killing import run_counted
from smilevlm.cli import main
from smilevlm.results import Study, read_record, read_results


@pytest.fixture
def options(prepared_store, tiny_overrides) -> list[str]:
    """BU-3DFE alone, of two people; one seed; models of a second's training."""
    settings = [part for override in tiny_overrides for part in ("--set", override)]
    return ["--only-given", "--store", f"bu3dfe={prepared_store}", "--seeds", "0", "--jobs", "1", *settings]


@pytest.mark.slow
def test_a_figure_of_what_is_there(options, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "fig2", *options]) == 0
    out = capsys.readouterr().out.splitlines()
    page = tmp_path / out[-1]
    assert page == tmp_path / "study/report/index.html"
    assert any("no prepared set of bosphorus was given" in line for line in out)
    study = read_record(tmp_path / "study/study.json", Study)
    there = [run for run in study.runs if run.results is not None]
    methods = ("full", "without_multi_view", "without_alignment", "without_redundancy")
    expected = {(name, method) for name in ("bu3dfe_subset1", "bu3dfe_subset2") for method in methods}
    assert {(run.setting, run.method) for run in there} == expected
    assert all(run.reason for run in study.runs if run.results is None)
    for run in there:
        assert read_results(tmp_path / "study" / str(run.results)).method == run.method
    assert "synthetic" in page.read_text()

    # Once more: nothing is trained again, and the report has the same bytes.
    before = {path: path.read_bytes() for path in (tmp_path / "study/report").rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "study/runs").rglob("*") if path.is_file()}
    assert main(["reproduce", "fig2", *options]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_mistake_is_told_before_anything_runs(options, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "table3", *options, "--set", "optimiser.epoch=3"]) == 1
    assert "optimiser.epoch" in capsys.readouterr().err
    assert main(["reproduce", "table3", *options, "--store", "bu5dfe=somewhere"]) == 1
    assert "no prepared set is called bu5dfe" in capsys.readouterr().err
    assert main(["reproduce", "table3", "--only-given"]) == 1
    assert "--store bu4dfe=STORE" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_killed_and_gone_on_with(options, tmp_path):
    peaceful, killed, runs = tmp_path / "peaceful", tmp_path / "killed", itertools.count()

    def reproduce(root: Path, kill_before: int = 0) -> int | None:
        # Two at a time: the workers of a killed command live on, and the next one meets them.
        arguments = ["reproduce", "fig2", "--out", "study", *options, "--jobs", "2"]
        return run_counted(arguments, root, tmp_path / f"run{next(runs)}", kill_before=kill_before)

    num_changes = reproduce(peaceful)
    # The workers that live on may do much of the rest: how much is left for the next command is not known, but for the
    # report, so that the later kills strike soon after it has gone on.
    for kill_before in (num_changes // 5, 20, 3):
        assert reproduce(killed, kill_before) is None
    assert reproduce(killed) is not None
    paths = [path.relative_to(peaceful) for path in peaceful.rglob("results.json")]
    assert len(paths) == 8
    for path in (*paths, Path("study/study.json")):
        assert (killed / path).read_bytes() == (peaceful / path).read_bytes(), path
