"""Worker processes: what they refuse, how they are stopped, that the page survives them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from smilevlm.errors import CheckpointError, MeshError, SmileVlmError
from smilevlm.geometry import Mesh
from smilevlm.predict import load
from smilevlm.readers import read_mesh, write_mesh
from smilevlm.web.jobs import JobError, Workers, _done, sentence
from smilevlm.web.server import find_examples
from smilevlm.web.settings import WebSettings
from smilevlm.web.work import Compare, Explain, Recognise

EXAMPLES = find_examples(None)
WORDS = {"pain": ["a face in pain"], "calm": ["a calm face"]}


@pytest.fixture(scope="module")
def workers(trained_run):
    made = Workers(str(trained_run), WebSettings(timeout_s=60, max_memory_mb=2000))
    yield made
    made.close()


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


@dataclass(frozen=True)
class Blunder:
    def __call__(self, model, settings) -> None:
        raise RuntimeError("secret detail")


def test_a_scan_is_recognised_compared_and_explained(workers):
    facts = workers.facts()
    found = workers.do(Recognise(path=EXAMPLES["happy scan"]))
    assert tuple(found.answer.probabilities) == facts.classes
    assert found.answer.seconds.read > 0
    other = workers.do(Compare(seen=found.seen, prompts=WORDS))
    assert tuple(other.answer.probabilities) == tuple(WORDS)
    again = workers.do(Recognise(path=EXAMPLES["happy scan"], prompts=WORDS))
    assert dict(again.answer.probabilities) == pytest.approx(dict(other.answer.probabilities), abs=1e-6)
    overlays = workers.do(Explain(found=other, prompts=WORDS))
    assert overlays.shape == (3, 224, 224, 3)


def test_a_sequence_is_recognised(workers):
    found = workers.do(Recognise(path=EXAMPLES["happy sequence"]))
    assert found.answer.num_frames == 6
    assert workers.do(Explain(found=found)).shape == (3, 224, 224, 3)


def test_axes_are_followed(workers, tmp_path):
    upright = read_mesh(EXAMPLES["happy scan"])
    lying = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    write_mesh(Mesh(vertices=upright.vertices @ lying.T, faces=upright.faces), tmp_path / "scan.ply")
    found = workers.do(Recognise(path=tmp_path / "scan.ply", up="+z", front="-y"))
    np.testing.assert_allclose(found.answer.face.rotation @ lying, np.eye(3), atol=0.5)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("scan.ply", b"\x89PNG\r\n\x1a\n" + bytes(200), "expected 'ply'"),
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
    with pytest.raises(JobError, match="more memory"):
        workers.do(Hoard())
    assert workers.do(Recognise(path=EXAMPLES["happy scan"])).answer.label


def test_a_worker_that_dies_is_replaced(workers):
    with pytest.raises(JobError, match="more memory"):
        workers.do(Die())
    assert workers.do(Recognise(path=EXAMPLES["happy scan"])).answer.label


def test_our_own_mistakes_are_logged_and_not_shown(capsys):
    kind, said = _done(Blunder(), None, WebSettings())
    assert kind == "refused"
    assert "went wrong on the server" in said
    assert "secret" not in said
    assert "secret detail" in capsys.readouterr().err


def test_a_deadline_is_kept(trained_run):
    workers = Workers(str(trained_run), WebSettings(timeout_s=2))
    try:
        workers.facts()
        begun = time.monotonic()
        with pytest.raises(JobError, match="longer than 2 seconds"):
            workers.do(Sleep())
        assert time.monotonic() - begun < 20
        assert workers.facts().classes
    finally:
        workers.close()


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
    assert sentence(inside, upload) == "clip/003.obj: line 7: too few numbers"
    assert sentence(MeshError(f"the last: {upload}/004.obj: bad", path=upload), upload) == "the last: 004.obj: bad"
    assert sentence(MeshError("empty file", path=upload), upload) == "empty file"
    assert sentence(CheckpointError("another text tower"), upload) == "another text tower"
