"""The page's own folder: what users send and receive, for as long as it is needed."""

from __future__ import annotations

import contextlib
import hashlib
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

from smilevlm.errors import MeshError
from smilevlm.web.checks import SUFFIXES

_PREFIX = "smilevlm-web-"
_LOCK = ".lock"
_SESSION = "session-"
_HANDED_OVER_S = 60.0
"""So long Gradio's own copy of an upload stays: two people may send the very same file, which then has one path, and
the second one's must not vanish with the first one's."""
_SWEEP_EVERY_S = 20.0


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
        keep_s: Seconds until what no session asked to delete is deleted all the same.
    """

    def __init__(self, keep_s: float) -> None:
        _remove_leftovers()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))  # mode 0700
        self._lock = FileLock(self.root / _LOCK)
        self._lock.acquire()
        self._keep_s = keep_s
        self._closing = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_now_and_then, daemon=True)
        self._sweeper.start()

    def take(self, sent: str, session: str) -> Upload:
        """Make a sent file the session's own, under a name of ours; its earlier files are deleted.

        Raises:
            MeshError: It was not sent to this page, or is of no suffix that is read.
        """
        source = Path(sent).resolve()
        if not source.is_relative_to(self.root.resolve()) or not source.is_file():
            raise MeshError("the file is no longer there; drop it again")
        suffix = source.suffix.lower()
        if suffix not in SUFFIXES:
            raise MeshError(f"the page reads {' '.join(SUFFIXES)}; {source.name} is none of them")
        path = self.new_file(session, f"scan{suffix}", only=True)
        os.link(source, path)
        return Upload(path=path, name=source.name)

    def new_file(self, session: str, name: str, *, only: bool = False) -> Path:
        """Where the session may write a file: a folder of its own below the session's.

        Args:
            session: What the browser calls itself.
            name: Of the file; ours.
            only: Delete what the session had before.
        """
        if only:
            self.forget(session)
        folder = self._session(session) / uuid4().hex
        folder.mkdir(parents=True)
        return folder / name

    def forget(self, session: str) -> None:
        """Delete everything of a session."""
        shutil.rmtree(self._session(session), ignore_errors=True)

    def remove(self, path: Path) -> None:
        """Delete one file of a session with its folder."""
        shutil.rmtree(path.parent, ignore_errors=True)

    @property
    def num_bytes(self) -> int:
        """Of everything there."""
        return sum(size for _, size, _ in self._files())

    def sweep(self) -> None:
        """Delete what is old: what was handed over, what was abandoned on its way, and forgotten sessions' files."""
        now = time.time()
        for path, _, age_from in self._files():
            is_session = path.relative_to(self.root).parts[0].startswith(_SESSION)
            if now - age_from > (self._keep_s if is_session else _HANDED_OVER_S):
                path.unlink(missing_ok=True)
        for folder, _, _ in os.walk(self.root, topdown=False):
            if Path(folder) != self.root:
                with contextlib.suppress(OSError):  # not empty
                    Path(folder).rmdir()

    def close(self) -> None:
        """Delete everything."""
        self._closing.set()
        self._sweeper.join()
        self._lock.release()
        shutil.rmtree(self.root, ignore_errors=True)

    def _session(self, session: str) -> Path:
        # The browser chose the word; as a path it could lead anywhere.
        return self.root / (_SESSION + hashlib.sha256(session.encode()).hexdigest()[:32])

    def _files(self) -> Iterator[tuple[Path, int, float]]:
        """Path, bytes, and when it was last written or renamed."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    status = path.lstat()
                    if path != self.root / _LOCK:
                        yield path, status.st_size, max(status.st_mtime, status.st_ctime)

    def _sweep_now_and_then(self) -> None:
        while not self._closing.wait(_SWEEP_EVERY_S):
            self.sweep()


def _remove_leftovers() -> None:
    """Delete the folders of servers that were killed; a living one holds its lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(Timeout, OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
