"""Words for expressions: prompt sets, the text tower that embeds them, and which prompt a sample is paired with."""

from smilevlm.prompts.cache import CachedTextTower, cache_folder
from smilevlm.prompts.embeddings import PromptEmbeddings, centre_and_normalise, embed_prompts
from smilevlm.prompts.pairing import (
    GENERIC_PROMPT,
    PAIRING_MODES,
    PairingMode,
    pairing_texts,
    sample_prompts,
    shuffle_classes,
)
from smilevlm.prompts.prompt_set import PromptSet, Provenance
from smilevlm.prompts.text_tower import MiniLmTextTower, TextTower
from smilevlm.prompts.yaml_file import available_prompt_sets, load_prompt_set

__all__ = [
    "GENERIC_PROMPT",
    "PAIRING_MODES",
    "CachedTextTower",
    "MiniLmTextTower",
    "PairingMode",
    "PromptEmbeddings",
    "PromptSet",
    "Provenance",
    "TextTower",
    "available_prompt_sets",
    "cache_folder",
    "centre_and_normalise",
    "embed_prompts",
    "load_prompt_set",
    "pairing_texts",
    "sample_prompts",
    "shuffle_classes",
]
