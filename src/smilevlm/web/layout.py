"""Where things stand on the page, and which function answers which event. The one module that imports Gradio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import gradio as gr

from smilevlm.web import messages
from smilevlm.web.checks import SUFFIXES
from smilevlm.web.page import AXES, FIND, Page, Shown
from smilevlm.web.prompt_parser import EXAMPLE, MAX_LETTERS
from smilevlm.web.storage import Upload

_SCANS = "scans"
"""Events that need a worker share one limit of how many run at once."""
_TURNING_HEIGHT_PX = 330


def build(page: Page) -> gr.Blocks:
    """The page as Gradio blocks."""
    with gr.Blocks(title="smilevlm: expressions of 3D faces", analytics_enabled=False) as blocks:
        gr.HTML(messages.introduction())
        upload, shown = gr.State(None), gr.State(None, time_to_live=page.settings.keep_s)
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                sent = gr.File(
                    label=f"Scan or zip of frames, at most {page.settings.max_upload_mb} MB",
                    file_types=list(SUFFIXES),
                    height=150,
                    elem_id="sent",
                )
                gr.HTML('<p class="small">Or pick a synthetic example:</p>')
                with gr.Row(elem_classes="examples"):
                    buttons = {
                        name: gr.Button(name, size="sm", elem_id=f"example-{number}")
                        for number, name in enumerate(page.examples)
                    }
                text = gr.Textbox(
                    label="Classes of your own, one per line",
                    placeholder=EXAMPLE,
                    info="name: description; another description. Empty: the trained classes.",
                    lines=3,
                    max_lines=8,
                    max_length=MAX_LETTERS,
                    elem_id="text",
                )
                with gr.Row():
                    compare = gr.Button("Compare", size="sm", variant="primary", elem_id="compare")
                    trained = gr.Button("Trained classes", size="sm", elem_id="trained")
                with gr.Accordion("The face was not found?", open=False, elem_id="axes"):
                    gr.HTML('<p class="small">Say how it lies in the scan, and read the file again.</p>')
                    with gr.Row():
                        up = gr.Dropdown(AXES, value=FIND, label="From chin to forehead", min_width=110, elem_id="up")
                        front = gr.Dropdown(AXES, value=FIND, label="The face looks along", min_width=110)
                    again = gr.Button("Read again", size="sm", elem_id="again")
            with gr.Column(scale=7, min_width=300):
                message = gr.HTML(elem_id="message")
                with gr.Column(visible=False) as results:
                    with gr.Row(equal_height=False):
                        with gr.Column(min_width=300):
                            answer = gr.HTML(elem_id="answer")
                        with gr.Column(min_width=300):
                            turning = gr.Model3D(
                                label="The face; drag to turn it",
                                height=_TURNING_HEIGHT_PX,
                                interactive=False,
                                clear_color=(0.0, 0.0, 0.0, 0.0),
                                elem_id="turning",
                            )
                    views = gr.HTML(elem_id="views")
                    explain = gr.Button("Show what speaks for this answer", size="sm", elem_id="explain")
                    relevance = gr.HTML(elem_id="relevance")
                    details = gr.HTML(elem_id="details")
                    download = gr.DownloadButton(
                        "Download the result (JSON, CSV, images)", size="sm", variant="primary", elem_id="download"
                    )
        gr.HTML(messages.honesty(page.facts, page.settings))

        def show(what: Shown | None, words: str) -> dict[Any, Any]:
            if what is None:
                return {shown: None, message: words, results: gr.update(visible=False)}
            found = what.found.answer
            return {
                shown: what,
                message: words,
                results: gr.update(visible=True),
                answer: messages.headline(found, what.name, what.prompts, page.facts),
                views: messages.views_shown(found),
                relevance: "",
                details: messages.details(found),
                download: str(what.result),
            }

        def take(sent: str | None, request: gr.Request) -> tuple[Upload | None, str, Any]:
            return (*page.take(sent, _session(request)), gr.update(visible=False))

        def recognise(upload: Upload | None, text: str, up: str, front: str, request: gr.Request) -> dict[Any, Any]:
            what, words, is_there = page.recognise(upload, text, up, front, _session(request))
            return show(what, words) | ({} if is_there else {state_of_upload: None, sent: None})

        def recognise_sent(
            upload: Upload | None, text: str, up: str, front: str, request: gr.Request
        ) -> dict[Any, Any]:
            # What was refused on arrival has been said already.
            return {message: gr.skip()} if upload is None else recognise(upload, text, up, front, request)

        def example(name: str) -> Callable[..., dict[Any, Any]]:
            def answered(text: str, request: gr.Request) -> dict[Any, Any]:
                return show(*page.example(name, text, _session(request)))

            return answered

        def compare_typed(what: Shown | None, text: str, request: gr.Request) -> dict[Any, Any]:
            other, words = page.compare(what, text, _session(request))
            return {message: words} if words else show(other, words)

        def compare_trained(what: Shown | None, request: gr.Request) -> dict[Any, Any]:
            return {text: ""} | compare_typed(what, "", request)

        def explained(what: Shown | None, request: gr.Request) -> dict[Any, Any]:
            pictures, result, words = page.explain(what, _session(request))
            return {relevance: pictures, message: words} | ({download: str(result)} if result else {})

        def turned(what: Shown | None) -> str | None:
            # A step of its own: Gradio loses the file of a viewer that appears in the same step.
            return None if what is None else str(what.turning)

        def leave(request: gr.Request) -> None:
            page.storage.forget(_session(request))

        state_of_upload = upload
        everything = [shown, message, results, answer, views, relevance, details, download]
        queued: dict[str, Any] = {"concurrency_id": _SCANS, "concurrency_limit": page.settings.jobs}

        def failed(request: gr.Request) -> str:
            # Gradio says in passing that the queue is full; this stays.
            return page.failed(_session(request))

        turn: dict[str, Any] = {"fn": turned, "inputs": [shown], "outputs": [turning], "queue": False}
        refused: dict[str, Any] = {
            "fn": failed,
            "inputs": None,
            "outputs": [message],
            "queue": False,
            "api_name": "failed",
        }
        asked = [upload, text, up, front]
        taken = sent.upload(take, [sent], [upload, message, results], queue=False, api_name="take")
        recognised = [
            taken.success(recognise_sent, asked, [*everything, upload, sent], api_name="recognise", **queued),
            again.click(recognise, asked, [*everything, upload, sent], api_name="read_again", **queued),
            *(
                button.click(example(name), [text], everything, api_name=f"example_{number}", **queued)
                for number, (name, button) in enumerate(buttons.items())
            ),
        ]
        asked_again = [
            compare.click(compare_typed, [shown, text], everything, api_name="compare", **queued),
            trained.click(compare_trained, [shown], [*everything, text], api_name="compare_trained", **queued),
            explain.click(explained, [shown], [relevance, download, message], api_name="explain", **queued),
        ]
        for event in recognised:
            event.success(**turn)
        for event in (taken, *recognised, *asked_again):
            event.failure(**refused)
        blocks.unload(leave)
    return blocks


def _session(request: gr.Request) -> str:
    # A program that says no session gets one for this request, lest it deletes the files of another one's.
    return request.session_hash or uuid4().hex
