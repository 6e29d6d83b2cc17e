"""Prompt sets, the text tower that embeds them, and which prompt a sample is paired with.

What is wrong with a prompt set or its file is a `PromptError`, which names file and line where they are known.
"""

from smilevlm.prompts.cache import CachedTextTower
from smilevlm.prompts.caption_table import CaptionTable, FaceActions, draw_caption_table
from smilevlm.prompts.captions import (
    Caption,
    CaptionSettings,
    caption,
    draw_captions,
    make_caption,
    reference_captions,
    strength_of,
)
from smilevlm.prompts.checking import Finding, PromptReport, check_prompts
from smilevlm.prompts.clip_text_tower import ClipTextTower
from smilevlm.prompts.embeddings import PromptEmbeddings, centre_and_normalise, embed_prompts
from smilevlm.prompts.pairing import (
    CAPTION_MODES,
    GENERIC_PROMPT,
    NO_PROMPT,
    PAIRING_MODES,
    PairingMode,
    mix_captions,
    pairing_texts,
    sample_prompts,
    shuffle_classes,
    shuffled_order,
)
from smilevlm.prompts.phrase_bank import PhraseBank, phrase_bank, read_phrase_bank
from smilevlm.prompts.phrase_checking import HARDLY_SEPARATED, PhraseFinding, PhraseReport, check_phrases
from smilevlm.prompts.prompt_set import Generation, PromptSet, Provenance, find_fault, wording
from smilevlm.prompts.statements import (
    LanguageStatements,
    Opposite,
    UnseenClass,
    language_statements,
    read_language_statements,
)
from smilevlm.prompts.text_tower import NO_TEXT_TOWER, MiniLmTextTower, TextTower, load_text_tower
from smilevlm.prompts.yaml_file import (
    PromptSource,
    available_prompt_sets,
    find_prompt_file,
    load_prompt_set,
    parse_prompt_source,
    prompt_set_for,
    read_prompt_source,
    write_prompt_file,
)

__all__ = [
    "CAPTION_MODES",
    "GENERIC_PROMPT",
    "HARDLY_SEPARATED",
    "NO_PROMPT",
    "NO_TEXT_TOWER",
    "PAIRING_MODES",
    "CachedTextTower",
    "Caption",
    "CaptionSettings",
    "CaptionTable",
    "ClipTextTower",
    "FaceActions",
    "Finding",
    "Generation",
    "LanguageStatements",
    "MiniLmTextTower",
    "Opposite",
    "PairingMode",
    "PhraseBank",
    "PhraseFinding",
    "PhraseReport",
    "PromptEmbeddings",
    "PromptReport",
    "PromptSet",
    "PromptSource",
    "Provenance",
    "TextTower",
    "UnseenClass",
    "available_prompt_sets",
    "caption",
    "centre_and_normalise",
    "check_phrases",
    "check_prompts",
    "draw_caption_table",
    "draw_captions",
    "embed_prompts",
    "find_fault",
    "find_prompt_file",
    "language_statements",
    "load_prompt_set",
    "load_text_tower",
    "make_caption",
    "mix_captions",
    "pairing_texts",
    "parse_prompt_source",
    "phrase_bank",
    "prompt_set_for",
    "read_language_statements",
    "read_phrase_bank",
    "read_prompt_source",
    "reference_captions",
    "sample_prompts",
    "shuffle_classes",
    "shuffled_order",
    "strength_of",
    "wording",
    "write_prompt_file",
]
