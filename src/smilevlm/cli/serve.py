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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="default", help="what `smilevlm predict --model` takes")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 lets others in")
    parser.add_argument("--port", type=positive_int, default=7860)
    parser.add_argument(
        "--root-path", default="", metavar="PATH", help="where a proxy puts the page, such as /faces; see docs/web.md"
    )
    parser.add_argument(
        "--examples", type=Path, metavar="DIR", help="scans and archives to pick from, instead of the package's own"
    )
    bounds = parser.add_argument_group("bounds; what passes one is refused in words")
    bounds.add_argument("--max-upload-mb", type=positive_int, default=50, help="of one file")
    bounds.add_argument("--max-vertices", type=positive_int, default=1_000_000, help="of one mesh")
    bounds.add_argument("--max-frames", type=positive_int, default=300, help="of one sequence")
    bounds.add_argument("--timeout-s", type=positive_int, default=60, help="seconds for one request, its wait apart")
    bounds.add_argument("--queue", type=positive_int, default=30, help="requests that wait; further ones are refused")
    bounds.add_argument("--jobs", type=positive_int, default=1, help="requests at the same time, a process each")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.web import WebSettings, serve

    settings = WebSettings(
        max_upload_mb=arguments.max_upload_mb,
        max_vertices=arguments.max_vertices,
        max_frames=arguments.max_frames,
        timeout_s=arguments.timeout_s,
        queue=arguments.queue,
        jobs=arguments.jobs,
    )
    serve(
        arguments.model,
        settings,
        host=arguments.host,
        port=arguments.port,
        root_path=arguments.root_path,
        examples=arguments.examples,
    )
