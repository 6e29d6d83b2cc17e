"""`smilevlm COMMAND ...`: one module per command; heavy imports happen inside the command that needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor

import smilevlm
from smilevlm.cli import check, evaluate, predict, prepare, report, synthesize, train
from smilevlm.errors import SmileVlmError

_COMMANDS = {
    "synthesize": synthesize,
    "check": check,
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "report": report,
    "predict": predict,
}
_INTERRUPTED = 130
_AFTER_A_STOP = {
    "synthesize": "; what is complete is kept, run it again",
    "prepare": "; what is complete is kept, run it again",
    "train": "; what is complete is kept, run it with --resume again",
}
"""Other commands keep nothing that a second run could go on with."""


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to speak of."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []) or action.default == argparse.SUPPRESS:
            return action.help
        return super()._get_help_string(action)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="smilevlm",
        description="3D and 4D facial expressions: scans to views, views to embeddings, embeddings to words.",
        epilog="Try: smilevlm synthesize bu3dfe faces --subjects 4",
    )
    parser.add_argument("--version", action="version", version=f"smilevlm {smilevlm.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=f"Example: {module.EXAMPLE}",
            formatter_class=_HelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 1 after an error that the user can mend, which is printed as one line.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
        # Here, not at exit, where a closed pipe could no longer be caught.
        sys.stdout.flush()
    except SmileVlmError as error:
        print(f"smilevlm {parsed.command}: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read our output has seen enough; nothing may be flushed into the closed pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        print(f"smilevlm {parsed.command}: error: {_said(error)}", file=sys.stderr)
        return 1
    except MemoryError:
        print(f"smilevlm {parsed.command}: error: out of memory; fewer --jobs need less", file=sys.stderr)
        return 1
    except BrokenExecutor:
        print(
            f"smilevlm {parsed.command}: error: a worker process was killed, most often for want of memory; run again "
            "with fewer --jobs",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"\nsmilevlm {parsed.command}: stopped{_AFTER_A_STOP.get(parsed.command, '')}", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _said(error: OSError) -> str:
    """What the system says, the file first."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror.lower()}"
