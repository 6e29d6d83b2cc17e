"""What happens when something is pressed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from smilevlm.errors import FileFormatError, SmileVlmError
from smilevlm.web import messages
from smilevlm.web.jobs import OUR_FAULT, ModelFacts, Workers
from smilevlm.web.pictures import glb
from smilevlm.web.prompt_parser import parse_prompts
from smilevlm.web.rejected_sessions import RejectedSessions
from smilevlm.web.results import result_zip
from smilevlm.web.settings import WebSettings
from smilevlm.web.storage import BUSY, Storage, Upload
from smilevlm.web.work import Compare, Explain, Found, Overlays, Prompts, Recognise

FIND = "find it"
AXES = (FIND, "+x", "-x", "+y", "-y", "+z", "-z")
_WAIT = "Reading the scan and looking for the face"
_GONE = "there is no file to read: it was deleted after its answer; drop it again, the axes stay set"
_NOTHING_YET = "drop a scan or pick an example first"
_DISK = "the server could not store a file for this; it has been written to the server's log"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a session looks at.

    Args:
        found: The answer and what is needed to ask again.
        name: Of the file, as the user calls it.
        prompts: The classes it was compared with; None for the trained ones.
        turning: The file of the turning face.
        result: The file to take home.
    """

    found: Found
    name: str
    prompts: Prompts
    turning: Path
    result: Path


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
            return None, _said(error)

    def recognise(
        self, upload: Upload | None, text: str, up: str, front: str, session: str
    ) -> tuple[Shown | None, str, bool]:
        """Answer for an upload.

        Returns:
            What is shown, a message, and whether the upload is still there to be read again.
        """
        if upload is None or not upload.path.exists():
            return None, messages.message(_GONE, is_error=True), False
        try:
            shown = self._recognised(upload.path, upload.name, text, up, front, session)
        except Exception as error:
            # It is kept for another try: with the axes given, or once the server is less busy.
            return None, _said(error, upload.name), True
        self.storage.remove(upload.path)
        return shown, "", False

    def example(self, name: str, text: str, session: str) -> tuple[Shown | None, str]:
        """Answer for an example."""
        try:
            return self._recognised(self.examples[name], self.examples[name].name, text, FIND, FIND, session), ""
        except Exception as error:
            return None, _said(error)

    def _recognised(self, path: Path, name: str, text: str, up: str, front: str, session: str) -> Shown:
        prompts = parse_prompts(text)
        given = [axis for axis in (up, front) if axis != FIND]
        if len(given) == 1:
            raise SmileVlmError("choose both axes: which one points up, and along which one the face looks")
        axes = {"up": up, "front": front} if given else {}
        found = self.workers.do(Recognise(path=path, prompts=prompts, **axes))
        turning = self.storage.write(session, "face.glb", glb(found.seen.face.mesh))
        result = self._result(session, found, name, prompts)
        return Shown(found=found, name=name, prompts=prompts, turning=turning, result=result)

    def compare(self, shown: Shown | None, text: str, session: str) -> tuple[Shown | None, str]:
        """Answer again, for other classes."""
        if shown is None:
            return None, messages.message(_NOTHING_YET, is_error=True)
        try:
            prompts = parse_prompts(text)
            found = self.workers.do(Compare(seen=shown.found.seen, prompts=prompts))
            result = self._result(session, found, shown.name, prompts)
        except Exception as error:
            return shown, _said(error)
        return replace(shown, found=found, prompts=prompts, result=result), ""

    def explain(self, shown: Shown | None, session: str) -> tuple[str, Path | None, str]:
        """Relevance on the views, a result with it in place of the one without, and a message."""
        if shown is None:
            return "", None, messages.message(_NOTHING_YET, is_error=True)
        try:
            overlays = self.workers.do(Explain(found=shown.found, prompts=shown.prompts))
            result = self._result(session, shown.found, shown.name, shown.prompts, overlays)
        except Exception as error:
            return "", None, _said(error)
        return messages.relevance_shown(shown.found.answer, overlays), result, ""

    def failed(self, session: str) -> str:
        """What to say where Gradio did not call any of these."""
        return messages.message(BUSY if self.rejected_sessions.pop(session) else OUR_FAULT, is_error=True)

    def _result(
        self, session: str, found: Found, name: str, prompts: Prompts, overlays: Overlays | None = None
    ) -> Path:
        data = result_zip(found.answer, name=name, prompts=prompts, facts=self.facts, overlays=overlays)
        return self.storage.write(session, "smilevlm_result.zip", data)


def _said(error: Exception, name: str | None = None) -> str:
    """One sentence for what went wrong; what is not the visitor's doing goes to the log."""
    if isinstance(error, SmileVlmError):
        said = error.message if isinstance(error, FileFormatError) else str(error)
        return messages.message(said if name is None else f"“{name}” was refused: {said}", is_error=True)
    _log.error("a request failed", exc_info=error)
    return messages.message(_DISK if isinstance(error, OSError) else OUR_FAULT, is_error=True)
