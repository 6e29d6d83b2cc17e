"""The small tower's grid: means over cells side by side, and one mean by default."""

from __future__ import annotations

import pytest
import torch

from smilevlm.errors import SettingsError
from smilevlm.models import ConvTowerSettings
from smilevlm.models.conv_tower import ConvTower


def test_cells_hold_what_lies_in_them_and_their_mean_is_the_whole_image_s():
    torch.manual_seed(0)
    whole = ConvTower(ConvTowerSettings(width=8)).eval()
    cells = ConvTower(ConvTowerSettings(width=8, grid=2)).eval()
    cells.load_state_dict(whole.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        mean, parts = whole(images), cells(images)
    assert (whole.feature_dim, cells.feature_dim) == (32, 128)
    torch.testing.assert_close(parts.view(2, 32, 4).mean(dim=2), mean)
    changed = images.clone()
    changed[:, :, 48:, 48:] = 0
    with torch.no_grad():
        moved = (cells(changed) - parts).view(2, 32, 4).abs().amax(dim=(0, 1))
    assert moved[3] > 0
    assert moved[3] == moved.max(), "what changed at the lower right is told by the last cell most"


@pytest.mark.parametrize("grid", [0, 8])
def test_a_grid_out_of_range(grid):
    with pytest.raises(SettingsError, match="grid"):
        ConvTowerSettings(grid=grid)


def test_too_few_pixels_for_the_grid():
    with pytest.raises(SettingsError, match="too few"):
        ConvTower(ConvTowerSettings(width=8, grid=3))(torch.rand(1, 3, 32, 32))
