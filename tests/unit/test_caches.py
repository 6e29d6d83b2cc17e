"""Where caches go: the user's folder, else a temporary one of this user, else nowhere; said once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from smilevlm import caches


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch, tmp_path):
    """No cache folder is chosen, temporary files lie in the test's folder, and nothing is remembered."""
    for name in ("SMILEVLM_CACHE_DIR", "XDG_CACHE_HOME"):
        # Set before it is removed, so that what the code sets is undone as well.
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "file").write_text("in the way")
    for remembered in (caches.is_writable, caches._temporary_cache):
        remembered.cache_clear()
    yield
    for remembered in (caches.is_writable, caches._temporary_cache):
        remembered.cache_clear()


@pytest.fixture
def temporary(tmp_path) -> Path:
    return tmp_path / "temporary" / f"smilevlm-{os.getuid()}"


def test_the_folder_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    assert caches.cache_folder() == Path("/home/someone/.cache/smilevlm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert caches.cache_folder() == tmp_path / "xdg" / "smilevlm"
    monkeypatch.setenv("SMILEVLM_CACHE_DIR", str(tmp_path / "own"))
    assert caches.cache_folder() == tmp_path / "own"


def test_a_folder_that_can_be_written_to_is_made(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("SMILEVLM_CACHE_DIR", str(tmp_path / "own"))
    assert caches.writable_cache("numba") == tmp_path / "own" / "numba"
    assert (tmp_path / "own" / "numba").is_dir()
    assert not caplog.records


@pytest.mark.parametrize("variable", ["SMILEVLM_CACHE_DIR", "XDG_CACHE_HOME", "HOME"])
@pytest.mark.parametrize("place", ["/proc/none", "{tmp}/file/deeper", "/dev/null/deeper"])
def test_one_that_cannot_be_written_to_gives_way_to_a_temporary_one(
    monkeypatch, tmp_path, temporary, caplog, variable, place
):
    monkeypatch.setenv(variable, place.format(tmp=tmp_path))
    assert caches.writable_cache("numba") == temporary / "numba"
    assert caches.writable_cache("prompts") == temporary / "prompts"
    (record,) = caplog.records
    assert place.format(tmp=tmp_path) in record.getMessage()
    assert "SMILEVLM_CACHE_DIR" in record.getMessage()
    # Processes that this one starts find the folder without falling back, and without a word.
    assert os.environ["SMILEVLM_CACHE_DIR"] == str(temporary)
    assert temporary.stat().st_mode & 0o077 == 0


def test_a_temporary_folder_that_others_can_write_to_is_not_used(monkeypatch, temporary, caplog):
    monkeypatch.setenv("HOME", "/proc/none")
    temporary.mkdir()
    temporary.chmod(0o777)
    assert caches.writable_cache("numba") is None
    assert caches.writable_cache("numba") is None
    (record,) = caplog.records
    assert "nothing is cached" in record.getMessage()


@pytest.mark.parametrize("kind", ["link", "file", "no temporary folder"])
def test_without_any_folder_nothing_is_cached(monkeypatch, tmp_path, temporary, caplog, kind):
    monkeypatch.setenv("HOME", "/proc/none")
    if kind == "link":
        (tmp_path / "theirs").mkdir()
        temporary.symlink_to(tmp_path / "theirs")
    elif kind == "file":
        temporary.write_text("")
    else:
        monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    assert caches.writable_cache("numba") is None
    assert [record.getMessage().count("SMILEVLM_CACHE_DIR") for record in caplog.records] == [1]
    # Processes that this one starts say nothing more.
    assert os.environ["SMILEVLM_CACHE_DIR"] == os.devnull
    caches._temporary_cache.cache_clear()
    assert caches.writable_cache("numba") is None
    assert len(caplog.records) == 1


def test_a_user_without_a_home_gets_one(monkeypatch, temporary):
    def nobody(cls):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("HOME", "x")
    monkeypatch.setattr(Path, "home", classmethod(nobody))
    assert caches.cache_folder() == temporary
    caches.name_a_home()
    assert os.environ["HOME"] == str(temporary)
