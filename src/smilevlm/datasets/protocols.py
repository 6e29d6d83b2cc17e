"""Evaluation protocols as data: which samples of a data set are used, and what is known of the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from smilevlm.errors import LayoutError, SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS
from smilevlm.store import Sample


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """One published protocol.

    Args:
        name: Short name, used in recipes and results.
        title: Name for people.
        layout: Data set it belongs to.
        classes: In the order of the tables.
        levels: Intensities used.
        level: What one test sample is.
        source: Where the choice is published, and how sure that is.
    """

    name: str
    title: str
    layout: str
    classes: tuple[str, ...]
    levels: tuple[int, ...]
    level: Literal["scan", "sequence", "window"]
    source: str

    def select(self, samples: Sequence[Sample]) -> list[int]:
        """Indices of the samples that take part.

        Raises:
            LayoutError: A class has no sample at all.
        """
        chosen = [i for i, s in enumerate(samples) if s.expression in self.classes and s.level in self.levels]
        there = {samples[i].expression for i in chosen}
        absent = [name for name in self.classes if name not in there]
        if absent:
            raise LayoutError(f"protocol {self.name}: the store has no sample of {', '.join(absent)}")
        return chosen


PROTOCOLS: dict[str, EvaluationProtocol] = {
    "bu3dfe_subset1": EvaluationProtocol(
        name="bu3dfe_subset1",
        title="BU-3DFE Subset I: two highest intensities, six expressions",
        layout="bu3dfe",
        classes=BASIC_EXPRESSIONS,
        levels=(3, 4),
        level="scan",
        source="name confirmed by Li et al., IEEE TMM 2017; contents from general knowledge",
    ),
    "bu3dfe_subset2": EvaluationProtocol(
        name="bu3dfe_subset2",
        title="BU-3DFE Subset II: all four intensities, six expressions, no neutral",
        layout="bu3dfe",
        classes=BASIC_EXPRESSIONS,
        levels=(1, 2, 3, 4),
        level="scan",
        source="name confirmed by Li et al., IEEE TMM 2017; contents from general knowledge",
    ),
}


def find_protocol(name: str) -> EvaluationProtocol:
    """Raises:
    SettingsError: No protocol has this name.
    """
    if name not in PROTOCOLS:
        raise SettingsError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
