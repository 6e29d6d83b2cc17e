"""The documentation says what is there: names, tests, links, commands, pages."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "smilevlm"
MAP = DOCS / "paper_to_code.md"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
ROW = re.compile(
    r"^\| (?P<paper>[^|]+) \| (?P<what>[^|]+) \| \[`(?P<name>[\w.]+)`\]\((?P<source>[^)]+)\)"
    r"<br>\[`(?P<test>\w+)`\]\((?P<test_file>[^)]+)\) \| (?P<assumptions>[^|]*) ?\|$",
    re.MULTILINE,
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def load_tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def paper_map() -> list[dict[str, str]]:
    return [row.groupdict() for row in ROW.finditer(MAP.read_text(encoding="utf-8"))]


def resolved(name: str) -> object:
    value: object = importlib.import_module("smilevlm")
    path = "smilevlm"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        value = getattr(value, part) if hasattr(value, part) else importlib.import_module(path)
    return value


# Code of the paper


def test_every_row_of_the_map_is_read():
    lines = [line for line in MAP.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and "](../" in line]
    assert len(lines) == len(paper_map()) > 30


@pytest.mark.parametrize("row", paper_map(), ids=lambda row: row["name"].removeprefix("smilevlm."))
def test_the_map_leads_to_code_and_test(row):
    value = resolved(row["name"])
    source = (DOCS / row["source"]).resolve()
    # Not inspect.getsourcefile: the tests' jaxtyping hook wraps functions.
    assert Path(sys.modules[value.__module__].__file__).resolve() == source
    test_file = (DOCS / row["test_file"]).resolve()
    assert re.search(rf"^(async )?def {row['test']}\(", test_file.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_equation_is_in_the_map():
    text = " ".join(row["paper"] for row in paper_map())
    numbers = set()
    for group in re.findall(r"Eq\. ([\d, to]+\d|\d+)", text):
        ends = [int(number) for number in re.findall(r"\d+", group)]
        numbers.update(range(ends[0], ends[-1] + 1) if "to" in group else ends)
    assert numbers == set(range(1, 11))


def test_assumptions_that_are_cited_are_listed():
    listed = set(re.findall(r"^\| (A\d+) \|", (DOCS / "assumptions.md").read_text(encoding="utf-8"), re.MULTILINE))
    cited = {number for row in paper_map() for number in re.findall(r"A\d+", row["assumptions"])}
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    cited |= {number for text in sources for number in re.findall(r"Assumptions? (A\d+)", text)}
    assert cited <= listed


# Links and pages


def test_links_lead_somewhere():
    tool = load_tool("check_links")
    assert [f"{page.name}: {fault}" for page in PAGES for fault in tool.faults(page, ROOT)] == []


def test_broken_links_and_what_is_fetched_are_found(tmp_path):
    tool = load_tool("check_links")
    (tmp_path / "page.md").write_text(
        "# A heading\n[a](other.md) [b](#a-heading) [c](#none) `[d](none.md)`\n```\n[e](none.md)\n```\n"
    )
    (tmp_path / "page.html").write_text(
        '<script src="https://there/x.js"></script><a href="https://there">f</a><a href="#here" id="here">g</a>'
        '<img src="none.png"><a href="page.html#none">h</a><link rel="canonical" href="https://there/">'
    )
    assert list(tool.faults(tmp_path / "page.md", tmp_path)) == ["other.md", "#none"]
    assert list(tool.faults(tmp_path / "page.html", tmp_path)) == [
        "loads https://there/x.js", "page.html#none", "none.png",
    ]  # fmt: skip


def site_pages() -> set[str]:
    def pages(entry: object):
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            for inner in entry.values():
                yield from pages(inner)
        elif isinstance(entry, list):
            for inner in entry:
                yield from pages(inner)

    return set(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))


def test_the_navigation_has_every_page():
    assert site_pages() == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


def test_every_room_has_its_reference():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"cli", "web"}
    rooms |= {"data", "experiment"}  # modules beside the rooms that users call
    assert {path.stem for path in (DOCS / "api").glob("*.md")} - {"index", "errors"} == rooms
    for room in rooms:
        assert f"::: smilevlm.{room}\n" in (DOCS / "api" / f"{room}.md").read_text(encoding="utf-8")


# Commands


def commands_of(page: Path) -> list[str]:
    found = []
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language not in ("sh", "bash", ""):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^\$ ", "", line.strip())
            line = re.sub(r"^torchrun .* --module smilevlm", "smilevlm", line)
            if line.startswith("smilevlm ") and "…" not in line and ": error:" not in line:
                found.append(line.replace("LAYOUT", "folder"))
    return found


def arguments_of(command: str) -> list[str]:
    words = shlex.split(command, comments=True)[1:]
    return words[: words.index(">")] if ">" in words else words


@pytest.mark.parametrize(
    ("page", "command"),
    [pytest.param(page, command, id=f"{page.name}: {command[:60]}") for page in PAGES for command in commands_of(page)],
)
def test_commands_parse(page, command):
    from smilevlm.cli.main import build_parser, with_axes_joined

    arguments = with_axes_joined(arguments_of(command))
    if {"--help", "--version"} & set(arguments):
        with pytest.raises(SystemExit, match=r"^0$"):
            build_parser().parse_args(arguments)
    else:
        # One that does not parse ends with SystemExit: 2.
        build_parser().parse_args(arguments)


# The site


def test_what_is_made_from_the_code_is_in_the_staged_pages(tmp_path):
    load_tool("build_docs").stage(tmp_path / "stage")
    stage = tmp_path / "stage"
    commands = (stage / "cli.md").read_text(encoding="utf-8")
    assert "## smilevlm predict\n" in commands
    assert "### smilevlm prompts check\n" in commands
    assert '`--prompt CLASS="TEXT"`' in commands
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()[2:]
    assert changes[0] in (stage / "changelog.md").read_text(encoding="utf-8").splitlines()
    benchmarks = (stage / "benchmarks.md").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks" / "results").iterdir():
        assert path.read_text(encoding="utf-8").splitlines()[-1] in benchmarks
    # A link out of docs/ leads to a page that shows the file.
    assert "](source/src/smilevlm/losses/joint.py.md)" in (stage / "paper_to_code.md").read_text(encoding="utf-8")
    assert "class JointLoss" in (stage / "source/src/smilevlm/losses/joint.py.md").read_text(encoding="utf-8")
    assert "<!--" not in "".join(page.read_text(encoding="utf-8") for page in stage.glob("*.md"))
