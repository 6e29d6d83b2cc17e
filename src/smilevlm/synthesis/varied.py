"""Very varied faces as a folder of meshes: what the bundled model is trained on.

Every person is of one rig (head model) and has a face family of their own (`FaceFamily`), shows each expression in
one of many ways (`VARIANTS`), and every file has an appearance of its own: scanner or modeller, density, crop, holes,
noise, hair, eyeballs, teeth, pose, unit and format. Some people are filmed, too.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_letters
from typing import get_args

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import SettingsError
from smilevlm.files import write_atomically
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL, UNLABELLED, actions_from_arkit
from smilevlm.readers import RecordedActions, write_mesh
from smilevlm.synthesis.amplitudes import Amplitude, amplified, draw_amplitude
from smilevlm.synthesis.data_set import Layout, SubjectFolder, check_range, check_seed, subject_names
from smilevlm.synthesis.expressions import by_side, draw_idle
from smilevlm.synthesis.face_family import FaceFamily, draw_family
from smilevlm.synthesis.incidental import draw_action_combination, draw_incidental
from smilevlm.synthesis.marker import OMIT_DEFAULT, RECORD
from smilevlm.synthesis.motion import (
    MotionContext,
    blinks,
    combine,
    drift,
    idle_movement,
    limit_angles,
    phase_frames,
    plateau,
    sway,
)
from smilevlm.synthesis.people import Person, draw_tempo
from smilevlm.synthesis.population import Population
from smilevlm.synthesis.rigs.loading import BUILT_IN, load_rig, load_rigs, rig_identities, rig_names
from smilevlm.synthesis.rigs.rig import ARKIT_ACTIONS, Rig, shown_actions
from smilevlm.synthesis.scan_appearance import (
    SURFACES,
    Hair,
    SurfaceForm,
    apply_appearance,
    draw_appearance,
    draw_hair,
    draw_pose,
    hidden_actions,
    place_mesh,
)
from smilevlm.synthesis.scan_setup import Pose, rotation_from_angles
from smilevlm.synthesis.seeds import SeedKey
from smilevlm.synthesis.variants import (
    CONFUSED,
    draw_blend,
    draw_manner,
    draw_variant,
    draw_varied_actions,
    draw_wide_variant,
    show_in_manner,
)
from smilevlm.typing import Vertices

_EXPRESSIONS = (NEUTRAL, *BASIC_EXPRESSIONS)
_FORMATS = ("ply", "obj", "off", "stl")
_FORMAT_SHARES = (0.7, 0.1, 0.1, 0.1)
_FRAMES_PER_SECOND = 8.0
_FEMALE_SHARE = 0.5
_NEUTRAL_SCANS = 3
"""Of one person for each of an expression's: faces at rest differ most, and are met most."""
_GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Its multiples modulo one fill [0, 1) evenly from the first on."""
SUBJECTS_FILE = "subjects.csv"
_NECK_MM = np.array([0.0, -55.0, -95.0])


@dataclass(frozen=True, kw_only=True)
class VariedSettings:
    """What to write.

    Args:
        num_subjects: People.
        seed: Decides everything.
        scans: Single scans of each person and expression.
        filmed_share: Of the people who are filmed as well, one sequence per expression.
        frames: Frames per sequence; sequences vary around it.
        strength: How unlike each other the people's face families are, 0 for the rig's own faces.
        population: Which people there are, None for another mixture per person.
        action_scans: Single scans of each person that show a random combination of actions and belong to no class.
        blend_scans: Single scans of each person between two expressions that people confuse; they have both classes.
        wide_share: Of the expressions, those shown in a further way (`WIDE_VARIANTS`, FACS frequencies).
        incidental_share: Of all faces, those that do something besides: an open mouth, closed eyes, speech.
        whole_face_share: Of the expressions of a rig whose authors made whole faces (`Rig.draw_expression`), those
            shown by them; their actions are not recorded.
        rigs: Head models, see `rigs.loading.load_rig`; the marker records them by name, content
            and the scale of their actions.
        rig_shares: Of the people, per rig; they sum to one. Empty for equal shares.
        at_rest: Whether every file shows the person's neutral face, everything else being as without; a model that
            tells such expressions apart has found a shortcut. Of scans only.
    """

    num_subjects: int = 200
    seed: int = 0
    scans: int = 1
    filmed_share: float = 0.15
    frames: int = 12
    strength: float = 0.0
    population: Population | None = None
    action_scans: int = 5
    blend_scans: int = 1
    wide_share: float = 0.2
    incidental_share: float = 0.25
    whole_face_share: float = 0.3
    rigs: tuple[str, ...] = field(default=(BUILT_IN,), metadata={RECORD: rig_identities})
    rig_shares: tuple[float, ...] = field(default=(), metadata=OMIT_DEFAULT)
    at_rest: bool = field(default=False, metadata=OMIT_DEFAULT)

    def __post_init__(self) -> None:
        check_range("num_subjects", self.num_subjects, 1, 99_999)
        check_range("scans", self.scans, 0, 17)
        check_range("frames", self.frames, 6, 1000)
        check_seed(self.seed)
        check_range("action_scans", self.action_scans, 0, len(ascii_letters))
        check_range("blend_scans", self.blend_scans, 0, len(ascii_letters))
        for name, most in (
            ("filmed_share", 1), ("wide_share", 1), ("incidental_share", 1), ("whole_face_share", 1), ("strength", 2),
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= most:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected 0 to {most}")
        if self.at_rest and self.filmed_share > 0:
            raise SettingsError(f"filmed_share is {self.filmed_share}; expected 0 where faces are at rest")
        if not self.rigs:
            raise SettingsError("rigs is empty; expected at least one head model")
        shares = self.shares
        if len(shares) != len(self.rigs) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise SettingsError(
                f"rig_shares is {shares}; expected a share of at least 0 for each of {len(self.rigs)} rigs, "
                "which sum to one"
            )

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the people, per rig."""
        return self.rig_shares or (1 / len(self.rigs),) * len(self.rigs)

    def rig_number_of(self, person: int) -> int:
        """Which of the rigs a person is of: nearly the shares asked for among the first of them, however many."""
        place = (person + 0.5) * _GOLDEN_RATIO % 1
        number = int(np.searchsorted(np.cumsum(self.shares), place, side="right"))
        return min(number, len(self.rigs) - 1)


def plan_varied(settings: VariedSettings) -> list[SubjectFolder]:
    """The people to write; their scans lie in `<person>/<expression>/`."""
    names = subject_names(settings.num_subjects, _FEMALE_SHARE, num_digits=5)
    return [SubjectFolder(number=number, path=name) for number, name in enumerate(names)]


@dataclass(frozen=True, kw_only=True)
class VariedPerson:
    """One person with a face family of their own: actions in, heads out.

    Args:
        rig: The head model.
        person: Shape and habits.
        family: The person's way with the rig's shapes and expressions.
        hair: Hair and beard.
    """

    rig: Rig
    person: Person
    family: FaceFamily
    hair: Hair

    def heads(self, actions: Sequence[Mapping[str, float]]) -> Iterator[Vertices]:
        """Refined heads in the face frame, nose tip of the neutral face at the origin."""
        heads: Float32[np.ndarray, "expression vert 3"] = np.stack(list(self.rig.heads(self.person, [{}, *actions])))
        for head in self.family.heads(self.rig.surface, heads[0], heads[1:]):
            yield self.hair.on(head)


def _write_person(
    _root: Path, folder: Path, part: SubjectFolder, settings: VariedSettings
) -> dict[str, RecordedActions]:
    key = SeedKey(layout="varied", seed=settings.seed, person=part.number)
    person = draw_varied_person(
        key.generator("person"),
        sex=part.path[0],
        strength=settings.strength,
        population=settings.population,
        rig=load_rigs(settings.rigs)[settings.rig_number_of(part.number)],
    )
    amplitude = draw_amplitude(key.generator("amplitude"), person.rig)
    filmed = key.generator("filmed").uniform() < settings.filmed_share
    planned = list(_plan_scans(key, folder, person, amplitude, settings))
    shown = [{} if settings.at_rest else scan.actions for scan in planned]
    done: dict[str, RecordedActions] = {}
    for scan, weights, head in zip(planned, shown, person.heads(shown), strict=True):
        hidden = _write_scan(scan, person, head)
        if scan.of_actions:
            name = _sample_id(part, scan.path, planned)
            done[name] = RecordedActions(intensities=actions_from_arkit(weights), unjudged=hidden)
    for place, expression in enumerate((*_EXPRESSIONS, UNLABELLED) if filmed else ()):
        rng = key.generator("film", place)
        (folder / expression).mkdir(exist_ok=True)
        show = _draw_amplifier(key.generator("amplifier/film", place), person.rig, amplitude)
        full = draw_scan_actions(rng, person, expression, settings, idle=0.0)
        film = folder / expression / "film"
        done[f"{part.path}_{expression}_film"] = _write_sequence(rng, film, person, settings.frames, full, show)
    return done


def _sample_id(part: SubjectFolder, path: Path, planned: Sequence[_PlannedScan]) -> str:
    """As the folder layout names a scan: by its file only where several lie in one folder."""
    name = f"{part.path}_{path.parent.name}"
    is_alone = sum(scan.path.parent == path.parent for scan in planned) == 1
    return name if is_alone else f"{name}_{path.stem}"


@dataclass(frozen=True, kw_only=True)
class _PlannedScan:
    """One scan before it is made.

    Args:
        rng: Its own generator, which goes on.
        path: Its file.
        actions: Weights of the rig's shapes.
        of_actions: Whether they are those of actions; else they are a whole face of the rig's authors.
    """

    rng: np.random.Generator
    path: Path
    actions: Mapping[str, float]
    of_actions: bool


def _plan_scans(
    key: SeedKey, folder: Path, person: VariedPerson, amplitude: Amplitude, settings: VariedSettings
) -> Iterator[_PlannedScan]:
    numbers = {expression: settings.scans for expression in _EXPRESSIONS}
    numbers[NEUTRAL] *= _NEUTRAL_SCANS
    numbers[UNLABELLED] = settings.action_scans
    blended = CONFUSED[int(key.generator("blend").integers(len(CONFUSED)))]
    numbers["+".join(blended)] = settings.blend_scans
    for place, (expression, number_of_scans) in enumerate(numbers.items()):
        target = folder / expression
        if number_of_scans:
            target.mkdir()
        # The folder layout reads one format per folder.
        suffix = _draw_format(key.generator("format", place))
        for number in range(number_of_scans):
            rng = key.generator(f"scan/{number}", place)
            actions = draw_scan_actions(rng, person, expression, settings)
            show = _draw_amplifier(key.generator(f"amplifier/{number}", place), person.rig, amplitude)
            whole = _draw_whole_face(key.generator(f"whole/{number}", place), person.rig, expression, settings)
            path = target / f"scan_{ascii_letters[number]}.{suffix}"
            shown = whole or shown_actions(person.rig, actions)
            yield _PlannedScan(rng=rng, path=path, actions=show(shown), of_actions=not whole)


def _draw_whole_face(rng: np.random.Generator, rig: Rig, expression: str, settings: VariedSettings) -> dict[str, float]:
    return rig.draw_expression(rng, expression) if rng.uniform() < settings.whole_face_share else {}


def _draw_amplifier(
    rng: np.random.Generator, rig: Rig, amplitude: Amplitude
) -> Callable[[Mapping[str, float]], dict[str, float]]:
    """How strongly one scan or sequence shows weights in [0, 1], from a generator of its own."""
    factor, rest = amplitude.draw(rng), rig.draw_rest(rng)

    def show(weights: Mapping[str, float]) -> dict[str, float]:
        strong = amplified(weights, factor)
        return {name: strong.get(name, 0.0) + rest.get(name, 0.0) for name in {**strong, **rest}}

    return show


def draw_scan_actions(
    rng: np.random.Generator,
    person: VariedPerson,
    expression: str,
    settings: VariedSettings,
    *,
    idle: float | None = None,
) -> dict[str, float]:
    """ARKit weights of one scan of an expression, of `neutral`, or of `unlabelled`: a random combination of actions.

    Args:
        rng: The scan's own generator.
        person: Their habits shape the expression.
        expression: A basic expression, two joined by `+`, `neutral` or `unlabelled`.
        settings: Shares of the further ways and of incidental movement.
        idle: Strength of movements that belong to no expression, None to draw it.
    """
    idle = float(rng.uniform(0, 0.9)) if idle is None else idle
    if expression == UNLABELLED:
        shown = draw_action_combination(rng, person.rig.facial_actions)
        resting = by_side(rng, person.person, draw_idle(rng, 0.5 * idle), ARKIT_ACTIONS)
        return {name: max(shown.get(name, 0.0), resting.get(name, 0.0)) for name in {**resting, **shown}}
    wide = expression in BASIC_EXPRESSIONS and rng.uniform() < settings.wide_share
    if "+" in expression:
        recipe = draw_blend(rng, *expression.split("+"))
    else:
        recipe = draw_wide_variant(rng, expression) if wide else draw_variant(rng, expression)
    weights = draw_varied_actions(
        rng,
        person=person.person,
        recipe=recipe,
        intensity=_draw_intensity(rng),
        facial_actions=ARKIT_ACTIONS,
        idle=idle,
        incidental=draw_incidental(rng) if rng.uniform() < settings.incidental_share else {},
    )
    return show_in_manner(rng, weights, draw_manner(rng)) if wide else weights


def draw_varied_person(
    rng: np.random.Generator,
    *,
    sex: str,
    strength: float = VariedSettings.strength,
    population: Population | None = None,
    rig: Rig | None = None,
) -> VariedPerson:
    """Draw one person from the person's own generator.

    Args:
        rng: The person's own generator.
        sex: `F` or `M`.
        strength: How unlike each other the people's face families are.
        population: Which people there are, None for another mixture per person.
        rig: The head model, None for the built-in one.
    """
    rig = rig or load_rig(BUILT_IN)
    person = rig.draw_person(rng, sex=sex, population=population or _draw_population(rng))
    return VariedPerson(
        rig=rig,
        person=person,
        family=draw_family(rng, strength=strength, log_gain=rig.log_gain),
        hair=draw_hair(rng, rig.surface, bearded=sex == "M"),
    )


def _draw_population(rng: np.random.Generator) -> Population:
    """Another mixture of people for each person: ages from children to the old, all shares of ancestry."""
    youngest = float(rng.uniform(0.45, 0.95))
    return Population(
        shape_spread=float(rng.uniform(0.6, 1.35)),
        ages=(youngest, 1.0),
        ethnicity_shares=(0.28, 0.18, 0.18, 0.12, 0.12, 0.12),
        expressiveness=float(rng.uniform(0.95, 1.25)),
        habit_spread=1.0,
        asymmetry=float(rng.uniform(0.3, 1.6)),
    )


def _draw_format(rng: np.random.Generator) -> str:
    return _FORMATS[int(rng.choice(len(_FORMATS), p=_FORMAT_SHARES))]


def _write_scan(scan: _PlannedScan, person: VariedPerson, head: Vertices) -> tuple[str, ...]:
    """Write one file; returns the actions that it could not show."""
    forms = get_args(SurfaceForm) if scan.path.suffix == ".ply" else SURFACES
    appearance = draw_appearance(scan.rng, person.rig.surface, person.hair, forms=forms)
    mesh = apply_appearance(scan.rng, appearance, head)
    write_mesh(place_mesh(mesh, draw_pose(scan.rng), appearance.mm_per_unit), scan.path)
    return hidden_actions(appearance, person.rig.surface)


def _draw_intensity(rng: np.random.Generator) -> float:
    """Mostly full; weak ones too, so that subtle expressions are in the training set."""
    return float(rng.uniform(0.95, 1.35) if rng.uniform() < 0.75 else rng.uniform(0.5, 0.95))


def _write_sequence(
    rng: np.random.Generator,
    folder: Path,
    person: VariedPerson,
    num_frames: int,
    full: Mapping[str, float],
    show: Callable[[Mapping[str, float]], dict[str, float]],
) -> RecordedActions:
    """One sequence of one appearance, a file per frame; `show` as of `_draw_amplifier`.

    Returns:
        What the face does where it shows most.
    """
    folder.mkdir()
    num_frames = max(6, round(num_frames * rng.uniform(0.7, 1.3)))
    names: tuple[str, ...] = ARKIT_ACTIONS
    context = MotionContext(
        person=person.person,
        tempo=draw_tempo(rng, names),
        facial_actions=names,
        time_s=np.arange(num_frames) / _FRAMES_PER_SECOND,
    )
    acted = _expression(rng, context, full)
    strength = combine(
        acted,
        idle_movement(rng, context, float(rng.uniform(0.2, 1.0))),
        blinks(rng, context),
    )
    appearance = draw_appearance(rng, person.rig.surface, person.hair, forms=SURFACES)
    seat = draw_pose(rng)
    angles, offsets = sway(rng, context, angles_deg=(1.6, 1.4, 0.8), offset_mm=1.5)
    angles = limit_angles(angles)
    suffix = _draw_format(rng)
    rows = (dict(zip(names, row.tolist(), strict=True)) for row in strength)
    actions = [show(shown_actions(person.rig, row)) for row in rows]
    for frame, head in enumerate(person.heads(actions)):
        turn = seat.rotation @ rotation_from_angles(*angles[frame].tolist())
        pose = Pose(rotation=turn, offset_mm=seat.offset_mm + offsets[frame] + _NECK_MM - turn @ _NECK_MM)
        mesh = place_mesh(apply_appearance(rng, appearance, head), pose, appearance.mm_per_unit)
        write_mesh(mesh, folder / f"{frame:03d}.{suffix}")
    apex = actions_from_arkit(actions[phase_frames(acted)[1]])
    return RecordedActions(intensities=apex, unjudged=hidden_actions(appearance, person.rig.surface))


def _expression(rng: np.random.Generator, context: MotionContext, full: Mapping[str, float]) -> np.ndarray:
    """Coming and going, or only coming: each action with an envelope of its own."""
    end = context.duration_s
    start, peak = sorted(rng.uniform(0, 0.45, 2) * end)
    goes = rng.uniform() < 0.5
    release, gone = sorted(rng.uniform(0.55, 1.0, 2) * end) if goes else (2 * end, 3 * end)
    curves = {}
    for name, value in full.items():
        late = float(rng.normal(0, 0.03)) * end
        wave = 1 + 0.05 * np.tanh(drift(rng, context.time_s, fastest_hz=1.0))
        envelope = plateau(
            context.time_s, start=start + late, peak=peak + late + 0.02 * end, release=release + late + 0.02 * end,
            end=gone + late + 0.08 * end,
        )  # fmt: skip
        curves[name] = min(value, 0.97) * envelope * wave
    return np.clip(context.strengths(curves), 0, 1)


def _write_subjects(root: Path, settings: VariedSettings, parts: Sequence[SubjectFolder]) -> None:
    """The table of people: which rig each is of."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("subject", "rig"))
    names = rig_names(settings.rigs)
    writer.writerows((part.path, names[settings.rig_number_of(part.number)]) for part in parts)
    write_atomically(root / SUBJECTS_FILE, table.getvalue())


LAYOUT = Layout(name="folder", plan=plan_varied, write=_write_person, write_shared=_write_subjects)
synthesize_varied = LAYOUT.synthesize
