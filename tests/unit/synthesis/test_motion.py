"""Movements are smooth, begin and end neutral, belong to the person; a micro-expression is hardly to be seen."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.labels import BASIC_EXPRESSIONS, MICRO_EXPRESSIONS, NEUTRAL, SPONTANEOUS_EXPRESSIONS
from smilevlm.readers import ActionUnit
from smilevlm.synthesis.action_units import ACTION_UNITS, occurs, sides
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.expressions import RECIPES
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.micro import MICRO_UNITS, MicroExpression, draw_micro_expression, micro_motion
from smilevlm.synthesis.motion import (
    MotionContext,
    Phase,
    animate_expression,
    drift,
    minimum_jerk,
    plateau,
    soft_limit,
    squash,
)
from smilevlm.synthesis.people import Person, Tempo, draw_person, draw_tempo
from smilevlm.synthesis.posed import posed_motion
from smilevlm.synthesis.scan_setup import ScannerSettings
from smilevlm.synthesis.spontaneous import TASKS, spontaneous_motion

FRAMES_PER_SECOND = 25.0
LIDS = ("eyeBlinkLeft", "eyeBlinkRight")


def subject(seed: int) -> tuple[Person, Tempo]:
    model = head_model()
    rng = np.random.default_rng([seed, 77])
    person = draw_person(rng, sex="F", shape_changes=model.shape_changes, facial_actions=model.facial_actions)
    return person, draw_tempo(np.random.default_rng([seed, 78]), model.facial_actions)


def make_stage(seed: int = 0, num_frames: int = 100, frames_per_second: float = FRAMES_PER_SECOND) -> MotionContext:
    person, tempo = subject(seed)
    time_s = np.arange(num_frames) / frames_per_second
    return MotionContext(person=person, tempo=tempo, facial_actions=head_model().facial_actions, time_s=time_s)


def without_lids(context: MotionContext, strength: np.ndarray) -> np.ndarray:
    """Blinks are fast on purpose."""
    return strength[:, [name not in LIDS for name in context.facial_actions]]


# --- curves -----------------------------------------------------------------------------------------------------


def test_ease_by_hand():
    np.testing.assert_allclose(
        minimum_jerk(np.array([-1, 0, 0.25, 0.5, 1, 2.0])), [0, 0, 0.103515625, 0.5, 1, 1], atol=1e-12
    )


def test_ease_starts_and_stops_without_speed_or_acceleration():
    x = np.linspace(-0.2, 1.2, 2801)
    speed = np.gradient(minimum_jerk(x), x)
    acceleration = np.gradient(speed, x)
    for end in (0.0, 1.0):
        here = int(np.argmin(np.abs(x - end)))
        assert abs(speed[here]) < 1e-4
        assert abs(acceleration[here]) < 0.1
    assert speed.max() == pytest.approx(15 / 8, rel=1e-3)


def test_plateau_holds_between_peak_and_release():
    time = np.linspace(0, 4, 401)
    curve = plateau(time, start=0.5, peak=1.0, release=2.0, end=3.0)
    assert curve[time <= 0.5].max() == 0
    np.testing.assert_allclose(curve[(time >= 1.0) & (time <= 2.0)], 1)
    assert curve[time >= 3.0].max() == 0
    assert (np.diff(curve[time <= 1.0]) >= 0).all()
    assert (np.diff(curve[time >= 2.0]) <= 0).all()


def test_drift_has_about_unit_variance_and_no_fast_parts():
    time = np.arange(0, 200, 0.04)
    curves = [drift(np.random.default_rng(seed), time, slowest_hz=0.1, fastest_hz=0.5) for seed in range(30)]
    assert np.std(curves) == pytest.approx(1, abs=0.1)
    power = np.abs(np.fft.rfft(curves, axis=1)) ** 2
    frequency = np.fft.rfftfreq(len(time), 0.04)
    assert power[:, frequency > 0.7].sum() < 0.01 * power.sum()


def test_squeezed_curves_stay_within_their_limits():
    curve = np.linspace(-50, 50, 101)
    assert np.abs(soft_limit(curve, 25.0)).max() <= 25
    assert soft_limit(np.array([0.1]), 25.0)[0] == pytest.approx(0.1, rel=1e-4)
    assert squash(curve).min() >= 0
    assert squash(np.zeros(1))[0] == 0.5


# --- posed expressions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", BASIC_EXPRESSIONS)
@pytest.mark.parametrize("seed", range(6))
def test_a_posed_expression_begins_and_ends_neutral(expression, seed):
    context = make_stage(seed)
    duration = context.duration_s
    phase = Phase(start=0.1 * duration, peak=0.3 * duration, release=0.5 * duration, end=0.9 * duration)
    strength = animate_expression(np.random.default_rng(seed), context, expression, intensity=1.0, phase=phase)
    assert strength[0].max() == strength[-1].max() == 0
    motion = posed_motion(np.random.default_rng(seed), context, expression)
    assert 0 < motion.onset < motion.apex < motion.offset < len(context.time_s) - 1
    strongest = max(RECIPES[expression].core, key=RECIPES[expression].core.__getitem__)
    columns = [motion.actions.index(name) for name in sides(strongest, motion.actions)]
    course = motion.strength[:, columns].mean(axis=1)
    assert course[motion.apex] > 0.35
    assert max(course[0], course[-1]) < 0.3 * course[motion.apex]


@pytest.mark.parametrize("expression", [*BASIC_EXPRESSIONS, NEUTRAL])
def test_posed_motion_is_smooth_and_within_range(expression):
    for seed in range(8):
        context = make_stage(seed)
        motion = posed_motion(np.random.default_rng([seed, 1]), context, expression)
        assert motion.strength.min() >= 0
        assert motion.strength.max() <= 1
        # The fastest rise takes 0.28 s, 7 frames, and its greatest acceleration is 5.8 / 7 ** 2 per frame.
        assert np.abs(np.diff(without_lids(context, motion.strength), 2, axis=0)).max() < 0.17
        assert np.abs(np.diff(motion.angles_deg, 2, axis=0)).max() < 0.6
        assert np.abs(np.diff(motion.offset_mm, 2, axis=0)).max() < 0.3


def jerkiness(strength: np.ndarray) -> float:
    return float(np.abs(np.diff(strength, 2, axis=0)).max())


@pytest.mark.parametrize("act", ["posed", "spontaneous"])
def test_speed_has_no_jumps(act):
    """Looked at four times as often, second differences fall by sixteen; with a jump in speed they would by four."""
    for seed in range(5):
        seen = []
        for rate in (1, 4):
            context = make_stage(seed, 400 * rate + 1, rate * 200.0)
            rng = np.random.default_rng([seed, 6])
            posed = act == "posed"
            motion = posed_motion(rng, context, "angry") if posed else spontaneous_motion(rng, context, TASKS[1])
            seen.append((jerkiness(without_lids(context, motion.strength)), jerkiness(motion.angles_deg)))
        for coarse, fine in zip(*seen, strict=True):
            assert coarse / fine > 9


def test_the_same_movement_at_another_rate():
    """A smooth motion does not depend on how often it is looked at."""
    slow, fast = make_stage(3, 101), make_stage(3, 201, 2 * FRAMES_PER_SECOND)
    seen = [posed_motion(np.random.default_rng(4), context, "happy") for context in (slow, fast)]
    np.testing.assert_allclose(seen[0].strength, seen[1].strength[::2], atol=1e-9)
    np.testing.assert_allclose(seen[0].angles_deg, seen[1].angles_deg[::2], atol=1e-9)


def test_few_frames_show_the_whole_expression():
    motion = posed_motion(np.random.default_rng(0), make_stage(0, 8), "surprise")
    jaw = motion.strength[:, motion.actions.index("jawOpen")]
    assert jaw.max() > 0.2
    assert max(jaw[0], jaw[-1]) < 0.3 * jaw.max()


def test_people_have_their_own_tempo():
    """How long an expression is held differs more between people than between one person's sequences."""

    def held(person_seed: int, sequence: int) -> float:
        context = make_stage(person_seed)
        motion = posed_motion(np.random.default_rng([sequence, 5]), context, "happy")
        smile = motion.strength[:, motion.actions.index("mouthSmileLeft")]
        return float((smile > 0.8 * smile.max()).mean())

    times = np.array([[held(person, sequence) for sequence in range(8)] for person in range(12)])
    within = times.std(axis=1).mean()
    between = times.mean(axis=1).std()
    assert between > 0.6 * within
    assert np.ptp(times.mean(axis=1)) > 0.1


def test_brows_mouth_and_sides_do_not_move_at_once():
    halfway = []
    for seed in range(10):
        context = make_stage(seed)
        duration = context.duration_s
        phase = Phase(start=0.1 * duration, peak=0.3 * duration, release=0.5 * duration, end=0.9 * duration)
        strength = animate_expression(np.random.default_rng(seed), context, "surprise", intensity=1.0, phase=phase)
        names = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "jawOpen")
        courses = [strength[:, context.facial_actions.index(name)] for name in names]
        halfway.append([context.time_s[np.argmax(course > 0.5 * course.max())] for course in courses])
    spread = np.ptp(halfway, axis=1)
    assert spread.max() > 0.07
    assert (spread > 0).mean() > 0.7


def test_blinks_happen_at_the_persons_rate():
    context = make_stage(1, num_frames=5000)
    motion = posed_motion(np.random.default_rng(2), context, NEUTRAL)
    lid = motion.strength[:, motion.actions.index("eyeBlinkLeft")]
    shut = lid > 0.7
    count = int((shut[1:] & ~shut[:-1]).sum())
    expected = context.tempo.blinks_per_s * context.duration_s
    assert 0.6 * expected < count < 1.3 * expected
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], shut, [0]]).astype(int))))[::2]
    assert np.median(runs) / FRAMES_PER_SECOND < 0.3


def test_the_same_stream_gives_the_same_motion():
    first, again, other = (
        posed_motion(np.random.default_rng(seed), make_stage(1), "fear").strength for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# --- spontaneous behaviour ----------------------------------------------------------------------------------------


def test_the_tasks_are_bp4ds():
    expressions = [TASKS[task].expression for task in range(1, 9)]
    assert expressions == ["happy", "sad", "surprise", "embarrassment", "fear", "pain", "angry", "disgust"]
    assert set(expressions) == set(SPONTANEOUS_EXPRESSIONS)
    assert all(set(task.others) <= set(SPONTANEOUS_EXPRESSIONS) for task in TASKS.values())


@pytest.mark.parametrize("task", list(TASKS))
def test_spontaneous_motion_is_smooth_mixed_and_turns_the_head(task):
    yaws = []
    for seed in range(8):
        context = make_stage(seed, num_frames=150)
        motion = spontaneous_motion(np.random.default_rng([seed, task]), context, TASKS[task])
        assert motion.strength.min() >= 0
        assert motion.strength.max() <= 1
        assert np.abs(np.diff(without_lids(context, motion.strength), 2, axis=0)).max() < 0.25
        assert np.abs(np.diff(motion.angles_deg, 2, axis=0)).max() < 1.5
        assert 0 < motion.onset <= motion.apex <= motion.offset < 150
        yaws.append(np.abs(motion.angles_deg[:, 0]).max())
    assert max(yaws) > 8
    assert max(yaws) <= 25


def test_the_tasks_emotion_is_there_more_than_in_other_tasks():
    def smile(task: int) -> float:
        motions = [
            spontaneous_motion(np.random.default_rng([seed, 9]), make_stage(seed, 100), TASKS[task])
            for seed in range(12)
        ]
        return float(np.mean([m.strength[:, m.actions.index("mouthSmileLeft")].max() for m in motions]))

    assert smile(1) > 2 * smile(2)


def test_embarrassment_looks_down_and_bows():
    looks, bows = [], []
    for seed in range(12):
        context = make_stage(seed, 100)
        motion = spontaneous_motion(np.random.default_rng([seed, 2]), context, TASKS[4])
        down = motion.strength[:, motion.actions.index("eyeLookDownLeft")]
        looks.append(down[motion.apex] - down[0])
        bows.append(motion.angles_deg[motion.apex, 1] - motion.angles_deg[0, 1])
    assert np.mean(looks) > 0.2
    assert np.mean(bows) > 2


# --- micro-expressions --------------------------------------------------------------------------------------------


def micro_stage(micro: MicroExpression, seed: int = 0) -> MotionContext:
    return make_stage(seed, micro.num_frames, 60.0)


@pytest.mark.parametrize("labels", [(label,) for label in MICRO_EXPRESSIONS] + [("positive", "surprise")], ids="+".join)
def test_a_micro_expression_is_subtle_and_short(labels):
    """Nowhere does the skin move 2 mm, and where it moves, it moves by more than the scanner's noise."""
    model, places = head_model(), anatomy()
    for seed in range(6):
        micro = draw_micro_expression(np.random.default_rng([seed, 1]), labels)
        assert 12 <= micro.offset - micro.onset + 1 <= 30
        assert 0 < micro.onset < micro.apex < micro.offset < micro.num_frames - 1
        context = micro_stage(micro, seed)
        motion = micro_motion(np.random.default_rng([seed, 2]), context, micro)
        first, apex, last = (motion.at(frame) for frame in (0, micro.apex, micro.num_frames - 1))
        for name in LIDS:
            for strengths in (first, apex, last):
                strengths[name] = 0.0
        person = context.person
        coarse = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=[first, apex, last])
        fine = np.stack([model.topology.refine @ vertices for vertices in coarse])
        skin = places.eyes == 0
        moved = np.linalg.norm(fine[1] - fine[0], axis=1)[skin]
        assert moved.max() < 2.0
        where = moved > 0.3 * moved.max()
        assert moved[where].mean() > ScannerSettings().noise_mm
        rest = np.linalg.norm(fine[2] - fine[0], axis=1)[skin]
        assert rest.max() < 0.6 * moved.max()


def test_a_micro_expression_is_strongest_at_its_apex():
    micro = MicroExpression(
        labels=("positive",),
        units=(ActionUnit(number=12, side="L"), ActionUnit(number=4, static=True)),
        blinks=False,
        intensity=0.2,
        num_frames=30,
        onset=4,
        apex=12,
        offset=25,
    )
    motion = micro_motion(np.random.default_rng(0), micro_stage(micro), micro)
    left, right, brow = (
        motion.strength[:, motion.actions.index(name)] for name in ("mouthSmileLeft", "mouthSmileRight", "browDownLeft")
    )
    assert int(np.argmax(left)) == 12
    assert left[12] - left[0] == pytest.approx(0.2 * 0.36, abs=0.02)
    assert np.ptp(right) < 0.02
    # `(k)`: kept all the time.
    assert brow.min() > 0.2
    assert np.ptp(brow) < 0.03
    assert np.abs(motion.angles_deg).max() < 3


def test_every_micro_class_uses_known_units():
    assert set(MICRO_UNITS) == set(MICRO_EXPRESSIONS)
    assert {unit for uses in MICRO_UNITS.values() for use in uses for unit in use} <= set(ACTION_UNITS)


# --- action units -------------------------------------------------------------------------------------------------


def test_there_are_22_units_and_each_moves_something():
    assert len(ACTION_UNITS) == 22
    known = head_model().facial_actions
    for actions in ACTION_UNITS.values():
        assert all(set(sides(action, known)) <= set(known) for action in actions)


def test_sides_are_the_persons_own():
    known = head_model().facial_actions
    assert sides("mouthSmile", known, "L") == ("mouthSmileLeft",)
    assert sides("mouthSmile", known) == ("mouthSmileLeft", "mouthSmileRight")
    assert sides("jawOpen", known, "R") == ("jawOpen",)


def test_units_occur_where_their_action_is_strong():
    context = make_stage(2)
    motion = posed_motion(np.random.default_rng(1), context, "happy")
    smiling = occurs(motion, 12)
    assert smiling[motion.apex]
    assert not smiling[0]
    assert not occurs(motion, 1, threshold=0.9).any()
