"""The page's folder: who may read it, what is deleted, and when."""

from __future__ import annotations

import stat
import time

import pytest

from smilevlm.errors import MeshError
from smilevlm.web.storage import Storage


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Storage(keep_s=900)
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
    result = storage.new_file("one", "result.zip")
    result.write_bytes(b"x")
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
    assert storage.num_bytes == 3 + 3 + 14
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
    living = Storage(keep_s=900)
    other = Storage(keep_s=900)
    assert not left.exists()
    assert living.root.exists(), "a server that lives keeps its folder"
    for each in (living, other):
        each.close()
    assert list(tmp_path.iterdir()) == []
