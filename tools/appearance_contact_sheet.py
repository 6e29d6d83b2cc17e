"""Draw docs/images/appearance.png: one synthetic person in every surface form, incomplete model and partial view.

Rows are appearances, drawn as the varied set draws them; columns a face at rest, a happy and a surprised one. Triangles
are shaded flat, as the file has them, seen 20 degrees from the side.

Command: python tools/appearance_contact_sheet.py docs/images/appearance.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smilevlm.geometry import Mesh
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.model_parts import EyeModel, faces_with
from smilevlm.synthesis.partial_faces import FacePart, draw_part
from smilevlm.synthesis.scan_appearance import (
    ScanAppearance,
    SurfaceForm,
    apply_appearance,
    draw_appearance,
)
from smilevlm.synthesis.scan_setup import rotation_from_angles
from smilevlm.synthesis.variants import VARIANTS, draw_varied_actions
from smilevlm.synthesis.varied import VariedPerson, draw_varied_person
from smilevlm.views import kernels

EXPRESSIONS = (None, "happy", "surprise")
SEED, PERSON_SEED, DRAWS = 20, 8, 2
ANGLE_DEG, PITCH_MM, HALF_MM = -20.0, 1.35, 150.0
LIGHTS = (((-0.45, 0.55, 0.70), 0.8), ((0.75, 0.10, 0.65), 0.25))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One appearance, shown for all expressions."""

    title: str
    appearance: ScanAppearance


def drawn(person: VariedPerson, form: SurfaceForm, number: int) -> Row:
    """A whole face of this form."""
    appearance = draw_appearance(np.random.default_rng((SEED, number)), person.rig.surface, person.hair, forms=(form,))
    return Row(title=form.replace("_", " "), appearance=replace(appearance, partial=None))


def rows(person: VariedPerson) -> list[Row]:
    forms: tuple[SurfaceForm, ...] = ("scan", "phone", "structured_light")
    others: tuple[SurfaceForm, ...] = ("mesh", "coarse", "clustered", "simplified", "subdivided", "points")
    found = [drawn(person, form, number) for form in forms for number in range(DRAWS + (form != "scan"))]
    found += [drawn(person, form, 0) for form in others]
    clean = drawn(person, "mesh", 1).appearance
    incomplete: tuple[tuple[EyeModel, bool], ...] = (("sockets", False), ("holes", True), ("closed", True))
    for eyes, sealed in incomplete:
        faces = faces_with(person.rig.surface, eyes=eyes, teeth=False, cavity=False, sealed=sealed)
        title = f"eyes: {eyes}" + (", mouth sealed" if sealed else ", no cavity")
        found.append(Row(title=title, appearance=replace(clean, faces=faces, noise_mm=0.0)))
    for number, part in enumerate(get_args(FacePart)):
        partial = draw_part(np.random.default_rng((SEED, number)), part)
        appearance = replace(
            drawn(person, "structured_light", number).appearance, partial=partial, reach_mm=130.0, depth_mm=90.0
        )
        found.append(Row(title=f"{part} part", appearance=appearance))
    return found


def person_and_heads() -> tuple[VariedPerson, list[np.ndarray]]:
    """The person and a head for each expression."""
    rng = np.random.default_rng(PERSON_SEED)
    person = draw_varied_person(rng, sex="F")
    actions = [
        draw_varied_actions(
            rng,
            person=person.person,
            recipe=None if name is None else VARIANTS[name][0],
            intensity=1.0,
            facial_actions=head_model().facial_actions,
            idle=0.0,
        )
        for name in EXPRESSIONS
    ]
    return person, list(person.heads(actions))


def shaded(mesh: Mesh) -> np.ndarray:
    """A grey picture of a mesh or a point cloud, white where there is nothing."""
    posed = (mesh.vertices @ rotation_from_angles(ANGLE_DEG, 0, 0).T).astype(np.float32)
    size = int(2 * HALF_MM / PITCH_MM)
    depth = np.full((size, size), kernels.EMPTY, np.float32)
    cover = np.full((size, size), -1, np.int32)
    x, y = ((each / PITCH_MM).astype(np.float32) for each in (posed[:, 0] + HALF_MM, HALF_MM - posed[:, 1]))
    z = np.ascontiguousarray(posed[:, 2])
    picture = np.ones((size, size))
    if mesh.is_point_cloud:
        kernels.splat(x, y, z, np.float32(0.7), depth, cover)
        picture[cover >= 0] = np.clip(0.95 + 0.008 * z[cover[cover >= 0]], 0.1, 0.9)
        return picture
    kernels.rasterise(x, y, z, mesh.faces, depth, cover)
    corners = posed[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    light = 0.15 + sum(power * np.clip(normal @ np.array(toward), 0, None) for toward, power in LIGHTS)
    picture[cover >= 0] = np.clip(light, 0, 0.95)[cover[cover >= 0]]
    return picture


def draw_row(axes: Sequence[Axes] | np.ndarray, row: Row, person: VariedPerson, heads: Sequence[np.ndarray]) -> None:
    counts = []
    for number, (panel, head) in enumerate(zip(axes, heads, strict=True)):
        mesh = apply_appearance(np.random.default_rng((SEED, number)), row.appearance, head)
        counts.append(mesh.num_vertices)
        panel.imshow(shaded(mesh), cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
        panel.axis("off")
    axes[1].set_title(f"{row.title}, {min(counts):,} to {max(counts):,} vertices", fontsize=8, pad=2)


def main(out: Path) -> None:
    person, heads = person_and_heads()
    found = rows(person)
    blocks = 3
    figure = Figure(figsize=(13.5, 1.65 * -(-len(found) // blocks)), dpi=80)
    grid = figure.subplots(
        -(-len(found) // blocks), blocks * len(heads),
        gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 0.97, "wspace": 0, "hspace": 0.12},
    )  # fmt: skip
    panels = [axes for line in grid for axes in np.split(line, blocks)]
    for axes, row in zip(panels, found, strict=False):
        draw_row(axes, row, person, heads)
    for axes in panels[len(found) :]:
        for panel in axes:
            panel.axis("off")
    figure.savefig(out, dpi=80, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
