"""Start the page, say where it is, and clean up at the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import resources
from pathlib import Path
from types import FrameType

from smilevlm.errors import MissingExtraError, SettingsError
from smilevlm.web.checks import SUFFIXES
from smilevlm.web.jobs import Workers
from smilevlm.web.page import Page
from smilevlm.web.settings import MEGABYTE, WebSettings
from smilevlm.web.storage import Storage

_EXAMPLES = "examples"
_LAST_PORT = 65535
_MAX_SESSIONS = 200
"""Whose last answers are in memory, some hundred kilobytes each; the one not seen for longest is forgotten first."""
_FONTS = ["system-ui", "sans-serif"]
_MONO_FONTS = ["ui-monospace", "monospace"]
"""The visitor's own: nothing is asked of a font server."""


def serve(
    source: str,
    settings: WebSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    root_path: str = "",
    examples: Path | None = None,
) -> None:
    """Serve the page until the process is told to stop.

    Args:
        source: What `smilevlm.load` takes.
        settings: Bounds.
        host: Address to listen at; another than this machine's own lets others in.
        port: To listen at.
        root_path: Where a proxy puts the page, such as `/faces`.
        examples: Folder of scans and archives to pick from; None for those of the package.

    Raises:
        MissingExtraError: Gradio is not installed.
        SettingsError: The port is none or taken, or the folder holds no example.
        CheckpointError: There is no such model.
    """
    if not 1 <= port <= _LAST_PORT:
        raise SettingsError(f"the port is {port}; expected 1 to {_LAST_PORT}")
    found = find_examples(examples)
    # Before Gradio is loaded: it must neither report that it was, nor write anywhere but in our folder.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    storage = Storage(settings)
    os.environ["GRADIO_TEMP_DIR"] = str(storage.root)
    signal.signal(signal.SIGTERM, _stop)
    workers = Workers(source, settings, rehearsal=next(iter(found.values())))
    try:
        # While the workers load the model.
        _require_gradio()
        page = Page(workers, storage, settings=settings, facts=workers.facts(), examples=found)
        _run(page, host, port, root_path)
    finally:
        workers.close()
        storage.close()


def _run(page: Page, host: str, port: int, root_path: str) -> None:
    """Open the page, and stay until the process is told to stop."""
    import gradio as gr
    from starlette.middleware import Middleware

    from smilevlm.web.layout import build
    from smilevlm.web.upload_middleware import UploadMiddleware

    middleware = Middleware(
        UploadMiddleware, settings=page.settings, storage=page.storage, rejected_sessions=page.rejected_sessions
    )
    blocks = build(page)
    blocks.queue(max_size=page.settings.queue, default_concurrency_limit=page.settings.jobs)
    try:
        blocks.launch(
            server_name=host,
            server_port=port,
            root_path=root_path or None,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            inbrowser=False,
            show_error=False,
            footer_links=[],
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            max_file_size=page.settings.max_upload_mb * MEGABYTE,
            state_session_capacity=_MAX_SESSIONS,
            theme=gr.themes.Default(font=_FONTS, font_mono=_MONO_FONTS, primary_hue="slate", neutral_hue="slate"),
            css_paths=Path(str(resources.files("smilevlm.web").joinpath("style.css"))),
            app_kwargs={"middleware": [middleware]},
        )
    except OSError as error:
        raise SettingsError(f"the page cannot listen at {host}:{port}: {error}") from None
    print(f"smilevlm serve: http://{host}:{port}{root_path} (stop with Ctrl-C)", file=sys.stderr, flush=True)
    try:
        while True:
            time.sleep(3600)
    finally:
        blocks.close(verbose=False)


def find_examples(folder: Path | None) -> dict[str, Path]:
    """The examples by the words on their button: the file's name without suffix and with blanks.

    Raises:
        SettingsError: There is none.
    """
    place = Path(str(resources.files("smilevlm.web").joinpath(_EXAMPLES))) if folder is None else folder
    if not place.is_dir():
        raise SettingsError(f"{place} is no folder of examples")
    found = {path.stem.replace("_", " "): path for path in sorted(place.iterdir()) if path.suffix.lower() in SUFFIXES}
    if not found:
        raise SettingsError(f"{place} holds no example; expected files ending in {' '.join(SUFFIXES)}")
    return found


def _require_gradio() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"the page needs gradio: pip install 'smilevlm[web]' ({error})") from None


def _stop(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C does, so that everything is cleaned up."""
    raise KeyboardInterrupt
