"""Prompts without labels: a frozen teacher proposes a class for each training sample."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from smilevlm.errors import CheckpointError, PromptError, SettingsError
from smilevlm.models import (
    ModelBundle,
    bundle_digest,
    class_prototypes,
    predicted_classes,
    probabilities,
    zero_shot_scores,
)
from smilevlm.results import FoldProposals, PairingTeacher
from smilevlm.store import Manifest, read_json_fields
from smilevlm.training.initial_weights import load_initial_weights
from smilevlm.views import ViewSettings

Balance = Literal["none", "cap", "sinkhorn"]
_SINKHORN_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class PseudoSettings:
    """Where prompts come from in pairing `pseudo`.

    The defaults follow from the accuracy of proposals on a shifted synthetic population, see docs/log.md.

    Args:
        teacher: Run folder (its first fold is used) or fold folder of the model that proposes; needed with pairing
            `pseudo`.
        temperature: Of the softmax over the teacher's cosines that confidences come from, in place of the one that its
            own probabilities have. Higher than that of the loss it was trained with: on other people's faces it is less
            often right than it is sure.
        mirror: Show the teacher each head and its mirror image, and take the mean.
        balance: `none` takes the teacher's word. `cap` lets no class have more prompts than an equal share of the
            samples, the most confident first. `sinkhorn` moves the confidences as little as makes all classes equally
            frequent over the samples, before the most probable one is taken; for sets whose classes are.
        min_confidence: Samples whose class has less than this probability get no prompt; they still take part in the
            multi-view loss.
    """

    teacher: str | None = None
    temperature: float = 0.15
    mirror: bool = True
    balance: Balance = "sinkhorn"
    min_confidence: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise SettingsError(f"pseudo.temperature is {self.temperature}; expected a positive number")
        if not 0 <= self.min_confidence < 1:
            raise SettingsError(f"pseudo.min_confidence is {self.min_confidence}; expected 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class TeacherIdentity:
    """Which model proposed.

    Args:
        name: Run and fold folder.
        digest: sha256 over its files.
        manifest_hash: Of the prepared set that it was trained on.
        synthetic: Whether that set is synthetic.
    """

    name: str
    digest: str
    manifest_hash: str
    synthetic: bool


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A frozen model that proposes, and which one it is."""

    bundle: ModelBundle
    identity: TeacherIdentity


@dataclass(frozen=True, kw_only=True)
class ProposedClasses:
    """What a teacher proposes for samples whose labels it does not see.

    Args:
        teacher: Which model.
        classes: Of each sample, None where it gets no prompt.
        confidence: Probability of each sample's most probable class, after balancing.
        proposed: How often each class is the most probable.
        kept: How many of these became prompts.
    """

    teacher: TeacherIdentity
    classes: tuple[str | None, ...]
    confidence: tuple[float, ...]
    proposed: Mapping[str, int]
    kept: Mapping[str, int]


def load_teacher(settings: PseudoSettings, manifest: Manifest) -> Teacher:
    """Load the teacher that settings name, and refuse one that does not fit.

    Args:
        settings: Name it.
        manifest: Of the set that it will see.

    Raises:
        SettingsError: No teacher is named.
        CheckpointError: There is no trained model, or it does not say what it was trained on.
        StoreError: It was trained on views made in another way.
    """
    if settings.teacher is None:
        raise SettingsError("pairing 'pseudo' needs a teacher: set pseudo.teacher to a run folder or a fold folder")
    folder, bundle = load_initial_weights(settings.teacher, "pseudo.teacher", manifest)
    trained_on = bundle.trained_on
    assert trained_on is not None
    resolved = folder.resolve()
    identity = TeacherIdentity(
        name=f"{resolved.parent.name}/{resolved.name}",
        digest=bundle_digest(folder),
        manifest_hash=trained_on.manifest_hash,
        synthetic=bundle.synthetic,
    )
    return Teacher(bundle=bundle, identity=identity)


def propose_classes(
    teacher: Teacher,
    images: UInt8[np.ndarray, "sample view height width 3"],
    class_names: Sequence[str],
    settings: PseudoSettings,
) -> ProposedClasses:
    """Let a teacher propose a class for each sample. Nothing here knows a label.

    Args:
        teacher: Frozen.
        images: The samples' views, all of them: balancing looks at the whole set.
        class_names: The classes of the protocol; the teacher must have prompts of each, and is asked for no other.
        settings: How its scores become proposals.

    Raises:
        PromptError: The teacher has no prompt of a class.
        SettingsError: Mirroring is wanted, but the views have no counterparts; or no proposal is confident enough.
    """
    scores = _scores(teacher.bundle, images, class_names, settings.mirror)
    shares = probabilities(scores, settings.temperature)
    if settings.balance == "sinkhorn":
        shares = equally_frequent(shares)
    chosen = predicted_classes(shares)
    confidence = shares.max(axis=1)
    kept = confidence >= settings.min_confidence
    if settings.balance == "cap":
        kept &= _within_share(chosen, confidence, len(class_names))
    if not kept.any():
        raise SettingsError(
            f"the teacher is surer than {settings.min_confidence:g} of none of {len(chosen)} samples "
            f"(at most {confidence.max():.2f}); lower pseudo.min_confidence, or take a better teacher"
        )
    names = [class_names[int(number)] for number in chosen]
    return ProposedClasses(
        teacher=teacher.identity,
        classes=tuple(name if keep else None for name, keep in zip(names, kept.tolist(), strict=True)),
        confidence=tuple(confidence.tolist()),
        proposed=_counts(chosen, class_names),
        kept=_counts(chosen[kept], class_names),
    )


def equally_frequent(shares: Float64[np.ndarray, "sample class"]) -> Float64[np.ndarray, "sample class"]:
    """Probabilities, rescaled per class until all classes have the same sum; each row sums to one.

    Source: Sinkhorn and Knopp, Pacific J. Math. 21(2), 1967, in logarithms; as assignment of pseudo labels: Asano et
    al., Self-labelling via simultaneous clustering and representation learning, ICLR 2020.
    """
    from scipy.special import logsumexp

    logs = np.log(np.maximum(shares, np.finfo(np.float64).tiny))
    for _ in range(_SINKHORN_STEPS):
        logs -= logsumexp(logs, axis=0, keepdims=True)
        logs -= logsumexp(logs, axis=1, keepdims=True)
    return np.exp(logs)


def read_pairing_teacher(fold_files: Mapping[int, Path]) -> PairingTeacher:
    """What result files say of the teacher, from the proposals that each fold was trained on.

    Args:
        fold_files: The file with a fold's `ProposedClasses` by the fold's number.

    Raises:
        CheckpointError: A file is missing or damaged, or the folds had different teachers.
    """
    read = {fold: read_proposals(path) for fold, path in fold_files.items()}
    identities = {each.teacher for each in read.values()}
    if len(identities) != 1:
        named = ", ".join(sorted(f"{identity.name} {identity.digest[:8]}" for identity in identities))
        raise CheckpointError(f"the folds of one run had different teachers ({named or 'none'}); train it again")
    proposals = tuple(
        FoldProposals(fold=fold, num_samples=len(each.classes), proposed=each.proposed, kept=each.kept)
        for fold, each in sorted(read.items())
    )
    return PairingTeacher(**asdict(identities.pop()), proposals=proposals)


def read_proposals(path: Path) -> ProposedClasses:
    """What a teacher proposed for a fold.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        return read_json_fields(ProposedClasses, json.loads(path.read_text()))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; the fold was not trained with pairing 'pseudo'") from None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def _scores(
    bundle: ModelBundle, images: np.ndarray, class_names: Sequence[str], mirror: bool
) -> Float64[np.ndarray, "sample class"]:
    prompts = bundle.prompts
    if missing := [name for name in class_names if name not in prompts.classes]:
        raise PromptError(f"the teacher has no prompts for {', '.join(missing)}; it knows {', '.join(bundle.classes)}")
    rows = [row for row, name in enumerate(prompts.classes) if name in class_names]
    prototypes = class_prototypes(prompts.centred[rows], [prompts.classes[row] for row in rows], class_names)
    seen = [images, mirrored(images, bundle.prepare.views)] if mirror else [images]
    return np.mean([zero_shot_scores(bundle.embed(each).z_fused, prototypes) for each in seen], axis=0)


def mirrored(
    images: UInt8[np.ndarray, "sample view height width 3"], views: ViewSettings
) -> UInt8[np.ndarray, "sample view height width 3"]:
    """Views of the mirrored heads: each view is the mirror image of the one from the other side.

    Raises:
        SettingsError: A view has no counterpart.
    """
    angles = views.angles_deg
    if set(angles) != {-angle for angle in angles}:
        raise SettingsError(f"pseudo.mirror needs view angles symmetric about 0, got {angles}; switch it off")
    turned = np.ascontiguousarray(images[:, [angles.index(-angle) for angle in angles], :, ::-1])
    if views.kind == "normals":
        # The horizontal normal changes its sign; empty pixels are black in every channel and stay so.
        drawn = turned.any(axis=-1)
        turned[..., 0] = np.where(drawn, 255 - turned[..., 0], 0)
    return turned


def _within_share(
    chosen: Int64[np.ndarray, " sample"], confidence: Float64[np.ndarray, " sample"], num_classes: int
) -> Bool[np.ndarray, " sample"]:
    limit = -(-len(chosen) // num_classes)
    within = np.zeros(len(chosen), bool)
    for number in range(num_classes):
        of_class = np.flatnonzero(chosen == number)
        within[of_class[np.argsort(-confidence[of_class], kind="stable")[:limit]]] = True
    return within


def _counts(chosen: Int64[np.ndarray, " sample"], class_names: Sequence[str]) -> dict[str, int]:
    return dict(zip(class_names, np.bincount(chosen, minlength=len(class_names)).tolist(), strict=True))
