"""One label set for every data set: the emotion words of BU-3DFE, BU-4DFE and Bosphorus differ."""

from __future__ import annotations

from smilevlm.errors import LayoutError

NEUTRAL = "neutral"
BASIC_EXPRESSIONS: tuple[str, ...] = ("happy", "sad", "surprise", "angry", "disgust", "fear")
"""The six basic expressions in the order of the paper's Table I."""
MICRO_EXPRESSIONS: tuple[str, ...] = ("positive", "negative", "surprise", "repression", "others")
"""The five classes of 4DME in the order of the paper's Table V."""
SPONTANEOUS_EXPRESSIONS: tuple[str, ...] = (*BASIC_EXPRESSIONS, "embarrassment", "pain")
"""What BP4D's eight tasks call forth. The paper speaks of `nervousness and pain`: Assumption A23."""
UNLABELLED = "unlabelled"
"""Expression of a scan that shows none of the classes: an action unit, a turned head, an occlusion."""

_SPELLINGS: dict[str, str] = {
    "an": "angry", "angry": "angry", "anger": "angry",
    "di": "disgust", "disgust": "disgust", "disgusted": "disgust",
    "fe": "fear", "fear": "fear", "afraid": "fear", "fearful": "fear",
    "ha": "happy", "happy": "happy", "happiness": "happy", "joy": "happy",
    "sa": "sad", "sad": "sad", "sadness": "sad",
    "su": "surprise", "surprise": "surprise", "surprised": "surprise",
    "ne": "neutral", "neutral": "neutral", "n": "neutral",
    "embarrassment": "embarrassment", "embarrassed": "embarrassment",
    "nervousness": "embarrassment", "nervous": "embarrassment",
    "pain": "pain", "physical pain": "pain",
}  # fmt: skip


def canonical_expression(word: str) -> str:
    """The canonical class of a data set's own word or code, whatever its case.

    Raises:
        LayoutError: The word is none that a data set is known to use.
    """
    try:
        return _SPELLINGS[word.strip().lower()]
    except KeyError:
        known = ", ".join((*BASIC_EXPRESSIONS, NEUTRAL))
        raise LayoutError(f"{word!r} is not a known expression; known are {known} and their usual codes") from None
