"""Check that links and images lead to files and headings that are there, and that pages fetch nothing from outside.

Command: python tools/check_links.py README.md docs site

Takes Markdown files, HTML files and folders of either. In a built site nothing that a browser loads by itself (scripts,
styles, pictures, frames) may come from another host.
"""

from __future__ import annotations

import functools
import html.parser
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

MARKDOWN_LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)")
FENCE = re.compile(r"^(`{3,}).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#+ +(.*?) *#*$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
LINK_ROLES = {"stylesheet", "icon", "preconnect", "preload", "manifest"}


class Page(html.parser.HTMLParser):
    """What an HTML page links to, loads, and offers as anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        self.anchors.update(name for key in ("id", "name") if (name := of.get(key)))
        target = of.get(LOADED.get(tag, "href"))
        if not target:
            return
        loads = tag in LOADED and (tag != "link" or LINK_ROLES & set((of.get("rel") or "").split()))
        (self.loads if loads else self.links).append(target)


def slug(heading: str) -> str:
    """The anchor of a Markdown heading, as GitHub and MkDocs make it where they agree."""
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", words).strip().lower())


@functools.cache
def read(path: Path) -> Page:
    """A page of either kind."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return Page(text)
    page = Page("")
    text = FENCE.sub("", text)
    page.links = MARKDOWN_LINK.findall(CODE.sub("", text))
    page.anchors = {slug(heading) for heading in HEADING.findall(text)}
    return page


def faults(path: Path, root: Path) -> Iterator[str]:
    """What is wrong with the links of one page.

    Args:
        path: The page.
        root: Where links that begin with a slash begin.
    """
    page = read(path)
    for target in page.loads:
        if ELSEWHERE.match(target) and not target.startswith("data:"):
            yield f"loads {target}"
    for target in (*page.links, *page.loads):
        if not ELSEWHERE.match(target) and not _leads_somewhere(path, root, target):
            yield target


def _leads_somewhere(page: Path, root: Path, target: str) -> bool:
    place, _, anchor = unquote(target).partition("#")
    place = place.partition("?")[0]
    path = (root / place.lstrip("/") if place.startswith("/") else page.parent / place).resolve() if place else page
    if path.is_dir() and place.endswith("/") and (path / "index.html").exists():
        path /= "index.html"
    if not path.exists():
        return False
    return not anchor or path.suffix not in (".md", ".html") or anchor in read(path).anchors


def _pages(root: Path) -> list[Path]:
    return sorted([*root.rglob("*.md"), *root.rglob("*.html")]) if root.is_dir() else [root]


def main(arguments: list[str]) -> int:
    """Print every fault; 1 if there is one."""
    roots = [Path(argument).resolve() for argument in arguments]
    pages = [(page, root if root.is_dir() else root.parent) for root in roots for page in _pages(root)]
    wrong = [f"{page}: {fault}" for page, root in pages for fault in faults(page, root)]
    if not pages:
        wrong.append("there are no pages")
    print("\n".join(wrong) or f"{len(pages)} pages, every link leads somewhere")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
