"""What holds for the whole source tree: file sizes, rooms, data inside the package, nothing tied to one registry."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "smilevlm"
MAX_LINES = 500
ROOMS = {
    "augment", "cli", "reproduction", "recipes", "training", "predict", "evaluation", "models", "losses", "prompts",
    "datasets", "store", "synthesis", "views", "dynamics", "readers", "geometry", "labels", "results", "reporting",
    "web",
}  # fmt: skip
"""Those of the design, `reproduction` (ADR 6) and `augment` (ADR 8)."""
MODULES = {
    "caches", "compiled", "errors", "typing", "distributed", "files", "pretrained", "threads", "version", "__init__",
    "__main__", "data", "deprecation", "experiment", "extras", "lazy", "parallel",
}  # fmt: skip
# Written in two parts, so that this file does not match itself.
REGISTRIES = [
    re.compile(first + second)
    for first, second in (
        (r"pypi\.", r"(org|python\.org)/simple"),
        (r"https?://[^\s\"')]*pypi", r"[^\s\"')]*/simple"),
        (r"files\.", "pythonhosted"),
        (r"registry\.", "npmjs"),
        (r"index-", r"url[\s=]"),
    )
]


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_no_source_file_is_too_long():
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in sources()}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_the_rooms_are_those_of_the_design():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == ROOMS
    assert {path.stem for path in PACKAGE.glob("*.py")} == MODULES


def test_the_import_contract_speaks_of_every_room():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = config["contracts"][0]["layers"]
    named = {name.strip().removeprefix("smilevlm.") for layer in layers for name in layer.split("|")}
    assert ROOMS | MODULES - {"__init__", "__main__"} == named | {"reporting"}


def test_no_registry_is_wired_in():
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {hit.group()}" for rule in REGISTRIES if (hit := rule.search(text))]
    assert found == []


def test_data_files_are_inside_the_package():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["src/smilevlm"]}, "everything below is taken, nothing is left out by a pattern"
    data = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    assert data >= {
        "geometry/data/face_template.npz",
        "predict/data/onnx_example.py",
        "predict/data/onnx_readme.md",
        "predict/weights/README.md",
        "predict/weights/model.json",
        "predict/weights/model.safetensors",
        "predict/weights/prompts.safetensors",
        "predict/weights/bundle.json",
        "prompts/data/basic_expressions.yaml",
        "prompts/data/basic_expressions_neutral.yaml",
        "prompts/data/micro_expressions.yaml",
        "reporting/data/published.yaml",
        "reporting/templates/macros.html.j2",
        "reporting/templates/report.html.j2",
        "reporting/templates/report.css",
        "reporting/templates/study.html.j2",
    }


def test_data_files_are_known_to_git():
    # hatch leaves out what git ignores, so an ignored data file would be missing from the wheel without a word.
    known = {path.resolve() for path in tracked_files()}
    data = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert [path for path in data if path.resolve() not in known] == []


def test_every_room_says_what_it_is():
    for path in sources():
        if path.stem != "__main__":
            assert path.read_text().lstrip().startswith('"""'), f"{path} has no docstring"


def test_every_test_folder_mirrors_a_room():
    folders = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders <= ROOMS
