"""Encodings that lack a sign, undecodable names, closed streams: no command ends in a traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import smilevlm
from processes import run_python

SOURCE = Path(smilevlm.__file__).parents[1]
ANSWERING = """
import sys
from pathlib import Path
from smilevlm.cli import main
from smilevlm.cli import check, predict

def answer(arguments):
    from rich.table import Table
    from smilevlm.cli.tables import table_console
    import csv, json
    names = [str(path) for path in arguments.scans]
    table = Table("scan")
    for name in names:
        if arguments.csv:
            csv.writer(sys.stdout, lineterminator="\\n").writerow([name, "ja"])
        elif arguments.json:
            print(json.dumps({"scan": name}))
        table.add_row(name)
        print("remark on", name, file=sys.stderr)
    if arguments.verbose:
        table_console().print(table)
    for _ in range(arguments.jobs):
        print("x" * 100)

predict.run = answer
sys.exit(main(sys.argv[1:]))
"""
"""The command line with a `predict` that reads no scan."""
NAMES = ["顔.ply", "Gesicht_ß.ply", "🙂.ply", "лицо.ply", os.fsdecode(b"scan_\xff.ply"), "e\u0301.ply"]


def run(*arguments: str, code: str = ANSWERING, **environment: str) -> subprocess.CompletedProcess[bytes]:
    values = {"PYTHONPATH": str(SOURCE), "COLUMNS": "100", **environment}
    return run_python("-c", code, *arguments, check=False, text=False, **values)


@pytest.mark.parametrize("form", ["--csv", "--json", "--verbose"])
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "utf-8:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
    ],
    ids=["cp1252", "ascii", "utf-8", "C"],
)
def test_names_that_the_encoding_lacks_are_escaped(form, environment):
    done = run("predict", form, *NAMES, **environment)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    names = NAMES
    if environment.get("LC_ALL") == "C":
        # Such a process takes every byte of a name that is no ASCII for undecodable.
        names = [os.fsencode(name).decode("ascii", "surrogateescape") for name in NAMES]
    if form == "--json":
        assert [json.loads(line)["scan"] for line in done.stdout.splitlines()[: len(NAMES)]] == names
    if form == "--csv":
        encoding = environment["PYTHONIOENCODING"].split(":")[0] or "ascii"
        rows = list(csv.reader(io.StringIO(done.stdout.decode(encoding))))
        shown = [name.encode(encoding, "backslashreplace").decode(encoding) for name in names]
        assert rows[: len(NAMES)] == [[name, "ja"] for name in shown]


def test_a_real_scan_of_such_a_name(tmp_path):
    """Nothing is stubbed: the scan is no face, and the message names it."""
    path = tmp_path / "顔.ply"
    corners = np.random.default_rng(0).normal(size=(20, 3))
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 20\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
        + "".join(f"{x} {y} {z}\n" for x, y, z in corners)
    )
    code = "import sys; from smilevlm.cli import main; sys.exit(main(sys.argv[1:]))"
    done = run("predict", "--csv", str(path), code=code, PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    head, row = csv.reader(io.StringIO(done.stdout.decode("cp1252")))
    assert head == ["scan", "remarks", "error"]
    assert row[0].endswith("\\u9854.ply")


CLOSED = [
    ("predict --csv face.ply --jobs 3000 | head -n 1", 1),
    ("predict face.ply --jobs 3000 | true", 1),
    ("predict --json face.ply >&-", 0),
    ("predict face.ply >&-", 0),
    ("predict face.ply <&-", 0),
    ("predict face.ply <&- >&- 2>&-", 0),
    ("predict face.ply 2>&-", 0),
    ("--help | true", 0),
    ("predict --help >&-", 0),
    ("--version >&-", 0),
    ("check bu3dfe /no/such/folder >&-", 1),
    ("prompts list | head -n 1", 0),
    ("prompts list >&-", 0),
]


@pytest.mark.parametrize(("command", "code"), CLOSED)
def test_closed_streams_end_quietly_with_the_usual_code(command, code, tmp_path):
    script = tmp_path / "command.py"
    script.write_text(ANSWERING)
    first, pipe, second = command.partition(" | ")
    line = f"{sys.executable} {script} {first}"
    if pipe:
        line += f" | {second}; exit ${{PIPESTATUS[0]}}"
    values = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "100"}
    done = subprocess.run(["bash", "-c", line], env=values, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.returncode == code, done.stderr


def test_what_is_printed_to_a_closed_stream_does_not_reach_a_file_opened_later(tmp_path):
    code = (
        "import os, sys\n"
        "from smilevlm.cli.streams import prepare_streams\n"
        "prepare_streams()\n"
        f"with open({str(tmp_path / 'data')!r}, 'w') as file:\n"
        "    print('printed')\n"
        "    os.write(1, b'native')\n"
        "    assert file.fileno() > 2\n"
    )
    values = {**os.environ, "PYTHONPATH": str(SOURCE)}
    subprocess.run(["bash", "-c", f'{sys.executable} -c "$CODE" >&-'], env={**values, "CODE": code}, check=True)
    assert (tmp_path / "data").read_text() == ""


@pytest.mark.parametrize("name", ["folder", "顔"])
def test_a_name_that_no_encoding_has_is_one_line(name, capsys, monkeypatch):
    from smilevlm.cli import main

    def fail(arguments):
        (name + "\udcff").encode()

    monkeypatch.setattr("smilevlm.cli.check.run", fail)
    assert main(["check", "folder", "faces"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("smilevlm check: error: ")
    assert "rename" in line


def test_a_machine_without_a_temporary_folder_is_one_line(capsys, monkeypatch):
    from smilevlm.cli import main

    def fail(arguments):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("smilevlm.cli.check.run", fail)
    assert main(["check", "folder", "faces"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("set TMPDIR to one")
