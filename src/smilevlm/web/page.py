"""What happens when something is pressed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from smilevlm.errors import FileFormatError, SmileVlmError
from smilevlm.web import wording
from smilevlm.web.jobs import ModelFacts, Workers
from smilevlm.web.pictures import glb
from smilevlm.web.results import result_zip
from smilevlm.web.settings import WebSettings
from smilevlm.web.storage import Storage, Upload
from smilevlm.web.typed import typed_prompts
from smilevlm.web.work import Compare, Explain, Found, Overlays, Prompts, Recognise

FIND = "find it"
AXES = (FIND, "+x", "-x", "+y", "-y", "+z", "-z")
_WAIT = "Reading the scan and looking for the face"
_GONE = "there is no file to read: it was deleted after its answer; drop it again, the axes stay set"
_NOTHING_YET = "drop a scan or pick an example first"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a session looks at.

    Args:
        found: The answer and what is needed to ask again.
        name: Of the file, as the user calls it.
        prompts: The classes it was compared with; None for the trained ones.
        turning: The file of the turning face.
    """

    found: Found
    name: str
    prompts: Prompts
    turning: Path


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

    def take(self, sent: str | None, session: str) -> tuple[Upload | None, str]:
        """An upload arrived: make it the session's own."""
        if sent is None:
            return None, ""
        try:
            return self.storage.take(sent, session), wording.message(_WAIT)
        except SmileVlmError as error:
            return None, _refusal(error)

    def recognise(
        self, upload: Upload | None, text: str, up: str, front: str, session: str
    ) -> tuple[Shown | None, str, bool]:
        """Answer for an upload.

        Returns:
            What is shown, a message, and whether the upload is still there to be read again.
        """
        if upload is None or not upload.path.exists():
            return None, wording.message(_GONE, is_error=True), False
        try:
            shown = self._recognised(upload.path, upload.name, text, up, front, session)
        except SmileVlmError as error:
            # It is kept for another try: with the axes given, or once the server is less busy.
            return None, _refusal(error, upload.name), True
        self.storage.remove(upload.path)
        return shown, "", False

    def example(self, name: str, text: str, session: str) -> tuple[Shown | None, str]:
        """Answer for an example."""
        try:
            return self._recognised(self.examples[name], self.examples[name].name, text, FIND, FIND, session), ""
        except SmileVlmError as error:
            return None, _refusal(error)

    def _recognised(self, path: Path, name: str, text: str, up: str, front: str, session: str) -> Shown:
        prompts = typed_prompts(text)
        given = [axis for axis in (up, front) if axis != FIND]
        if len(given) == 1:
            raise SmileVlmError("choose both axes: which one points up, and along which one the face looks")
        axes = {"up": up, "front": front} if given else {}
        found = self.workers.do(Recognise(path=path, prompts=prompts, **axes))
        turning = self.storage.new_file(session, "face.glb")
        turning.write_bytes(glb(found.seen.face.mesh))
        return Shown(found=found, name=name, prompts=prompts, turning=turning)

    def compare(self, shown: Shown | None, text: str) -> tuple[Shown | None, str]:
        """Answer again, for other classes."""
        if shown is None:
            return None, wording.message(_NOTHING_YET, is_error=True)
        try:
            prompts = typed_prompts(text)
            found = self.workers.do(Compare(seen=shown.found.seen, prompts=prompts))
        except SmileVlmError as error:
            return shown, _refusal(error)
        return replace(shown, found=found, prompts=prompts), ""

    def explain(self, shown: Shown | None, session: str) -> tuple[str, str | None, str]:
        """Relevance on the views, a result with it, and a message."""
        if shown is None:
            return "", None, wording.message(_NOTHING_YET, is_error=True)
        try:
            overlays = self.workers.do(Explain(found=shown.found, prompts=shown.prompts))
        except SmileVlmError as error:
            return "", None, _refusal(error)
        return wording.relevance_shown(shown.found.answer, overlays), self.result(shown, session, overlays), ""

    def result(self, shown: Shown, session: str, overlays: Overlays | None = None) -> str:
        """Path of the result to take home."""
        path = self.storage.new_file(session, "smilevlm_result.zip")
        data = result_zip(
            shown.found.answer, name=shown.name, prompts=shown.prompts, facts=self.facts, overlays=overlays
        )
        path.write_bytes(data)
        return str(path)


def _refusal(error: SmileVlmError, name: str | None = None) -> str:
    said = error.message if isinstance(error, FileFormatError) else str(error)
    return wording.message(said if name is None else f"“{name}” was refused: {said}", is_error=True)
