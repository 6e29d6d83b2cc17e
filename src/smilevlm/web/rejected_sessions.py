"""Sessions that the queue refused: Gradio says so to the browser, which then can tell the page of a failure only."""

from __future__ import annotations

import threading
from collections import OrderedDict

_MAX_SESSIONS = 1000
"""Sessions that are remembered until they ask; the oldest is forgotten first."""


class RejectedSessions:
    """Sessions whose last request found the queue full."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, session: str) -> None:
        with self._lock:
            self._sessions[session] = None
            while len(self._sessions) > _MAX_SESSIONS:
                self._sessions.popitem(last=False)

    def pop(self, session: str) -> bool:
        """Whether the queue refused this session since this was asked last."""
        with self._lock:
            return self._sessions.pop(session, False) is None
