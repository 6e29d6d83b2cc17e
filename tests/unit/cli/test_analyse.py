"""`smilevlm analyse`: the arguments reach the analysis, and what it found is printed."""

from __future__ import annotations

import argparse
import shlex
import shutil

import pytest

from smilevlm.cli import analyse
from smilevlm.errors import CheckpointError
from smilevlm.results import AnalysisResult, read_record


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")


def parse(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    analyse.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


def test_the_example_parses():
    parsed = parse(*shlex.split(analyse.EXAMPLE)[2:])
    assert parsed.yaw_store.name == "yaw-store"
    assert (parsed.fold, parsed.num_relevance) == (None, 6)


def test_a_run_is_analysed(trained_run, prepared_store, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    analyse.run(parse(run, "--store", prepared_store, "--fold", 1, "--num-relevance", 1))
    result = read_record(run / "analysis.json", AnalysisResult)
    assert result.fold == 1
    assert len({each.sample_id for each in result.relevance}) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(run / "analysis.json")
    assert "effective rank, synthetic faces, fold 1" in out
    assert "note: Accuracy against yaw was left out" in out
    fused = next(rank for rank in result.effective_ranks if (rank.what, rank.stage) == ("fused", "after"))
    row = next(line for line in out.splitlines() if "fused" in line)
    assert f"{fused.effective_rank:.1f}" in row
    assert str(min(fused.width, fused.num_samples)) in row


def test_turned_heads_are_printed(trained_run, prepared_store, synthetic_faces, small_store_settings, tmp_path, capsys):
    from dataclasses import replace

    from smilevlm.datasets import index_data_set
    from smilevlm.store import prepare

    run, yaw_store = tmp_path / "run", tmp_path / "yaw"
    shutil.copytree(trained_run, run)
    views = replace(small_store_settings.views, angles_deg=(-30.0, 0.0, 30.0, -60.0))
    settings = replace(small_store_settings, views=views)
    prepare(index_data_set("bu3dfe", synthetic_faces).recordings, yaw_store, settings, layout="bu3dfe", synthetic=True)
    analyse.run(parse(run, "--store", prepared_store, "--yaw-store", yaw_store, "--num-relevance", 0))
    result = read_record(run / "analysis.json", AnalysisResult)
    out = capsys.readouterr().out
    assert [point.yaw_deg for point in result.yaw] == [-30.0, 0.0]
    assert "accuracy of turned heads, synthetic faces, fold 0" in out
    row = next(line for line in out.splitlines() if "-30" in line and "view" not in line)
    assert f"{result.yaw[0].accuracy:.1%}" in row


def test_errors_pass_through(tmp_path, prepared_store):
    with pytest.raises(CheckpointError, match="no run folder"):
        analyse.run(parse(tmp_path, "--store", prepared_store))
