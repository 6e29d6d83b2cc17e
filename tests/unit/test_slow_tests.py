"""Which slow tests a change selects: those that cover it, and all where that cannot be told."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools import slow_tests
from tools.slow_tests import COVERS, QUICK_TESTS_ALONE, run_bounded, select, selection_of, told

ROOT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-c", "gc.auto=0"]
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def commit(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, docs__a="x", src__smilevlm__losses__a="x", src__smilevlm__web__page="x")
    return tmp_path


def test_the_tables_name_what_is_there():
    marked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if "pytest.mark." + "slow" in path.read_text()
    }
    assert set(COVERS) == marked
    for part in {part for parts in COVERS.values() for part in parts}:
        assert (ROOT / "src/smilevlm" / part).exists(), part
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src/smilevlm").rglob("*") if path.is_file()}
    unknown = [path for path in sources if set(select([path], "").reasons) == set(COVERS)]
    assert unknown == [], "in neither table: all slow tests would run for each change"


@pytest.mark.parametrize(
    ("path", "selected"),
    [
        ("src/smilevlm/store/work.py",
         ["integration/test_kill.py", "unit/datasets/test_synthetic_store.py", "unit/store/test_engine.py",
          "unit/store/test_store.py"]),
        ("src/smilevlm/cli/prepare.py", ["integration/test_kill.py"]),
        ("src/smilevlm/web/jobs.py", ["integration/test_web.py"]),
        ("tests/unit/losses/test_processes.py", ["unit/losses/test_processes.py"]),
        ("src/smilevlm/views/render.py", []),
        ("tests/unit/views/test_render.py", []),
        ("docs/web.md", []),
    ],
)  # fmt: skip
def test_what_covers_a_change_is_selected(path, selected):
    assert sorted(select([path], "").reasons) == ["tests/" + name for name in selected]


@pytest.mark.parametrize(
    "path",
    ["pyproject.toml", "constraints.txt", "tests/conftest.py", "tests/builders.py", "tests/killing.py", "Makefile",
     ".ci/run", "tools/slow_tests.py", "src/smilevlm/newroom/a.py", "new.toml"],
)  # fmt: skip
def test_what_may_change_any_test_selects_all(path):
    assert set(select(["docs/web.md", path], "").reasons) == set(COVERS)


def test_a_branch_is_compared_with_where_it_left_main(repository):
    git(repository, "switch", "--quiet", "--create", "mine")
    commit(repository, src__smilevlm__losses__a="y")
    commit(repository, docs__a="y")
    git(repository, "switch", "--quiet", "main")
    commit(repository, src__smilevlm__web__page="y")  # landed meanwhile: not ours
    git(repository, "switch", "--quiet", "mine")
    selection = selection_of(repository, None)
    assert selection.reasons.keys() == {file for file, parts in COVERS.items() if "losses/" in parts}
    assert "2 files changed since" in selection.because
    assert "tests/unit/losses/test_processes.py: src/smilevlm/losses/a" in told(selection)


def test_what_is_not_committed_counts_and_so_does_what_was_renamed_away(repository):
    git(repository, "switch", "--quiet", "--create", "mine")
    commit(repository)
    assert selection_of(repository, None).reasons == {}
    git(repository, "mv", "src/smilevlm/losses/a", "docs.md")
    assert "tests/unit/losses/test_processes.py" in selection_of(repository, None).reasons
    git(repository, "reset", "--quiet", "--hard")
    (repository / "src/smilevlm/web/new.py").write_text("x")
    assert selection_of(repository, None).reasons.keys() == {"tests/integration/test_web.py"}


def test_main_is_compared_with_where_it_was_a_day_before(repository, monkeypatch):
    for day, name in ((3, "src__smilevlm__web__page"), (5, "src__smilevlm__losses__a"), (5, "docs__a")):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2090-01-0{day}T12:00:00+00:00")
        commit(repository, **{name: "y"})
    selection = selection_of(repository, None)
    assert selection.reasons.keys() == {file for file, parts in COVERS.items() if "losses/" in parts}
    assert "main a day before this commit" in selection.because


def test_another_base_than_main(repository):
    commit(repository, src__smilevlm__web__page="y")
    assert selection_of(repository, "HEAD~1").reasons.keys() == {"tests/integration/test_web.py"}


@pytest.mark.parametrize("why", ["no checkout", "no commit", "main itself", "no main", "no common commit", "bad base"])
def test_where_it_cannot_be_told_all_are_run(repository, tmp_path, why):
    base = None
    if why in ("no checkout", "no commit"):
        repository = tmp_path / "other"
        repository.mkdir()
    if why == "no checkout":  # git would look for one in the folders above
        (repository / ".git").write_text("gitdir: /nowhere")
    elif why == "no commit":
        git(repository, "init", "--quiet")
    elif why == "no main":
        git(repository, "switch", "--quiet", "--create", "mine")
        git(repository, "branch", "--quiet", "--delete", "--force", "main")
    elif why == "no common commit":
        git(repository, "switch", "--quiet", "--orphan", "mine")
        commit(repository, other="x")
    elif why == "bad base":
        base = "nowhere"
    selection = selection_of(repository, base)
    assert set(selection.reasons) == set(COVERS)
    assert selection.because.startswith("all, since ")


def test_the_exit_status_is_passed_on_and_the_time_bounded(capfd, monkeypatch):
    assert run_bounded([sys.executable, "-c", "raise SystemExit(5)"], 10) == 5
    # What the command started is ended too: only then does the pipe that it holds end.
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    child = "subprocess.run([sys.executable, '-c', 'import time; time.sleep(900)'], close_fds=False)"
    command = [sys.executable, "-c", f"import subprocess, sys; {child}"]
    monkeypatch.setattr(slow_tests.subprocess, "Popen", functools.partial(subprocess.Popen, close_fds=False))
    assert run_bounded(command, 1 / 60) == 124
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b""
    assert "FAILED, not done after" in capfd.readouterr().err


def test_nothing_is_run_where_nothing_is_selected(monkeypatch, capsys):
    monkeypatch.setattr(slow_tests, "selection_of", lambda root, base: select(["docs/web.md"], "1 file"))
    monkeypatch.setattr(slow_tests, "run_bounded", lambda *given: pytest.fail("something was run"))
    assert slow_tests.main([]) == 0
    assert capsys.readouterr().out == f"slow tests: 0 of {len(COVERS)} files (1 file)\n"


def test_what_is_selected_is_run_and_its_failure_is_the_command_s(monkeypatch, capsys):
    given = []
    monkeypatch.setattr(slow_tests, "selection_of", lambda root, base: select(["src/smilevlm/web/jobs.py"], "1 file"))
    monkeypatch.setattr(slow_tests, "run_bounded", lambda *values: given.append(values) or 1)
    assert slow_tests.main(["--minutes", "3", "--jobs", "1"]) == 1
    ((command, minutes),) = given
    assert minutes == slow_tests.FILE_MINUTES
    assert command[-1] == "tests/integration/test_web.py"
    assert command[3:7] == ["-m", "slow", "-n", "1"]


def test_no_file_begins_when_the_time_is_over(monkeypatch, capsys):
    given, clock = [], iter([0.0, 0.0, 50.0, 100.0])
    monkeypatch.setattr(slow_tests, "selection_of", lambda root, base: select(["src/smilevlm/store/engine.py"], "1"))
    monkeypatch.setattr(slow_tests, "run_bounded", lambda command, minutes: given.append(command[-1]) or len(given) % 2)
    monkeypatch.setattr(slow_tests.time, "monotonic", lambda: next(clock))
    assert slow_tests.main(["--minutes", "1"]) == 1, "the failure of an earlier file was forgotten"
    assert len(given) == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("slow tests: not begun in 1 minutes: tests/")
    assert not any(file in last for file in given)


def test_every_path_in_the_second_table_is_there():
    assert [path for path in QUICK_TESTS_ALONE if not (ROOT / path).exists()] == []
