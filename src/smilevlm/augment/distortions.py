"""Distortions of rendered views: the clean views and both distortions of a batch in one pass.

Geometry is shared by the views of a sample (a head that is larger is larger from every side, a mirrored head is
mirrored in every view, with left and right views changing places); noise, holes and brightness are each view's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch.nn.functional import interpolate

from smilevlm.augment.image_ops import (
    box_blur,
    gaussian_blur,
    halve_resolution,
    in_rectangles,
    limit_resolution,
    pixel_centres,
    replace_where,
    sampling_grid,
    stretch,
)
from smilevlm.dynamics import MID_GREY
from smilevlm.errors import SettingsError
from smilevlm.views import ViewSettings

WINDOW_MM = ViewSettings.window_mm
"""Side of the square that the shares of lengths refer to, 180 mm."""
_BLUR_PIXELS = (2 / 3) ** 0.5
"""Standard deviation of the mean over three pixels."""
_NOISE_ROWS = 64
"""Samples whose pixel noise is drawn at a time; decides the random stream, and how much a process draws at once."""


@dataclass(frozen=True, kw_only=True)
class DistortionSettings:
    """Ranges of the distortions.

    Lengths are shares of `WINDOW_MM`, the side of the square that a view shows by default: 0.1 is 18 mm on the face,
    whatever the size of the images.

    Args:
        num_distortions: Of each sample for the multi-view loss, at least 2, which is the paper's. Each costs as much of
            the tower's time as the clean views.
        rotate_deg: Largest in-plane rotation.
        scale: Largest relative change of size.
        shift: Largest shift.
        mirror: Probability of mirroring the head; needs angles that are symmetric about 0.
        brightness: Largest change of each channel's offset, images in [0, 1].
        contrast: Largest relative change of each channel's range.
        lighting: Largest difference in brightness between two opposite borders of a view, as of light that comes from
            one side: a linear gradient in a random direction, the same for all channels.
        noise: Largest standard deviation of the pixel noise.
        blur: Probability of a small blur.
        downsample_probability: Probability that a view loses half of its resolution, as from a coarser scanner.
        hole: Largest side of a blanked rectangle.
        hole_probability: Of each blanked rectangle per view.
        num_holes: Rectangles per view, each there with `hole_probability`.
        dropout: Largest share of small patches that are blanked, as where a scanner found no surface; every view draws
            its own share.
        dropout_patches: Such patches along `WINDOW_MM`.
        pitch_mm: Pixel pitch of the scans that noise, blur and lost resolution are those of: noise is drawn for pixels
            of this pitch, a blur averages over three of them, half the resolution is half of theirs. So they are the
            same on a face for views of any size. 0 takes the pixels of the views. Assumption A12.
        view_dropout: Probability that a view is missing to the fusion while training; one at least stays.
        weak_strength: How much of the geometric ranges the clean views get; 0 leaves them as rendered. Assumption A11.
        weak_degraded_share: Probability that a clean view gets the noise, holes and lighting of a distorted one, so
            that the fusion meets views of unequal worth. Assumption A11.
    """

    num_distortions: int = 2
    rotate_deg: float = 12.0
    scale: float = 0.12
    shift: float = 0.06
    mirror: float = 0.5
    brightness: float = 0.15
    contrast: float = 0.2
    lighting: float = 0.0
    noise: float = 0.06
    blur: float = 0.3
    downsample_probability: float = 0.0
    hole: float = 0.3
    hole_probability: float = 0.5
    num_holes: int = 1
    dropout: float = 0.0
    dropout_patches: int = 16
    pitch_mm: float = 0.0
    view_dropout: float = 0.0
    weak_strength: float = 0.6
    weak_degraded_share: float = 0.0

    def __post_init__(self) -> None:
        shares = (
            "mirror", "blur", "downsample_probability", "hole", "hole_probability", "dropout", "view_dropout",
            "weak_strength", "weak_degraded_share",
        )  # fmt: skip
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"distortions.{name} is {getattr(self, name)}; expected 0 to 1")
        for name in ("rotate_deg", "scale", "shift", "brightness", "contrast", "lighting", "noise", "pitch_mm"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingsError(f"distortions.{name} is {getattr(self, name)}; expected 0 or more")
        if self.num_distortions < 2:
            raise SettingsError(f"distortions.num_distortions is {self.num_distortions}; expected 2 or more")
        if self.num_holes < 0 or self.dropout_patches < 1:
            raise SettingsError(
                f"distortions.num_holes is {self.num_holes} and distortions.dropout_patches is "
                f"{self.dropout_patches}; expected at least 0 and 1"
            )


class Distortions:
    """Draws distorted batches.

    Args:
        settings: Ranges.
        angles_deg: Of the views, in their order; mirroring swaps each with its negative.
        normal_x_channel: Channel that holds the horizontal normal, which mirroring negates; None if there is none.
        window_mm: Side of the square that the views show.

    Raises:
        SettingsError: Mirroring is on but the angles are not symmetric.
    """

    def __init__(
        self,
        settings: DistortionSettings,
        angles_deg: tuple[float, ...],
        normal_x_channel: int | None = None,
        *,
        window_mm: float = WINDOW_MM,
    ) -> None:
        self.settings = settings
        self._length = WINDOW_MM / window_mm
        """Of a share of `WINDOW_MM`, as a share of the views' side."""
        self._window_mm = window_mm
        self.normal_x_channel = normal_x_channel
        if settings.mirror > 0 and set(angles_deg) != {-angle for angle in angles_deg}:
            raise SettingsError(f"mirroring needs view angles symmetric about 0, got {angles_deg}")
        order = [angles_deg.index(-angle) if settings.mirror > 0 else i for i, angle in enumerate(angles_deg)]
        self._mirrored_order = torch.tensor(order)

    @classmethod
    def for_views(cls, settings: DistortionSettings, views: ViewSettings) -> Distortions:
        """Those that fit views: their angles, and the channel of the horizontal normal where there is one."""
        normal_x_channel = 0 if views.kind == "normals" else None
        return cls(settings, views.angles_deg, normal_x_channel, window_mm=views.window_mm)

    def __call__(
        self,
        images: UInt8[torch.Tensor, "batch view 3 height width"],
        generator: torch.Generator | None = None,
        *,
        is_dynamic: Bool[torch.Tensor, " batch"] | None = None,
    ) -> tuple[Float[torch.Tensor, "batch view 3 height width"], ...]:
        """The weakly augmented views and `num_distortions` distortions of them, two by default, in [0, 1].

        Args:
            images: Rendered views.
            generator: Source of chance, on the device of the images; None for torch's own seed.
            is_dynamic: Which are dynamic images, where blanked pixels become mid-grey; None for none.
        """
        if generator is None:
            generator = torch.Generator(images.device).manual_seed(int(torch.randint(2**62, ()).item()))
        copies, _ = self.views_and_pairs(images, generator, is_dynamic=is_dynamic)
        return copies.unflatten(0, (1 + self.settings.num_distortions, len(images))).unbind()

    def views_and_pairs(
        self,
        images: UInt8[torch.Tensor, "batch view 3 height width"],
        generator: torch.Generator,
        *,
        with_pairs: bool = True,
        rows: slice | None = None,
        total: int | None = None,
        is_dynamic: Bool[torch.Tensor, " batch"] | None = None,
    ) -> tuple[Float[torch.Tensor, "copy_batch view 3 height width"], Bool[torch.Tensor, "batch view"] | None]:
        """The clean views and the distortions of each, in [0, 1], as one batch for the tower.

        All random numbers are drawn for the global batch, then those of this process's rows are used, so that the
        result does not depend on how many processes share the batch.

        Args:
            images: This process's rows of the global batch.
            generator: On any device; nothing waits for a GPU if it lives where the images do.
            with_pairs: Whether the distortions are wanted beside the clean views.
            rows: Where `images` stand in the global batch; None if they are all of it.
            total: Samples in the global batch; None for those of `images`.
            is_dynamic: Which of `images` are dynamic images: what is blanked there, or lies beyond the border, is
                mid-grey as where nothing moves, and not black. None where none is.

        Returns:
            All clean samples, then all under distortion A, then all under B, and so on; the clean samples alone without
            pairs.
            And which views the fusion may use, True where a view is there: None while `view_dropout` is 0. Views that
            are missing there are still in the images.
        """
        s = self.settings
        draws = _GlobalDraws(generator, images, rows, total)
        source = images.to(torch.float32).div_(255)
        empty = None if is_dynamic is None else is_dynamic.view(1, -1, 1, 1, 1, 1) * (MID_GREY / 255)
        num_distorted = s.num_distortions if with_pairs else 0
        strength = torch.ones(num_distorted + (s.weak_strength > 0), device=images.device)
        views = source[None]
        if len(strength):
            strength[: len(strength) - num_distorted] = s.weak_strength
            moved = self._move(source, strength, draws, empty)
            views = moved if s.weak_strength > 0 else torch.cat([views, moved])
        amount = None
        if s.weak_degraded_share > 0:
            amount = torch.ones(len(views), *images.shape[:2], device=images.device)
            amount[0] = draws.chance(s.weak_degraded_share, 1)[0]
            self._degrade(views, draws, amount, empty)
        elif with_pairs:
            self._degrade(views[1:], draws, None, empty)
        return views.flatten(0, 1), self._present(draws)

    def _move(
        self, source: torch.Tensor, strength: torch.Tensor, draws: _GlobalDraws, empty: torch.Tensor | None
    ) -> torch.Tensor:
        """Copies of the batch, each with a geometry of its own and a strength of it."""
        batch, views, channels, height, width = source.shape
        s, copies = self.settings, len(strength)
        angle, zoom, shift_x, shift_y = (draws.symmetric(copies, 4) * strength[:, None, None]).unbind(dim=-1)
        flip = draws.uniform(copies) < s.mirror
        side = torch.where(flip, -1.0, 1.0)
        angle, zoom = angle * math.radians(s.rotate_deg), 1 + zoom * s.scale
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        # Coordinates run from -1 to 1, so a share of the side is twice as much there.
        shift = 2 * s.shift * self._length
        shift_x, shift_y = shift_x * shift, shift_y * shift
        affine = torch.stack([cos * side, -sin, shift_x, sin * side, cos, shift_y], dim=-1).view(-1, 2, 3)
        mirrored = self._mirrored(source, flip)
        if empty is not None:
            # Beyond the border the sampling finds zeros.
            mirrored = mirrored - empty
        stacked = mirrored.view(copies * batch, views * channels, height, width)
        grid = sampling_grid(affine, height, width)
        moved = torch.nn.functional.grid_sample(stacked, grid, mode="bilinear", align_corners=False)
        moved = moved.view(copies, batch, views, channels, height, width)
        return moved if empty is None else moved.add_(empty)

    def _mirrored(self, source: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
        """A copy of the batch per row of `flip`, where it is true with views in mirrored order and normals negated."""
        batch, num_views = source.shape[:2]
        self._mirrored_order = self._mirrored_order.to(source.device)
        in_order = torch.arange(num_views, device=source.device)
        order = torch.where(flip[..., None], self._mirrored_order, in_order)
        first = torch.arange(batch, device=source.device)[:, None] * num_views
        # Whole images are copied, several times as fast as by indexing over two axes.
        copies = source.flatten(0, 1).index_select(0, (first + order).flatten()).view(*flip.shape, *source.shape[1:])
        if self.normal_x_channel is not None:
            # Empty pixels are black in every channel and stay so.
            negated = (copies != 0).any(dim=3) & flip[..., None, None, None]
            x = copies[:, :, :, self.normal_x_channel]
            x.copy_(torch.where(negated, 1 - x, x))
        return copies

    def _degrade(
        self, images: torch.Tensor, draws: _GlobalDraws, amount: torch.Tensor | None, empty: torch.Tensor | None
    ) -> None:
        """Change each view in place.

        Args:
            images: (copy, batch, view, channel, height, width).
            draws: Random numbers.
            amount: (copy, batch, view), 1 where a view is to be changed and 0 where not; None for all.
            empty: What a blanked pixel of each sample shows, (1, batch, 1, 1, 1, 1); None for black.
        """
        s = self.settings
        copies, _, num_views, channels, height, width = images.shape
        amount = torch.ones((), device=images.device) if amount is None else amount
        flat = images.flatten(0, 2)
        blur, coarser = self._losses_of_detail(width)
        for probability, change in ((s.blur, blur), (s.downsample_probability, coarser)):
            if probability > 0:
                chosen = draws.uniform(copies, num_views) < probability * amount
                replace_where(chosen.flatten(), change, flat)
        # Empty pixels are black in every channel and stay so; a dynamic image has none.
        keep = flat.amax(dim=1, keepdim=True) > 0
        if empty is not None:
            keep = (keep.view(copies, -1, num_views, 1, height, width) | (empty > 0)).view(keep.shape)
        keep &= ~self._blanked(images, draws, amount)
        each = amount[..., None]
        offset = draws.symmetric(copies, num_views, channels) * each * s.brightness
        gain = 1 + draws.symmetric(copies, num_views, channels) * each * s.contrast
        # (image - 0.5) * gain + 0.5 + offset
        images.mul_(gain[..., None, None]).add_((offset + 0.5 - 0.5 * gain)[..., None, None])
        if s.lighting > 0:
            images.add_(self._ramp(images, draws, amount))
        if s.noise > 0:
            # All channels follow from one depth map, so they share its noise.
            deviation = draws.uniform(copies, num_views) * amount * s.noise
            images.add_(draws.noise(deviation, height, width, self._scan_pixels)[:, :, :, None])
        flat.clamp_(0, 1).mul_(keep.to(flat.dtype))
        if empty is not None:
            images.add_(empty * ~keep.view(copies, -1, num_views, 1, height, width))

    @property
    def _scan_pixels(self) -> int:
        """Along the side of a view, of `pitch_mm`; 0 for the view's own."""
        return round(self._window_mm / self.settings.pitch_mm) if self.settings.pitch_mm > 0 else 0

    def _losses_of_detail(self, size: int) -> tuple[Callable[[torch.Tensor], torch.Tensor], ...]:
        """A small blur, and half the resolution, for views of this size."""
        pixels = self._scan_pixels
        if pixels == 0:
            return box_blur, halve_resolution
        return (
            lambda images: gaussian_blur(images, _BLUR_PIXELS * size / pixels),
            lambda images: limit_resolution(images, -(-pixels // 2)),
        )

    def _blanked(self, images: torch.Tensor, draws: _GlobalDraws, amount: torch.Tensor) -> torch.Tensor:
        """Pixels in holes and dropped patches, (image, 1, height, width)."""
        s = self.settings
        copies, _, num_views, _, height, width = images.shape
        blanked = torch.zeros(1, 1, height, width, dtype=torch.bool, device=images.device)
        for _ in range(s.num_holes):
            drawn = draws.uniform(copies, num_views, 5)
            there = (drawn[..., 4] < s.hole_probability * amount).flatten()
            size = drawn[..., :2] * min(s.hole * self._length, 1.0)
            corner = drawn[..., 2:4] * (1 - size)
            hole = in_rectangles(corner.flatten(0, 2).T, size.flatten(0, 2).T, height, width)
            blanked = blanked | (hole & there[:, None, None, None])
        if s.dropout > 0:
            share = draws.uniform(copies, num_views) * amount * s.dropout
            patches = max(1, round(s.dropout_patches / self._length))
            cells = draws.uniform(copies, num_views, patches, patches) < share[..., None, None]
            blanked = blanked | stretch(cells.flatten(0, 2)[:, None], height, width)
        return blanked

    def _ramp(self, images: torch.Tensor, draws: _GlobalDraws, amount: torch.Tensor) -> torch.Tensor:
        """Brightness that rises from one border to the other, zero in the middle."""
        copies, _, num_views, _, height, width = images.shape
        direction, strength = draws.uniform(copies, num_views, 2).unbind(dim=-1)
        strength = strength * amount * (self.settings.lighting / 2)
        slope_x, slope_y = (
            strength * torch.cos(2 * torch.pi * direction),
            strength * torch.sin(2 * torch.pi * direction),
        )
        x = slope_x[..., None, None] * pixel_centres(width, images.device)
        y = slope_y[..., None, None] * pixel_centres(height, images.device)[:, None]
        return (x + y)[:, :, :, None]

    def _present(self, draws: _GlobalDraws) -> torch.Tensor | None:
        if self.settings.view_dropout == 0:
            return None
        drawn = draws.uniform(1, draws.num_views)[0]
        # The view of the largest number stays, whatever the probability.
        return (drawn >= self.settings.view_dropout) | (drawn == drawn.amax(dim=1, keepdim=True))


class _GlobalDraws:
    """Random numbers for some rows of a global batch: all are drawn, and those of other rows thrown away."""

    def __init__(self, generator: torch.Generator, images: torch.Tensor, rows: slice | None, total: int | None) -> None:
        self.num_views = images.shape[1]
        self._generator = generator
        self._device = images.device
        self._total = len(images) if total is None else total
        self._start, self._stop, step = (rows or slice(None)).indices(self._total)
        assert step == 1
        assert self._stop - self._start == len(images), "the rows of the global batch are not those of the images"

    def uniform(self, copies: int, *shape: int) -> torch.Tensor:
        """From 0 to 1, (copy, batch, *shape)."""
        drawn = torch.rand(copies, self._total, *shape, generator=self._generator, device=self._generator.device)
        return drawn[:, self._start : self._stop].to(self._device)

    def symmetric(self, copies: int, *shape: int) -> torch.Tensor:
        """From -1 to 1, (copy, batch, *shape)."""
        return self.uniform(copies, *shape) * 2 - 1

    def chance(self, probability: float, copies: int) -> torch.Tensor:
        """True with this probability for each view, (copy, batch, view)."""
        return self.uniform(copies, self.num_views) < probability

    def noise(self, deviation: torch.Tensor, height: int, width: int, scan_pixels: int = 0) -> torch.Tensor:
        """Normal noise, (copy, batch, view, height, width), of the deviation (copy, batch, view).

        It is drawn per pixel, or for a scan of `scan_pixels` along a side that is then seen with more or fewer.
        """
        if scan_pixels and scan_pixels != width:
            drawn = self.noise(deviation, scan_pixels, scan_pixels)
            seen = interpolate(
                drawn.flatten(0, 2)[:, None], size=(height, width), mode="bilinear", align_corners=False, antialias=True
            )
            return seen.view(*deviation.shape, height, width)
        noise = deviation.new_empty(*deviation.shape, height, width)
        for first in range(0, self._total, _NOISE_ROWS):
            size = min(_NOISE_ROWS, self._total - first)
            drawn = torch.randn(size, len(deviation), self.num_views, height, width,
                                generator=self._generator, device=self._generator.device)  # fmt: skip
            start, stop = max(self._start, first), min(self._stop, first + size)
            if start < stop:
                here = slice(start - self._start, stop - self._start)
                drawn = drawn[start - first : stop - first].to(self._device).transpose(0, 1)
                torch.mul(drawn, deviation[:, here, :, None, None], out=noise[:, here])
        return noise
