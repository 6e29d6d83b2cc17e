"""Bounded work: every request is done in a process that can be killed.

A hostile or huge scan may keep compiled code busy for minutes, or ask for more memory than there is; neither can be
stopped from within a thread. So the model lives in worker processes. One that passes its deadline is killed and another
takes its place; one that dies, of whatever, takes a single request with it and never the page.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar, cast

from smilevlm.errors import FileFormatError, SmileVlmError
from smilevlm.predict import Model, load
from smilevlm.web.settings import MEGABYTE, WebSettings
from smilevlm.web.work import Recognise

_STARTUP_S = 180.0
"""A worker that has not loaded its model by then never will."""
_TOO_MUCH = "this needed more memory than the page may take for one scan"
_OUR_FAULT = "something went wrong on the server; it has been written to the server's log"
_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class JobError(SmileVlmError):
    """A request that was refused; the message is one sentence for the page, without any path."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the page says of the model.

    Args:
        classes: That it was trained with.
        synthetic: Whether it was trained on synthetic faces.
        calibrated: Whether its probabilities were fitted to people held back.
        unsure_below: See `Recogniser`.
    """

    classes: tuple[str, ...]
    synthetic: bool
    calibrated: bool
    unsure_below: float


class Workers:
    """Worker processes, each with the model loaded.

    Args:
        source: What `smilevlm.load` takes.
        settings: Bounds of the work.
        rehearsal: A scan that each worker reads before it is asked anything, so that compiling is done by then.
    """

    def __init__(self, source: str, settings: WebSettings, *, rehearsal: Path | None = None) -> None:
        self._source = source
        self._settings = settings
        self._rehearsal = rehearsal
        self._idle: queue.Queue[_Worker] = queue.Queue()
        self._all: list[_Worker] = []
        for _ in range(settings.jobs):
            self._start_one()

    def _start_one(self) -> None:
        worker = _Worker(self._source, self._settings, self._rehearsal)
        self._all.append(worker)
        self._idle.put(worker)

    def facts(self) -> ModelFacts:
        """Wait until a worker has loaded the model.

        Raises:
            SmileVlmError: It cannot be loaded.
        """
        with self._worker() as worker:
            return worker.facts()

    def do(self, task: Callable[[Model, WebSettings], _Result]) -> _Result:
        """Run a task of `smilevlm.web.work` in the next idle worker.

        Raises:
            JobError: It was refused, took too long or too much.
        """
        with self._worker() as worker:
            worker.facts()
            return worker.do(task, self._settings.timeout_s)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[_Worker]:
        worker = self._idle.get()
        try:
            yield worker
        finally:
            if worker.is_alive:
                self._idle.put(worker)
            else:
                worker.kill()
                self._all.remove(worker)
                self._start_one()

    def close(self) -> None:
        """End all workers."""
        for worker in self._all:
            worker.kill()


class _Worker:
    def __init__(self, source: str, settings: WebSettings, rehearsal: Path | None) -> None:
        # A forked child would share locks and threads with the server.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, source, settings, rehearsal), daemon=True)
        self._process.start()
        theirs.close()
        self._facts: ModelFacts | None = None

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def facts(self) -> ModelFacts:
        if self._facts is None:
            if not self._connection.poll(_STARTUP_S):
                self.kill()
                raise JobError("the model could not be loaded in time")
            self._facts = cast(ModelFacts, self._receive())
        return self._facts

    def do(self, task: Callable[[Model, WebSettings], _Result], timeout_s: float) -> _Result:
        try:
            self._connection.send(task)
            if not self._connection.poll(timeout_s):
                self.kill()
                raise JobError(f"this took longer than {timeout_s:g} seconds and was stopped")
            return cast(_Result, self._receive())
        except (EOFError, OSError):
            self.kill()
            raise JobError(_TOO_MUCH) from None

    def _receive(self) -> object:
        kind, value = self._connection.recv()
        if kind == "refused":
            raise JobError(value)
        return value

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _work(connection: Connection, source: str, settings: WebSettings, rehearsal: Path | None) -> None:
    """A worker's life: load the model, then do what comes until the server is gone."""
    # Ctrl-C is the server's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    try:
        model = load(source)
    except SmileVlmError as error:
        connection.send(("refused", str(error)))
        return
    recogniser = model.recogniser
    facts = ModelFacts(
        classes=recogniser.classes,
        synthetic=recogniser.synthetic,
        calibrated=recogniser.calibrated,
        unsure_below=recogniser.unsure_below,
    )
    connection.send(("done", facts))
    if rehearsal is not None:
        _done(Recognise(path=rehearsal), model, settings)
    _bound_memory(settings.max_memory_mb * MEGABYTE)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(_done(task, model, settings))


def _done(task: Callable[[Model, WebSettings], object], model: Model, settings: WebSettings) -> tuple[str, object]:
    try:
        return "done", task(model, settings)
    except SmileVlmError as error:
        return "refused", sentence(error, task.path if isinstance(task, Recognise) else None)
    except MemoryError:
        return "refused", _TOO_MUCH
    except Exception:
        # Whatever it is, it is ours to mend, and the page goes on.
        traceback.print_exc(file=sys.stderr)
        return "refused", _OUR_FAULT


def sentence(error: SmileVlmError, upload: Path | None) -> str:
    """What an error says, without the folder that an upload lies in: a frame is named as the archive names it."""
    if not isinstance(error, FileFormatError):
        return str(error)
    where = []
    if upload is not None and error.path is not None and error.path.startswith(f"{upload}/"):
        where.append(error.path.removeprefix(f"{upload}/"))
    if error.line is not None:
        where.append(f"line {error.line}")
    said = error.message if upload is None else error.message.replace(f"{upload}/", "").replace(str(upload), "the file")
    return ": ".join([*where, said])


def _bound_memory(more: int) -> None:
    """Let this process take so many bytes beside what it has; without effect where the system has no such bound."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    except (ImportError, OSError, ValueError):
        _log.warning("the memory of a job cannot be bounded on this system; size, vertices and time still are")
