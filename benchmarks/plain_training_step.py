"""A training step of SMILE-VLM as one would write it from the paper: the yardstick of `training_step.py`.

Three passes (clean views, distortion A, distortion B), each view for itself in a loop, the losses term by term. The
samples are batched, and the tensors' layout is torch's default. Weights are those of a model of this package and random
numbers are drawn in its order, so that loss and gradients are the same.

Where rows of several passes share statistics the result depends on which do. The projector takes the rows of all passes
at once. A tower with batch normalisation gives each pass its own statistics when it is timed, which is the cheaper and
the plain way; to compare results, `joined` gives each of its layers the rows of all passes.
"""

import torch
from torch import nn
from torch.nn.functional import affine_grid, avg_pool2d, cross_entropy, grid_sample, normalize

from smilevlm.augment.distortions import DistortionSettings
from smilevlm.losses import JointLossSettings
from smilevlm.models import SmileVlm, ViewAwareFusion
from smilevlm.models.conv_tower import _ResidualBlock


def plain_loss(
    model: SmileVlm,
    passes: list[list[torch.Tensor]],
    text: torch.Tensor,
    settings: JointLossSettings,
    *,
    joined: bool = False,
) -> torch.Tensor:
    """The joint loss of what `plain_distortions` gives and prompts (batch, dim)."""
    num_views = len(passes[0])
    images = [(view - model.image_mean) / model.image_std for views in passes for view in views]
    features = joined_tower(model, images) if joined else [plain_tower(model, image) for image in images]
    in_rows = torch.stack(features).unflatten(0, (3, num_views)).transpose(1, 2)
    z = model.projector(in_rows.flatten(0, 2)).unflatten(0, in_rows.shape[:3])
    z_views, z_a, z_b = ([passed[:, view] for view in range(num_views)] for passed in z)
    z_fused = plain_fusion(model, z_views)
    with torch.autocast(text.device.type, enabled=False):
        z_views, z_a, z_b = ([view.to(text.dtype) for view in passed] for passed in (z_views, z_a, z_b))
        z_fused = z_fused.to(text.dtype)
        correlations = [correlation(a, b) for a, b in zip(z_a, z_b, strict=True)]
        multi_view = barlow_twins(torch.stack(correlations).mean(dim=0), settings.lambd_mv_bt)
        alignment = sum(info_nce(image, text, settings.temperature) for image in [*z_views, z_fused]) / (num_views + 1)
        redundancy = barlow_twins(correlation(z_fused, text), settings.lambd_red_min)
        return (
            settings.alpha * settings.multi_view_scale * multi_view
            + settings.beta * alignment
            + settings.gamma * settings.redundancy_scale * redundancy
        )


def plain_tower(model: SmileVlm, images: torch.Tensor) -> torch.Tensor:
    """The convolutional tower from torch's layers in their default memory format; other towers as they are."""
    layers = getattr(model.tower, "layers", None)
    if layers is None:
        return model.tower(images)
    maps = layers[:3](images)
    for block in layers[3:]:
        maps = torch.relu(block.branch(maps) + block.shortcut(maps))
    return maps.mean(dim=(2, 3))


def joined_tower(model: SmileVlm, images: list[torch.Tensor]) -> list[torch.Tensor]:
    layers = getattr(model.tower, "layers", None)
    if layers is None:
        return [model.tower(image) for image in images]
    return [maps.mean(dim=(2, 3)) for maps in joined_layer(layers, images)]


def joined_layer(layer: nn.Module, maps: list[torch.Tensor]) -> list[torch.Tensor]:
    """A layer pass by pass, but batch normalisation over all of them."""
    if isinstance(layer, nn.BatchNorm2d):
        return [part.clone() for part in layer(torch.cat(maps)).split(len(maps[0]))]
    if isinstance(layer, nn.Sequential):
        for part in layer:
            maps = joined_layer(part, maps)
        return maps
    if isinstance(layer, _ResidualBlock):
        branch, shortcut = joined_layer(layer.branch, maps), joined_layer(layer.shortcut, maps)
        return [torch.relu(a + b) for a, b in zip(branch, shortcut, strict=True)]
    return [layer(each) for each in maps]


def plain_fusion(model: SmileVlm, z_views: list[torch.Tensor]) -> torch.Tensor:
    """Eq. 5 and 7: score, softmax, weighted sum."""
    directions = [normalize(view, dim=-1, eps=1e-6) for view in z_views]
    mean_direction = torch.stack(directions).mean(dim=0)
    assert isinstance(model.fusion, ViewAwareFusion)
    scorer = model.fusion.scorer
    scores = [scorer(torch.cat([direction, mean_direction], dim=-1)) for direction in directions]
    weights = torch.softmax(torch.cat(scores, dim=1).to(z_views[0].dtype), dim=1)
    weighted = [weights[:, number, None] * view for number, view in enumerate(z_views)]
    return torch.stack(weighted).sum(dim=0)


def correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a = (a - a.mean(dim=0)) / torch.sqrt(a.var(dim=0, unbiased=False) + 1e-5)
    b = (b - b.mean(dim=0)) / torch.sqrt(b.var(dim=0, unbiased=False) + 1e-5)
    return a.T @ b / len(a)


def barlow_twins(correlation: torch.Tensor, lambd: float) -> torch.Tensor:
    diagonal = torch.diagonal(correlation)
    off_diagonal = correlation - torch.diag(diagonal)
    return (diagonal - 1).square().sum() + lambd * off_diagonal.square().sum()


def info_nce(image: torch.Tensor, text: torch.Tensor, temperature: float) -> torch.Tensor:
    similarity = normalize(image, dim=-1) @ normalize(text, dim=-1).T / temperature
    return cross_entropy(similarity, torch.arange(len(text), device=text.device))


def plain_distortions(
    images: torch.Tensor, generator: torch.Generator, s: DistortionSettings
) -> list[list[torch.Tensor]]:
    """Clean, A and B; of each the views in their order, (batch, 3, height, width)."""
    batch, num_views, _, height, width = images.shape

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=images.device)

    geometry, flips = draw(3, batch, 4) * 2 - 1, draw(3, batch) < s.mirror
    soft, holes = draw(2, batch, num_views) < s.blur, draw(2, batch, num_views, 5)
    offsets = (draw(2, batch, num_views, 3) * 2 - 1) * s.brightness
    gains = 1 + (draw(2, batch, num_views, 3) * 2 - 1) * s.contrast
    deviations = draw(2, batch, num_views) * s.noise
    noise = torch.randn(batch, 2, num_views, height, width, generator=generator, device=images.device)
    passes = []
    for copy in range(3):
        affine = affine_of(geometry[copy], flips[copy], s, s.weak_strength if copy == 0 else 1.0)
        views = []
        for view in range(num_views):
            # Angles run from left to right, so a view's mirror image is the one as far from the other end.
            other = images[:, num_views - 1 - view]
            image = torch.where(flips[copy][:, None, None, None], other, images[:, view]).float() / 255
            image = grid_sample(image, affine_grid(affine, list(image.shape), align_corners=False), align_corners=False)
            if copy > 0:
                one = (copy - 1, slice(None), view)
                blurred = avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
                image = torch.where(soft[one][:, None, None, None], blurred, image)
                covered = (image > 0).any(dim=1, keepdim=True)
                gain, offset = gains[one][..., None, None], offsets[one][..., None, None]
                grain = (noise[:, copy - 1, view] * deviations[one][:, None, None])[:, None]
                image = torch.where(covered, ((image - 0.5) * gain + 0.5 + offset + grain).clamp(0, 1), image)
                image = torch.where(in_hole(holes[one], s, height, width), 0.0, image)
            views.append(image)
        passes.append(views)
    return passes


def affine_of(drawn: torch.Tensor, flip: torch.Tensor, s: DistortionSettings, share: float) -> torch.Tensor:
    angle, zoom, shift_x, shift_y = (drawn * share).unbind(dim=1)
    angle, zoom = torch.deg2rad(angle * s.rotate_deg), 1 + zoom * s.scale
    cos, sin, side = torch.cos(angle) / zoom, torch.sin(angle) / zoom, torch.where(flip, -1.0, 1.0)
    rows = [cos * side, -sin, shift_x * 2 * s.shift, sin * side, cos, shift_y * 2 * s.shift]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def in_hole(drawn: torch.Tensor, s: DistortionSettings, height: int, width: int) -> torch.Tensor:
    size = drawn[:, :2] * s.hole
    start = drawn[:, 2:4] * (1 - size)
    y = (torch.arange(height, device=drawn.device) + 0.5) / height
    x = (torch.arange(width, device=drawn.device) + 0.5) / width
    in_rows = (y >= start[:, 0, None]) & (y < (start + size)[:, 0, None])
    in_columns = (x >= start[:, 1, None]) & (x < (start + size)[:, 1, None])
    there = drawn[:, 4] < s.hole_probability
    return (in_rows[:, :, None] & in_columns[:, None, :] & there[:, None, None])[:, None]
