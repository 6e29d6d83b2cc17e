"""Draw docs/images/hero_light.png and hero_dark.png: a scan, its three views, the model's prediction in words.

Commands: smilevlm synthesize bu3dfe faces --subjects 6 --seed 77 --levels 4 --vertices 30000 --only-cropped
    python tools/hero_picture.py faces/F0003/F0003_HA04*_F3D.wrl docs/images
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

import smilevlm
from smilevlm.models import unit_rows

THEMES = {
    "light": {
        "paper": "#ffffff",
        "ink": "#1f2430",
        "quiet": "#c9ced8",
        "accent": "#0072B2",
    },
    "dark": {
        "paper": "#0d1117",
        "ink": "#e6edf3",
        "quiet": "#3d4654",
        "accent": "#58a6ff",
    },
}
SKIN = (0.93, 0.86, 0.80)
LIGHTS = (((-0.45, 0.55, 0.70), 0.85), ((0.75, 0.10, 0.65), 0.30), ((0.0, -0.6, 0.8), 0.12))
"""Direction (towards the light) and strength of a key, a fill and a rim light, in the frame of the camera."""
AMBIENT = 0.18


def lit(mesh: smilevlm.Mesh, angle: float, size: int) -> np.ndarray:
    """An RGBA picture of a mesh under three lights, from its rendered normals; transparent beside the face."""
    normals = smilevlm.render_views(mesh, angles_deg=(angle,), size=2 * size, kind="normals")[0].astype(float)
    there = (normals > 0).any(axis=2)
    directions = normals / 127.5 - 1
    directions /= np.maximum(np.linalg.norm(directions, axis=2, keepdims=True), 1e-6)
    light = AMBIENT + sum(
        strength * np.clip(directions @ (np.array(towards) / np.linalg.norm(towards)), 0, None)
        for towards, strength in LIGHTS
    )
    shine = np.clip(directions @ np.array([-0.24, 0.29, 0.93]), 0, None) ** 40
    color = np.clip(light[..., None] * np.array(SKIN) + 0.10 * shine[..., None], 0, 1) ** (1 / 1.15)
    picture = np.concatenate([color * there[..., None], there[..., None]], axis=2)
    return picture.reshape(size, 2, size, 2, 4).mean(axis=(1, 3))


def percent(share: float) -> str:
    """Never "100 %" for what is not certain."""
    return "> 99.9 %" if share > 0.999 else "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def nearest_prompt(model: smilevlm.Model, scan: Path, label: str) -> str:
    """The prompt of the predicted class that the face's embedding is nearest to."""
    prompts = model.bundle.prompts
    cosines = unit_rows(prompts.centred, "prompt") @ model.embed([scan])[0]
    rows = [row for row, name in enumerate(prompts.classes) if name == label]
    return prompts.texts[max(rows, key=lambda row: cosines[row])]


def draw(scan: Path, picture: Path, theme: dict) -> None:
    model, mesh = smilevlm.load("default"), smilevlm.read_mesh(scan, load_texture=False)
    prediction = model.predict(scan)
    figure = Figure(figsize=(16, 5.6), facecolor=theme["paper"])

    def axes(left: float, bottom: float, width: float, height: float) -> Axes:
        added = figure.add_axes((left, bottom, width, height))
        added.axis("off")
        return added

    axes(0.005, 0.08, 0.335, 0.91).imshow(lit(mesh, 22, 520))
    figure.text(0.17, 0.025, "3D scan (synthetic)", ha="center", color=theme["ink"], fontsize=20)
    for row, (angle, view) in enumerate(zip(prediction.view_weights, prediction.views, strict=True)):
        panel = axes(0.415, 0.67 - 0.325 * row, 0.11, 0.31)
        panel.imshow(view)
        panel.text(1.06, 0.5, f"{angle:+.0f}°", transform=panel.transAxes, color=theme["ink"], fontsize=22, va="center")
    for start, end in ((0.335, 0.405), (0.585, 0.635)):
        figure.add_artist(
            FancyArrowPatch((start, 0.5), (end, 0.5), transform=figure.transFigure, color=theme["quiet"],
                            arrowstyle="-|>", mutation_scale=36, lw=5)
        )  # fmt: skip
    bars = axes(0.735, 0.34, 0.175, 0.60)
    names, shares = zip(*prediction.probabilities.items(), strict=True)
    bars.barh(names, 1.0, color=theme["quiet"], alpha=0.35, height=0.62)
    colors = [theme["accent"] if name == prediction.label else theme["ink"] for name in names]
    bars.barh(names, shares, color=colors, height=0.62)
    bars.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    for row, (name, share) in enumerate(zip(names, shares, strict=True)):
        weight = "bold" if name == prediction.label else "normal"
        bars.text(-0.04, row, name, ha="right", va="center", color=theme["ink"], fontsize=21, weight=weight)
        bars.text(1.03, row, percent(share), va="center",
                  color=theme["ink"], fontsize=19, weight=weight)  # fmt: skip
    words = axes(0.645, 0.04, 0.35, 0.24)
    words.text(0.5, 0.78, f"{prediction.verdict}: nearest description", ha="center", color=theme["ink"], fontsize=20)
    sentence = nearest_prompt(model, scan, prediction.label)
    words.text(0.5, 0.30, f"“{sentence}”", ha="center", color=theme["accent"], fontsize=21, style="italic", wrap=True)
    figure.savefig(picture, dpi=100, facecolor=theme["paper"])


def main(scan: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, theme in THEMES.items():
        draw(scan, folder / f"hero_{name}.png", theme)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
