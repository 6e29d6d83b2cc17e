"""The field types that result files share: each is a plain type with what pydantic checks of it on reading.

A check that needs the classes or the view angles finds them in the validation context, where `Classes` and
`ViewAngles` put them; a result file lists both first. Messages reach the reader through `fail`, as `ResultError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from pydantic import ValidationInfo
else:
    # A protocol that the tests' checks of types at run time cannot check.
    ValidationInfo = object

T = TypeVar("T")


class Record:
    """Base of a dataclass that is part of a result file: no unknown fields, no infinities, no converted types."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False, "strict": True}


@dataclass(frozen=True, kw_only=True)
class ResultFile(Record):
    """Base of the dataclass that is the whole of a result file; each sets its version as the default."""

    WRITTEN_BY: ClassVar[str] = ""
    """The command that writes the file again, where one does."""

    schema_version: int


def fail(place: str, message: str) -> NoReturn:
    """Refuse the value that is validated.

    Args:
        place: Path of the field at fault, below the value; empty for the value itself.
        message: What is wrong.
    """
    raise PydanticCustomError("contradiction", "{message}", {"place": place, "message": message})


def is_relative_path(text: str) -> bool:
    """Whether a text is a POSIX path that stays below the folder it is taken from."""
    path = PurePosixPath(text)
    return not (path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text or "\0" in text)


def angle_key(angle_deg: float) -> str:
    """How an angle is spelled as a JSON key: `-30`, `0`, `12.5`."""
    # Adding zero turns -0.0 into 0.0; a frontal view has one spelling.
    return str(int(angle_deg)) if float(angle_deg).is_integer() else repr(float(angle_deg) + 0.0)


def _rule(holds: Callable[[Any], object], message: str) -> AfterValidator:
    """A check of one value; the message is formatted with it."""

    def check(value: T) -> T:
        if not holds(value):
            fail("", message.format(value))
        return value

    return AfterValidator(check)


def _angle_from_key(key: str) -> float:
    try:
        if angle_key(angle := float(key)) == key:
            return angle
    except (ValueError, OverflowError):
        pass
    fail("", f"expected an angle in degrees as key, found {key!r}")


def _level_from_key(key: str) -> int:
    if not key.isdecimal() or str(int(key)) != key:
        fail("", f"expected a whole number as key, found {key!r}")
    return int(key)


def _remember(name: str) -> AfterValidator:
    """Keep a field's value in the validation context, for the fields after it."""

    def keep(values: tuple[T, ...], info: ValidationInfo) -> tuple[T, ...]:
        if info.context is not None:
            info.context[name] = values
        return values

    return AfterValidator(keep)


def context_of(info: ValidationInfo, name: str) -> tuple[Any, ...] | None:
    """The file's `classes` or `view_angles_deg`; None where they are invalid, which is an error already."""
    return (info.context or {}).get(name)


def _exactly(found: Mapping[T, Any], expected: tuple[T, ...], spell: Callable[[T], str]) -> dict[T, Any]:
    """A mapping in the order of the keys that it must have."""
    for key in expected:
        if key not in found:
            fail("", f"field {spell(key)!r} is missing")
    for key in found:
        if key not in expected:
            fail("", f"field {spell(key)!r} is unknown")
    return {key: found[key] for key in expected}


def _by_class(found: Mapping[str, T], info: ValidationInfo) -> Mapping[str, T]:
    classes = context_of(info, "classes")
    return found if classes is None else _exactly(found, classes, str)


def _one_class(name: str, info: ValidationInfo) -> str:
    classes = context_of(info, "classes")
    if classes is not None and name not in classes:
        fail("", f"expected one of {', '.join(classes)}, found {name!r}")
    return name


def _by_some_classes(found: Mapping[str, T], info: ValidationInfo) -> Mapping[str, T]:
    classes = context_of(info, "classes")
    if classes is None:
        return found
    for name in found:
        if name not in classes:
            fail(name, f"{name!r} is none of the classes")
    return {name: found[name] for name in classes if name in found}


def _by_angle(found: Mapping[float, T], info: ValidationInfo) -> Mapping[float, T]:
    angles = context_of(info, "view_angles_deg")
    return found if angles is None else _exactly(found, angles, angle_key)


def _square(matrix: tuple[tuple[int, ...], ...], info: ValidationInfo) -> tuple[tuple[int, ...], ...]:
    classes = context_of(info, "classes")
    if classes is None:
        return matrix
    if len(matrix) != len(classes):
        fail("", f"expected {len(classes)} rows, one per class, found {len(matrix)}")
    for index, row in enumerate(matrix):
        if len(row) != len(classes):
            fail(f"[{index}]", f"expected {len(classes)} counts, one per class, found {len(row)}")
    return matrix


_DISTINCT = _rule(lambda values: len(set(values)) == len(values), "a value is there twice: {}")
_ORDERED = _rule(lambda interval: interval[0] <= interval[1], "the lower end is above the upper end: {}")
_SUM_TO_ONE = _rule(lambda shares: abs(sum(shares.values()) - 1.0) <= 1e-4, "the values do not sum to 1: {}")
_BELOW = "expected a relative POSIX path that stays below the result file's folder, found {!r}"

Text = Annotated[str, _rule(str.strip, "expected a non-empty string, found {!r}")]
RelativePath = Annotated[Text, _rule(is_relative_path, _BELOW)]
"""A POSIX path below the folder of the result file."""
Names = Annotated[tuple[Text, ...], _DISTINCT]
Size = Annotated[int, Field(ge=0)]
"""A count or an index."""
PositiveSize = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Degrees = Annotated[float, Field(ge=-180.0, le=180.0)]
Count = Annotated[
    tuple[Size, PositiveSize], _rule(lambda count: count[0] <= count[1], "more correct than tested samples: {}")
]
"""(correct, tested) samples."""
SubjectCounts = Mapping[str, Count]
ByLevel = Mapping[Annotated[int, BeforeValidator(_level_from_key)], Count]
Classes = Annotated[Names, Field(min_length=2), _remember("classes")]
ViewAngles = Annotated[tuple[Degrees, ...], _DISTINCT, Field(min_length=1), _remember("view_angles_deg")]
OneClass = Annotated[str, AfterValidator(_one_class)]
ByClass = Annotated[Mapping[str, T], AfterValidator(_by_class)]
"""Exactly the file's classes as keys."""
BySomeClasses = Annotated[Mapping[str, T], AfterValidator(_by_some_classes)]
ByAngle = Annotated[Mapping[Annotated[float, BeforeValidator(_angle_from_key)], T], AfterValidator(_by_angle)]
"""Exactly the file's view angles as keys."""
Weights = Annotated[ByAngle[Share], _SUM_TO_ONE]
Probabilities = Annotated[ByClass[Share], _SUM_TO_ONE]
Interval = tuple[float, float]
"""Lower and upper end of a 95 % interval."""
ShareInterval = Annotated[tuple[Share, Share], _ORDERED]
ConfusionMatrix = tuple[tuple[int, ...], ...]
"""Counts; rows are the truth, columns the prediction, both in the order of `ExperimentResult.classes`."""
Confusion = Annotated[tuple[tuple[Size, ...], ...], AfterValidator(_square)]
"""The same as a field: square, one row per class."""
