"""What head models have or lack: eyeballs, eye sockets, a mouth's cavity, teeth; and lids and lips that are closed."""

from __future__ import annotations

import functools
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64

from smilevlm.synthesis.anatomy import on_the_outside
from smilevlm.synthesis.mesh_holes import behind_opening, close_across, rim_around
from smilevlm.synthesis.rigs.rig import RigSurface
from smilevlm.synthesis.sensor_profiles import DarkRegions
from smilevlm.typing import Faces, Vertices

EyeModel = Literal["eyeballs", "sockets", "holes", "closed"]
"""Eyeballs; none, and the skin behind them; none, and nothing behind them; skin from lid to lid."""
_EYE_SHARES: dict[EyeModel, float] = {"eyeballs": 0.76, "sockets": 0.1, "holes": 0.08, "closed": 0.06}
_SEALED_SHARE, _NO_TEETH_SHARE, _NO_CAVITY_SHARE = 0.15, 0.4, 0.3
_RIM_REACH_MM = 25.0
"""A hole whose middle is further from the lips' or an eye's is neither."""
_SOCKET_RADIUS_MM = 21.5
"""Around an eyeball's middle; sockets end within."""
_BROWS = slice(17, 27)
_BROW_HALF_WIDTH_MM = 4.0


def draw_faces(rng: np.random.Generator, surface: RigSurface, *, coarse: bool) -> Faces:
    """Triangles of a head of the rig without those that some model or scanner does not have."""
    sealed = bool(rng.uniform() < _SEALED_SHARE)
    eye_models = get_args(EyeModel)
    eyes = eye_models[int(rng.choice(len(eye_models), p=[_EYE_SHARES[each] for each in eye_models]))]
    teeth, cavity = rng.uniform() >= _NO_TEETH_SHARE, rng.uniform() >= _NO_CAVITY_SHARE
    return faces_with(
        surface, eyes=eyes, teeth=bool(teeth) and not sealed, cavity=bool(cavity), sealed=sealed, coarse=coarse
    )


def faces_with(
    surface: RigSurface, *, eyes: EyeModel, teeth: bool, cavity: bool, sealed: bool, coarse: bool = False
) -> Faces:
    """Triangles of a head that is more or less complete.

    Args:
        surface: Of the rig.
        eyes: What is in the place of the eyes.
        teeth: Whether there are teeth and a tongue.
        cavity: Whether there is skin behind the lips.
        sealed: Whether skin closes the mouth from lip to lip; there is no cavity then.
        coarse: Of the unrefined head, for rigs that have one.
    """
    faces = _triangles(surface, coarse=coarse)
    gone = np.zeros(len(surface.position_mm), bool)
    if eyes != "eyeballs":
        gone |= surface.eyes
    if eyes in ("holes", "closed"):
        gone |= _eye_sockets(surface)
    if not teeth:
        gone |= surface.inner
    if sealed or not cavity:
        gone |= _mouth_cavity(surface)
    patches = [faces[~gone[faces].any(axis=1)]]
    if sealed:
        patches.append(_between_lips(surface, coarse=coarse))
    if eyes == "closed":
        patches.append(_between_lids(surface, coarse=coarse))
    return np.ascontiguousarray(np.concatenate(patches))


@functools.cache
def dark_regions(surface: RigSurface) -> DarkRegions:
    """Eyes and brows of a bald head; brows where the rig has landmarks."""
    nothing = np.zeros(len(surface.position_mm), np.float32)
    brows = nothing
    if surface.landmarks is not None:
        points = surface.position_mm[surface.landmarks[_BROWS]]
        # Each brow has five points; between neighbours lie further ones, never from brow to brow.
        between = [(points[k] + points[k + 1]) / 2 for k in (0, 1, 2, 3, 5, 6, 7, 8)]
        distance = np.linalg.norm(surface.position_mm[:, None] - np.stack([*points, *between]), axis=2).min(axis=1)
        brows = np.clip(2 - distance / _BROW_HALF_WIDTH_MM, 0, 1).astype(np.float32)
    return DarkRegions(eyes=surface.eyes.astype(np.float32), brows=brows, hair=nothing)


def _triangles(surface: RigSurface, *, coarse: bool) -> Faces:
    return surface.coarse_faces if coarse and surface.coarse_faces is not None else surface.faces


@functools.cache
def _mouth_cavity(surface: RigSurface) -> Bool[np.ndarray, " vert"]:
    return behind_opening(_skin(surface), surface.inside_mouth, surface.faces)


@functools.cache
def _eye_sockets(surface: RigSurface) -> Bool[np.ndarray, " vert"]:
    """Vertices of the skin that lie behind the lids."""
    sockets = np.zeros(len(surface.position_mm), bool)
    for centre in _eye_centres(surface):
        near = np.linalg.norm(surface.position_mm - centre, axis=1) < _SOCKET_RADIUS_MM
        behind = _skin(surface) & near & ~on_the_outside(surface.position_mm)
        sockets |= behind_opening(_skin(surface), behind, surface.faces)
    return sockets


def _skin(surface: RigSurface) -> Bool[np.ndarray, " vert"]:
    return ~surface.eyes & ~surface.inner


def _eye_centres(surface: RigSurface) -> list[Float64[np.ndarray, " 3"]]:
    """Of the eyeballs that there are."""
    sides = [surface.eyes & (surface.position_mm[:, 0] * side > 0) for side in (-1, 1)]
    return [surface.position_mm[side].mean(axis=0).astype(np.float64) for side in sides if side.any()]


@functools.cache
def _between_lips(surface: RigSurface, *, coarse: bool) -> Faces:
    """Triangles from lip to lip, as models have them whose mouth is a painted skin."""
    middle = np.average(surface.position_mm, axis=0, weights=surface.lips).astype(np.float64)
    return _closed_at(surface, _mouth_cavity(surface), middle, coarse=coarse)


@functools.cache
def _between_lids(surface: RigSurface, *, coarse: bool) -> Faces:
    """Triangles from lid to lid, as models have them that know no eyes."""
    sockets = _eye_sockets(surface)
    patches = [_closed_at(surface, sockets, centre, coarse=coarse) for centre in _eye_centres(surface)]
    return np.concatenate([np.zeros((0, 3), np.int32), *patches])


def _closed_at(
    surface: RigSurface, behind: Bool[np.ndarray, " vert"], place_mm: Float64[np.ndarray, " 3"], *, coarse: bool
) -> Faces:
    """Triangles over the opening at a place, none where there is no opening."""
    faces = _triangles(surface, coarse=coarse)
    position_mm: Vertices = surface.position_mm
    rim = rim_around(faces[~(behind | ~_skin(surface))[faces].any(axis=1)], position_mm, place_mm)
    if len(rim) == 0 or np.linalg.norm(position_mm[rim].mean(axis=0) - place_mm) > _RIM_REACH_MM:
        return np.zeros((0, 3), np.int32)
    return close_across(rim, position_mm)
