"""Where things that cost time once are kept: the user's cache folder, or for want of one a temporary folder."""

from __future__ import annotations

import functools
import logging
import os
import stat
import tempfile
from pathlib import Path

CACHE_VARIABLE = "SMILEVLM_CACHE_DIR"
_log = logging.getLogger("smilevlm")


def cache_folder() -> Path:
    """`SMILEVLM_CACHE_DIR` of the environment, else `$XDG_CACHE_HOME/smilevlm`, else `~/.cache/smilevlm`.

    `/dev/null` stands for no cache.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "smilevlm"
    try:
        return Path.home() / ".cache" / "smilevlm"
    except RuntimeError:
        # No HOME, and a user that no password file knows.
        return _temporary_path()


def writable_cache(name: str) -> Path | None:
    """A folder of this name that can be written to: in the cache folder, else in a temporary folder of this user.

    Falling back is said once, on stderr unless the program has set up logging, and holds for child processes too.

    Returns:
        The folder, made; None where no folder can be written to.
    """
    folder = cache_folder() / name
    if is_writable(folder):
        return folder
    temporary = _temporary_cache(cache_folder())
    return None if temporary is None or not is_writable(temporary / name) else temporary / name


def name_a_home() -> None:
    """Give programs that ask for the user's home folder one where the system knows none, as in containers."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(_temporary_path())


@functools.cache
def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@functools.cache
def _temporary_cache(instead_of: Path) -> Path | None:
    if instead_of == Path(os.devnull):
        return None  # no cache is wanted, or the process that started this one found none
    folder = _temporary_path()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        found = None
    # Compiled code is loaded from here: nobody else may have made the folder or be able to write to it.
    is_ours = found is not None and stat.S_ISDIR(found.st_mode) and found.st_uid == _user()
    if found is None or not is_ours or (os.name == "posix" and found.st_mode & 0o022) or not is_writable(folder):
        _log.warning(
            "smilevlm: %s cannot be written to, nor can %s: nothing is cached, and each start compiles again; set %s "
            "to a folder that can be written to",
            instead_of, folder, CACHE_VARIABLE,
        )  # fmt: skip
        os.environ[CACHE_VARIABLE] = os.devnull
        return None
    _log.warning(
        "smilevlm: %s cannot be written to, so the cache is in %s; set %s to choose another folder",
        instead_of, folder, CACHE_VARIABLE,
    )  # fmt: skip
    os.environ[CACHE_VARIABLE] = str(folder)
    return folder


def _temporary_path() -> Path:
    try:
        base = tempfile.gettempdir()
    except OSError:  # not even a temporary folder can be written to
        base = os.environ.get("TMPDIR", "/tmp")
    return Path(base) / f"smilevlm-{_user()}"


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
