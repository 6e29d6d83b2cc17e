"""Draw docs/images/overview.png: the six expressions of one synthetic person, views, and what the bundled weights say.

Commands: smilevlm synthesize bu3dfe faces --subjects 2 --seed 77 --levels 4 --only-cropped
    python tools/overview_picture.py faces docs/images/overview.png
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

import smilevlm

CODES = {"happy": "HA", "sad": "SA", "surprise": "SU", "angry": "AN", "disgust": "DI", "fear": "FE"}


def main(faces: Path, picture: Path) -> None:
    """One column per expression: texture, three geometry views, probabilities."""
    subject = min(path.name for path in faces.iterdir() if path.is_dir())
    model = smilevlm.load("default")
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    axes = figure.subplots(3, len(CODES), height_ratios=[1.5, 0.8, 1.1])
    for column, (expression, code) in enumerate(CODES.items()):
        scan = next(iter(sorted((faces / subject).glob(f"*_{code}04*_F3D.wrl"))))
        answer = model.predict(scan)
        texture = smilevlm.render_views(smilevlm.read_mesh(scan), angles_deg=(0,), size=256, kind="texture")[0]
        views = smilevlm.render_views(smilevlm.read_mesh(scan), size=160)
        axes[0, column].imshow(texture)
        axes[0, column].set_title(f"made as {expression}", fontsize=11)
        axes[1, column].imshow(views.transpose(1, 0, 2, 3).reshape(160, -1, 3))
        names, shares = zip(*answer.probabilities.items(), strict=True)
        colors = ["#0072B2" if name == answer.label else "#BBBBBB" for name in names]
        axes[2, column].barh(names, shares, color=colors)
        axes[2, column].set_xlim(0, 1)
        axes[2, column].invert_yaxis()
        axes[2, column].spines[["top", "right"]].set_visible(False)
        if column:
            axes[2, column].set_yticklabels([])
        for row in (0, 1):
            axes[row, column].axis("off")
    figure.suptitle(
        "A synthetic person, unseen in training: scan, views at -30, 0, +30 deg, probabilities of the bundled weights"
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
