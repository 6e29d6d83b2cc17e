"""Bounded work: every request is done in a process that can be killed.

A hostile or huge scan may keep compiled code busy for minutes, or ask for more memory than there is; neither can be
stopped from within a thread. So the model lives in worker processes. One that passes its deadline is killed and another
takes its place. A worker that dies, of whatever, takes with it the request that it had begun and never the page: a
request that it had not begun, since it died idle or while it loaded the model, is given once to its successor.
"""

from __future__ import annotations

import logging
import multiprocessing
import queue
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar, cast

from smilevlm.errors import FileFormatError, SmileVlmError
from smilevlm.predict import Model, load
from smilevlm.web.settings import MEGABYTE, WebSettings
from smilevlm.web.work import Recognise

_STARTUP_S = 300.0
"""A worker that has not loaded its model and rehearsed by then never will."""
_MEMORY_ERROR = "this needed more memory than the page may take for one scan"
_STOPPED = "the worker stopped, which has been written to the server's log"
SERVER_ERROR = "something went wrong on the server; it has been written to the server's log"
_BEGUN = "begun"
"""What a worker sends when it has a task in hand, before the answer."""
_NO_MEMORY_WORDS = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")
"""What torch and the system say in place of a `MemoryError`."""
_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class JobError(SmileVlmError):
    """A request that was refused; the message is one sentence for the page, without any path."""


class _NotBegunError(JobError):
    """The worker stopped before it had begun the request, which another worker can therefore be given."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the page says of the model.

    Args:
        classes: That it was trained with.
        synthetic: Whether it was trained on synthetic faces.
        calibrated: Whether its probabilities were fitted to people held back.
        abstain_threshold: See `ModelBundle`.
    """

    classes: tuple[str, ...]
    synthetic: bool
    calibrated: bool
    abstain_threshold: float


class Workers:
    """Worker processes, each with the model loaded.

    Args:
        source: What `smilevlm.load` takes.
        settings: Bounds of the work.
        rehearsal: A scan that each worker reads before it is asked anything, so that compiling is done by then.
    """

    def __init__(self, source: str, settings: WebSettings, *, rehearsal: Path | None = None) -> None:
        self._settings = settings
        self._is_closed = False
        self._all = [_Worker(source, settings, rehearsal) for _ in range(settings.jobs)]
        self._idle: queue.Queue[_Worker] = queue.Queue()
        for worker in self._all:
            self._idle.put(worker)

    def facts(self) -> ModelFacts:
        """Wait until a worker has loaded the model.

        Raises:
            SmileVlmError: It cannot be loaded, or two workers in a row died while they loaded it.
        """
        return self._ask(_Worker.facts)

    def do(self, task: Callable[[Model, WebSettings], _Result]) -> _Result:
        """Run a task of `smilevlm.web.work` in the next idle worker.

        Raises:
            JobError: It was refused, took too long or too much, its worker died after it had begun it, or two workers
                in a row died before that.
        """

        def request(worker: _Worker) -> _Result:
            worker.facts()
            return worker.do(task, self._settings.timeout_s)

        return self._ask(request)

    def _ask(self, request: Callable[[_Worker], _Result]) -> _Result:
        worker = self._idle.get()
        try:
            # It is dead where it could not be replaced after its last request; the system may allow it by now.
            self._revive(worker)
            try:
                return request(worker)
            except _NotBegunError:
                self._revive(worker)
                return request(worker)
        finally:
            try:
                # At once, so that the next visitor does not wait for the model to load.
                self._revive(worker)
            except JobError as error:
                _log.warning("%s", error)
            finally:
                self._idle.put(worker)

    def _revive(self, worker: _Worker) -> None:
        if worker.is_started or self._is_closed:
            return
        try:
            worker.start()
        except OSError as error:
            _log.warning("no worker could be started: %s", error)
            raise JobError("the server cannot start a worker for this now; try again in a minute") from None

    def close(self) -> None:
        """End all workers."""
        self._is_closed = True
        for worker in self._all:
            worker.kill()


class _Worker:
    """A process that is started again after it died.

    Whether the process lives is not asked of the system, which may learn of a death a moment later: that it has died is
    known by the end of its connection alone.
    """

    def __init__(self, source: str, settings: WebSettings, rehearsal: Path | None) -> None:
        self._given = source, settings, rehearsal
        self.is_started = False
        self.start()

    def start(self) -> None:
        # A forked child would share locks and threads with the server.
        context = multiprocessing.get_context("spawn")
        self._facts: ModelFacts | None = None
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, *self._given), daemon=True)
        try:
            self._process.start()
        except OSError:
            self._connection.close()
            raise
        finally:
            theirs.close()
        self.is_started = True

    def facts(self) -> ModelFacts:
        if self._facts is None:
            try:
                if not self._connection.poll(_STARTUP_S):
                    raise JobError("the model could not be loaded in time")
                self._facts = cast(ModelFacts, self._receive())
            except (EOFError, OSError):
                raise _NotBegunError(self._stopped("while it loaded the model")) from None
            except JobError:  # it has come to its end without a model
                self.kill()
                raise
        return self._facts

    def do(self, task: Callable[[Model, WebSettings], _Result], timeout_s: float) -> _Result:
        deadline = time.monotonic() + timeout_s
        has_begun = False
        try:
            self._connection.send(task)
            while self._connection.poll(max(0.0, deadline - time.monotonic())):
                if has_begun:
                    return cast(_Result, self._receive())
                has_begun = self._connection.recv() == _BEGUN
            self.kill()
            raise JobError(f"this took longer than {timeout_s:g} seconds and was stopped")
        except (EOFError, OSError):
            if not has_begun:
                raise _NotBegunError(self._stopped("while it was idle")) from None
            raise JobError(self._stopped(f"at {type(task).__name__}")) from None

    def _stopped(self, when: str) -> str:
        """The process died, of whatever: a crash in compiled code, or the system that wanted its memory back."""
        self.kill()
        _log.warning("a worker stopped %s, exit code %s", when, self._process.exitcode)
        return _STOPPED

    def _receive(self) -> object:
        kind, value = self._connection.recv()
        if kind == "refused":
            raise JobError(value)
        return value

    def kill(self) -> None:
        self.is_started = False
        if self._process.pid is not None:  # it was started
            self._process.kill()
            self._process.join()
        self._connection.close()


def _work(connection: Connection, source: str, settings: WebSettings, rehearsal: Path | None) -> None:
    """What a worker process runs: load the model, then do what comes until the server is gone."""
    # Ctrl-C is the server's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    try:
        model = load(source)
    except SmileVlmError as error:
        connection.send(("refused", str(error)))
        return
    facts = ModelFacts(**{field.name: getattr(model.bundle, field.name) for field in fields(ModelFacts)})
    if rehearsal is not None:
        _result_of(Recognise(path=rehearsal), model, settings)
    connection.send(("done", facts))
    _bound_memory(settings.max_memory_mb * MEGABYTE)
    _serve(connection, model, settings)


def _serve(connection: Connection, model: Model, settings: WebSettings) -> None:
    """Do one task after another until the server is gone."""
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(_BEGUN)
        answer = _result_of(task, model, settings)
        try:
            connection.send(answer)
        except MemoryError:  # it is packed before anything is sent
            connection.send(("refused", _MEMORY_ERROR))


def _result_of(task: Callable[[Model, WebSettings], object], model: Model, settings: WebSettings) -> tuple[str, object]:
    try:
        return "done", task(model, settings)
    except SmileVlmError as error:
        return "refused", error_sentence(error, task.path if isinstance(task, Recognise) else None)
    except MemoryError:
        return "refused", _MEMORY_ERROR
    except Exception as error:
        if any(words in str(error) for words in _NO_MEMORY_WORDS):
            return "refused", _MEMORY_ERROR
        # A fault of the server: it goes to its log, and the page goes on.
        traceback.print_exc(file=sys.stderr)
        return "refused", SERVER_ERROR


def error_sentence(error: SmileVlmError, upload: Path | None) -> str:
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
