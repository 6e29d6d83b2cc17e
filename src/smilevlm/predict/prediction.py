"""What the model says of one scan or sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from smilevlm.deprecation import warn_renamed
from smilevlm.geometry import NormalisedFace
from smilevlm.typing import ViewImages

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Where the time of one prediction went, in seconds.

    Args:
        read: From file bytes to meshes.
        face: Finding the face: unit, nose tip, pose, crop.
        views: Rendering, and pooling the frames of a sequence.
        network: Image tower, fusion and comparison; its share of the batch.
    """

    read: float
    face: float
    views: float
    network: float

    @property
    def total(self) -> float:
        return sum(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says of one scan or sequence.

    Args:
        label: The most probable class.
        probabilities: Class to probability; sums to one. A softmax over cosines; for the classes that the model was
            trained with its temperature is calibrated where `calibrated` says so.
        is_confident: Whether the label's probability reaches the model's level, below which it should be read as "not
            sure". For classes of one's own there is no such level. Never where the face was barely found, see
            `NormalisedFace.is_barely_found`.
        calibrated: Whether the probabilities were fitted to people held back from training.
        view_weights: View angle in degrees to its share in the fused embedding.
        views: The images the model saw; of a sequence the dynamic images.
        face: How the face was found: unit, pose, share of the mean face that the scan covers. Of a sequence that of
            its middle frame.
        num_frames: Meshes that were used; 1 for a scan.
        bad_frames: (file name, what is wrong) of a sequence's frames that could not be used; a neighbour took the place
            of each.
        seconds: Where the time went.
        remarks: What should be known beside the answer, a sentence each: files of a folder that were passed over,
            numbered files that were taken as a sequence, elements of a mesh that were left out, bad frames.
    """

    label: str
    probabilities: Mapping[str, float]
    is_confident: bool
    calibrated: bool
    view_weights: Mapping[float, float]
    views: ViewImages
    face: NormalisedFace
    num_frames: int
    bad_frames: tuple[tuple[str, str], ...]
    seconds: Timings
    remarks: tuple[str, ...] = ()

    @property
    def confidence(self) -> float:
        """The label's probability."""
        return self.probabilities[self.label]

    @property
    def is_sequence(self) -> bool:
        return self.num_frames > 1

    @property
    def sure(self) -> bool:
        """Deprecated name of `is_confident`."""
        warn_renamed("Prediction.sure", "is_confident")
        return self.is_confident

    def as_plain(self) -> dict[str, Any]:
        """Deprecated name of `to_dict`."""
        warn_renamed("Prediction.as_plain", "to_dict")
        return self.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """The prediction as values that JSON can hold: everything but the images and the mesh."""
        face = self.face
        return {
            "label": self.label,
            "is_confident": self.is_confident,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
            "calibrated": self.calibrated,
            "view_weights": {f"{angle:g}": weight for angle, weight in self.view_weights.items()},
            "frames": self.num_frames,
            "bad_frames": [{"file": name, "error": error} for name, error in self.bad_frames],
            "face": {
                "unit": face.unit,
                "mm_per_unit": face.mm_per_unit,
                "confidence": face.confidence,
                "template_coverage": face.fit_share,
                "rotation": face.rotation.tolist(),
            },
            "seconds": asdict(self.seconds),
            "remarks": list(self.remarks),
        }

    def plot(self) -> Figure:
        """A figure: the mesh from the front, the views that the network took with their weights, the probabilities.

        Returns:
            A figure of its own, which pyplot does not know: a notebook shows it, `figure.savefig` writes it.
        """
        from smilevlm.predict.presentation import plot

        return plot(self)

    def _repr_html_(self) -> str:
        """What a notebook shows of a prediction."""
        from smilevlm.predict.presentation import to_html

        return to_html(self)

    @property
    def verdict(self) -> str:
        """The label, or `not sure` when the model is not."""
        return self.label if self.is_confident else "not sure"
