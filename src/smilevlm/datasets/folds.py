"""Subject-independent folds: no subject is on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Int64

from smilevlm.errors import LeakError, SettingsError, first_few


def subject_folds(
    subjects: Sequence[str], num_folds: int, seed: int
) -> list[tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " test"]]]:
    """Split samples into folds by subject.

    Args:
        subjects: The subject of each sample.
        num_folds: How many folds; every sample is tested in exactly one.
        seed: Decides which subjects share a fold. Their order in `subjects` does not.

    Returns:
        (train, test) sample indices per fold, ascending.

    Raises:
        SettingsError: Fewer than two folds, or more folds than subjects.
    """
    names = np.asarray(subjects)
    unique = np.unique(names)
    if not 2 <= num_folds <= len(unique):
        raise SettingsError(f"{num_folds} folds for {len(unique)} subjects; expected 2 to {len(unique)}")
    shuffled = np.random.default_rng(seed).permutation(unique)
    folds = []
    for held_out in np.array_split(shuffled, num_folds):
        test = np.isin(names, held_out)
        train_indices, test_indices = np.flatnonzero(~test), np.flatnonzero(test)
        check_shared_subjects(train=names[train_indices].tolist(), test=names[test_indices].tolist())
        folds.append((train_indices, test_indices))
    return folds


def validation_subjects(subjects: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """Draw the inner validation subjects from the training subjects of one fold.

    Choices (an epoch, a threshold) are made on these, never on test subjects.

    Raises:
        SettingsError: The share leaves no subject on one side.
    """
    if share == 0:
        return ()
    unique = np.unique(np.asarray(subjects))
    count = round(share * len(unique))
    if not 0 < share < 1 or not 1 <= count < len(unique):
        raise SettingsError(f"a validation share of {share} of {len(unique)} subjects leaves one side empty")
    return tuple(sorted(np.random.default_rng([seed, 1]).permutation(unique)[:count].tolist()))


def check_shared_subjects(**groups: Sequence[str]) -> None:
    """Stop unless the named groups of subjects are disjoint.

    Raises:
        LeakError: Names two groups and the subjects they share.
    """
    for (first, some), (second, others) in combinations(groups.items(), 2):
        if shared := sorted(set(some) & set(others)):
            raise LeakError(f"subjects both in {first} and in {second}: {first_few(shared)}")
