"""Who is in which synthetic data set."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from smilevlm.synthesis import bosphorus, bp4d, bu3dfe, bu4dfe, fourdme, sequences
from smilevlm.synthesis.bosphorus import BosphorusSettings
from smilevlm.synthesis.bp4d import Bp4dSettings, plan_bp4d
from smilevlm.synthesis.bu3dfe import Bu3dfeSettings
from smilevlm.synthesis.bu4dfe import Bu4dfeSettings, plan_bu4dfe
from smilevlm.synthesis.fourdme import FourdmeSettings, plan_4dme
from smilevlm.synthesis.people import draw_person

NUM_PEOPLE = 3


class _DrawnError(Exception):
    """Enough was seen: nothing needs to be written."""


def write_bu3dfe(seed: int) -> list[Callable[[Path], None]]:
    settings = Bu3dfeSettings(num_subjects=NUM_PEOPLE, seed=seed)
    names = bu3dfe.subject_names(NUM_PEOPLE)
    return [lambda root, n=n, name=name: bu3dfe.write_subject(root, n, name, settings) for n, name in enumerate(names)]


def write_bosphorus(seed: int) -> list[Callable[[Path], None]]:
    settings = BosphorusSettings(num_subjects=NUM_PEOPLE, seed=seed)
    return [lambda root, n=n: bosphorus.write_subject(root, n, settings) for n in range(NUM_PEOPLE)]


def write_bu4dfe(seed: int) -> list[Callable[[Path], None]]:
    settings = Bu4dfeSettings(num_subjects=NUM_PEOPLE, seed=seed)
    return [lambda root, s=s: bu4dfe.write_sequence(root, s, settings) for s in plan_bu4dfe(settings)[0]]


def write_bp4d(seed: int) -> list[Callable[[Path], None]]:
    settings = Bp4dSettings(num_subjects=NUM_PEOPLE, seed=seed)
    return [lambda root, s=s: bp4d.write_sequence(root, s, settings) for s in plan_bp4d(settings)]


def write_4dme(seed: int) -> list[Callable[[Path], None]]:
    settings = FourdmeSettings(num_subjects=NUM_PEOPLE, seed=seed)
    return [lambda root, c=c: fourdme.write_clip(root, c, settings) for c in plan_4dme(settings)]


LAYOUTS = {
    "bu3dfe": write_bu3dfe, "bosphorus": write_bosphorus, "bu4dfe": write_bu4dfe, "bp4d": write_bp4d,
    "4dme": write_4dme,
}  # fmt: skip


@pytest.fixture
def people_of(monkeypatch, tmp_path):
    """The random sources of a layout's people, and what was drawn of each person, in hashable form."""
    drawn: list[tuple[tuple[int, ...], str]] = []

    def note(rng, **settings):
        source = tuple(rng.bit_generator.seed_seq.generate_state(4).tolist())
        drawn.append((source, str(draw_person(rng, **settings).shape)))
        raise _DrawnError

    for module in (bu3dfe, bosphorus, sequences):
        monkeypatch.setattr(module, "draw_person", note)

    def people(layout: str, seed: int) -> set[tuple[tuple[int, ...], str]]:
        drawn.clear()
        for write in LAYOUTS[layout](seed):
            with pytest.raises(_DrawnError):
                write(tmp_path)
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
