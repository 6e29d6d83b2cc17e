"""Build the documentation site: docs/ and what is made from the code to build/docs, and that to site/ by MkDocs.

Command: python tools/build_docs.py

Three marks in a page are replaced, so that what they show is never out of date:

    <!-- include: ../CHANGELOG.md -->    a Markdown file from outside of docs/, without its title
    <!-- benchmark results -->           all files of benchmarks/results, newest first
    <!-- commands -->                    the command line, from its own parser

A link to a file outside of docs/ leads, in the site, to the page that shows it: sources get a page each.
"""

from __future__ import annotations

import argparse
import html
import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
STAGE = ROOT / "build" / "docs"
RESULTS = ROOT / "benchmarks" / "results"
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""What has a page of another name in the site."""
_LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_INCLUDE = re.compile(r"<!-- include: (\S+) -->")
_BENCHMARKS = "<!-- benchmark results -->"
_COMMANDS = "<!-- commands -->"


def stage(target: Path) -> None:
    """Write the pages of the site as Markdown.

    Args:
        target: Folder to write; what was there is removed.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(DOCS, target)
    shown: set[Path] = set()
    for page in sorted(DOCS.rglob("*.md")):
        uri = page.relative_to(DOCS).as_posix()
        text = _with_marks_replaced(page.read_text(encoding="utf-8"), uri)
        shown.update(_sources_behind(text, uri))
        text = LINK.sub(lambda found, uri=uri: _led_to_a_page(found, uri), text)
        (target / uri).write_text(text, encoding="utf-8")
    for source in sorted(shown):
        page = target / _page_of(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_source_page(source), encoding="utf-8")


def _with_marks_replaced(markdown: str, uri: str) -> str:
    markdown = _INCLUDE.sub(lambda found: _included(DOCS / posixpath.dirname(uri) / found[1], uri), markdown)
    if _BENCHMARKS in markdown:
        markdown = markdown.replace(_BENCHMARKS, _benchmark_results(uri))
    if _COMMANDS in markdown:
        markdown = markdown.replace(_COMMANDS, command_reference())
    return markdown


def _included(path: Path, uri: str) -> str:
    """A Markdown file without its title, its links made relative to the page that takes it in."""
    path = path.resolve()
    text = path.read_text(encoding="utf-8").partition("\n")[2]
    return LINK.sub(lambda found: _moved(found, path.parent, uri), text)


def _moved(found: re.Match[str], folder: Path, uri: str) -> str:
    before, target, anchor, after = found.groups()
    if "://" in target or not (folder / target).exists():
        return found[0]
    there = (folder / target).resolve().relative_to(ROOT).as_posix()
    return f"{before}{posixpath.relpath(there, posixpath.join('docs', posixpath.dirname(uri)))}{anchor or ''}{after}"


def _benchmark_results(uri: str) -> str:
    parts = []
    for path in sorted(RESULTS.iterdir(), reverse=True):
        title, _, text = path.read_text(encoding="utf-8").partition("\n")
        if path.suffix == ".md":
            deeper = re.sub(r"^(#+ )", r"#\1", _included(path, uri), flags=re.MULTILINE)
            parts.append(f"## {title.lstrip('# ')}\n{deeper}")
        else:
            parts.append(f"## {path.stem}\n\n{title}\n\n```\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _outside(target: str, uri: str) -> Path | None:
    """The file outside of docs/ that a link leads to."""
    if "://" in target or target.startswith("mailto:"):
        return None
    path = (DOCS / posixpath.dirname(uri) / target).resolve()
    return path if path.is_file() and path.is_relative_to(ROOT) and not path.is_relative_to(DOCS) else None


def _sources_behind(markdown: str, uri: str) -> Iterator[Path]:
    for found in LINK.finditer(markdown):
        path = _outside(found[2], uri)
        if path is not None and _page_of(path).startswith("source/"):
            yield path


def _page_of(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return "benchmarks.md" if path.parent == RESULTS else PAGES.get(name, f"source/{name}.md")


def _led_to_a_page(found: re.Match[str], uri: str) -> str:
    path = _outside(found[2], uri)
    if path is None:
        return found[0]
    return f"{found[1]}{posixpath.relpath(_page_of(path), posixpath.dirname(uri) or '.')}{found[3] or ''}{found[4]}"


def _source_page(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    language = _LANGUAGES.get(path.suffix, "text")
    text = path.read_text(encoding="utf-8").rstrip()
    front = "---\nsearch:\n  exclude: true\nhide: [navigation, toc]\n---\n"
    return f"{front}# {name}\n\n`````{language}\n{text}\n`````\n"


def command_reference() -> str:
    """Every command with its options, as Markdown."""
    from smilevlm.cli.main import build_parser

    return "\n".join(_described(build_parser(), level=1))


def _described(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    if level > 1:
        yield f"{'#' * level} {parser.prog}\n\n{_plain(parser.description or '')}\n"
        before, _, example = (parser.epilog or "").partition("Example: ")
        yield f"```sh\n{example}\n```\n" if example else f"{_plain(before)}\n"
        for group in parser._action_groups:
            rows = [_row(parser, action) for action in group._group_actions if _is_shown(action)]
            if rows:
                head = "argument" if group.title == "positional arguments" else _plain(group.title or "")
                yield f"| {head.removesuffix('s')} | |\n|---|---|\n" + "\n".join(rows) + "\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _described(command, level + 1)


def _is_shown(action: argparse.Action) -> bool:
    hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    return not hidden and action.help != argparse.SUPPRESS


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    name = formatter._format_action_invocation(action).replace("|", "\\|")
    return f"| `{name}` | {_plain(formatter._expand_help(action) if action.help else '')} |"


def _plain(text: str) -> str:
    """Words of the command line as Markdown that shows them as they are."""
    parts = re.split(r"(`[^`]*`)", text)
    shown = [part if part.startswith("`") else html.escape(part, quote=False).replace("*", "\\*") for part in parts]
    return " ".join("".join(shown).replace("|", "\\|").split())


def main() -> int:
    """Stage and build; warnings are errors."""
    stage(STAGE)
    # Material for MkDocs advertises its successor in every build; mkdocs.yml says more.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
