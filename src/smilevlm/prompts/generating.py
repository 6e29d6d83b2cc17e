"""New prompt sets from a language model: asked class by class, kept as they come, checked before they are written.

Nothing that trains or predicts imports this module; a set is a file by then.
"""

from __future__ import annotations

import datetime
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from smilevlm.errors import EndpointError, PromptError, SettingsError
from smilevlm.files import write_atomically
from smilevlm.prompts.checking import PromptReport, check_prompts
from smilevlm.prompts.endpoint import ChatEndpoint, read_completion
from smilevlm.prompts.prompt_set import CLASS_SLOT, Generation, PromptSet, Provenance, wording
from smilevlm.prompts.text_tower import TextTower
from smilevlm.prompts.yaml_file import parse_prompt_source, render_prompt_set

MAX_PER_CLASS = 100
_MAX_WORDS = 25
_NOT_IN_CLASS_NAMES = '"\\[]{}'
SYSTEM = (
    "You write short descriptions of human faces, with which a vision-language model learns facial expressions. "
    "A description says what a camera sees: brows, eyes, cheeks, nose, mouth, jaw, and the impression as a whole. "
    "It names no person, age, sex, skin or surroundings, and it is not numbered. "
    "You answer with JSON and nothing else."
)


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """What is asked for.

    Args:
        classes: Every class that the set is to have.
        model: A name that the server knows.
        per_class: Prompts per class.
        temperature: None leaves it to the server, as some models take none.
        seed: None sends none; servers that take one promise little.
        about: What the classes have in common, in the user's words, such as "patients in a dentist's chair".
        language: Code of the language that the prompts are written in.

    Raises:
        SettingsError: A value outside its range, or a class that stands twice or has no name.
    """

    classes: tuple[str, ...]
    model: str
    per_class: int = 8
    temperature: float | None = None
    seed: int | None = None
    about: str | None = None
    language: str = "en"

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise SettingsError(f"expected distinct classes, at least one, found {', '.join(self.classes) or 'none'}")
        for name in self.classes:
            if not name or name != " ".join(name.split()) or any(sign in name for sign in _NOT_IN_CLASS_NAMES):
                raise SettingsError(f"class {name!r}: expected words without any of {_NOT_IN_CLASS_NAMES}")
        if not 1 <= self.per_class <= MAX_PER_CLASS:
            raise SettingsError(f"per_class is {self.per_class}, expected 1 to {MAX_PER_CLASS}")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise SettingsError(f"temperature is {self.temperature}, expected 0 to 2")
        if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]+)*", self.language):
            raise SettingsError(f"language {self.language!r} is no code like en or pt-BR")

    @property
    def instruction(self) -> str:
        """The user message, with `[CLS]` in the place of the class."""
        about = f"What the classes are about: {' '.join(self.about.split())}. " if self.about else ""
        return (
            f"The classes are: {', '.join(self.classes)}. {about}"
            f'Write {self.per_class} different descriptions of a face of the class "{CLASS_SLOT}", in the language '
            f'with the code "{self.language}". Each fits "{CLASS_SLOT}" better than any other class and has at most '
            f"{_MAX_WORDS} words. Answer with one JSON object that has one key, the class, and a list of "
            f'{self.per_class} strings: {{"{CLASS_SLOT}": ["...", "..."]}}'
        )


@dataclass(frozen=True, kw_only=True)
class GeneratedSet:
    """What came of it.

    Args:
        path: Where the set was written: where it was wanted, or beside it where the check found faults.
        prompt_set: The set.
        report: What the check says.
    """

    path: Path
    prompt_set: PromptSet
    report: PromptReport


@dataclass(frozen=True, kw_only=True)
class _Answer:
    prompts: tuple[str, ...]
    model: str


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What `PATH.part.json` holds: what was asked for, and the answers that came."""

    asked: dict[str, Any]
    answers: dict[str, _Answer]


def generate_prompts(
    settings: GenerateSettings,
    path: Path,
    *,
    endpoint: ChatEndpoint,
    tower: TextTower,
    resume: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GeneratedSet:
    """Ask for the prompts of each class and write the set.

    What came is kept in `PATH.part.json` until the set is written, so that a later call with `resume` asks for the
    other classes alone. A set with faults is written to `PATH` with `.faulty` before its ending, and the answers stay.

    Args:
        settings: What to ask for.
        path: The file to write.
        endpoint: Whom to ask.
        tower: For the check.
        resume: Go on with what an earlier call left.
        progress: Called with the number of classes that are there and of all.

    Raises:
        PromptError: The file or a faulty one is there already, an earlier call left something and `resume` is not set,
            or what it left is damaged or was asked for otherwise.
        EndpointError: The server failed, or answered with something else than was asked for; the raw answer then lies
            beside `path`.
    """
    # A faulty set may have been mended by hand since.
    for place in (path, _faulty_path(path)):
        if place.exists():
            raise PromptError("is there already; remove it, or choose another name", path=place)
    # A place that cannot be written to shows before anything is paid for.
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part_path(path)
    answers = _read_part(part, settings, endpoint.url, resume=resume)
    progress(len(answers), len(settings.classes))
    for name in settings.classes:
        if name not in answers:
            answers[name] = _ask(name, settings, path, endpoint)
            write_atomically(part, _part_text(settings, endpoint.url, answers))
            progress(len(answers), len(settings.classes))
    prompt_set = _assembled(path.stem, settings, endpoint.url, answers)
    return _written(prompt_set, path, tower)


def _written(prompt_set: PromptSet, path: Path, tower: TextTower) -> GeneratedSet:
    text = render_prompt_set(prompt_set, path)
    report = check_prompts(parse_prompt_source(text, path), tower)
    if report.faults:
        faulty = _faulty_path(path)
        write_atomically(faulty, text)
        report = check_prompts(parse_prompt_source(text, faulty), tower)
        return GeneratedSet(path=faulty, prompt_set=prompt_set, report=report)
    write_atomically(path, text)
    _part_path(path).unlink(missing_ok=True)
    return GeneratedSet(path=path, prompt_set=prompt_set, report=report)


def _ask(class_name: str, settings: GenerateSettings, path: Path, endpoint: ChatEndpoint) -> _Answer:
    body = endpoint.ask(
        model=settings.model,
        system=SYSTEM,
        user=settings.instruction.replace(CLASS_SLOT, class_name),
        temperature=settings.temperature,
        seed=settings.seed,
    )
    try:
        completion = read_completion(body)
        return _Answer(prompts=read_prompts(completion.text, class_name), model=completion.model)
    except EndpointError as error:
        number = settings.classes.index(class_name)
        raw = path.with_suffix(f".answer{number}.txt")
        write_atomically(raw, body)
        raise EndpointError(f"class {class_name!r}: {error}; the whole answer is in {raw}") from None


def read_prompts(text: str, class_name: str) -> tuple[str, ...]:
    """The prompts of one class out of what a model wrote: a JSON object, bare or in a code fence.

    Raises:
        EndpointError: Something else than was asked for.
    """
    # Reasoning models of local servers write their thoughts first.
    bare = re.sub(r"\A\s*<think>.*?</think>", "", text, count=1, flags=re.DOTALL).strip()
    fences = re.findall(r"^```\w*[^\S\n]*\n(.*?)\n?```", bare, flags=re.DOTALL | re.MULTILINE)
    try:
        value = json.loads(fences[0] if len(fences) == 1 else bare)
    except (ValueError, RecursionError):
        raise EndpointError("the model did not answer with JSON") from None
    if not isinstance(value, dict) or list(value) != [class_name]:
        found = ", ".join(map(repr, value)) if isinstance(value, dict) else type(value).__name__
        raise EndpointError(f"the model answered for {found or 'no class'} instead of {class_name!r}")
    prompts = value[class_name]
    if not isinstance(prompts, list) or not prompts or not all(isinstance(item, str) for item in prompts):
        raise EndpointError("the model did not answer with a list of texts")
    cleaned = tuple(" ".join(item.split()) for item in prompts)
    if not all(cleaned) or any(CLASS_SLOT.lower() in item.lower() for item in cleaned):
        raise EndpointError(f"the model answered with an empty text, or left {CLASS_SLOT} in one")
    # Lone surrogates cannot be written, and control characters would reach the terminal of whoever lists the set.
    if any(unicodedata.category(sign) in ("Cc", "Cs") for item in cleaned for sign in item):
        raise EndpointError("the model answered with control characters")
    return cleaned


def _assembled(name: str, settings: GenerateSettings, url: str, answers: Mapping[str, _Answer]) -> PromptSet:
    kept_wordings: set[str] = set()
    prompts: dict[str, tuple[str, ...]] = {}
    num_duplicates = num_surplus = 0
    for class_name in settings.classes:
        kept: list[str] = []
        for text in answers[class_name].prompts:
            if wording(text) in kept_wordings:
                num_duplicates += 1
            elif len(kept) == settings.per_class:
                num_surplus += 1
            else:
                kept_wordings.add(wording(text))
                kept.append(text)
        if not kept:
            raise EndpointError(f"every prompt of class {class_name!r} stands in an earlier class already")
        prompts[class_name] = tuple(kept)
    generation = Generation(
        model=settings.model,
        answered_by=tuple(dict.fromkeys(answer.model for answer in answers.values() if answer.model)),
        endpoint=url,
        system=SYSTEM,
        instruction=settings.instruction,
        asked_per_class=settings.per_class,
        kept={class_name: len(texts) for class_name, texts in prompts.items()},
        num_duplicates=num_duplicates,
        num_surplus=num_surplus,
        temperature=settings.temperature,
        seed=settings.seed,
    )
    provenance = Provenance(
        source="smilevlm prompts generate",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        generated_by=f"the language model {settings.model}",
        generation=generation,
    )
    return PromptSet(name=name, provenance=provenance, prompts=prompts)


def _part_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _faulty_path(path: Path) -> Path:
    return path.with_suffix(f".faulty{path.suffix}")


def _asked(settings: GenerateSettings, url: str) -> dict[str, Any]:
    plain = asdict(settings)
    return plain | {"classes": list(settings.classes), "endpoint": url, "system": SYSTEM}


def _part_text(settings: GenerateSettings, url: str, answers: dict[str, _Answer]) -> str:
    return json.dumps(asdict(_Part(asked=_asked(settings, url), answers=answers)), indent=1, ensure_ascii=False)


def _read_part(part: Path, settings: GenerateSettings, url: str, *, resume: bool) -> dict[str, _Answer]:
    if not part.is_file():
        return {}
    if not resume:
        raise PromptError("an earlier call left answers here; go on with --resume, or remove the file", path=part)
    try:
        kept = TypeAdapter(_Part).validate_json(part.read_bytes())
    except ValidationError:
        kept = None
    if kept is None or not set(kept.answers) <= set(settings.classes):
        raise PromptError("damaged; remove it to ask anew", path=part)
    wanted = _asked(settings, url)
    differing = [key for key in wanted if kept.asked.get(key) != wanted[key]]
    if differing:
        changes = "; ".join(f"{key} was {kept.asked.get(key)!r} and is {wanted[key]!r}" for key in differing)
        raise PromptError(f"these answers were asked for otherwise: {changes}", path=part)
    return kept.answers
