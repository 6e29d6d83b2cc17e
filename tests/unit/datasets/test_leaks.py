"""The leak check: subjects, bytes and frames that are on both sides."""

from __future__ import annotations

import pytest

from smilevlm.datasets import check_leaks
from smilevlm.errors import LeakError
from smilevlm.store import Sample


def window(subject: str, recording: str, first: int, last: int, digest: str = "") -> Sample:
    return Sample(
        sample_id=f"{recording}_w{first:06d}",
        subject=subject,
        expression="happy",
        level=0,
        recording=recording,
        first_frame=first,
        last_frame=last,
        digest=digest or f"{recording} {first}",
    )


TRAIN = [window("F001", "F001_Happy", 0, 49), window("F002", "F002_Happy", 0, 49)]


def test_other_people_s_other_files_are_no_leak():
    check_leaks(TRAIN, [window("F003", "F003_Happy", 0, 49)])
    check_leaks(TRAIN, [])
    check_leaks([], TRAIN)


def test_samples_of_which_only_the_name_is_known_are_compared_by_subject():
    one, other = (Sample(sample_id=f"{s}_happy", subject=s, expression="happy", level=4) for s in ("a", "b"))
    check_leaks([one], [other])
    with pytest.raises(LeakError, match="both in train and in test: a"):
        check_leaks([one], [one])


def test_a_subject_on_both_sides():
    with pytest.raises(LeakError, match=r"subjects both in train and in test: F002$"):
        check_leaks(TRAIN, [window("F002", "F002_Sad", 0, 49), window("F003", "F003_Sad", 0, 49)])


def test_the_same_scan_under_another_subject_s_name():
    with pytest.raises(LeakError, match="F003_Happy_w000000 is F002_Happy_w000000"):
        check_leaks(TRAIN, [window("F003", "F003_Happy", 0, 49, digest="F002_Happy 0")])


@pytest.mark.parametrize(("first", "last", "leaks"), [(49, 98, True), (50, 99, False), (20, 30, True), (0, 0, True)])
def test_windows_that_share_frames_of_one_recording(first, last, leaks):
    # The same recording under two subjects' names: only its own name gives it away.
    test = [window("F003", "F001_Happy", first, last, digest="other bytes")]
    if leaks:
        with pytest.raises(LeakError, match=f"share frames of one recording: F001_Happy_w{first:06d} and F001_Happy_w"):
            check_leaks(TRAIN, test)
    else:
        check_leaks(TRAIN, test)


def test_everything_found_is_told_at_once():
    with pytest.raises(LeakError, match=r"both in train and in test: F001; .* training samples: .*; .* share frames"):
        check_leaks(TRAIN, TRAIN[:1])
