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
        start, stop, cells = self._blanked(images, draws, amount)
        each = amount[..., None]
        offset = draws.symmetric(copies, num_views, channels) * each * s.brightness
        gain = 1 + draws.symmetric(copies, num_views, channels) * each * s.contrast
        slopes = self._slopes(copies, draws, amount) if s.lighting > 0 else None
        noise = None
        if s.noise > 0:
            # All channels follow from one depth map, so they share its noise.
            deviation = draws.uniform(copies, num_views) * amount * s.noise
            noise = draws.noise(deviation, height, width, self._scan_pixels).flatten(0, 2)
        changes = _PixelChanges(
            gain=gain.flatten(0, 2),
            # (image - 0.5) * gain + 0.5 + offset
            offset=(offset + 0.5 - 0.5 * gain).flatten(0, 2),
            slopes=slopes,
            noise=noise,
            start=start,
            stop=stop,
            cells=cells,
            empty=None if empty is None else empty.expand(copies, -1, num_views, 1, 1, 1).flatten(),
        )
        (changes.apply_compiled if images.device.type == "cpu" else changes.apply)(flat)

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

    def _blanked(
        self, images: torch.Tensor, draws: _GlobalDraws, amount: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Holes and dropped patches, as `_PixelChanges` has them."""
        s = self.settings
        copies, batch, num_views = images.shape[:3]
        holes = images.new_zeros(2, copies * batch * num_views, s.num_holes, 2)
        for number in range(s.num_holes):
            drawn = draws.uniform(copies, num_views, 5)
            size = drawn[..., :2] * min(s.hole * self._length, 1.0)
            corner = drawn[..., 2:4] * (1 - size)
            there = drawn[..., 4:] < s.hole_probability * amount[..., None]
            holes[0, :, number] = corner.flatten(0, 2)
            holes[1, :, number] = (corner + torch.where(there, size, 0)).flatten(0, 2)
        cells = images.new_zeros(holes.shape[1], 0, 0, dtype=torch.bool)
        if s.dropout > 0:
            share = draws.uniform(copies, num_views) * amount * s.dropout
            patches = max(1, round(s.dropout_patches / self._length))
            cells = (draws.uniform(copies, num_views, patches, patches) < share[..., None, None]).flatten(0, 2)
        return holes[0], holes[1], cells

    def _slopes(self, copies: int, draws: _GlobalDraws, amount: torch.Tensor) -> torch.Tensor:
        """Of a brightness that rises from one border to the other, zero in the middle, (image, 2)."""
        direction, strength = draws.uniform(copies, draws.num_views, 2).unbind(dim=-1)
        strength = strength * amount * (self.settings.lighting / 2)
        angle = 2 * torch.pi * direction
        return torch.stack([strength * torch.cos(angle), strength * torch.sin(angle)], dim=-1).flatten(0, 2)

    def _present(self, draws: _GlobalDraws) -> torch.Tensor | None:
        if self.settings.view_dropout == 0:
            return None
        drawn = draws.uniform(1, draws.num_views)[0]
        # The view of the largest number stays, whatever the probability.
        return (drawn >= self.settings.view_dropout) | (drawn == drawn.amax(dim=1, keepdim=True))


@dataclass(frozen=True, kw_only=True)
class _PixelChanges:
    """What is changed in views pixel by pixel.

    Args:
        gain: Of each channel, (image, channel).
        offset: Likewise.
        slopes: Of the lighting along x and y, (image, 2).
        noise: (image, height, width).
        start: Upper left corners of holes, as shares of the side, y before x, (image, hole, 2).
        stop: Their lower right corners; a hole that is not there stops where it starts.
        cells: True where a patch is dropped, (image, row, column); there may be no rows.
        empty: What a blanked pixel of each image shows; None for black.
    """

    gain: torch.Tensor
    offset: torch.Tensor
    slopes: torch.Tensor | None
    noise: torch.Tensor | None
    start: torch.Tensor
    stop: torch.Tensor
    cells: torch.Tensor
    empty: torch.Tensor | None

    def apply_compiled(self, images: torch.Tensor) -> None:
        """What `apply` does, to the same bits, in one pass over the images of a CPU."""
        from smilevlm.augment._kernels import change_pixels

        given = (self.gain, self.offset, self.slopes, self.noise, self.start, self.stop, self.cells, self.empty)
        change_pixels(
            images.numpy(),
            *(None if each is None else each.contiguous().numpy() for each in given),
            pixel_centres(images.shape[3], images.device).numpy(),
            pixel_centres(images.shape[2], images.device).numpy(),
        )

    def apply(self, images: torch.Tensor) -> None:
        """Change images (image, channel, height, width) in place, on any device."""
        height, width = images.shape[-2:]
        # Empty pixels are black in every channel and stay so; a dynamic image has none.
        keep = images.amax(dim=1, keepdim=True) > 0
        if self.empty is not None:
            keep |= (self.empty > 0).view(-1, 1, 1, 1)
        for start, stop in zip(self.start.unbind(dim=1), self.stop.unbind(dim=1), strict=True):
            keep &= ~in_rectangles(start.T, stop.T, height, width)
        if self.cells.shape[1]:
            keep &= ~stretch(self.cells[:, None], height, width)
        images.mul_(self.gain[..., None, None]).add_(self.offset[..., None, None])
        if self.slopes is not None:
            x = self.slopes[:, 0, None, None] * pixel_centres(width, images.device)
            y = self.slopes[:, 1, None, None] * pixel_centres(height, images.device)[:, None]
            images.add_((x + y)[:, None])
        if self.noise is not None:
            images.add_(self.noise[:, None])
        images.clamp_(0, 1).mul_(keep.to(images.dtype))
        if self.empty is not None:
            images.add_(self.empty.view(-1, 1, 1, 1) * ~keep)


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
