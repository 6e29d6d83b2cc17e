"""Where things stand on the page, and which function answers which event. The one module that imports Gradio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import gradio as gr

from smilevlm.web import messages
from smilevlm.web.checks import SUFFIXES
from smilevlm.web.page import AXES, FIND, DisplayedResult, Page
from smilevlm.web.prompt_parser import EXAMPLE, MAX_LETTERS
from smilevlm.web.storage import Upload

_SCANS = "scans"
"""Events that need a worker share one limit of how many run at once."""
_TURNING_HEIGHT_PX = 330
Updates = dict[Any, Any]
"""New values by component."""


def build(page: Page) -> gr.Blocks:
    """The page as Gradio blocks."""
    with gr.Blocks(title="smilevlm: expressions of 3D faces", analytics_enabled=False) as blocks:
        layout = _Layout(page)
        blocks.unload(layout.leave)
    return blocks


class _Layout:
    """The components as attributes, and the functions that answer their events.

    Args:
        page: Does the work.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        gr.HTML(messages.introduction())
        self.upload, self.shown = gr.State(None), gr.State(None, time_to_live=page.settings.keep_s)
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                self._add_inputs()
            with gr.Column(scale=7, min_width=300):
                self._add_results()
        gr.HTML(messages.disclaimer(page.facts, page.settings))
        self._connect()

    def _add_inputs(self) -> None:
        self.sent = gr.File(
            label=f"Scan or zip of frames, at most {self.page.settings.max_upload_mb} MB",
            file_types=list(SUFFIXES),
            height=150,
            elem_id="sent",
        )
        gr.HTML('<p class="small">Or pick a synthetic example:</p>')
        with gr.Row(elem_classes="examples"):
            self.examples = {
                name: gr.Button(name, size="sm", elem_id=f"example-{number}")
                for number, name in enumerate(self.page.examples)
            }
        self.text = gr.Textbox(
            label="Classes of your own, one per line",
            placeholder=EXAMPLE,
            info="name: description; another description. Empty: the trained classes.",
            lines=3,
            max_lines=8,
            max_length=MAX_LETTERS,
            elem_id="text",
        )
        with gr.Row():
            self.compare = gr.Button("Compare", size="sm", variant="primary", elem_id="compare")
            self.compare_trained = gr.Button("Trained classes", size="sm", elem_id="trained")
        with gr.Accordion("The face was not found?", open=False, elem_id="axes"):
            gr.HTML('<p class="small">Say how it lies in the scan, and read the file again.</p>')
            with gr.Row():
                self.up = gr.Dropdown(AXES, value=FIND, label="From chin to forehead", min_width=110, elem_id="up")
                self.front = gr.Dropdown(AXES, value=FIND, label="The face looks along", min_width=110)
            self.read_again = gr.Button("Read again", size="sm", elem_id="again")

    def _add_results(self) -> None:
        self.message = gr.HTML(elem_id="message")
        with gr.Column(visible=False) as self.results:
            with gr.Row(equal_height=False):
                with gr.Column(min_width=300):
                    self.answer = gr.HTML(elem_id="answer")
                with gr.Column(min_width=300):
                    self.turning = gr.Model3D(
                        label="The face; drag to turn it",
                        height=_TURNING_HEIGHT_PX,
                        interactive=False,
                        clear_color=(0.0, 0.0, 0.0, 0.0),
                        elem_id="turning",
                    )
            self.views = gr.HTML(elem_id="views")
            self.explain = gr.Button("Show what speaks for this answer", size="sm", elem_id="explain")
            self.relevance = gr.HTML(elem_id="relevance")
            self.details = gr.HTML(elem_id="details")
            self.download = gr.DownloadButton(
                "Download the result (JSON, CSV, images)", size="sm", variant="primary", elem_id="download"
            )

    def _connect(self) -> None:
        queued: dict[str, Any] = {"concurrency_id": _SCANS, "concurrency_limit": self.page.settings.jobs}
        display = [
            self.shown, self.message, self.results, self.answer, self.views, self.relevance, self.details,
            self.download,
        ]  # fmt: skip
        inputs, outputs = [self.upload, self.text, self.up, self.front], [*display, self.upload, self.sent]
        taken = self.sent.upload(
            self.on_sent, [self.sent], [self.upload, self.message, self.results], queue=False, api_name="take"
        )
        recognised = [
            taken.success(self.on_taken, inputs, outputs, api_name="recognise", **queued),
            self.read_again.click(self.on_read_again, inputs, outputs, api_name="read_again", **queued),
            *(
                button.click(self.on_example(name), [self.text], display, api_name=f"example_{number}", **queued)
                for number, (name, button) in enumerate(self.examples.items())
            ),
        ]
        typed = [self.shown, self.text]
        explained = [self.relevance, self.download, self.message]
        compared = [
            self.compare.click(self.on_compare, typed, display, api_name="compare", **queued),
            self.compare_trained.click(
                self.on_compare_trained, [self.shown], [*display, self.text], api_name="compare_trained", **queued
            ),
            self.explain.click(self.on_explain, [self.shown], explained, api_name="explain", **queued),
        ]
        for event in recognised:
            # A step of its own: Gradio loses the file of a viewer that appears in the same step.
            event.success(self.turning_face, [self.shown], [self.turning], queue=False, api_name="turned")
        for event in (taken, *recognised, *compared):
            # Gradio says in passing that the queue is full; this stays.
            event.failure(self.failure, None, [self.message], queue=False, api_name="failed")

    def _display(self, result: DisplayedResult | None, message: str) -> Updates:
        if result is None:
            return {self.shown: None, self.message: message, self.results: gr.update(visible=False)}
        prediction = result.recognition.prediction
        return {
            self.shown: result,
            self.message: message,
            self.results: gr.update(visible=True),
            self.answer: messages.headline(prediction, result.name, result.prompts, self.page.facts),
            self.views: messages.views_section(prediction),
            self.relevance: "",
            self.details: messages.details(prediction),
            self.download: str(result.zip_path),
        }

    def on_sent(self, sent: str | None, request: gr.Request) -> tuple[Upload | None, str, Any]:
        return (*self.page.take(sent, _session(request)), gr.update(visible=False))

    def on_taken(self, upload: Upload | None, text: str, up: str, front: str, request: gr.Request) -> Updates:
        # What was refused on arrival has been said already.
        return {self.message: gr.skip()} if upload is None else self.on_read_again(upload, text, up, front, request)

    def on_read_again(self, upload: Upload | None, text: str, up: str, front: str, request: gr.Request) -> Updates:
        result, message, is_kept = self.page.recognise(upload, text, up, front, _session(request))
        return self._display(result, message) | ({} if is_kept else {self.upload: None, self.sent: None})

    def on_example(self, name: str) -> Callable[..., Updates]:
        def recognise_example(text: str, request: gr.Request) -> Updates:
            return self._display(*self.page.example(name, text, _session(request)))

        return recognise_example

    def on_compare(self, shown: DisplayedResult | None, text: str, request: gr.Request) -> Updates:
        result, message = self.page.compare(shown, text, _session(request))
        return {self.message: message} if message else self._display(result, message)

    def on_compare_trained(self, shown: DisplayedResult | None, request: gr.Request) -> Updates:
        return {self.text: ""} | self.on_compare(shown, "", request)

    def on_explain(self, shown: DisplayedResult | None, request: gr.Request) -> Updates:
        section, path, message = self.page.explain(shown, _session(request))
        return {self.relevance: section, self.message: message} | ({self.download: str(path)} if path else {})

    def turning_face(self, shown: DisplayedResult | None) -> str | None:
        return None if shown is None else str(shown.turning_path)

    def failure(self, request: gr.Request) -> str:
        return self.page.failure_message(_session(request))

    def leave(self, request: gr.Request) -> None:
        self.page.storage.forget(_session(request))


def _session(request: gr.Request) -> str:
    # A program that says no session gets one for this request, lest it deletes the files of another one's.
    return request.session_hash or uuid4().hex
