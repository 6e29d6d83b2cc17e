"""What scoring refuses: people, epochs and prompts that the test subjects had a part in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from smilevlm.datasets.folds import first_few
from smilevlm.errors import CheckpointError, LeakError, PromptError
from smilevlm.models import ModelBundle, short_digests
from smilevlm.prompts import load_prompt_set
from smilevlm.store import Sample
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.fold_data import load_prompts
from smilevlm.training.splits import FoldSplit


def check_known_test_people(
    bundle: ModelBundle, split: FoldSplit, test: Sequence[Sample], *, same_set: bool, place: Path
) -> None:
    """Stop unless the model knows the split's training side and nobody else.

    Args:
        bundle: What is to be scored; it says whom it was trained on and whom its epoch was chosen on.
        split: Who should have been that.
        test: Samples that it is to be scored on.
        same_set: Whether they lie in the set that was trained on, where equal names are one person.
        place: Of the model, for messages.

    Raises:
        CheckpointError: The model does not say whom it knows, or it knows others than the split says.
        LeakError: A test subject was trained on or had a part in choosing the epoch, or test scans were seen under
            another name.
    """
    known = bundle.trained_on
    if known is None:
        raise CheckpointError(f"{place} does not say whom it was trained on; train it again")
    if same_set and (shared := sorted(set(known.subjects) & {sample.subject for sample in test})):
        raise LeakError(f"{place} was trained on test subjects, or its epoch chosen on them: {first_few(shared)}")
    if same := set(known.digests) & set(short_digests(sample.digest for sample in test)):
        raise LeakError(f"{place} was trained on the scans of {len(same)} test samples")
    expected = {*split.train_subjects, *split.validation_subjects}
    if set(known.subjects) != expected:
        strangers = sorted(set(known.subjects) ^ expected)
        raise CheckpointError(f"{place} was trained on other subjects than its fold file says: {first_few(strangers)}")


def check_chosen_prompts(config: ExperimentConfig, test_subjects: Collection[str], layout: str) -> None:
    """Stop when the recipe's prompts were chosen by how they do on test subjects.

    Args:
        config: Names the prompt set.
        test_subjects: As the data set names them.
        layout: Of that data set.

    Raises:
        LeakError: The prompt set says that it was chosen on one of them.
    """
    if config.pairing == "labels":
        return
    chosen_on = set(load_prompt_set(config.prompt_set).provenance.chosen_on)
    if shared := sorted(chosen_on & {f"{layout}/{subject}" for subject in test_subjects}):
        raise LeakError(f"prompt set {config.prompt_set} was chosen on test subjects: {first_few(shared)}")


def check_same_prompts(config: ExperimentConfig, bundle: ModelBundle, place: Path) -> None:
    """Stop when the model would be compared with other prompts than its recipe names.

    Raises:
        PromptError: The prompt file or the model's prompts were changed since training.
    """
    expected = load_prompts(config, bundle.classes).embeddings
    found = bundle.prompts
    same_texts = (found.texts, found.classes) == (expected.texts, expected.classes)
    if not same_texts or not np.allclose(found.raw, expected.raw, atol=1e-5):
        raise PromptError(
            f"the prompts kept with the model are not those of prompt set {config.prompt_set}: one of the two was "
            "changed since training; train again",
            path=place,
        )
