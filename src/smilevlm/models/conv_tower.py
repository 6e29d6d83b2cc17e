"""The small convolutional tower, trained from scratch and made for a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import nn

from smilevlm.errors import SettingsError
from smilevlm.models.batch_norm import GlobalBatchNorm2d
from smilevlm.models.norm_relu import norm_relu

Normalisation = Literal["batch", "group"]


@dataclass(frozen=True, kw_only=True)
class ConvTowerSettings:
    """Size of the small convolutional tower.

    Args:
        width: Channels of the stem, a positive multiple of 8; the features are four times as wide.
        norm: Batch normalisation over the samples of all processes, or group normalisation in groups of 8 channels,
            which does not mix samples.
        grid: The last map is averaged over this many cells along each side, whose means stand side by side in the
            features: faces are aligned, so a brow is known by its place. 1 is the mean over the whole image.

    Raises:
        SettingsError: The width is not a positive multiple of 8, the normalisation is not known, or the grid is
            outside 1 to 7.
    """

    width: int = 32
    norm: Normalisation = "batch"
    grid: int = 1

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8:
            raise SettingsError(f"width of the tower must be a positive multiple of 8, got {self.width}")
        if self.norm not in ("batch", "group"):
            raise SettingsError(f"norm of the tower must be 'batch' or 'group', got {self.norm!r}")
        if not 1 <= self.grid <= 7:
            raise SettingsError(f"grid of the tower must be 1 to 7, got {self.grid}")


class ConvTower(nn.Module):
    """A 4 x 4 patch stem, three residual blocks of widths w, 2w and 4w, and the mean over the image or its cells.

    Args:
        settings: Size of the tower.
    """

    architecture = None

    def __init__(self, settings: ConvTowerSettings | None = None) -> None:
        super().__init__()
        settings = settings or ConvTowerSettings()
        width = settings.width
        self._grid = settings.grid
        self.feature_dim = 4 * width * settings.grid**2
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, kernel_size=4, stride=4, bias=False),
            _norm(width, settings.norm),
            nn.ReLU(inplace=True),
            _ResidualBlock(width, width, stride=1, norm=settings.norm),
            _ResidualBlock(width, 2 * width, stride=2, norm=settings.norm),
            _ResidualBlock(2 * width, 4 * width, stride=2, norm=settings.norm),
        )
        # On a CPU a training step is about a quarter faster with the channels innermost (96 x 112 x 112 px, two cores);
        # group normalisation is ten times as slow there.
        self._layout = torch.channels_last if settings.norm == "batch" else torch.contiguous_format
        self.to(memory_format=self._layout)  # pyright: ignore[reportCallIssue]

    def forward(self, images: Float[torch.Tensor, "image 3 height width"]) -> Float[torch.Tensor, "image feature_dim"]:
        """Features of normalised images.

        Raises:
            SettingsError: Height or width is not a positive multiple of 16, or has fewer than 16 pixels per cell.
        """
        height, width = images.shape[-2:]
        if height % 16 or width % 16 or not height or not width:
            raise SettingsError(f"the tower takes images of sides divisible by 16, got {height} x {width} pixels")
        stem, norm, _, *blocks = self.layers
        maps = norm_relu(norm, stem(images.contiguous(memory_format=self._layout)))
        for block in blocks:
            maps = block(maps)
        if self._grid == 1:
            return maps.mean(dim=(2, 3))
        if min(height, width) < 16 * self._grid:
            raise SettingsError(f"{height} x {width} pixels are too few for a grid of {self._grid}")
        return torch.nn.functional.adaptive_avg_pool2d(maps, self._grid).flatten(1)


def build_conv_tower(settings: ConvTowerSettings, architecture: Mapping[str, Any] | None = None) -> ConvTower:
    """A tower with fresh weights; the settings say everything, so there is no further architecture."""
    if architecture is not None:
        raise SettingsError(f"the convolutional tower has no architecture beside its settings, got {architecture}")
    return ConvTower(settings)


class _ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: Normalisation) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False),
            _norm(out_channels, norm),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            _norm(out_channels, norm),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                _norm(out_channels, norm),
            )

    def forward(self, x: Float[torch.Tensor, "image in_c h w"]) -> Float[torch.Tensor, "image out_c h2 w2"]:
        first, norm, _, second, last_norm = self.branch
        return norm_relu(last_norm, second(norm_relu(norm, first(x))), self.shortcut(x))


def _norm(channels: int, norm: Normalisation) -> nn.Module:
    return GlobalBatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(channels // 8, channels)
