from __future__ import annotations

import pytest

from smilevlm.datasets import LAYOUTS, PROTOCOLS, find_layout, find_protocol
from smilevlm.errors import LayoutError, SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.store import Sample


def samples() -> list[Sample]:
    poses = [(NEUTRAL, 0), *((name, level) for name in BASIC_EXPRESSIONS for level in (1, 2, 3, 4))]
    return [
        Sample(sample_id=f"{subject}_{name}{level}", subject=subject, expression=name, level=level)
        for subject in ("F0001", "M0001")
        for name, level in poses
    ]


@pytest.mark.parametrize(("name", "levels"), [("bu3dfe_subset1", (3, 4)), ("bu3dfe_subset2", (1, 2, 3, 4))])
def test_a_protocol_selects_its_levels_and_never_neutral(name, levels):
    faces = samples()
    chosen = find_protocol(name).select(faces)
    expected = [i for i, s in enumerate(faces) if s.level in levels and s.expression != NEUTRAL]
    assert chosen == expected
    assert len(chosen) == 2 * 6 * len(levels)
    assert {faces[i].level for i in chosen} == set(levels)
    assert {faces[i].expression for i in chosen} == set(BASIC_EXPRESSIONS)


def test_a_missing_class_is_named():
    faces = [s for s in samples() if s.expression not in ("happy", "fear")]
    with pytest.raises(LayoutError, match="bu3dfe_subset1: the store has no sample of happy, fear"):
        find_protocol("bu3dfe_subset1").select(faces)
    low = [s for s in samples() if s.expression != "sad" or s.level < 3]
    with pytest.raises(LayoutError, match="no sample of sad"):
        find_protocol("bu3dfe_subset1").select(low)
    assert find_protocol("bu3dfe_subset2").select(low)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_know_their_name_and_layout(name):
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert protocol.layout in LAYOUTS
    assert protocol.classes == BASIC_EXPRESSIONS


def test_unknown_names():
    with pytest.raises(SettingsError, match="no protocol 'bu5dfe'; there are bu3dfe_subset1"):
        find_protocol("bu5dfe")
    with pytest.raises(SettingsError, match="no layout 'bu5dfe'; there are bu3dfe"):
        find_layout("bu5dfe")
