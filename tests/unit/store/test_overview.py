"""The contact sheet of a prepared set."""

from __future__ import annotations

import shutil

import numpy as np
from PIL import Image

from smilevlm.store import PreparedSet
from smilevlm.store.overview import OVERVIEW_NAME, write_overview


def test_every_class_has_a_row_and_two_people(prepared_store, tmp_path):
    store = shutil.copytree(prepared_store, tmp_path / "store")
    prepared = PreparedSet(store)
    path = write_overview(prepared)
    assert path == store / OVERVIEW_NAME
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB"))
    num_classes = len({sample.expression for sample in prepared.samples})
    row_px, block_px = 112 + 18, 3 * 112 + 6
    assert sheet.shape == (num_classes * row_px + 18, 2 * block_px, 3)
    for row in range(num_classes):
        for column in range(2):
            for view in range(3):
                top, left = 18 + row * row_px + 18, column * block_px + view * 112
                assert sheet[top : top + 112, left : left + 112].std() > 10, "a picture, not a blank"


def test_the_same_store_gives_the_same_bytes(prepared_store, tmp_path):
    first, second = (shutil.copytree(prepared_store, tmp_path / name) for name in ("a", "b"))
    assert write_overview(PreparedSet(first)).read_bytes() == write_overview(PreparedSet(second)).read_bytes()
