"""The nonlinear projector from a tower's features to the embedding shared with the text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import nn

from smilevlm.distributed import world_size
from smilevlm.errors import SettingsError
from smilevlm.models.batch_norm import GlobalBatchNorm1d


@dataclass(frozen=True, kw_only=True)
class ProjectorSettings:
    """Depth and width of the projector.

    Args:
        hidden_dim: Width of the hidden layers, at least 1.
        num_layers: Linear layers; 1 is a linear projection, 0 leaves the features as they are, which must then be as
            wide as the embedding.

    Raises:
        SettingsError: A value is below its least.
    """

    hidden_dim: int = 512
    num_layers: int = 2

    def __post_init__(self) -> None:
        for name, least in (("hidden_dim", 1), ("num_layers", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} of the projector must be at least {least}, got {getattr(self, name)}")


class Projector(nn.Module):
    """Linear, batch normalisation, ReLU, repeated, and a last linear layer; no biases, as in Barlow Twins.

    Args:
        in_dim: Width of the tower's features.
        out_dim: Width of the embedding.
        settings: Depth and width.

    Raises:
        SettingsError: Without a layer, and the widths differ.
    """

    def __init__(self, in_dim: int, out_dim: int, settings: ProjectorSettings | None = None) -> None:
        super().__init__()
        settings = settings or ProjectorSettings()
        self.in_dim = in_dim
        self.out_dim = out_dim
        layers: list[nn.Module] = []
        width = in_dim
        if settings.num_layers == 0:
            if in_dim != out_dim:
                raise SettingsError(f"without a projector the tower's {in_dim} features must be {out_dim}, as the text")
            self.layers = nn.Sequential()
            return
        for _ in range(settings.num_layers - 1):
            layers += [nn.Linear(width, settings.hidden_dim, bias=False), GlobalBatchNorm1d(settings.hidden_dim)]
            layers += [nn.ReLU(inplace=True)]
            width = settings.hidden_dim
        layers.append(nn.Linear(width, out_dim, bias=False))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Float[torch.Tensor, "row in_dim"]) -> Float[torch.Tensor, "row out_dim"]:
        """Project features; in training the statistics are those of all rows, whatever view or process they come from.

        Raises:
            SettingsError: One row in training, of which batch normalisation would make zeros.
        """
        if self.training and len(self.layers) > 1 and features.shape[0] < 2 and world_size() == 1:
            raise SettingsError("batch normalisation needs at least two rows in training, got 1; use a larger batch")
        return self.layers(features)
