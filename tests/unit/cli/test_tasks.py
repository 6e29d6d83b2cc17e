import argparse
import shutil

import pytest

from smilevlm.cli import tasks
from smilevlm.errors import CheckpointError
from smilevlm.results import TasksResult, read_record


def parse(*words):
    parser = argparse.ArgumentParser()
    tasks.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture(scope="module")
def run_of_four(store_of_four, make_tiny_config, tmp_path_factory):
    from smilevlm.training.run import train_run

    run = tmp_path_factory.mktemp("tasks") / "run"
    train_run(make_tiny_config("num_control_folds=0", "optimiser.epochs=1"), store_of_four, run, folds=[0])
    return run


def test_arguments():
    parsed = parse("run", "--store", "store")
    assert (parsed.faces, parsed.fold, parsed.spoof_subjects) == (None, None, 20)
    with pytest.raises(SystemExit):
        parse("run")
    with pytest.raises(SystemExit):
        parse("run", "--store", "store", "--spoof-subjects", "0")
    assert tasks.EXAMPLE.startswith("smilevlm tasks ")
    parse(*tasks.EXAMPLE.split()[2:])


@pytest.mark.slow
def test_tables_and_file(run_of_four, store_of_four, faces_of_four, capsys):
    tasks.run(parse(run_of_four, "--store", store_of_four, "--faces", faces_of_four))
    out = capsys.readouterr().out
    result = read_record(run_of_four / "tasks.json", TasksResult)
    assert out.splitlines()[-1] == str(run_of_four / "tasks.json")
    for name in ("verification", "identification", "anti-spoofing"):
        title = next(line for line in out.splitlines() if f"{name}: " in line)
        assert "synthetic faces" in title
    for row in result.verification:
        line = next(line for line in out.splitlines() if row.name in line and f" {row.features} " in line)
        assert f"{row.equal_error_rate:.1%}" in line
    assert out.count("never saw the kind") == 6
    assert out.count("8 of 8") == 12
    assert "Note: Preparation finds no face in 24 of 24 attacks" in out


def test_what_is_left_out_has_no_table(trained_run, prepared_store, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(trained_run, copy)
    tasks.run(parse(copy, "--store", prepared_store))
    out = capsys.readouterr().out
    assert "verification: " not in out
    assert "Note: Verification and identification need two test subjects" in out


def test_no_run(prepared_store, tmp_path):
    with pytest.raises(CheckpointError, match="no run folder"):
        tasks.run(parse(tmp_path, "--store", prepared_store))
