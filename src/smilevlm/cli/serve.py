"""`smilevlm serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

from smilevlm.cli.arguments import positive_int

HELP = "the web page: drop a scan, see the answer"
DESCRIPTION = (
    "Serve a page for the browser: drop a scan or a zip of frames, see the face, the views, the answer and what speaks "
    "for it, compare with classes of your own, take the result home. Works offline; uploads are bounded and deleted. "
    "Needs the extra web."
)
EXAMPLE = "smilevlm serve --port 7860"
_BOUNDS = {
    "max_upload_mb": (50, "of one file"),
    "max_vertices": (1_000_000, "of one mesh"),
    "max_frames": (300, "of one sequence"),
    "timeout_s": (60, "seconds for one request, its wait apart"),
    "queue": (30, "requests that wait; further ones are refused"),
    "jobs": (1, "requests at the same time, a process each"),
}
"""Defaults and help by name, as in `smilevlm.web.WebSettings`, whose import would cost every `--help` a second."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", default="default", help="what `smilevlm predict --model` takes")
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 lets others in")
    add("--port", type=positive_int, default=7860)
    root_help = "where a proxy puts the page, such as /faces; see docs/web.md"
    add("--root-path", default="", metavar="PATH", help=root_help)
    examples_help = "scans and archives to pick from, instead of the package's own"
    add("--examples", type=Path, metavar="DIR", help=examples_help)
    bounds = parser.add_argument_group("bounds; what passes one is refused in words")
    for name, (default, what) in _BOUNDS.items():
        bounds.add_argument(f"--{name.replace('_', '-')}", type=positive_int, default=default, help=what)


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.web import WebSettings, serve

    serve(
        arguments.model,
        WebSettings(**{name: getattr(arguments, name) for name in _BOUNDS}),
        host=arguments.host,
        port=arguments.port,
        root_path=arguments.root_path,
        examples=arguments.examples,
    )
