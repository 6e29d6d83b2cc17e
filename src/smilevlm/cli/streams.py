"""Standard streams that never end a command in a traceback: closed ones, and encodings that lack a sign."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Put the null device in the place of closed streams, and make the others escape what their encoding lacks.

    On Windows, where a redirected stream has the encoding of the country, it gets UTF-8 unless `PYTHONIOENCODING` says
    otherwise.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _null_device(number))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_national = os.name == "nt" and not stream.isatty() and "PYTHONIOENCODING" not in os.environ
            stream.reconfigure(encoding="utf-8" if is_national else None, errors="backslashreplace")


def _null_device(number: int) -> TextIO:
    """Opened under the stream's own number, lest a data file get it and what is printed with it."""
    device = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    if device != number and _is_free(number):
        os.dup2(device, number)
        os.close(device)
        device = number
    os.set_inheritable(device, True)
    return os.fdopen(device, "r" if number == 0 else "w", encoding="utf-8")


def _is_free(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def flush_streams() -> None:
    """Write what is left now, since at exit a closed pipe could no longer be caught; what nobody reads is dropped."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            drop(stream)
        except ValueError:
            pass  # the stream was closed by this program


def drop(stream: TextIO) -> None:
    """Send what is written to a stream nowhere: whoever read it has seen enough."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(device, number)
    os.close(device)
