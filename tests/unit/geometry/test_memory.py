from __future__ import annotations

import numpy as np
import pytest

from smilevlm.geometry.memory import empty_arrays


@pytest.mark.parametrize("rows", [0, 1, 1000, 100_003, 700_000])
def test_arrays_have_their_shapes_and_do_not_overlap(rows):
    kinds = (((rows, 3), np.int32), ((rows, 3, 2), np.float32), ((7,), np.float64))
    arrays = empty_arrays(*kinds)
    for number, (array, (shape, kind)) in enumerate(zip(arrays, kinds, strict=True)):
        assert array.shape == shape
        assert array.dtype == kind
        assert array.flags.c_contiguous
        assert array.flags.aligned
        array[...] = number
    for number, array in enumerate(arrays):
        assert (array == number).all()
