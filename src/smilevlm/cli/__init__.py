"""The command line: parse, call, print."""

from smilevlm.cli.main import main

__all__ = ["main"]
