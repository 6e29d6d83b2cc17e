"""The people of each synthetic data set."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from smilevlm.synthesis import bosphorus, bp4d, bu3dfe, bu4dfe, face_model, fourdme
from smilevlm.synthesis.data_set import Layout
from smilevlm.synthesis.people import draw_person

NUM_PEOPLE = 3


class _DrawnError(Exception):
    """Enough was seen: nothing needs to be written."""


LAYOUTS: dict[str, tuple[Layout, Callable]] = {
    "bu3dfe": (bu3dfe.LAYOUT, bu3dfe.Bu3dfeSettings),
    "bosphorus": (bosphorus.LAYOUT, bosphorus.BosphorusSettings),
    "bu4dfe": (bu4dfe.LAYOUT, bu4dfe.Bu4dfeSettings),
    "bp4d": (bp4d.LAYOUT, bp4d.Bp4dSettings),
    "4dme": (fourdme.LAYOUT, fourdme.FourdmeSettings),
}


@pytest.fixture
def people_of(monkeypatch, tmp_path):
    """The random sources of a layout's people, and what was drawn of each person, in hashable form."""
    drawn: list[tuple[tuple[int, ...], str]] = []

    def note(rng, **settings):
        source = tuple(rng.bit_generator.seed_seq.generate_state(4).tolist())
        drawn.append((source, str(draw_person(rng, **settings).shape)))
        raise _DrawnError

    monkeypatch.setattr(face_model, "draw_person", note)

    def people(layout: str, seed: int) -> set[tuple[tuple[int, ...], str]]:
        drawn.clear()
        writer, make_settings = LAYOUTS[layout]
        settings = make_settings(num_subjects=NUM_PEOPLE, seed=seed)
        for part in writer.plan(settings):
            with pytest.raises(_DrawnError):
                writer.write_part(tmp_path, part, settings)
        return set(drawn)

    return people


def test_no_two_layouts_share_a_person_at_one_seed(people_of):
    """One may be tested on one data set after training on another, so nobody may be in both."""
    people = {layout: people_of(layout, 0) for layout in LAYOUTS}
    assert {layout: len(found) for layout, found in people.items()} == dict.fromkeys(LAYOUTS, NUM_PEOPLE)
    for first, second in itertools.combinations(LAYOUTS, 2):
        for mine, theirs in zip(zip(*people[first], strict=True), zip(*people[second], strict=True), strict=True):
            assert not set(mine) & set(theirs), (first, second)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_seeds_share_no_person_and_one_seed_repeats_them(people_of, layout):
    first = people_of(layout, 0)
    assert people_of(layout, 0) == first
    assert not people_of(layout, 1) & first
