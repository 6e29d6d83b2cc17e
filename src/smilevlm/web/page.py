"""What happens when something is pressed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from smilevlm.errors import FileFormatError, SmileVlmError
from smilevlm.web import messages
from smilevlm.web.jobs import SERVER_ERROR, ModelFacts, Workers
from smilevlm.web.pictures import glb
from smilevlm.web.prompt_parser import parse_prompts
from smilevlm.web.rejected_sessions import RejectedSessions
from smilevlm.web.results import result_zip
from smilevlm.web.settings import WebSettings
from smilevlm.web.storage import BUSY, Storage, Upload
from smilevlm.web.work import Compare, Explain, Overlays, Prompts, Recognise, Recognition

FIND = "find it"
AXES = (FIND, "+x", "-x", "+y", "-y", "+z", "-z")
_WAIT = "Reading the scan and looking for the face"
_GONE = "there is no file to read: it was deleted after its answer; drop it again, the axes stay set"
_NOTHING_YET = "drop a scan or pick an example first"
_DISK_ERROR = "the server could not store a file for this; it has been written to the server's log"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DisplayedResult:
    """What a session looks at.

    Args:
        recognition: The prediction and what is needed to ask again.
        name: Of the file, as the user calls it.
        prompts: The classes it was compared with; None for the trained ones.
        turning_path: The file of the turning face.
        zip_path: The file to download.
    """

    recognition: Recognition
    name: str
    prompts: Prompts
    turning_path: Path
    zip_path: Path


class Page:
    """The page's functions; each answers one event and never raises for what a user did.

    Args:
        workers: Where the work is done.
        storage: Where files live.
        settings: Bounds.
        facts: About the model.
        examples: By the words on their button.
    """

    def __init__(
        self,
        workers: Workers,
        storage: Storage,
        *,
        settings: WebSettings,
        facts: ModelFacts,
        examples: Mapping[str, Path],
    ) -> None:
        self.workers, self.storage, self.settings, self.facts = workers, storage, settings, facts
        self.examples = examples
        self.rejected_sessions = RejectedSessions()

    def take(self, sent: str | None, session: str) -> tuple[Upload | None, str]:
        """An upload arrived: make it the session's own."""
        if sent is None:
            return None, ""
        try:
            return self.storage.take(sent, session), messages.message(_WAIT)
        except Exception as error:
            return None, _error_message(error)

    def recognise(
        self, upload: Upload | None, text: str, up: str, front: str, session: str
    ) -> tuple[DisplayedResult | None, str, bool]:
        """Recognise an upload.

        Returns:
            What is shown, a message, and whether the upload is still there to be read again.
        """
        if upload is None or not upload.path.exists():
            return None, messages.message(_GONE, is_error=True), False
        try:
            result = self._recognise(upload.path, upload.name, text, session, up=up, front=front)
        except Exception as error:
            # It is kept for another try: with the axes given, or once the server is less busy.
            return None, _error_message(error, upload.name), True
        self.storage.remove(upload.path)
        return result, "", False

    def example(self, name: str, text: str, session: str) -> tuple[DisplayedResult | None, str]:
        """Recognise an example."""
        try:
            return self._recognise(self.examples[name], self.examples[name].name, text, session), ""
        except Exception as error:
            return None, _error_message(error)

    def _recognise(
        self, path: Path, name: str, text: str, session: str, *, up: str = FIND, front: str = FIND
    ) -> DisplayedResult:
        prompts = parse_prompts(text)
        if (up == FIND) != (front == FIND):
            raise SmileVlmError("choose both axes: which one points up, and along which one the face looks")
        axes = {} if up == FIND else {"up": up, "front": front}
        recognition = self.workers.do(Recognise(path=path, prompts=prompts, **axes))
        turning_path = self.storage.write(session, "face.glb", glb(recognition.prepared.face.mesh))
        zip_path = self._write_zip(session, recognition, name, prompts)
        return DisplayedResult(
            recognition=recognition, name=name, prompts=prompts, turning_path=turning_path, zip_path=zip_path
        )

    def compare(self, shown: DisplayedResult | None, text: str, session: str) -> tuple[DisplayedResult | None, str]:
        """Recognise again, for other classes."""
        if shown is None:
            return None, messages.message(_NOTHING_YET, is_error=True)
        try:
            prompts = parse_prompts(text)
            recognition = self.workers.do(Compare(prepared=shown.recognition.prepared, prompts=prompts))
            zip_path = self._write_zip(session, recognition, shown.name, prompts)
        except Exception as error:
            return shown, _error_message(error)
        return replace(shown, recognition=recognition, prompts=prompts, zip_path=zip_path), ""

    def explain(self, shown: DisplayedResult | None, session: str) -> tuple[str, Path | None, str]:
        """Relevance on the views, a result with it in place of the one without, and a message."""
        if shown is None:
            return "", None, messages.message(_NOTHING_YET, is_error=True)
        try:
            overlays = self.workers.do(Explain(recognition=shown.recognition, prompts=shown.prompts))
            zip_path = self._write_zip(session, shown.recognition, shown.name, shown.prompts, overlays)
        except Exception as error:
            return "", None, _error_message(error)
        return messages.relevance_section(shown.recognition.prediction, overlays), zip_path, ""

    def failure_message(self, session: str) -> str:
        """What to say where Gradio did not call any of these."""
        return messages.message(BUSY if self.rejected_sessions.pop(session) else SERVER_ERROR, is_error=True)

    def _write_zip(
        self, session: str, recognition: Recognition, name: str, prompts: Prompts, overlays: Overlays | None = None
    ) -> Path:
        data = result_zip(recognition.prediction, name=name, prompts=prompts, facts=self.facts, overlays=overlays)
        return self.storage.write(session, "smilevlm_result.zip", data)


def _error_message(error: Exception, name: str | None = None) -> str:
    """One sentence for what went wrong; what is not the visitor's doing goes to the log."""
    if isinstance(error, SmileVlmError):
        reason = error.message if isinstance(error, FileFormatError) else str(error)
        return messages.message(reason if name is None else f"“{name}” was refused: {reason}", is_error=True)
    _log.error("a request failed", exc_info=error)
    return messages.message(_DISK_ERROR if isinstance(error, OSError) else SERVER_ERROR, is_error=True)
