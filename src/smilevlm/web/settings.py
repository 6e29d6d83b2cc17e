"""What the page allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from smilevlm.errors import SettingsError

MEGABYTE = 10**6
_NEW_WORKER_S = 15
"""So long a worker takes to be ready that replaces one that was stopped at its deadline."""


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """Bounds of the page; every one of them is a refusal in words where it is passed.

    Args:
        max_upload_mb: Of one file, checked while it arrives.
        max_unpacked_mb: Of all members of an archive together.
        max_members: Files in an archive, whatever they are.
        max_ratio: How many times its own size an archive may unpack to; text meshes reach about 20.
        max_vertices: Of one mesh.
        max_frames: Of one sequence.
        max_memory_mb: What reading one scan may take beside the model.
        timeout_s: From the start of a job, after its wait, to its end; and for an upload to arrive.
        queue: Jobs that wait; further ones are told to come again.
        jobs: Jobs at the same time, a process each.
        keep_s: Results of sessions that were never closed are deleted after this; uploads that were never answered as
            well, unless the queue may need longer, see `keep_uploads_s`.
        max_stored_mb: All uploads and results together; further ones are told to come again.
    """

    max_upload_mb: int = 50
    max_unpacked_mb: int = 400
    max_members: int = 2000
    max_ratio: int = 50
    max_vertices: int = 1_000_000
    max_frames: int = 300
    max_memory_mb: int = 3000
    timeout_s: int = 60
    queue: int = 30
    jobs: int = 1
    keep_s: int = 900
    max_stored_mb: int = 2000

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise SettingsError(f"{field.name} is {getattr(self, field.name)}; expected at least 1")

    @property
    def keep_uploads_s(self) -> int:
        """Seconds that an upload is kept: never less than it may have to wait for its answer."""
        rounds = math.ceil(self.queue / self.jobs) + 1
        return max(self.keep_s, rounds * (self.timeout_s + _NEW_WORKER_S))
