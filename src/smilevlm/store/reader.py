"""Read a prepared set: labels at once, images when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from smilevlm.errors import StoreError
from smilevlm.store.actions import read_actions, with_actions
from smilevlm.store.manifest import Manifest, read_manifest
from smilevlm.store.parts import Sample, decode_views, rows_path, sample_from_row
from smilevlm.store.prepare import PARTS_NAME
from smilevlm.typing import ViewImages

if TYPE_CHECKING:
    import datasets


def _open_part(path: Path) -> datasets.Dataset:
    import datasets
    import pyarrow as pa

    try:
        return datasets.Dataset.from_file(str(path))
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete {path.parent} and run `smilevlm prepare` again"
        ) from None


class PreparedSet:
    """A finished store.

    Args:
        store: The folder that `prepare` wrote.
    """

    def __init__(self, store: Path) -> None:
        import datasets

        datasets.disable_progress_bars()
        self.path = store
        self.manifest: Manifest = read_manifest(store)
        parts = [rows_path(store / PARTS_NAME / part) for part in self.manifest.parts]
        absent = [path for path in parts if not path.is_file()]
        if absent:
            raise StoreError(f"{absent[0]} is missing; run `smilevlm prepare` again to make it")
        self._rows = datasets.concatenate_datasets([_open_part(path) for path in parts])
        labels = self._rows.remove_columns(["shape", "views"])
        recorded = read_actions(store, self.manifest.actions_digest)
        samples = (sample_from_row(row) for row in labels.to_list())
        self.samples: tuple[Sample, ...] = tuple(with_actions(s, recorded.get(s.recording)) for s in samples)
        if len(self.samples) != self.manifest.num_samples:
            raise StoreError(
                f"{store} holds {len(self.samples)} samples, its manifest says {self.manifest.num_samples}; "
                "it was changed after it was made"
            )

    def __len__(self) -> int:
        return len(self.samples)

    def images(self, index: int) -> ViewImages:
        """The views of one sample, in the order of the manifest's angles."""
        row = self._rows[index]
        try:
            return decode_views(row["views"], row["shape"])
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path}: the views of {row['sample_id']} are damaged: {error}") from None

    def load_images(self, indices: Sequence[int]) -> UInt8[np.ndarray, "sample view height width 3"]:
        """The views of several samples in memory."""
        return np.stack([self.images(index) for index in indices])
