"""`smilevlm prompts list`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_text_tower

if TYPE_CHECKING:
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
    from smilevlm.cli.tables import print_table
    from smilevlm.prompts import available_prompt_sets, load_prompt_set

    if arguments.prompt_set is not None:
        _show_one(load_prompt_set(arguments.prompt_set), arguments.text_tower, as_json=arguments.json)
        return
    prompt_sets = [load_prompt_set(name) for name in available_prompt_sets()]
    if arguments.json:
        print(json.dumps([_as_json(prompt_set) for prompt_set in prompt_sets], indent=1))
        return
    rows = [
        (each.name, f"{len(each.classes)}: {', '.join(each.classes)}", len(each.texts), _origin(each))
        for each in prompt_sets
    ]
    print_table(["name", "classes"], ["prompts"], rows, last_columns=["where they are from"])


def _show_one(prompt_set: PromptSet, tower_name: str, *, as_json: bool) -> None:
    from smilevlm.cli.tables import print_table
    from smilevlm.prompts import load_text_tower

    tower = load_text_tower(tower_name)
    tokens = {text: tower.count_tokens(text) for text in prompt_set.texts}
    if as_json:
        prompts = {
            name: [{"text": text, "tokens": tokens[text]} for text in texts]
            for name, texts in prompt_set.prompts.items()
        }
        extra = {"text_tower": tower_name, "token_limit": tower.token_limit, "prompts": prompts}
        print(json.dumps(_as_json(prompt_set) | extra, indent=1))
        return
    rows: list[tuple[object, ...] | None] = []
    for name, texts in prompt_set.prompts.items():
        rows += [(name if position == 0 else "", text, tokens[text]) for position, text in enumerate(texts)]
        rows.append(None)
    print(f"{prompt_set.name}: {_origin(prompt_set)}")
    print_table(["class", "prompt"], [f"tokens, of {tower.token_limit}"], rows)


def _as_json(prompt_set: PromptSet) -> dict[str, object]:
    return {
        "name": prompt_set.name,
        "classes": list(prompt_set.classes),
        "num_prompts": len(prompt_set.texts),
        "provenance": asdict(prompt_set.provenance),
    }


def _origin(prompt_set: PromptSet) -> str:
    provenance = prompt_set.provenance
    return f"{provenance.source}; {provenance.date}; made by {provenance.generated_by}"
