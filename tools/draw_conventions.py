"""Draw docs/images/conventions.png: the face frame, the sign of view angles, and the three views.

Command: python tools/draw_conventions.py docs/images/conventions.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from smilevlm.geometry import Mesh
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.scan_setup import rotation_from_angles
from smilevlm.views import ViewSettings, render_normalised

AXES = {
    "+x, the viewer's right": ((1, 0, 0), "#c0392b"),
    "+y, up": ((0, 1, 0), "#1e8449"),
    "+z, to the camera": ((0, 0, 1), "#1f5fbf"),
}
ANGLES_DEG = (-30.0, 0.0, 30.0)
FROM_ABOVE = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""The picture's right is +x, its bottom +z, where the camera is."""
SKIN = np.array([0.86, 0.80, 0.76])


def winking_head() -> Mesh:
    """The mean synthetic head in the face frame; the closed eye is the person's left one, on the viewer's right."""
    model = head_model()
    coarse = model.vertices_mm(phenotype={"age": 0.7}, shape={}, actions=[{"eyeBlinkLeft": 1.0}])[0]
    fine = (model.topology.refine @ coarse).astype(np.float32)
    return Mesh(vertices=fine - fine[anatomy().nose_tip], faces=model.topology.fine_faces)


def draw_surface(axes: Axes, head: Mesh, rotation: np.ndarray) -> None:
    """The head as it looks after a rotation, lit from the viewer."""
    points = head.vertices @ rotation.T
    corners = points[head.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    seen = np.flatnonzero(normal[:, 2] > 0)
    seen = seen[np.argsort(corners[seen].mean(axis=1)[:, 2], kind="stable")]
    light = np.clip(normal[seen] @ np.array([0.25, 0.35, 0.9]), 0.15, 1)
    colors = np.clip(light[:, None] * SKIN, 0, 1)
    axes.add_collection(PolyCollection(corners[seen][:, :, :2], facecolors=colors, edgecolors=colors, linewidths=0.2))
    axes.set_aspect("equal")
    axes.axis("off")


def draw_frame(axes: Axes, head: Mesh) -> None:
    """The axes at the nose tip, seen a little from the side and above."""
    rotation = rotation_from_angles(-32, 16, 0)
    draw_surface(axes, head, rotation)
    for label, (direction, color) in AXES.items():
        end = rotation @ (105 * np.array(direction, float))
        axes.annotate("", end[:2], (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2.5}, zorder=5)
        side = "right" if end[0] < -30 else "left"
        box = {"fc": "white", "ec": "none", "alpha": 0.85, "pad": 1.5}
        place = (end[0], end[1] + (6 if direction[1] else -16))
        axes.text(*place, label, color=color, ha=side, fontsize=10, weight="bold", bbox=box)
    axes.plot(0, 0, "o", color="black", markersize=5, zorder=6)
    axes.set(xlim=(-170, 210), ylim=(-110, 215))
    axes.set_title("Face frame: millimetres,\norigin at the nose tip", fontsize=11)


def draw_turn(axes: Axes, head: Mesh) -> None:
    """What a positive angle does, seen from above."""
    draw_surface(axes, head, FROM_ABOVE)
    pivot = np.array([0.0, -ViewSettings().pivot_z_mm])
    turn = np.deg2rad(np.linspace(0, 30, 40))
    reach = pivot[1] + 28
    arc = pivot[:, None] + reach * np.stack([np.sin(turn), -np.cos(turn)])
    axes.plot(*arc[:, :-3], color="#d35400", lw=2.5)
    axes.annotate("", arc[:, -1], arc[:, -6], arrowprops={"arrowstyle": "-|>", "color": "#d35400", "lw": 2.5})
    said = "positive angle:\nthe face turns to the\nviewer's right"
    axes.text(*(arc[:, -1] + (8, -6)), said, color="#d35400", fontsize=10, va="top")
    axes.plot(*pivot, "k+", markersize=10, mew=2)
    axes.text(pivot[0] + 8, pivot[1] + 3, f"axis of the turn,\n{pivot[1]:g} mm behind the nose", fontsize=9)
    for label in ("+x, the viewer's right", "+z, to the camera"):
        direction, color = AXES[label]
        end = 70 * (FROM_ABOVE @ np.array(direction, float))[:2]
        axes.annotate("", end, (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2.5}, zorder=5)
        axes.text(end[0] + 4, end[1], label[:2], color=color, fontsize=10, weight="bold")
    axes.text(0, -92, "camera", ha="center", fontsize=10, bbox={"boxstyle": "square", "fc": "#dddddd", "ec": "black"})
    axes.set(xlim=(-120, 175), ylim=(-110, 225))
    axes.set_title("Seen from above", fontsize=11)


def main(out: Path) -> None:
    """Draw and save."""
    head = winking_head()
    figure = Figure(figsize=(11, 8), dpi=100, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.35, 1))
    left, right = above.subplots(1, 2, width_ratios=(1.15, 1))
    draw_frame(left, head)
    draw_turn(right, head)
    front = Mesh(vertices=head.vertices, faces=head.faces)
    images = render_normalised(front, ViewSettings(angles_deg=ANGLES_DEG, size=224))
    sides = ("left view", "front view", "right view")
    for axes, image, angle, side in zip(below.subplots(1, 3), images, ANGLES_DEG, sides, strict=True):
        axes.imshow(image)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{angle:+.0f} degrees, {side}".replace("+0", "0").replace("-", "−"), fontsize=11)
    below.suptitle("Views of kind geometry; the closed eye is the person's left one", fontsize=11)
    figure.savefig(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
