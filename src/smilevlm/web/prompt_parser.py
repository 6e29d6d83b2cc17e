"""Classes of one's own, as they are typed into the page."""

from __future__ import annotations

from smilevlm.errors import PromptError

MAX_CLASSES = 20
MAX_DESCRIPTIONS = 10
MAX_LETTERS = 4000
EXAMPLE = "pain: a face in pain; a grimace of pain\ncalm: a calm face; a relaxed face"


def parse_prompts(text: str) -> dict[str, list[str]] | None:
    """Read one class per line, `name: description; another description`.

    Args:
        text: As typed.

    Returns:
        Class to descriptions; None for a blank text, which asks for the trained classes.

    Raises:
        PromptError: A line is none, or there are too many, or only one class.
    """
    if not text.strip():
        return None
    if len(text) > MAX_LETTERS:
        raise PromptError(f"the descriptions have {len(text)} letters; at most {MAX_LETTERS}")
    prompts: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, rest = line.partition(":")
        texts = [part.strip() for part in rest.split(";") if part.strip()]
        if not name.strip() or not texts:
            raise PromptError(f"line {number}: expected a class and what it looks like, such as pain: a face in pain")
        if len(texts) > MAX_DESCRIPTIONS:
            raise PromptError(f"line {number}: {len(texts)} descriptions; at most {MAX_DESCRIPTIONS}")
        if name.strip() in prompts:
            raise PromptError(f"line {number}: the class {name.strip()!r} stands above already")
        prompts[name.strip()] = texts
    if not 2 <= len(prompts) <= MAX_CLASSES:
        raise PromptError(f"{len(prompts)} class given; expected 2 to {MAX_CLASSES} to choose among, one per line")
    return prompts
