"""Two populations: the default one is who it always was, the shifted one are other people before a worse scanner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smilevlm.errors import SettingsError
from smilevlm.synthesis.bosphorus import BosphorusSettings
from smilevlm.synthesis.bp4d import Bp4dSettings
from smilevlm.synthesis.bu3dfe import Bu3dfeSettings
from smilevlm.synthesis.bu4dfe import Bu4dfeSettings
from smilevlm.synthesis.data_set import settings_record
from smilevlm.synthesis.fourdme import FourdmeSettings
from smilevlm.synthesis.people import Person, draw_person
from smilevlm.synthesis.population import DEFAULT, SHIFTED, Population, worse_scanner
from smilevlm.synthesis.range_camera import RangeCameraSettings
from smilevlm.synthesis.scan_setup import ScannerSettings, draw_scan

SHAPES = ("l-eye-scale", "r-eye-scale", "mouth-angles-up", "nose-width", "chin-height")
ACTIONS = ("browInnerUp", "eyeWideLeft", "eyeWideRight", "jawOpen")
LAYOUTS = (Bu3dfeSettings, BosphorusSettings, Bu4dfeSettings, Bp4dSettings, FourdmeSettings)
PINNED = (
    "AE",
    0.9811457486453677,
    (
        -0.4182573388764221,
        -0.37107587747284027,
        0.018810130394907018,
        -0.061687211727884946,
        -0.8305307045707694,
        0.7828440893042022,
        0.9264080115399681,
        0.8550776012320447,
        -0.20220930985639982,
        0.26522465584651966,
        -0.20188366883297412,
    ),
)


def people(population: Population, num: int = 1, **changes: object) -> list[Person]:
    return [
        draw_person(
            np.random.default_rng([7, number]),
            sex="F",
            shape_changes=SHAPES,
            facial_actions=ACTIONS,
            population=replace(population, **changes),
        )
        for number in range(num)
    ]


def test_the_default_people_are_who_they_were_before_there_were_others():
    """Pinned on the version before: sets on disk must be what the same command writes today."""
    (person,) = people(DEFAULT)
    assert person.ethnicity == PINNED[0]
    assert person.size == pytest.approx(PINNED[1], rel=1e-12)
    found = [*person.shape.values(), *person.habits.values(), *person.lean.values()]
    assert found == pytest.approx(list(PINNED[2]), rel=1e-12)


def test_people_of_two_populations_share_nothing_at_one_seed():
    ours, theirs = people(DEFAULT, 20), people(SHIFTED, 20)
    for mine, other in zip(ours, theirs, strict=True):
        assert not set(mine.shape.values()) & set(other.shape.values())
        assert mine.preferences != other.preferences
    # Nor are they the same draws on another scale.
    first, second = ([[p.size, p.phenotype["weight"]] for p in group] for group in (ours, theirs))
    assert np.abs(np.corrcoef(np.array(first).T, np.array(second).T)[:2, 2:]).max() < 0.7


def test_the_populations_lie_apart():
    ours, theirs = people(DEFAULT, 150), people(SHIFTED, 150)
    for name in ("shape", "habits"):
        first, second = (np.array([list(getattr(p, name).values()) for p in group]) for group in (ours, theirs))
        apart = np.abs(first.mean(axis=0) - second.mean(axis=0)) / first.std(axis=0)
        assert apart.max() > 0.7, name
    assert np.mean([p.phenotype["age"] for p in theirs]) > np.mean([p.phenotype["age"] for p in ours]) + 0.05
    assert sum(p.ethnicity == "WH" for p in theirs) < sum(p.ethnicity == "WH" for p in ours) / 2


def test_both_sides_of_the_mean_face_are_alike():
    mean = SHIFTED.mean_shape(SHAPES)
    assert mean["l-eye-scale"] == mean["r-eye-scale"] != 0
    assert SHIFTED.mean_shape(SHAPES) == mean
    assert set(DEFAULT.mean_shape(SHAPES).values()) == {0.0}
    assert DEFAULT.habits(["jawOpen", "eyeWide"]) == {"jawOpen": 1.0, "eyeWide": 1.0}


def test_expressiveness_scales_habits():
    weak = people(SHIFTED, expressiveness=0.5)[0].habits
    strong = people(SHIFTED, expressiveness=1.0)[0].habits
    assert {name: 2 * value for name, value in weak.items()} == pytest.approx(strong)


@pytest.mark.parametrize("settings", [ScannerSettings(), RangeCameraSettings()])
def test_the_scanner_is_worse(settings):
    worse = worse_scanner(settings)
    assert worse.noise_mm > 1.5 * settings.noise_mm
    assert worse.max_holes > settings.max_holes
    assert worse.pose_deg == settings.pose_deg


def test_crop_and_holes_follow_their_factors():
    plain, _, _ = draw_scan(np.random.default_rng(3), ScannerSettings(max_holes=9))
    tight, _, _ = draw_scan(np.random.default_rng(3), ScannerSettings(max_holes=9, crop_share=0.8, hole_size=2.0))
    assert tight.crop.half_arc == pytest.approx(0.8 * plain.crop.half_arc)
    assert (tight.crop.up, tight.crop.down) == pytest.approx((0.8 * plain.crop.up, 0.8 * plain.crop.down))
    assert plain.holes
    for mine, other in zip(plain.holes, tight.holes, strict=True):
        assert other.centre == mine.centre
        assert other.radii == pytest.approx((2 * mine.radii[0], 2 * mine.radii[1]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_marker_says_who_they_are_and_old_markers_stay_valid(layout):
    plain = layout(num_subjects=2)
    found = settings_record(plain)
    assert "population" not in found
    assert not {"hole_size", "crop_share"} & set(found["scanner"])
    shifted = replace(plain, population=SHIFTED, scanner=worse_scanner(plain.scanner))
    assert settings_record(shifted)["population"]["dialect"] == SHIFTED.dialect
    assert settings_record(shifted)["scanner"]["noise_mm"] == 2 * plain.scanner.noise_mm


@pytest.mark.parametrize(
    "values",
    [
        {"shape_spread": -1.0},
        {"expressiveness": 9.0},
        {"dialect": 1.5},
        {"shape_shift": float("nan")},
        {"ages": (0.9, 0.6)},
        {"ethnicity_shares": (0.5, 0.5)},
        {"ethnicity_shares": (0.5, 0.5, 0.5, 0.0, 0.0, -0.5)},
    ],
)
def test_a_population_that_cannot_be(values):
    with pytest.raises(SettingsError, match=rf"population\.{next(iter(values))}"):
        Population(**values)


@pytest.mark.parametrize("values", [{"hole_size": 0.0}, {"crop_share": 0.3}, {"crop_share": float("nan")}])
def test_a_scanner_that_cannot_be(values):
    with pytest.raises(SettingsError, match=next(iter(values))):
        ScannerSettings(**values)
