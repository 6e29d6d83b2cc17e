"""`smilevlm prompts generate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_text_tower, positive_int, word_list
from smilevlm.cli.prompts_check import print_report
from smilevlm.errors import PromptError, SettingsError

if TYPE_CHECKING:
    from smilevlm.prompts.endpoint import ChatEndpoint
    from smilevlm.prompts.generating import GeneratedSet

HELP = "ask a language model for the descriptions of classes"
DESCRIPTION = (
    "Ask any server that speaks OpenAI's chat-completions protocol, hosted or your own, for descriptions of classes; "
    "check them, and write them with model, date and parameters. Needs the extra: pip install 'smilevlm[prompts]'. The "
    "key is taken from the environment and is neither stored nor shown."
)
EXAMPLE = "smilevlm prompts generate --classes pain,calm --out pain.yaml --endpoint http://localhost:8000/v1"
_LISTED_MODELS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--classes", type=word_list, metavar="A,B", required=True, help="classes of the new set")
    add("--out", type=Path, metavar="FILE.yaml", required=True, help="file to write")
    add("--endpoint", metavar="URL", help="server, up to /v1; without it OPENAI_BASE_URL, or else OpenAI's own")
    key_help = "environment variable that holds the key"
    add("--key-variable", metavar="NAME", default="OPENAI_API_KEY", help=key_help)
    add("--model", metavar="NAME", help="may be left out where the server offers one alone")
    add("--per-class", type=positive_int, default=8, metavar="N", help="descriptions of each class")
    add("--temperature", type=float, metavar="T", help="0 to 2; without it the server's own")
    add("--seed", type=int, metavar="S", help="passed on to servers that take one")
    add("--about", metavar="TEXT", help="what the classes are about, in your words")
    add("--language", default="en", metavar="CODE", help="of the prompts' language; minilm reads English")
    add("--retries", type=int, default=4, metavar="N", help="how often a failing request is sent again")
    add("--timeout", type=float, default=300.0, metavar="SECONDS", help="longest wait for one answer")
    add("--resume", action="store_true", help="go on with the answers that an earlier call left")
    add_text_tower(parser)


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.cli.tables import counted
    from smilevlm.prompts import load_text_tower
    from smilevlm.prompts.generating import GenerateSettings, generate_prompts

    with _endpoint(arguments) as endpoint:
        settings = GenerateSettings(
            classes=arguments.classes,
            model=arguments.model or _only_model(endpoint),
            per_class=arguments.per_class,
            temperature=arguments.temperature,
            seed=arguments.seed,
            about=arguments.about,
            language=arguments.language,
        )
        tower = load_text_tower(arguments.text_tower)
        with progress_bar("classes described") as progress:
            generated = generate_prompts(
                settings, arguments.out, endpoint=endpoint, tower=tower, resume=arguments.resume, progress=progress
            )
    print_report(generated.report)
    print(_summary(generated))
    if faults := generated.report.faults:
        raise PromptError(
            f"{counted(len(faults), 'fault')}, so the set lies here and not at {arguments.out}; mend the lines and "
            "rename the file",
            path=generated.path,
        )


def _endpoint(arguments: argparse.Namespace) -> ChatEndpoint:
    from smilevlm.prompts.endpoint import ChatEndpoint, read_key, resolve_url

    if arguments.retries < 0 or not arguments.timeout > 0:
        raise SettingsError("--retries must be 0 or more, and --timeout more than 0")
    return ChatEndpoint(
        resolve_url(arguments.endpoint),
        key=read_key(arguments.key_variable),
        timeout_s=arguments.timeout,
        num_retries=arguments.retries,
    )


def _only_model(endpoint: ChatEndpoint) -> str:
    names = endpoint.models()
    if len(names) == 1:
        return names[0]
    listed = ", ".join(names[:_LISTED_MODELS]) + ", ..." * (len(names) > _LISTED_MODELS)
    raise SettingsError(f"{endpoint.url} offers {len(names)} models; choose with --model: {listed or 'none'}")


def _summary(generated: GeneratedSet) -> str:
    from smilevlm.cli.tables import counted

    generation = generated.prompt_set.provenance.generation
    assert generation is not None, "a generated set says how it was made"
    kept = ", ".join(f"{name} {number}" for name, number in generation.kept.items())
    return (
        f"{generated.path}: of {generation.asked_per_class} asked for per class by {generation.model}: {kept}; dropped "
        f"{counted(generation.num_duplicates, 'duplicate')}, {generation.num_surplus} beyond what was asked for"
    )
