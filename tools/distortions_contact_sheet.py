"""Draw docs/images/distortions.png: what each distortion does to views of 64 and of 224 pixels, at its largest.

Rows are the sizes and a second draw of each; columns the distortions, one at a time. Noise, blur and lost resolution
are those of a scan of 2 mm pitch, so that both sizes show the same face. The face is synthetic.

Command: python tools/distortions_contact_sheet.py docs/images/distortions.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

import smilevlm
from smilevlm.augment import Distortions, DistortionSettings
from smilevlm.geometry import NormaliseSettings, normalise
from smilevlm.views import ViewSettings, render_normalised

SCAN = Path(smilevlm.__file__).parent / "web" / "examples" / "surprised_scan.ply"
SIZES, DRAWS, PICTURE_PX, LABEL_PX = (64, 224), 2, 150, 16
PITCH_MM = 2.0
OFF: dict[str, Any] = {
    field: 0.0
    for field in (
        "rotate_deg", "scale", "shift", "mirror", "brightness", "contrast", "noise", "blur", "hole_probability",
        "weak_strength",
    )
}  # fmt: skip
SHOWN: dict[str, dict[str, Any]] = {
    "as rendered": {},
    "rotate_deg 12": {"rotate_deg": 12.0},
    "scale 0.12": {"scale": 0.12},
    "shift 0.06 (11 mm)": {"shift": 0.06},
    "mirror": {"mirror": 1.0},
    "brightness 0.15": {"brightness": 0.15},
    "contrast 0.2": {"contrast": 0.2},
    "lighting 0.4": {"lighting": 0.4},
    "noise 0.1": {"noise": 0.1},
    "blur": {"blur": 1.0},
    "half resolution": {"downsample_probability": 1.0},
    "hole 0.3 (54 mm)": {"hole": 0.3, "hole_probability": 1.0},
    "dropout 0.2": {"dropout": 0.2},
}


def main() -> None:
    face = normalise(smilevlm.read_mesh(SCAN, load_texture=False), NormaliseSettings()).mesh
    rows = []
    for size in SIZES:
        views = ViewSettings(size=size)
        images = torch.from_numpy(render_normalised(face, views)[None].transpose(0, 1, 4, 2, 3).copy())
        for draw in range(DRAWS):
            row = []
            for title, changes in SHOWN.items():
                settings = DistortionSettings(**{**OFF, "pitch_mm": PITCH_MM, **changes})
                _, changed, _ = Distortions.for_views(settings, views)(images, torch.Generator().manual_seed(draw))
                front = (changed[0, 1].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
                picture = Image.new("RGB", (PICTURE_PX, PICTURE_PX + LABEL_PX), "white")
                picture.paste(
                    Image.fromarray(front).resize((PICTURE_PX, PICTURE_PX), Image.Resampling.NEAREST), (0, LABEL_PX)
                )
                ImageDraw.Draw(picture).text((3, 2), f"{title}, {size} px" if draw == 0 else title, fill="black")
                row.append(np.asarray(picture))
            rows.append(np.concatenate(row, axis=1))
    Image.fromarray(np.concatenate(rows)).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
