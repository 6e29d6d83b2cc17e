"""The page's folder: who may read it, what is deleted, and when."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from smilevlm.errors import MeshError, SmileVlmError
from smilevlm.web import storage as module
from smilevlm.web.settings import WebSettings
from smilevlm.web.storage import BUSY, Storage

SETTINGS = WebSettings(keep_s=900, queue=4, timeout_s=60, max_stored_mb=1)


@pytest.fixture(autouse=True)
def _only_tests_sweep(monkeypatch):
    """However long a test takes, nothing is swept away in the middle of it."""
    monkeypatch.setattr(module, "_SWEEP_EVERY_S", threading.TIMEOUT_MAX)


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Storage(SETTINGS)
    yield made
    made.close()
    assert not made.root.exists()


def sent(storage: Storage, name: str = "face.ply", digest: str = "abc") -> str:
    path = storage.root / digest / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"ply")
    return str(path)


def files(storage: Storage) -> list[str]:
    return sorted(path.name for path in storage.root.rglob("*") if path.is_file() and path.name != ".lock")


def later(seconds: float, monkeypatch) -> None:
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + seconds)


def test_nobody_else_may_read_it(storage):
    assert stat.S_IMODE(storage.root.stat().st_mode) == 0o700


def test_an_upload_gets_a_name_of_ours(storage):
    upload = storage.take(sent(storage, "Anna; rm -rf.PLY"), "../../../etc")
    assert upload.path.name == "scan.ply"
    assert upload.name == "Anna; rm -rf.PLY"
    assert upload.path.is_relative_to(storage.root)
    assert ".." not in upload.path.parts


def test_the_same_file_from_two_people(storage):
    path = sent(storage)
    first, second = storage.take(path, "one"), storage.take(path, "two")
    storage.remove(first.path)
    assert second.path.read_bytes() == b"ply"


def test_a_new_upload_takes_the_place_of_the_last(storage):
    first = storage.take(sent(storage), "one")
    second = storage.take(sent(storage, "other.obj"), "one")
    assert not first.path.exists()
    assert second.path.exists()


def test_a_session_is_forgotten_alone(storage):
    first, second = storage.take(sent(storage), "one"), storage.take(sent(storage), "two")
    result = storage.write("one", "result.zip", b"x")
    storage.forget("one")
    assert not first.path.exists()
    assert not result.exists()
    assert second.path.exists()


@pytest.mark.parametrize("elsewhere", ["/etc/passwd", "nowhere.ply"])
def test_only_what_was_sent_is_taken(storage, elsewhere):
    with pytest.raises(MeshError, match="no longer there"):
        storage.take(elsewhere, "one")


def test_a_link_out_of_the_folder_is_not_taken(storage, tmp_path):
    secret = tmp_path / "secret.ply"
    secret.write_text("secret")
    link = storage.root / "face.ply"
    link.symlink_to(secret)
    with pytest.raises(MeshError, match="no longer there"):
        storage.take(str(link), "one")


def test_an_unknown_suffix_is_refused_at_once(storage):
    with pytest.raises(MeshError, match=r"none of them"):
        storage.take(sent(storage, "face.exe"), "one")


def test_what_is_old_is_swept_away(storage, monkeypatch):
    storage.take(sent(storage), "one")
    (storage.root / "tmpabandoned").write_bytes(b"half an upload")
    assert storage.num_bytes == 3 + 14, "what was sent and what was taken is one file under two names"
    storage.sweep()
    assert files(storage) == ["face.ply", "scan.ply", "tmpabandoned"]
    later(100, monkeypatch)
    storage.sweep()
    assert files(storage) == ["scan.ply"], "what gradio keeps is handed over by then"
    later(900, monkeypatch)
    storage.sweep()
    assert [path.name for path in storage.root.iterdir()] == [".lock"]


def test_the_folder_of_a_killed_server_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "smilevlm-web-killed"
    left.mkdir()
    (left / "face.ply").write_bytes(b"ply")
    living = Storage(SETTINGS)
    other = Storage(SETTINGS)
    assert not left.exists()
    assert living.root.exists(), "a server that lives keeps its folder"
    for each in (living, other):
        each.close()
    assert list(tmp_path.iterdir()) == []


def test_sweeping_leaves_a_folder_whose_file_is_about_to_be_written(storage, monkeypatch):
    made = os.mkdir

    def made_and_swept(path, *rest):
        made(path, *rest)
        storage.sweep()

    monkeypatch.setattr("os.mkdir", made_and_swept)
    assert storage.write("one", "result.zip", b"x").read_bytes() == b"x"
    monkeypatch.undo()
    upload = storage.take(sent(storage), "two")
    storage.remove(upload.path)
    later(100, monkeypatch)
    storage.sweep()
    assert len(list(storage.root.rglob("session-*/*"))) == 1, "an old empty folder goes"


def test_a_new_result_takes_the_place_of_the_last(storage):
    other = storage.write("two", "result.zip", b"x")
    first = storage.write("one", "result.zip", b"x")
    face = storage.write("one", "face.glb", b"x")
    second = storage.write("one", "result.zip", b"y")
    assert not first.parent.exists()
    assert [path.exists() for path in (other, face, second)] == [True, True, True]


def test_no_more_is_stored_than_may_be(storage):
    storage.write("one", "result.zip", bytes(900_000))
    with pytest.raises(SmileVlmError, match=BUSY):
        storage.write("two", "result.zip", bytes(200_000))


def test_a_session_that_ends_while_its_answer_is_written(storage, monkeypatch):
    made = os.mkdir

    def made_and_left(path, *rest):
        made(path, *rest)
        storage.forget("one")

    monkeypatch.setattr("os.mkdir", made_and_left)
    with pytest.raises(SmileVlmError, match="left before"):
        storage.write("one", "result.zip", b"x")


def test_an_upload_that_vanishes_while_it_is_taken(storage, monkeypatch):
    path = sent(storage)

    def gone(source, target):
        raise FileNotFoundError(source)

    monkeypatch.setattr("os.link", gone)
    with pytest.raises(MeshError, match="no longer there"):
        storage.take(path, "one")


@pytest.mark.parametrize(("queue", "timeout_s", "jobs"), [(30, 60, 1), (100, 100, 4), (10, 10, 1)])
def test_an_upload_outlasts_the_longest_wait(tmp_path, monkeypatch, queue, timeout_s, jobs):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings = WebSettings(queue=queue, timeout_s=timeout_s, jobs=jobs, keep_s=60)
    storage = Storage(settings)
    upload = storage.take(sent(storage), "one")
    result = storage.write("two", "result.zip", b"x")
    later(max(queue * timeout_s / jobs, 60) + 1, monkeypatch)
    storage.sweep()
    assert upload.path.exists()
    assert not result.exists()
    storage.close()


def test_a_sweep_that_fails_is_not_the_last(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(module, "_SWEEP_EVERY_S", 0.01)
    sweeps = threading.Semaphore(0)

    def sweep(self):
        sweeps.release()
        raise PermissionError("not yours")

    monkeypatch.setattr(Storage, "sweep", sweep)
    storage = Storage(SETTINGS)
    assert [sweeps.acquire(timeout=600) for _ in range(3)] == [True] * 3
    storage.close()
    assert "not yours" in caplog.text


# How much is stored.


@pytest.mark.parametrize("num_sessions", [1, 2, 5])
def test_an_upload_counts_once_under_however_many_names(storage, num_sessions):
    path = sent(storage)
    for number in range(num_sessions):
        storage.take(path, f"session {number}")
    assert storage.num_bytes == 3


def test_equal_files_that_are_two_count_twice(storage):
    storage.take(sent(storage, digest="one"), "one")
    storage.take(sent(storage, digest="two"), "two")
    assert storage.num_bytes == 6


def test_what_is_taken_still_counts_when_the_other_name_is_gone(storage):
    path = sent(storage)
    upload = storage.take(path, "one")
    Path(path).unlink()
    assert storage.num_bytes == 3
    storage.remove(upload.path)
    assert storage.num_bytes == 0


def test_an_upload_of_half_the_room_leaves_the_other_half(storage):
    path = sent(storage)
    Path(path).write_bytes(bytes(600_000))
    storage.take(path, "one")
    assert storage.write("one", "result.zip", bytes(390_000)).is_file()
    with pytest.raises(SmileVlmError, match=BUSY):
        storage.write("one", "result.zip", bytes(90_000))
