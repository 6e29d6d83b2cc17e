"""`smilevlm COMMAND ...`: one module per command; heavy imports happen inside the command that needs them."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor

import smilevlm
from smilevlm.caches import name_a_home
from smilevlm.cli import (
    analyse,
    check,
    doctor,
    evaluate,
    export,
    language,
    predict,
    prepare,
    prompts,
    report,
    reproduce,
    serve,
    synthesize,
    tasks,
    train,
)
from smilevlm.cli.arguments import Command, add_commands
from smilevlm.cli.streams import drop, flush_streams, prepare_streams
from smilevlm.compiled import announce_compiling
from smilevlm.errors import SmileVlmError
from smilevlm.extras import explained_imports
from smilevlm.training import process_rank

_COMMANDS: Mapping[str, Command] = {
    "synthesize": synthesize,
    "check": check,
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "analyse": analyse,
    "tasks": tasks,
    "language": language,
    "report": report,
    "reproduce": reproduce,
    "predict": predict,
    "serve": serve,
    "export": export,
    "prompts": prompts,
    "doctor": doctor,
}
_INTERRUPTED = 130
_SECONDS_FOR_THE_FIRST_PROCESS = 60
_AFTER_A_STOP = {
    "synthesize": "; what is complete is kept, run it again",
    "prepare": "; what is complete is kept, run it again",
    "reproduce": "; what is complete is kept, run it again",
    "train": "; what is complete is kept, run it with --resume again",
    "prompts generate": "; the answers that came are kept, run it with --resume again",
}
"""Other commands keep nothing that a second run could go on with."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="smilevlm",
        description="3D and 4D facial expressions: scans to views, views to embeddings, embeddings to words.",
        epilog="Try: smilevlm predict scan.ply, or smilevlm serve",
    )
    parser.add_argument("--version", action="version", version=f"smilevlm {smilevlm.__version__}")
    parser.add_argument(
        "--completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        help="print what makes this shell complete commands and options, for its start-up file",
    )
    add_commands(parser, _COMMANDS, dest="command")
    return parser


class _Completion(argparse.Action):
    """Prints the script and ends, as `--help` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        import shtab

        print(shtab.complete(parser, shell=str(values)))
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 1 after an error that the user can mend, which is printed as one line.
    """
    prepare_streams()
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    finally:
        flush_streams()


def _run(words: list[str]) -> int:
    parsed = build_parser().parse_args(with_axes_joined(words))
    parsed.command_line = words
    announce_compiling()
    name_a_home()
    try:
        with explained_imports():
            _COMMANDS[parsed.command].run(parsed)
        # Here, where what cannot be written is still an error of the command.
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
        return 1
    except (SmileVlmError, OSError, MemoryError, BrokenExecutor, UnicodeEncodeError) as error:
        rank = process_rank()
        if rank > 0:
            # Most errors come to all processes alike; the first one tells of it, and the others are ended meanwhile.
            time.sleep(_SECONDS_FOR_THE_FIRST_PROCESS)
        where = f"process {rank}: " if rank else ""
        print(f"smilevlm {parsed.called}: error: {where}{_error_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nsmilevlm {parsed.called}: stopped{_AFTER_A_STOP.get(parsed.called, '')}", file=sys.stderr)
        return _INTERRUPTED
    return 0


def with_axes_joined(words: Sequence[str]) -> list[str]:
    """`--front -y` as `--front=-y`: argparse takes what begins with a dash for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in ("--up", "--front") and len(word) == 2 and word[0] == "-":
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _error_line(error: Exception) -> str:
    """One line for people; of what the system says, the file first."""
    if isinstance(error, MemoryError):
        return "out of memory; fewer --jobs need less"
    if isinstance(error, BrokenExecutor):
        return "a worker process was killed, most often for want of memory; run again with fewer --jobs"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!r} is a name that cannot be written as text; rename the file or folder"
    if not isinstance(error, OSError):
        return str(error)
    if "usable temporary directory" in str(error):
        return "there is no folder for temporary files that can be written to; set TMPDIR to one"
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror.lower()}"
