"""The page's own folder: what users send and receive, for as long as it is needed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from smilevlm.errors import MeshError, SmileVlmError
from smilevlm.web.checks import SUFFIXES
from smilevlm.web.settings import MEGABYTE, WebSettings

_PREFIX = "smilevlm-web-"
_LOCK = ".lock"
_SESSION = "session-"
_UPLOAD = "scan"
_HANDED_OVER_S = 60.0
"""So long Gradio's own copy of an upload stays: two people may send the very same file, which then has one path, and
the second one's must not vanish with the first one's."""
_SWEEP_EVERY_S = 20.0
_GONE = "the file is no longer there; drop it again"
BUSY = "busy, try again in a minute"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that somebody sent.

    Args:
        path: Under a name of ours.
        name: What they call it; only ever shown.
    """

    path: Path
    name: str


class Storage:
    """A folder that nobody else may read, emptied as its files age, and removed at the end.

    Args:
        settings: How long what no session asked to delete is kept, and how much of it.
    """

    def __init__(self, settings: WebSettings) -> None:
        _remove_leftovers()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))  # mode 0700
        self._lock = FileLock(self.root / _LOCK)
        self._lock.acquire()
        self._settings = settings
        self._closing = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_regularly, daemon=True)
        self._sweeper.start()

    def take(self, sent: str, session: str) -> Upload:
        """Make a sent file the session's own, under a name of ours; its earlier files are deleted.

        Raises:
            MeshError: It was not sent to this page, or is of no suffix that is read.
        """
        source = Path(sent).resolve()
        if not source.is_relative_to(self.root.resolve()) or not source.is_file():
            raise MeshError(_GONE)
        suffix = source.suffix.lower()
        if suffix not in SUFFIXES:
            raise MeshError(f"the page reads {' '.join(SUFFIXES)}; {source.name} is none of them")
        self.forget(session)
        path = self._new_folder(session) / f"{_UPLOAD}{suffix}"
        try:
            os.link(source, path)
        except FileNotFoundError:  # swept away since
            raise MeshError(_GONE) from None
        return Upload(path=path, name=source.name)

    def write(self, session: str, name: str, data: bytes) -> Path:
        """Write a file for a session, which takes the place of its earlier one of this name.

        Args:
            session: What the browser calls itself.
            name: Of the file; ours.
            data: The whole file.

        Raises:
            SmileVlmError: More would be stored than may be, or the session is forgotten meanwhile.
        """
        if self.num_bytes + len(data) > self._settings.max_stored_mb * MEGABYTE:
            raise SmileVlmError(BUSY)
        try:
            path = self._new_folder(session) / name
            path.write_bytes(data)
        except FileNotFoundError:
            raise SmileVlmError("the page was left before the answer came") from None
        for earlier in self._session(session).glob(f"*/{name}"):
            if earlier != path:
                self.remove(earlier)
        return path

    def _new_folder(self, session: str) -> Path:
        folder = self._session(session) / uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def forget(self, session: str) -> None:
        """Delete everything of a session."""
        shutil.rmtree(self._session(session), ignore_errors=True)

    def remove(self, path: Path) -> None:
        """Delete one file of a session with its folder."""
        shutil.rmtree(path.parent, ignore_errors=True)

    @property
    def num_bytes(self) -> int:
        """Of everything there; a file under two names, as an upload that was just taken, counts once."""
        return sum({(status.st_dev, status.st_ino): status.st_size for _, status in self._files()}.values())

    def sweep(self) -> None:
        """Delete what is old: what was handed over, what was abandoned on its way, and forgotten sessions' files."""
        now = time.time()
        for path, status in self._files():
            is_session = path.relative_to(self.root).parts[0].startswith(_SESSION)
            age_s = now - max(status.st_mtime, status.st_ctime)  # since it was last written or renamed
            if age_s > (self._keep_s(path) if is_session else _HANDED_OVER_S):
                path.unlink(missing_ok=True)
        for folder, _, _ in os.walk(self.root, topdown=False):
            with contextlib.suppress(OSError):  # not empty, or gone already
                # A young one is about to get its file.
                if Path(folder) != self.root and now - Path(folder).stat().st_mtime > _HANDED_OVER_S:
                    Path(folder).rmdir()

    def _keep_s(self, path: Path) -> float:
        return self._settings.keep_uploads_s if path.stem == _UPLOAD else self._settings.keep_s

    def close(self) -> None:
        """Delete everything."""
        self._closing.set()
        self._sweeper.join()
        self._lock.release()
        shutil.rmtree(self.root, ignore_errors=True)

    def _session(self, session: str) -> Path:
        # The browser chose the word; as a path it could lead anywhere.
        return self.root / (_SESSION + hashlib.sha256(session.encode()).hexdigest()[:32])

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    if path != self.root / _LOCK:
                        yield path, path.lstat()

    def _sweep_regularly(self) -> None:
        while not self._closing.wait(_SWEEP_EVERY_S):
            try:
                self.sweep()
            except OSError as error:  # the next time may do
                _log.warning("what is old could not be deleted: %s", error)


def _remove_leftovers() -> None:
    """Delete the folders of servers that were killed; a living one holds its lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(Timeout, OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
