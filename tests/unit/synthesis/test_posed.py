"""Acting: regular as ever by default, and what each setting changes of it, on the motion alone."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.errors import SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.motion import Motion, MotionContext
from smilevlm.synthesis.people import draw_person, draw_tempo
from smilevlm.synthesis.posed import REGULAR, ActingSettings, posed_motion

PLAIN = {"intensity": REGULAR.intensity, "blend": 0.0, "irregularity": 0.0, "distraction": 0.0}


def stage(seed: int, num_frames: int = 100) -> MotionContext:
    model = head_model()
    person = draw_person(
        np.random.default_rng([seed, 77]),
        sex="F",
        shape_changes=model.shape_changes,
        facial_actions=model.facial_actions,
    )
    return MotionContext(
        person=person,
        tempo=draw_tempo(np.random.default_rng([seed, 78]), model.facial_actions),
        facial_actions=model.facial_actions,
        time_s=np.arange(num_frames) / 25,
    )


def act(seed: int, expression: str = "happy", num_frames: int = 100, **changes) -> Motion:
    settings = ActingSettings(**(PLAIN | changes))
    return posed_motion(np.random.default_rng([seed, 3]), stage(seed, num_frames), expression, settings)


def course(motion: Motion, stem: str) -> np.ndarray:
    return np.mean([motion.strength[:, motion.actions.index(f"{stem}{side}")] for side in ("Left", "Right")], axis=0)


def test_settings_of_nothing_are_regular_acting():
    assert ActingSettings(**PLAIN) == REGULAR
    np.testing.assert_array_equal(
        act(1).strength, posed_motion(np.random.default_rng([1, 3]), stage(1), "happy").strength
    )


def test_intensity_is_that_of_the_expression():
    weak, strong = ([course(act(s, intensity=(x, x)), "mouthSmile").max() for s in range(6)] for x in (0.3, 0.9))
    assert 0.2 < np.mean(weak) / np.mean(strong) < 0.55


def test_irregular_timing_begins_early_and_late_and_ends_after_the_recording():
    regular, irregular = ([act(s, irregularity=x) for s in range(40)] for x in (0.0, 1.0))
    length = len(regular[0].strength)
    peaks = [[motion.apex / length for motion in motions] for motions in (regular, irregular)]
    assert np.ptp(peaks[1]) > 1.2 * np.ptp(peaks[0])
    assert all(motion.onset > 0 and motion.offset < length - 1 for motion in regular)
    assert any(motion.onset == 0 for motion in irregular)
    assert any(motion.offset == length - 1 for motion in irregular)


def num_peaks(curve: np.ndarray) -> int:
    """Times that a curve rises through 80 % of its largest value after it was below 60 %."""
    peaks, low = 0, True
    for value in curve / curve.max():
        if low and value > 0.8:
            peaks, low = peaks + 1, False
        elif value < 0.6:
            low = True
    return peaks


def test_some_irregular_sequences_have_two_peaks():
    regular, irregular = (
        [num_peaks(course(act(s, irregularity=x), "mouthSmile")) for s in range(40)] for x in (0.0, 1.0)
    )
    assert set(regular) == {1}
    assert 4 <= np.sum(np.array(irregular) > 1) <= 24


def test_brows_and_mouth_are_out_of_step():
    def lag(seed: int, amount: float) -> float:
        motion = act(seed, "disgust", irregularity=amount)
        nose, cheeks = course(motion, "noseSneer"), course(motion, "mouthFrown")
        return float(np.argmax(nose > 0.5 * nose.max()) - np.argmax(cheeks > 0.5 * cheeks.max()))

    def brow_lag(seed: int, amount: float) -> float:
        motion = act(seed, "sad", irregularity=amount)
        brow, mouth = motion.strength[:, motion.actions.index("browInnerUp")], course(motion, "mouthFrown")
        return float(np.argmax(brow > 0.5 * brow.max()) - np.argmax(mouth > 0.5 * mouth.max()))

    assert np.std([brow_lag(s, 1.0) for s in range(24)]) > 1.5 * np.std([brow_lag(s, 0.0) for s in range(24)])
    # Both of the lower face.
    assert np.std([lag(s, 1.0) for s in range(24)]) < np.std([brow_lag(s, 1.0) for s in range(24)])


def test_another_expression_mixes_in_and_the_acted_one_stays_the_stronger():
    added = []
    for seed in range(24):
        pure, mixed = (act(seed, "happy", blend=x) for x in (0.0, 0.8))
        np.testing.assert_array_equal(pure.apex, mixed.apex)
        added.append((mixed.strength - pure.strength).sum(axis=1).max())
        assert (mixed.strength >= pure.strength - 1e-12).all()
        assert course(mixed, "mouthSmile").max() > 0.3
    assert np.mean(added) > 0.3


@pytest.mark.parametrize("amount", [0.5, 1.0, 2.0])
def test_distraction_moves_the_face_and_the_head_more(amount):
    def quiet(motion: Motion) -> float:
        """Movement of the whole face in the first frames, where nothing is acted yet."""
        return float(motion.strength[:4].sum())

    calm, busy = ([act(seed, distraction=x) for seed in range(24)] for x in (0.0, amount))
    assert np.mean([quiet(m) for m in busy]) > 1.15 * np.mean([quiet(m) for m in calm])
    assert np.mean([np.ptp(m.angles_deg) for m in busy]) > 1.15 * np.mean([np.ptp(m.angles_deg) for m in calm])


@pytest.mark.parametrize("expression", BASIC_EXPRESSIONS)
def test_the_hardest_acting_is_smooth_and_within_range_however_often_it_is_looked_at(expression):
    hard = {"intensity": (0.3, 1.1), "blend": 1.0, "irregularity": 1.0, "distraction": 2.0}
    for seed in range(4):
        motion, few = act(seed, expression, **hard), act(seed, expression, num_frames=8, **hard)
        for each in (motion, few):
            assert 0 <= each.strength.min() <= each.strength.max() <= 1
            assert 0 <= each.onset <= each.apex <= each.offset < len(each.strength)
            assert each.strength.sum(axis=1).max() > 0.3
        skin = [
            not name.startswith(("eye", "jawOpen", "mouthFunnel", "mouthPucker", "mouthShrug"))
            for name in motion.actions
        ]
        # Speech and lids are fast on purpose.
        assert np.abs(np.diff(motion.strength[:, skin], 2, axis=0)).max() < 0.2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"intensity": (0.0, 1.0)}, "intensity"),
        ({"intensity": (0.9, 0.8)}, "intensity"),
        ({"blend": 1.1}, "blend"),
        ({"irregularity": -0.1}, "irregularity"),
        ({"distraction": 2.1}, "distraction"),
    ],
    ids=str,
)
def test_settings_out_of_range(values, message):
    with pytest.raises(SettingsError, match=f"acting.{message}"):
        ActingSettings(**values)
