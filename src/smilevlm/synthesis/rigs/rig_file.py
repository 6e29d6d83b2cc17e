"""The YAML file by which users add a blendshape rig of their own; every error names the file and the field.

name: my_rig                # as tables have it; the file's name where it is left out
unit: cm                    # of the meshes: mm, cm, dm, m, inch
template: neutral.obj       # the head at rest; any format that `smilevlm` reads, looking along +z with +y up
shapes:                     # file -> ARKit name or FACS code, with the weight it is shown at where that is not 1;
  smile_left.obj: mouthSmileLeft           # or `auto`, the files of the template's folder that have ARKit's names
  lid_tightener.obj: AU7                   # both sides in one file: cut in the middle
  brows_down.obj: {browDown_L: 1, browDown_R: 0.8}
identity: [wide.obj, long.obj]    # directions of identity at one standard deviation
regions: {eyes: eyes.txt, teeth: teeth.txt, mouth: mouth.txt}   # vertex numbers from 0, one a line
landmarks: landmarks.txt    # vertex numbers of the usual 68 points; found by the shape where they are left out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from smilevlm.errors import SettingsError
from smilevlm.labels.actions import FACIAL_ACTIONS, arkit_shapes, facs_code
from smilevlm.synthesis.people import action_stem
from smilevlm.synthesis.rigs.blendshapes import arkit_name
from smilevlm.synthesis.rigs.rig import ARKIT_ACTIONS

UNITS_MM: Mapping[str, float] = {"mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0, "inch": 25.4}
REGIONS = ("eyes", "teeth", "mouth")
_FIELDS = ("name", "unit", "template", "shapes", "identity", "regions", "landmarks")
_AUTO = "auto"
_MESHES = (".obj", ".ply")


@dataclass(frozen=True, kw_only=True)
class RigFile:
    """What a rig file says, its paths complete.

    Args:
        path: The file itself.
        name: Of the rig.
        mm_per_unit: Of the meshes.
        template: The head at rest.
        shapes: Weight by ARKit's name of the action that a file shows, or of its left and right halves.
        identity: One file per direction.
        regions: File of vertex numbers by `REGIONS`.
        landmarks: File of 68 vertex numbers.
    """

    path: Path
    name: str
    mm_per_unit: float
    template: Path
    shapes: Mapping[Path, Mapping[str, float]]
    identity: tuple[Path, ...] = ()
    regions: Mapping[str, Path] = field(default_factory=dict)
    landmarks: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All that the rig is read from."""
        optional = [] if self.landmarks is None else [self.landmarks]
        return [self.path, self.template, *self.shapes, *self.identity, *self.regions.values(), *optional]


def read_rig_file(path: Path) -> RigFile:
    """Read and check a rig file.

    Raises:
        SettingsError: The file is no YAML, a field is missing, unknown or wrong, or a file that it names is not there.
    """
    return _Reader(path).read()


class _Reader:
    """Turns one file's values into a `RigFile`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise SettingsError(f"{path} cannot be read as a rig file: {error}") from None
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: expected 'key: value' pairs with the fields {', '.join(_FIELDS)}")
        self._values: dict[str, Any] = values

    def read(self) -> RigFile:
        unknown = [str(name) for name in self._values if name not in _FIELDS]
        if unknown:
            raise self._fault(unknown[0], f"is not known; fields are {', '.join(_FIELDS)}")
        unit = self._values.get("unit")
        if not isinstance(unit, str) or unit not in UNITS_MM:
            raise self._fault("unit", f"is {unit!r}; expected one of {', '.join(UNITS_MM)}")
        name = self._values.get("name", self._path.stem)
        if not isinstance(name, str) or not name.strip() or name != name.strip() or "," in name:
            raise self._fault("name", f"is {name!r}; expected a word")
        template = self._file("template", self._values.get("template"))
        landmarks = self._values.get("landmarks")
        return RigFile(
            path=self._path,
            name=name,
            mm_per_unit=UNITS_MM[unit],
            template=template,
            shapes=self._shapes(template),
            identity=tuple(self._file("identity", each) for each in self._list("identity")),
            regions=self._regions(),
            landmarks=None if landmarks is None else self._file("landmarks", landmarks),
        )

    def _fault(self, place: str, what: str) -> SettingsError:
        return SettingsError(f"{self._path}: field '{place}' {what}")

    def _file(self, place: str, value: object) -> Path:
        if not isinstance(value, str):
            raise self._fault(place, f"is {value!r}; expected the name of a file")
        file = self._path.parent / value
        if not file.is_file():
            raise self._fault(place, f"names {value}, which does not exist beside the rig file")
        return file

    def _list(self, place: str) -> Sequence[object]:
        values = self._values.get(place, [])
        if not isinstance(values, list):
            raise self._fault(place, "is no list; expected [file, file]")
        return values

    def _shapes(self, template: Path) -> dict[Path, dict[str, float]]:
        given = self._values.get("shapes", _AUTO)
        if given == _AUTO:
            files = sorted(file for file in template.parent.iterdir() if file.suffix.lower() in _MESHES)
            found = {file: dict.fromkeys(arkit_names(file.stem), 1.0) for file in files if arkit_names(file.stem)}
            if not found:
                raise self._fault("shapes", f"is auto, and {template.parent} has no mesh with an ARKit name")
            return found
        if not isinstance(given, dict) or not given:
            raise self._fault("shapes", "is empty or no mapping; expected 'file: action' pairs or auto")
        return {self._file("shapes", file): self._actions(str(file), value) for file, value in given.items()}

    def _actions(self, file: str, value: object) -> dict[str, float]:
        place = f"shapes.{file}"
        if not isinstance(value, str | int | dict) or value == {}:
            raise self._fault(
                place, f"is {value!r}; expected an action such as mouthSmileLeft or AU12, or {{jawOpen: 0.8}}"
            )
        weights = value if isinstance(value, dict) else {value: 1.0}
        actions: dict[str, float] = {}
        for name, weight in weights.items():
            known = arkit_names(str(name))
            if not known:
                raise self._fault(place, f"names {name!r}; expected an ARKit name or a FACS code that ARKit knows")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 10:
                raise self._fault(place, f"gives {name} the weight {weight!r}; expected above 0 to 10")
            actions |= dict.fromkeys(known, float(weight))
        stems = list(dict.fromkeys(map(action_stem, actions)))
        if len(stems) > 1:
            raise self._fault(place, f"names several actions ({', '.join(stems)}); give each a file of its own")
        return actions

    def _regions(self) -> dict[str, Path]:
        given = self._values.get("regions", {})
        if not isinstance(given, dict) or any(name not in REGIONS for name in given):
            raise self._fault("regions", f"is {given!r}; expected files by {', '.join(REGIONS)}")
        return {name: self._file(f"regions.{name}", value) for name, value in given.items()}


def arkit_names(text: str) -> tuple[str, ...]:
    """ARKit's names of an action: of its own name (`_L` and `_R` too, no side for both), or of a FACS code.

    Half of an action that ARKit does not cut in two, such as `browInnerUp_L`, is that action. A code with `L` or `R`
    behind it, such as `AU12L`, is of one side; AD30 needs it. Empty for what ARKit does not know.
    """
    name = arkit_name(text)
    if name in ARKIT_ACTIONS:
        return (name,)
    if action_stem(name) in ARKIT_ACTIONS:
        return (action_stem(name),)
    if f"{name}Left" in ARKIT_ACTIONS:
        return (f"{name}Left", f"{name}Right")
    side = {"L": "Left", "R": "Right"}.get(text[-1:], "")
    code = facs_code(text.removesuffix(text[-1:]).rstrip("_") if side else text)
    if code is None or (FACIAL_ACTIONS[code].toward and not side):
        return ()
    left, right = arkit_shapes(code, ARKIT_ACTIONS)
    if not FACIAL_ACTIONS[code].toward and code not in ("AU61", "AU62"):
        # One shape stands for the unit where ARKit cuts it into several, such as AU17 and AU28.
        left, right = left[:1], right[:1]
    return {"": tuple(dict.fromkeys(left + right)), "Left": left, "Right": right}[side]
