"""Worker processes: what they refuse, how they are stopped, that the page survives them."""

from __future__ import annotations

import os
import signal
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from smilevlm.errors import CheckpointError, MeshError, SmileVlmError
from smilevlm.geometry import Mesh
from smilevlm.predict import load
from smilevlm.readers import read_mesh, write_mesh
from smilevlm.web import jobs
from smilevlm.web.jobs import JobError, ModelFacts, Workers, _result_of, error_sentence
from smilevlm.web.messages import details, headline
from smilevlm.web.server import find_examples
from smilevlm.web.settings import WebSettings
from smilevlm.web.work import Compare, Explain, Recognise

EXAMPLES = find_examples(None)
FACTS = ModelFacts(classes=("happy", "sad"), synthetic=True, calibrated=True, abstain_threshold=0.5)
WORDS = {"pain": ["a face in pain"], "calm": ["a calm face"]}


@pytest.fixture(scope="module")
def workers(trained_run):
    # Longer than compiling takes, which the first of these tasks may have to wait for.
    made = Workers(str(trained_run), WebSettings(timeout_s=600, max_memory_mb=2000))
    yield made
    made.close()


@pytest.fixture
def make_workers(monkeypatch, tmp_path):
    """Workers of a process function of the tests, whose source is a file that is not there yet."""
    made = []

    def making(work, **settings) -> Workers:
        monkeypatch.setattr(jobs, "_work", work)
        made.append(Workers(str(tmp_path / "died"), WebSettings(**settings)))
        return made[-1]

    yield making
    for workers in made:
        workers.close()


@dataclass(frozen=True)
class Sleep:
    """Never comes to an end by itself."""

    def __call__(self, model, settings) -> None:
        time.sleep(600)


@dataclass(frozen=True)
class Hoard:
    """Asks for far more memory than it may have."""

    def __call__(self, model, settings) -> float:
        return float(np.ones(10**9, np.float64).sum())


@dataclass(frozen=True)
class Die:
    """As a crash in compiled code, or the system that wants its memory back."""

    def __call__(self, model, settings) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def _serve_without_model(connection, source, settings, rehearsal) -> None:
    """A worker's life but for the seconds that a model takes to load."""
    connection.send(("done", FACTS))
    jobs._serve(connection, None, settings)


def _die_while_loading(connection, source, settings, rehearsal) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_while_loading_once(connection, source, settings, rehearsal) -> None:
    if not Path(source).exists():
        Path(source).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    _serve_without_model(connection, source, settings, rehearsal)


def _die_when_asked_once(connection, source, settings, rehearsal) -> None:
    """Reads the task and dies before it says that it has begun."""
    if not Path(source).exists():
        Path(source).touch()
        connection.send(("done", FACTS))
        connection.recv()
        os.kill(os.getpid(), signal.SIGKILL)
    _serve_without_model(connection, source, settings, rehearsal)


def _never_begin(connection, source, settings, rehearsal) -> None:
    connection.send(("done", FACTS))
    connection.recv()
    time.sleep(600)


@dataclass(frozen=True)
class Note:
    """Leaves a line in a file each time that it is done."""

    path: Path

    def __call__(self, model, settings) -> str:
        with self.path.open("a") as file:
            file.write("done\n")
        return "noted"


@dataclass(frozen=True)
class NoteAndDie(Note):
    def __call__(self, model, settings) -> None:
        super().__call__(model, settings)
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Blunder:
    def __call__(self, model, settings) -> None:
        raise RuntimeError("secret detail")


@dataclass(frozen=True)
class HoardTensors:
    """Torch has a word of its own for memory that is not given."""

    def __call__(self, model, settings) -> float:
        import torch

        return float(torch.ones(10**9).sum())


def test_a_scan_is_recognised_compared_and_explained(workers):
    facts = workers.facts()
    found = workers.do(Recognise(path=EXAMPLES["happy scan"]))
    assert tuple(found.prediction.probabilities) == facts.classes
    assert found.prediction.seconds.read > 0
    other = workers.do(Compare(prepared=found.prepared, prompts=WORDS))
    assert tuple(other.prediction.probabilities) == tuple(WORDS)
    again = workers.do(Recognise(path=EXAMPLES["happy scan"], prompts=WORDS))
    assert dict(again.prediction.probabilities) == pytest.approx(dict(other.prediction.probabilities), abs=1e-6)
    overlays = workers.do(Explain(recognition=other, prompts=WORDS))
    assert overlays.shape == (3, 224, 224, 3)


def test_a_sequence_is_recognised(workers):
    found = workers.do(Recognise(path=EXAMPLES["happy sequence"]))
    assert found.prediction.num_frames == 6
    assert workers.do(Explain(recognition=found)).shape == (3, 224, 224, 3)


def test_axes_are_followed(workers, tmp_path):
    upright = read_mesh(EXAMPLES["happy scan"])
    lying = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    write_mesh(Mesh(vertices=upright.vertices @ lying.T, faces=upright.faces), tmp_path / "scan.ply")
    found = workers.do(Recognise(path=tmp_path / "scan.ply", up="+z", front="-y"))
    np.testing.assert_allclose(found.prediction.face.rotation @ lying, np.eye(3), atol=0.5)
    # Against what the search would find: an upright face is not upside down.
    searched = workers.do(Recognise(path=EXAMPLES["happy scan"])).prediction
    turned = workers.do(Recognise(path=EXAMPLES["happy scan"], up="-y", front="+z")).prediction
    assert searched.face.rotation[1, 1] > 0.8
    assert turned.face.rotation[1, 1] < -0.8
    assert np.mean(turned.views != searched.views) > 0.1


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("scan.ply", b"\x89PNG\r\n\x1a\n" + bytes(200), "the bytes are those of a .png file"),
        ("scan.off", b"OFF\n4 0 0\nnan nan nan\n0 0 0\n1 0 0\n0 1 0\n", ""),
        ("scan.obj", b"v nan nan nan\n" * 200, ""),
        ("scan.obj", b"mtllib /etc/passwd\nmap_Kd /etc/passwd\nv 0 0 0\n", "at least 100"),
        ("scan.wrl", b"#VRML V2.0 utf8\n" + b"[" * 100_000, ""),
    ],
)
def test_what_is_no_scan_is_refused(workers, tmp_path, name, data, said):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(JobError) as caught:
        workers.do(Recognise(path=path))
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_ball_is_no_face(workers, tmp_path):
    points = np.random.default_rng(0).normal(size=(4000, 3))
    ball = Mesh(vertices=(90 * points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32))
    write_mesh(ball, tmp_path / "scan.ply")
    with pytest.raises(JobError, match="no face"):
        workers.do(Recognise(path=tmp_path / "scan.ply"))


def test_vertices_that_no_header_announces_are_counted_after_reading(trained_run, tmp_path):
    points = ", ".join(["0 0 0"] * 1200)
    (tmp_path / "scan.wrl").write_text(
        f"#VRML V2.0 utf8\nShape {{ geometry IndexedFaceSet {{ coord Coordinate {{ point [ {points} ] }} "
        "coordIndex [ 0, 1, 2, -1 ] } }"
    )
    with pytest.raises(MeshError, match="1,200 vertices; at most 1,000"):
        Recognise(path=tmp_path / "scan.wrl")(load(trained_run), WebSettings(max_vertices=1000))


def test_too_much_memory_is_refused_and_the_worker_goes_on(workers):
    for task in (Hoard(), HoardTensors()):
        with pytest.raises(JobError, match="more memory"):
            workers.do(task)
    assert workers.do(Recognise(path=EXAMPLES["happy scan"])).prediction.label


def test_a_worker_that_dies_is_replaced(workers, caplog):
    with pytest.raises(JobError, match="the worker stopped"):
        workers.do(Die())
    assert "Die, exit code -9" in caplog.text
    assert workers.do(Recognise(path=EXAMPLES["happy scan"])).prediction.label


def test_our_own_mistakes_are_logged_and_not_shown(capsys):
    kind, said = _result_of(Blunder(), None, WebSettings())
    assert kind == "refused"
    assert "went wrong on the server" in said
    assert "secret" not in said
    assert "secret detail" in capsys.readouterr().err


def test_a_deadline_is_kept(make_workers):
    workers = make_workers(_serve_without_model, timeout_s=1)
    workers.facts()
    late = workers._all[0]._process
    with pytest.raises(JobError, match="longer than 1 seconds"):
        workers.do(Sleep())
    assert late.exitcode == -signal.SIGKILL
    assert workers.facts().classes


def test_a_worker_that_never_begins_keeps_the_deadline(make_workers):
    workers = make_workers(_never_begin, timeout_s=1)
    with pytest.raises(JobError, match="longer than 1 seconds"):
        workers.do(Die())


def test_no_model(tmp_path):
    workers = Workers(str(tmp_path), WebSettings())
    try:
        with pytest.raises(SmileVlmError, match="no trained model"):
            workers.facts()
    finally:
        workers.close()


def test_a_frame_is_named_as_its_archive_names_it():
    upload = Path("/tmp/secret/scan.zip")
    inside = MeshError("too few numbers", path=upload / "clip" / "003.obj", line=7)
    assert error_sentence(inside, upload) == "clip/003.obj: line 7: too few numbers"
    assert (
        error_sentence(MeshError(f"the last: {upload}/004.obj: bad", path=upload), upload) == "the last: 004.obj: bad"
    )
    assert error_sentence(MeshError("empty file", path=upload), upload) == "empty file"
    assert error_sentence(CheckpointError("another text tower"), upload) == "another text tower"


def test_a_worker_that_dies_while_it_loads_is_said_and_replaced(make_workers, caplog):
    workers = make_workers(_die_while_loading_once)
    assert workers.facts().classes
    assert caplog.text.count("while it loaded the model, exit code -9") == 1


@pytest.mark.parametrize("ask", [Workers.facts, lambda workers: workers.do(Die())], ids=["facts", "do"])
def test_two_deaths_in_a_row_while_loading_are_an_error(make_workers, caplog, ask):
    workers = make_workers(_die_while_loading)
    with pytest.raises(JobError, match="the worker stopped"):
        ask(workers)
    assert caplog.text.count("while it loaded the model, exit code -9") == 2


@pytest.mark.parametrize("is_noticed", [False, True])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_worker_killed_before_it_is_asked_costs_no_answer(make_workers, tmp_path, caplog, is_loaded, is_noticed):
    """Whether the system has told of its death when the next request comes makes no difference."""
    workers = make_workers(_serve_without_model)
    if is_loaded:
        workers.facts()
    os.kill(workers._all[0]._process.pid, signal.SIGKILL)
    if is_noticed:
        workers._all[0]._process.join()
    assert workers.do(Note(tmp_path / "notes")) == "noted"
    assert (tmp_path / "notes").read_text() == "done\n"
    assert caplog.text.count("exit code -9") == 1


def test_a_task_that_its_worker_had_not_begun_is_result_of_by_the_next(make_workers, tmp_path, caplog):
    workers = make_workers(_die_when_asked_once)
    assert workers.do(Note(tmp_path / "notes")) == "noted"
    assert (tmp_path / "notes").read_text() == "done\n"
    assert "while it was idle, exit code -9" in caplog.text


def test_a_task_that_was_begun_is_never_result_of_twice(make_workers, tmp_path):
    workers = make_workers(_serve_without_model)
    with pytest.raises(JobError, match="the worker stopped"):
        workers.do(NoteAndDie(tmp_path / "notes"))
    assert (tmp_path / "notes").read_text() == "done\n"
    assert workers.do(Note(tmp_path / "notes")) == "noted"


def test_a_worker_that_cannot_be_replaced_at_once_is_replaced_later(make_workers, monkeypatch, caplog):
    workers = make_workers(_serve_without_model)
    workers.facts()

    def refused(self):
        raise OSError("no more processes")

    with monkeypatch.context() as patch:
        patch.setattr("multiprocessing.context.SpawnProcess.start", refused)
        with pytest.raises(JobError, match="the worker stopped"):
            workers.do(Die())
        with pytest.raises(JobError, match="cannot start a worker"):
            workers.do(Die())
    assert "no more processes" in caplog.text
    assert workers.facts().classes


def test_a_worker_is_ready_only_once_it_has_rehearsed(monkeypatch):
    import torch

    said = []

    class Connection:
        def send(self, what):
            said.append(what[0])

        def recv(self):
            raise EOFError

    class Loaded:
        class bundle:
            classes, synthetic, calibrated, abstain_threshold = ("joy",), True, True, 0.5

    monkeypatch.setattr(jobs, "load", lambda source: Loaded)
    monkeypatch.setattr(jobs, "_result_of", lambda task, model, settings: said.append("rehearsed"))
    monkeypatch.setattr(jobs, "_bound_memory", lambda more: None)
    before, threads = signal.getsignal(signal.SIGINT), torch.get_num_threads()
    try:
        jobs._work(Connection(), "run", WebSettings(), Path("scan.ply"))
    finally:
        signal.signal(signal.SIGINT, before)
        torch.set_num_threads(threads)
    assert said == ["rehearsed", "done"]


def test_bad_frames_are_named_as_the_archive_names_them(trained_run, tmp_path):
    frames = {}
    with zipfile.ZipFile(EXAMPLES["happy sequence"]) as archive:
        frames = {name: archive.read(name) for name in archive.namelist()}
    bad = sorted(frames)[1]
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for name, data in frames.items():
            archive.writestr(name, data[:100] if name == bad else data)
    model = load(trained_run)
    prepare = model.bundle.prepare
    lenient = replace(prepare, dynamics=replace(prepare.dynamics, max_bad_share=0.5))
    model.bundle = replace(model.bundle, prepare=lenient)
    answer = Recognise(path=tmp_path / "scan.zip")(model, WebSettings()).prediction
    ((name, said),) = answer.bad_frames
    assert name == Path(bad).name
    assert said
    assert str(tmp_path) not in said
    text = headline(answer, "clip.zip", None, FACTS) + details(answer)
    assert "1 more could not be used" in text
    assert name in text
