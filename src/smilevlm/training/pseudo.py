"""Prompts without labels: a frozen teacher proposes a class for each training sample."""

from __future__ import annotations

from dataclasses import dataclass

from smilevlm.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class PseudoSettings:
    """Where prompts come from in pairing `pseudo`.

    Args:
        teacher: Run folder or fold folder of the model that proposes; needed with pairing `pseudo`.
        min_confidence: Samples whose most probable class has less than this probability get no prompt; they still take
            part in the multi-view loss.
        balance: Let no class have more prompts than its equal share, the most confident samples first.
    """

    teacher: str | None = None
    min_confidence: float = 0.5
    balance: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence < 1:
            raise SettingsError(f"pseudo.min_confidence is {self.min_confidence}; expected 0 to below 1")
