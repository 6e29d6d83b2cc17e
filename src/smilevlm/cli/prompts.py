"""`smilevlm prompts`: its commands have a module each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from smilevlm.cli import prompts_captions, prompts_check, prompts_generate, prompts_list
from smilevlm.cli.arguments import Command, add_commands

HELP = "list, check and generate prompt sets; show captions"
DESCRIPTION = "Prompt sets: what there is, whether it is sound, new ones from a language model; captions of faces."
EXAMPLE = "smilevlm prompts check basic_expressions"

_COMMANDS: Mapping[str, Command] = {
    "list": prompts_list,
    "check": prompts_check,
    "generate": prompts_generate,
    "captions": prompts_captions,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_commands(parser, _COMMANDS, dest="prompts_command", prefix="prompts ")


def run(arguments: argparse.Namespace) -> None:
    _COMMANDS[arguments.prompts_command].run(arguments)
