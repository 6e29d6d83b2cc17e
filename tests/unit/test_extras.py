"""What the base installation does without the libraries of the extras, and what is said where one is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import smilevlm
from processes import run_python
from smilevlm.errors import MissingExtraError
from smilevlm.extras import EXTRAS, explained_imports

EXAMPLE = Path(smilevlm.__file__).parent / "web" / "examples" / "happy_scan.ply"
BASE = """
import sys
from smilevlm.extras import EXTRAS

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from smilevlm.cli import main
sys.exit(main(sys.argv[1:]))
"""


def base(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in a process in which no library of an extra can be imported."""
    return run_python("-c", BASE, *arguments, check=False)


def test_prediction_needs_the_base_alone():
    done = base("predict", EXAMPLE, "--json")
    assert done.returncode == 0, done.stderr
    assert '"label": "happy"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["train", "demo", "--store", "store", "--out", "run"], "train"),
        (["report", "run", "--out", "report"], "reports"),
        (["synthesize", "bu3dfe", "faces"], "synthesis"),
        (["serve"], "web"),
        (["export", "default", "exported"], "onnx"),
    ],
)
def test_other_commands_name_their_extra_in_one_line(arguments, extra, tmp_path):
    done = base(*[tmp_path / word if word in ("faces", "exported") else word for word in arguments])
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("smilevlm")]
    assert f"pip install 'smilevlm[{extra}]'" in line
    assert "Traceback" not in done.stderr


def test_a_missing_library_is_one_sentence_with_its_extra():
    error = ModuleNotFoundError("No module named 'pytorch_lightning'", name="pytorch_lightning.callbacks")
    message = r"this needs pytorch_lightning.*pip install 'smilevlm\[train\]'"
    with pytest.raises(MissingExtraError, match=message), explained_imports():
        raise error
    with pytest.raises(ModuleNotFoundError, match="surely_nothing"), explained_imports():
        import surely_nothing  # noqa: F401


def test_every_extra_is_one_of_the_package():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
    of_base = {line.partition(">")[0].partition("=")[0].replace("-", "_") for line in project["dependencies"]}
    assert not of_base & set(EXTRAS)
