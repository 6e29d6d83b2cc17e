"""Distortions of rendered views, one batched pass for all views of a sample.

Geometry is shared by the views of a sample (a head that is larger is larger from every side, a mirrored head is
mirrored in every view, with left and right views changing places); noise, holes and brightness are each view's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8

from smilevlm.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class DistortionSettings:
    """Ranges of the distortions.

    Args:
        rotate_deg: Largest in-plane rotation.
        scale: Largest relative change of size.
        shift: Largest shift, as a share of the image side.
        mirror: Probability of mirroring the head; needs angles that are symmetric about 0.
        brightness: Largest change of each channel's offset, images in [0, 1].
        contrast: Largest relative change of each channel's range.
        noise: Largest standard deviation of the pixel noise.
        blur: Probability of a small blur.
        hole: Largest side of a blanked rectangle, as a share of the image side.
        hole_probability: Of a blanked rectangle per view.
        clean_share: How much of the geometric ranges the clean views get; 0 leaves them as rendered. Assumption A11.
        clean_degraded: Probability that a clean view gets the noise, holes and lighting of a distorted one, so that the
            fusion meets views of unequal worth. Assumption A11.
    """

    rotate_deg: float = 12.0
    scale: float = 0.12
    shift: float = 0.06
    mirror: float = 0.5
    brightness: float = 0.15
    contrast: float = 0.2
    noise: float = 0.06
    blur: float = 0.3
    hole: float = 0.3
    hole_probability: float = 0.5
    clean_share: float = 0.6
    clean_degraded: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mirror", "blur", "hole_probability", "clean_share", "clean_degraded", "hole"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"distortions.{name} is {getattr(self, name)}; expected 0 to 1")
        for name in ("rotate_deg", "scale", "shift", "brightness", "contrast", "noise"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingsError(f"distortions.{name} is {getattr(self, name)}; expected 0 or more")


class Distortions:
    """Draws distorted batches.

    Args:
        settings: Ranges.
        angles_deg: Of the views, in their order; mirroring swaps each with its negative.
        normal_x_channel: Channel that holds the horizontal normal, which mirroring negates; None if there is none.

    Raises:
        SettingsError: Mirroring is on but the angles are not symmetric.
    """

    def __init__(
        self, settings: DistortionSettings, angles_deg: tuple[float, ...], normal_x_channel: int | None = None
    ) -> None:
        self.settings = settings
        self.normal_x_channel = normal_x_channel
        if settings.mirror > 0 and set(angles_deg) != {-angle for angle in angles_deg}:
            raise SettingsError(f"mirroring needs view angles symmetric about 0, got {angles_deg}")
        self._mirrored_order = [angles_deg.index(-angle) if settings.mirror > 0 else i for i, angle in
                                enumerate(angles_deg)]  # fmt: skip

    def clean(
        self, images: UInt8[torch.Tensor, "batch view 3 height width"], generator: torch.Generator
    ) -> Float[torch.Tensor, "batch view 3 height width"]:
        """The views as the alignment sees them: as rendered, or mildly changed as the settings say, in [0, 1]."""
        s = self.settings
        clean = images.float() / 255
        if s.clean_share > 0:
            clean = self._move(clean, s.clean_share, generator)
        if s.clean_degraded > 0:
            chosen = torch.rand(images.shape[:2], generator=generator) < s.clean_degraded
            clean = torch.where(chosen[..., None, None, None], self._degrade(clean, generator), clean)
        return clean

    def distort(
        self, images: UInt8[torch.Tensor, "batch view 3 height width"], generator: torch.Generator
    ) -> Float[torch.Tensor, "batch view 3 height width"]:
        """One distortion of every view, in [0, 1]."""
        moved = self._move(images.float() / 255, 1.0, generator)
        return self._degrade(moved, generator)

    def _move(self, images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
        batch, views, channels, height, width = images.shape
        s = self.settings

        def draw(limit: float) -> torch.Tensor:
            return (torch.rand(batch, generator=generator) * 2 - 1) * limit * share

        angle = torch.deg2rad(draw(s.rotate_deg))
        zoom = 1 + draw(s.scale)
        flip = torch.rand(batch, generator=generator) < s.mirror
        side = torch.where(flip, -1.0, 1.0)
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        # Coordinates run from -1 to 1, so a share of the side is twice as much there.
        affine = torch.stack(
            [
                torch.stack([cos * side, -sin, draw(2 * s.shift)], dim=1),
                torch.stack([sin * side, cos, draw(2 * s.shift)], dim=1),
            ],
            dim=1,
        )
        if flip.any() and self.normal_x_channel is not None:
            images = images.clone()
            x = images[flip, :, self.normal_x_channel]
            # Empty pixels are black in every channel and stay so.
            empty = (images[flip] == 0).all(dim=2)
            images[flip, :, self.normal_x_channel] = torch.where(empty, x, 1 - x)
        images = torch.where(flip[:, None, None, None, None], images[:, self._mirrored_order], images)
        grid = torch.nn.functional.affine_grid(affine, [batch, channels, height, width], align_corners=False)
        stacked = images.reshape(batch, views * channels, height, width)
        moved = torch.nn.functional.grid_sample(stacked, grid, mode="bilinear", align_corners=False)
        return moved.reshape(images.shape)

    def _degrade(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        s = self.settings
        batch, views, channels, height, width = images.shape

        def per_view(*extra: int) -> torch.Tensor:
            return torch.rand(batch, views, *extra, generator=generator)

        flat = images.reshape(batch * views, channels, height, width)
        blurred = torch.nn.functional.avg_pool2d(flat, 3, stride=1, padding=1, count_include_pad=False)
        soft = (per_view() < s.blur)[..., None, None, None]
        images = torch.where(soft, blurred.reshape(images.shape), images)
        offset = (per_view(channels, 1, 1) * 2 - 1) * s.brightness
        gain = 1 + (per_view(channels, 1, 1) * 2 - 1) * s.contrast
        # All channels follow from one depth map, so they share its noise.
        noise = torch.randn(batch, views, 1, height, width, generator=generator) * per_view(1, 1, 1) * s.noise
        covered = (images > 0).any(dim=2, keepdim=True)
        images = torch.where(covered, ((images - 0.5) * gain + 0.5 + offset + noise).clamp(0, 1), images)
        return torch.where(self._hole_mask(batch, views, height, width, generator), 0.0, images)

    def _hole_mask(self, batch: int, views: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        """True inside each view's blanked rectangle."""
        s = self.settings
        size = torch.rand(2, batch, views, generator=generator) * s.hole
        place = torch.rand(2, batch, views, generator=generator) * (1 - size)
        there = torch.rand(batch, views, generator=generator) < s.hole_probability
        rows = (torch.arange(height) + 0.5) / height
        columns = (torch.arange(width) + 0.5) / width
        in_rows = (rows >= place[0, ..., None]) & (rows < (place[0] + size[0])[..., None])
        in_columns = (columns >= place[1, ..., None]) & (columns < (place[1] + size[1])[..., None])
        mask = in_rows[..., :, None] & in_columns[..., None, :] & there[..., None, None]
        return mask[:, :, None]
