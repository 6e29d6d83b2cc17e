"""`smilevlm prompts list`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_text_tower

if TYPE_CHECKING:
    from rich.console import Console

    from smilevlm.prompts import PromptSet

HELP = "show what prompt sets there are, or the prompts of one"
DESCRIPTION = (
    "Without a name: the sets that come with the package, with their classes and where they are from. With the name of "
    "one or a file: every prompt of it with the number of tokens it has for the text tower."
)
EXAMPLE = "smilevlm prompts list basic_expressions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt_set", metavar="NAME|FILE", nargs="?", help="one set, with all of its prompts")
    parser.add_argument("--json", action="store_true", help="JSON for programs")
    add_text_tower(parser)


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import table_console
    from smilevlm.prompts import available_prompt_sets, load_prompt_set

    if arguments.prompt_set is not None:
        _show_one(load_prompt_set(arguments.prompt_set), arguments.text_tower, as_json=arguments.json)
        return
    prompt_sets = [load_prompt_set(name) for name in available_prompt_sets()]
    if arguments.json:
        print(json.dumps([_plain(prompt_set) for prompt_set in prompt_sets], indent=1))
    else:
        _print_overview(table_console(), prompt_sets)


def _show_one(prompt_set: PromptSet, tower_name: str, *, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from smilevlm.cli.progress import table_console
    from smilevlm.prompts import load_text_tower

    tower = load_text_tower(tower_name)
    tokens = {text: tower.count_tokens(text) for text in prompt_set.texts}
    if as_json:
        listed = {
            name: [{"text": text, "tokens": tokens[text]} for text in texts]
            for name, texts in prompt_set.prompts.items()
        }
        whole = _plain(prompt_set) | {"text_tower": tower_name, "token_limit": tower.token_limit, "prompts": listed}
        print(json.dumps(whole, indent=1))
        return
    console = table_console()
    console.print(escape(f"{prompt_set.name}: {_origin(prompt_set)}"), soft_wrap=True, highlight=False)
    table = Table()
    table.add_column("class")
    table.add_column("prompt", overflow="fold")
    table.add_column(f"tokens, of {tower.token_limit}", justify="right")
    for name, texts in prompt_set.prompts.items():
        for position, text in enumerate(texts):
            table.add_row(escape(name) if position == 0 else "", escape(text), str(tokens[text]))
        table.add_section()
    console.print(table)


def _plain(prompt_set: PromptSet) -> dict[str, object]:
    return {
        "name": prompt_set.name,
        "classes": list(prompt_set.classes),
        "num_prompts": len(prompt_set.texts),
        "provenance": asdict(prompt_set.provenance),
    }


def _origin(prompt_set: PromptSet) -> str:
    provenance = prompt_set.provenance
    return f"{provenance.source}; {provenance.date}; made by {provenance.generated_by}"


def _print_overview(console: Console, prompt_sets: list[PromptSet]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for title in ("name", "classes"):
        table.add_column(title, overflow="fold")
    table.add_column("prompts", justify="right")
    table.add_column("where they are from", overflow="fold")
    for prompt_set in prompt_sets:
        classes = f"{len(prompt_set.classes)}: {', '.join(prompt_set.classes)}"
        row = (prompt_set.name, classes, str(len(prompt_set.texts)), _origin(prompt_set))
        table.add_row(*map(escape, row))
    console.print(table)
