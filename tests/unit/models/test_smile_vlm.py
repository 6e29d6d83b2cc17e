"""The image model: shapes, input scaling, parts that fit, samples that do not touch each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from smilevlm.errors import SettingsError
from smilevlm.models import (
    TOWERS,
    ConvTower,
    ConvTowerSettings,
    FusionSettings,
    ModelSettings,
    Projector,
    ProjectorSettings,
    SmileVlm,
    ViewAwareFusion,
    build_model,
)

REFUSED = (SettingsError, TypeError)
SMALL = ModelSettings(
    embedding_dim=12, tower_settings=ConvTowerSettings(width=8), projector=ProjectorSettings(hidden_dim=16)
)


@pytest.fixture
def model() -> SmileVlm:
    torch.manual_seed(0)
    return build_model(SMALL).eval()


def pictures(batch: int = 2, views: int = 3, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (batch, views, 3, side, side), dtype=torch.uint8, generator=generator)


def test_shapes(model):
    output = model(pictures())
    assert output.z_views.shape == (2, 3, 12)
    assert output.z_fused.shape == (2, 12)
    assert output.view_weights.shape == (2, 3)
    torch.testing.assert_close(output.z_views, model.encode_views(pictures()))


def test_views_are_features_projected(model):
    features = model.encode_features(pictures())
    assert features.shape == (2, 3, model.tower.feature_dim)
    torch.testing.assert_close(model.project(features), model.encode_views(pictures()))
    model.train()
    # Normalised over all rows of the batch, not view by view.
    expected = model.projector(features.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(model.project(features), expected)


def test_prompts_reach_the_text_guided_fusion():
    torch.manual_seed(0)
    guided = build_model(replace(SMALL, fusion=FusionSettings(kind="text_guided", num_heads=2))).eval()
    text = torch.randn(4, 12)
    output = guided(pictures(), text=text)
    fused, weights = guided.fuse(output.z_views, text=text)
    torch.testing.assert_close(output.z_fused, fused)
    torch.testing.assert_close(output.view_weights, weights)
    assert not torch.equal(guided(pictures(), text=-text).view_weights, weights)


def test_parameter_groups_share_out_the_model(model):
    model.tower.layers[0].requires_grad_(False)
    groups = [*model.tower_parameters(), *model.new_parameters()]
    assert {id(weight) for weight in groups} == {id(w) for w in model.parameters() if w.requires_grad}
    assert len(groups) == len(list(model.parameters())) - 1


def test_default_width_is_that_of_minilm():
    output = build_model().eval()(pictures(1, 2, 16))
    assert output.z_fused.shape == (1, 384)
    assert ModelSettings().tower in TOWERS


@pytest.mark.parametrize(("views", "size"), [(1, (16, 16)), (5, (48, 32)), (2, (112, 112))])
def test_any_number_of_views_and_size(model, views, size):
    assert model(torch.rand(2, views, 3, *size)).z_views.shape == (2, views, 12)


def test_bytes_and_fractions_are_one_image(model):
    images = pictures()
    torch.testing.assert_close(model(images).z_fused, model(images.float() / 255).z_fused)


def test_images_are_normalised_inside():
    torch.manual_seed(0)
    shifted = ModelSettings(
        embedding_dim=12, tower_settings=ConvTowerSettings(width=8), projector=ProjectorSettings(hidden_dim=16),
        image_mean=(0.1, 0.2, 0.3), image_std=(0.5, 0.6, 0.7),
    )  # fmt: skip
    model = build_model(shifted).eval()
    seen = []
    model.tower.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    model(torch.full((1, 1, 3, 16, 16), 0.4))
    expected = torch.tensor([(0.4 - 0.1) / 0.5, (0.4 - 0.2) / 0.6, (0.4 - 0.3) / 0.7])
    torch.testing.assert_close(seen[0][0, :, 3, 5], expected)


def test_a_view_is_embedded_alike_wherever_it_stands(model):
    images = pictures()
    z = model.encode_views(images)
    torch.testing.assert_close(model.encode_views(images.flip(1)), z.flip(1))
    torch.testing.assert_close(model.encode_views(images[1:]), z[1:])


def test_masked_view_is_ignored(model):
    images = pictures()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    output = model(images, mask)
    assert float(output.view_weights[0, 2].detach()) == 0
    torch.testing.assert_close(output.z_fused[0], model(images[:1, :2]).z_fused[0])


def test_gradient_reaches_every_parameter(model):
    model.train()
    model(pictures(4)).z_fused.square().sum().backward()
    for name, parameter in model.named_parameters():
        # The softmax over views cannot see what is added to all scores.
        if name == "fusion.scorer.2.bias":
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_batch_of_one_in_training(model):
    model.train()
    assert torch.isfinite(model(pictures(1)).z_fused).all()
    with pytest.raises(SettingsError, match="two rows"):
        model(pictures(1, 1))


def test_batch_of_one_can_be_evaluated(model):
    assert torch.isfinite(model(pictures(1, 1)).z_fused).all()


def test_refuses_images(model):
    for bad in (
        torch.rand(2, 3, 3, 30, 32),
        torch.rand(2, 3, 1, 32, 32),
        torch.rand(3, 3, 32, 32),
        torch.zeros(2, 3, 3, 32, 32, dtype=torch.int64),
    ):
        with pytest.raises(REFUSED):
            model(bad)


def test_parts_must_fit():
    tower = ConvTower(ConvTowerSettings(width=8))
    with pytest.raises(SettingsError, match="widths"):
        SmileVlm(tower, Projector(31, 12), ViewAwareFusion(12), SMALL)
    with pytest.raises(SettingsError, match="widths"):
        SmileVlm(tower, Projector(32, 12), ViewAwareFusion(13), SMALL)


@pytest.mark.parametrize(
    "bad", [{"tower": "no such"}, {"embedding_dim": 0}, {"image_std": (0.5, 0.0, 0.5)}, {"tower_settings": None}]
)
def test_refuses_settings(bad):
    with pytest.raises(REFUSED):
        ModelSettings(**bad)


def test_refuses_part_settings():
    with pytest.raises(SettingsError, match="width"):
        ConvTowerSettings(width=12)
    with pytest.raises(REFUSED):
        ConvTowerSettings(norm="layer")
    with pytest.raises(SettingsError, match="num_layers"):
        ProjectorSettings(num_layers=-1)
    with pytest.raises(SettingsError, match="hidden_dim"):
        ProjectorSettings(hidden_dim=0)


def test_group_norm_does_not_mix_samples():
    torch.manual_seed(0)
    tower = ConvTower(ConvTowerSettings(width=8, norm="group")).train()
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(tower(images)[:1], tower(images[:1]))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in tower.modules())


def test_without_a_projector_the_features_are_the_embedding():
    features = torch.randn(4, 6)
    assert Projector(6, 6, ProjectorSettings(num_layers=0))(features) is features
    with pytest.raises(SettingsError, match="the tower's 5 features must be 6"):
        Projector(5, 6, ProjectorSettings(num_layers=0))


@pytest.mark.parametrize(("num_layers", "num_norms"), [(1, 0), (2, 1), (3, 2)])
def test_projector_depth(num_layers, num_norms):
    projector = Projector(5, 7, ProjectorSettings(hidden_dim=6, num_layers=num_layers))
    linear = [module for module in projector.modules() if isinstance(module, torch.nn.Linear)]
    norms = [module for module in projector.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    assert (len(linear), len(norms)) == (num_layers, num_norms)
    assert all(module.bias is None for module in linear)
    assert isinstance(projector.layers[-1], torch.nn.Linear)
    assert projector(torch.randn(4, 5)).shape == (4, 7)


def test_same_seed_same_model():
    first, second = (torch.manual_seed(7) and build_model(SMALL) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
