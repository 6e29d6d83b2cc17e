"""Check that relative links and images in Markdown files lead to files.

Command: python tools/check_links.py README.md docs
"""

import re
import sys
from pathlib import Path

LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def broken_links(page: Path) -> list[str]:
    """Relative targets of a page that do not exist."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    return [t for t in targets if "://" not in t and not t.startswith("mailto:") and not (page.parent / t).exists()]


def main(arguments: list[str]) -> int:
    """Print every broken link; 1 if there is one."""
    roots = [Path(argument) for argument in arguments]
    pages = [page for root in roots for page in (sorted(root.rglob("*.md")) if root.is_dir() else [root])]
    broken = [f"{page}: {target}" for page in pages for target in broken_links(page)]
    print("\n".join(broken) or f"{len(pages)} pages, every link leads somewhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
