"""Freed memory is kept inside the block and given back after it."""

import resource
import sys
from pathlib import Path

import pytest
import torch

from smilevlm.training.heap import freed_memory_kept

LARGE = 16 * 2**20


def page_faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(LARGE, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_freed_memory_is_kept_and_given_back():
    with freed_memory_kept():
        # glibc before 2.38 finds room for an aligned block in a free one of its size only after some rounds.
        rounds = [page_faults() for _ in range(10)]
        assert rounds[-1] < LARGE // resource.getpagesize()
        blocks = [torch.ones(LARGE, dtype=torch.uint8) for _ in range(4)]
        del blocks
        kept = resident_bytes()
    assert resident_bytes() < kept - 2 * LARGE
