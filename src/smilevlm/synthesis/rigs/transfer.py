"""Carry displacements from one rig's surface to another's: which point of the one lies where on the other.

Landmarks give a smooth first guess; closest points then pull every vertex onto the other surface, through a field that
is smoothed along the skin, so that neighbours stay neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy import sparse
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from smilevlm.errors import SettingsError
from smilevlm.synthesis.anatomy import on_the_outside
from smilevlm.synthesis.rigs.rig import RigSurface
from smilevlm.typing import Faces, Vertices

_LANDMARKS = (8, *range(17, 68))
"""Chin, brows, nose, eyes and mouth: the outline of the jaw is a place of the view, not of the skin."""
_LANDMARK_SLACK_MM2 = 1.0
_PULLS = (60, 30, 15, 8)
"""Steps of smoothing of each round of pulling towards the closest points."""
_FURTHEST_PULL_MM = 15.0
_NORMAL_MM = 8.0
"""How much a turn of the normal counts as distance, so that the lower lip finds no point on the upper one."""
_CLOSEST = 4
_AROUND, _AROUND_MM = 60, 8.0
"""What lies within the head follows this many vertices of the skin nearest to it, weighted over this distance."""
_FINISH = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """Where the vertices of one surface lie on another.

    Args:
        weights: Sparse (row, vert of the source); rows sum to one.
        rows: The row of each vertex of the target; all of an eyeball share one, as do all of the jaws.
        target: Of what is carried.
    """

    weights: sparse.csr_matrix
    rows: Int64[np.ndarray, " vert"]
    target: RigSurface

    def carry(self, displacement_mm: Vertices) -> Vertices:
        """A displacement of the source's vertices as one of the target's, smooth along its skin, mm."""
        carried = (self.weights @ displacement_mm)[self.rows]
        for _ in range(_FINISH):
            carried = self.target.skin_average @ carried
        return carried.astype(np.float32)


def register(source: RigSurface, target: RigSurface) -> Registration:
    """Find the point of `source` for every vertex of `target`.

    Raises:
        SettingsError: A surface has no landmarks.
    """
    if source.landmarks is None or target.landmarks is None:
        raise SettingsError("rigs can be registered to each other only where both have the 68 landmarks")
    places = list(_LANDMARKS)
    own, other = target.position_mm[target.landmarks[places]], source.position_mm[source.landmarks[places]]
    first_guess = RBFInterpolator(own, other, kernel="thin_plate_spline", smoothing=_LANDMARK_SLACK_MM2)
    # Rounded, so that the bits do not depend on how many cores solved it.
    warped = np.round(first_guess(target.position_mm), 3).astype(np.float32)
    outside = outer_skin(target)
    usable = np.flatnonzero(outer_skin(source))
    normals = vertex_normals(source.position_mm, source.faces)
    tree = KDTree(np.concatenate([source.position_mm, _NORMAL_MM * normals], axis=1)[usable])
    for smoothing in _PULLS:
        warped = _pull(warped, target, outside, source.position_mm[usable], tree, smoothing)
    distance, nearest = tree.query(_features(warped, target.faces)[outside], k=_CLOSEST)
    shares = 1 / np.maximum(distance, 0.1) ** 2
    rows = np.repeat(np.flatnonzero(outside), _CLOSEST)
    values = (shares / shares.sum(axis=1, keepdims=True)).ravel()
    shape = (len(target.position_mm), len(source.position_mm))
    skin = sparse.csr_matrix((values, (rows, usable[nearest].ravel())), shape=shape)
    pieces = _rigid_pieces(target)
    first = np.arange(len(outside))
    for piece in pieces:
        first[piece] = np.flatnonzero(piece)[0]
    distinct, rows = np.unique(first, return_inverse=True)
    weights = _follow_skin(target, outside, pieces)[distinct] @ skin
    return Registration(weights=sparse.csr_matrix(weights), rows=rows.astype(np.int64), target=target)


def outer_skin(surface: RigSurface) -> Bool[np.ndarray, " vert"]:
    """Vertices of the skin that can be seen from outside, and all of the skin behind the face."""
    skin = ~(surface.eyes | surface.inner | surface.inside_mouth)
    seen = np.zeros(len(skin), bool)
    seen[skin] = on_the_outside(surface.position_mm[skin])
    behind = surface.position_mm[:, 2] < surface.position_mm[:, 2].max() - 90
    return skin & (seen | behind)


def vertex_normals(position_mm: Vertices, faces: Faces) -> Float32[np.ndarray, "vert 3"]:
    """Unit normals, weighted by area; zero where a vertex has no triangle."""
    corners = position_mm[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(position_mm)
    for corner in range(3):
        np.add.at(total, faces[:, corner], cross)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _features(position_mm: Vertices, faces: Faces) -> Float64[np.ndarray, "vert 6"]:
    return np.concatenate([position_mm, _NORMAL_MM * vertex_normals(position_mm, faces)], axis=1).astype(np.float64)


def _pull(
    warped: Vertices, target: RigSurface, outside: np.ndarray, source_mm: Vertices, tree: KDTree, smoothing: int
) -> Vertices:
    """One round: every visible vertex towards its closest point, the field smoothed along the skin."""
    _, nearest = tree.query(_features(warped, target.faces)[outside])
    gap = source_mm[nearest] - warped[outside]
    near = np.linalg.norm(gap, axis=1) < _FURTHEST_PULL_MM
    # Smoothed with its weights, the field goes on over vertices that found no point.
    field = np.zeros((len(warped), 4), np.float32)
    chosen = np.flatnonzero(outside)[near]
    field[chosen, :3], field[chosen, 3] = gap[near], 1
    for _ in range(smoothing):
        field = target.skin_average @ field
    return warped + field[:, :3] / np.maximum(field[:, 3:], 0.05)


def _rigid_pieces(surface: RigSurface) -> list[Bool[np.ndarray, " vert"]]:
    """Vertices of each eyeball, and of both jaws, where there are some."""
    side = surface.position_mm[:, 0] > 0
    return [piece for piece in (surface.eyes & side, surface.eyes & ~side, surface.inner) if piece.any()]


def _follow_skin(
    target: RigSurface, outside: np.ndarray, pieces: Sequence[Bool[np.ndarray, " vert"]]
) -> sparse.csr_matrix:
    """Sparse (vert, vert): the visible skin is itself, the rest follows what is nearest; each of the pieces as one."""
    num = len(outside)
    seen, hidden = np.flatnonzero(outside), np.flatnonzero(~outside)
    around = min(_AROUND, len(seen))
    found = KDTree(target.position_mm[seen]).query(target.position_mm[hidden], k=around)
    distance, nearest = (np.asarray(each).reshape(len(hidden), around) for each in found)
    shares = np.exp(-0.5 * ((distance - distance[:, :1]) / _AROUND_MM) ** 2)
    shares /= shares.sum(axis=1, keepdims=True)
    rows = np.concatenate([seen, np.repeat(hidden, around)])
    columns = np.concatenate([seen, seen[nearest].ravel()])
    values = np.concatenate([np.ones(len(seen)), shares.ravel()])
    follow = sparse.csr_matrix((values, (rows, columns)), shape=(num, num))
    rigid = np.logical_or.reduce([*pieces, np.zeros(num, bool)])
    average = sparse.lil_matrix((num, len(pieces)))
    means = sparse.csr_matrix((len(pieces), num))
    for place, piece in enumerate(pieces):
        average[np.flatnonzero(piece), place] = 1
    if pieces:
        means = sparse.csr_matrix(np.stack([piece / piece.sum() for piece in pieces]))
    loose = sparse.diags_array((~rigid).astype(float))
    return sparse.csr_matrix(loose @ follow + average.tocsr() @ (means @ follow))
