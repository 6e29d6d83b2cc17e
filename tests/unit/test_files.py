from __future__ import annotations

import os
import stat

import pytest

from smilevlm.files import folder_in_one_piece, remove_in_one_piece, remove_leftovers, write_atomically


def test_text_and_bytes_are_written_and_parents_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "text.txt", "ä\n")
    write_atomically(tmp_path / "raw", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "text.txt").read_bytes() == "ä\n".encode()
    assert (tmp_path / "raw").read_bytes() == b"\x00\xff"


def test_an_old_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "file"
    for content in ("old", "new"):
        write_atomically(path, content)
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_failed_write_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "target"
    with folder_in_one_piece(target) as scratch:
        (scratch / "a").write_text("1")
        assert not target.exists()
        assert scratch.parent == target.parent
    assert [p.name for p in target.iterdir()] == ["a"]
    assert [p.name for p in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_block_leaves_nothing(tmp_path, error):
    def write_half():
        with folder_in_one_piece(tmp_path / "target") as scratch:
            (scratch / "a").write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_first(tmp_path):
    (tmp_path / ".target.part").mkdir()
    (tmp_path / ".target.part" / "stale").write_text("half")
    with folder_in_one_piece(tmp_path / "target") as scratch:
        (scratch / "fresh").write_text("")
    assert [p.name for p in (tmp_path / "target").iterdir()] == ["fresh"]


def test_a_full_target_is_not_overwritten(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "precious").write_text("x")

    def overwrite():
        with folder_in_one_piece(tmp_path / "target") as scratch:
            (scratch / "new").write_text("")

    with pytest.raises(OSError, match="not empty"):
        overwrite()
    assert (tmp_path / "target" / "precious").read_text() == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


def test_a_folder_goes_in_one_piece(tmp_path, monkeypatch):
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "a").write_text("1")

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("smilevlm.files.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_in_one_piece(folder)
    assert not folder.exists(), "no half of it is left under its name"
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_is_worked_on_stays(tmp_path):
    (tmp_path / ".gone.part").mkdir()
    (tmp_path / ".gone.lock").write_text("")
    with folder_in_one_piece(tmp_path / "busy") as scratch:
        (scratch / "a").write_text("1")
        remove_leftovers(tmp_path)
        assert (scratch / "a").is_file()
        assert sorted(path.name for path in tmp_path.iterdir()) == [".busy.lock", ".busy.part"]
