"""Recipes build; overrides are typed and checked; a run's settings come back as they were."""

from __future__ import annotations

import functools
import json
import operator
from dataclasses import asdict, replace

import pytest

from builders_clip import build_tiny_clip
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS
from smilevlm.models import ClipTowerSettings, TimmTowerSettings
from smilevlm.recipes import RECIPES, find_recipe
from smilevlm.training.config import ExperimentConfig, OptimiserSettings
from smilevlm.training.resolve import ADDED_SETTINGS, RENAMED_SETTINGS, config_from, with_overrides


@pytest.fixture(scope="module")
def demo() -> ExperimentConfig:
    return find_recipe("demo")


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


def plain(config: ExperimentConfig) -> dict:
    return json.loads(json.dumps(asdict(config)))


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_builds_a_model_under_its_own_name(name, tiny_clip):
    import torch

    from smilevlm.augment.distortions import Distortions
    from smilevlm.datasets import find_protocol
    from smilevlm.losses import JointLoss, PromptBank
    from smilevlm.models import build_model
    from smilevlm.prompts import load_prompt_set

    config = find_recipe(name)
    assert config.name == name
    if name.startswith("paper_"):
        # The hub's CLIP is not here; a small one stands in, by the same path.
        config = with_overrides(config, [f"model.tower_settings.name={tiny_clip}"])
    build_model(config.model)
    head = None if config.loss.head == "none" else torch.nn.Identity()
    JointLoss(config.loss, head, bank=PromptBank(torch.ones(2, 4), torch.arange(2)))
    Distortions(config.distortions, config.prepare.views.angles_deg)
    # The folder protocol takes whatever classes are there.
    load_prompt_set(config.prompt_set, classes=find_protocol(config.protocol).classes or BASIC_EXPRESSIONS)


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match=r"'dem'.*demo"):
        find_recipe("dem")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("optimiser.epochs=5", "optimiser.epochs", 5),
        ("optimiser.learning_rate=3e-4", "optimiser.learning_rate", 3e-4),
        ("optimiser.learning_rate=1", "optimiser.learning_rate", 1.0),
        ("optimiser.precision=bf16", "optimiser.precision", "bf16"),
        ("pairing=generic", "pairing", "generic"),
        ("seed=7", "seed", 7),
        ("model.tower_settings.width=16", "model.tower_settings.width", 16),
        ("model.tower_settings.norm=group", "model.tower_settings.norm", "group"),
        ("model.projector.hidden_dim=64", "model.projector.hidden_dim", 64),
        ("loss.standardize=false", "loss.standardize", False),
        ("loss.pairs=cross", "loss.pairs", "cross"),
        ("loss.multi_view_share=0.5", "loss.multi_view_share", 0.5),
        ("prepare.views.size=48", "prepare.views.size", 48),
        ("prepare.views.angles_deg=[-15, 0, 15]", "prepare.views.angles_deg", (-15.0, 0.0, 15.0)),
        ("distortions.mirror=0", "distortions.mirror", 0.0),
        ("prompt_set=my=set.yaml", "prompt_set", "my=set.yaml"),
    ],
)
def test_overrides_are_typed_and_change_nothing_else(demo, override, path, value):
    changed = with_overrides(demo, [override])
    rooms = path.split(".")
    found, values, before = changed, plain(changed), plain(demo)
    for room in rooms:
        found = getattr(found, room)
    assert found == value
    assert type(found) is type(value)
    for room in rooms[:-1]:
        values, before = values[room], before[room]
    before[rooms[-1]] = values[rooms[-1]]
    expected = plain(demo)
    target = expected
    for room in rooms[:-1]:
        target = target[room]
    target[rooms[-1]] = values[rooms[-1]]
    assert plain(changed) == expected


def test_several_overrides_and_the_last_one_counts(demo):
    changed = with_overrides(demo, ["optimiser.epochs=5", "optimiser.batch_size=8", "optimiser.epochs=6"])
    assert changed == replace(demo, optimiser=replace(demo.optimiser, epochs=6, batch_size=8))
    assert with_overrides(demo, []) == demo


@pytest.mark.parametrize(
    "override",
    [
        "optimiser.epoch=5",
        "optimiser.epochss=5",
        "optim.epochs=5",
        "nothing=5",
        "optimiser.epochs.more=5",
        "=5",
        "optimiser.epochs",
        "optimiser.epochs=many",
        "optimiser.epochs=2.5",
        "optimiser.epochs=",
        "optimiser.epochs=-1",
        "optimiser.learning_rate=fast",
        "optimiser.learning_rate=-1",
        "optimiser.precision=float8",
        "pairing=clas",
        "num_folds=1",
        "distortions.mirror=2",
        "model.tower_settings.width=9",
        "model.tower_settings.name=resnet18",
        "model.tower=clap",
        "loss.temperature=0",
        "loss.pairs=both",
        "loss.centre=class",
        "loss.head=views",
        "prepare.views.size=-3",
        "prepare.views.kind=colour",
        "score_temperature=0",
    ],
)
def test_a_bad_override_is_refused_by_name_in_one_line(demo, override):
    with pytest.raises(SettingsError) as caught:
        with_overrides(demo, ["seed=1", override])
    message = str(caught.value)
    assert repr(override) in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_tower_begins_with_its_own_defaults_and_keeps_what_it_is_given(demo):
    clip = with_overrides(
        demo, ["model.tower=clip", "model.tower_settings.tuning=lora", "model.tower_settings.name=/some/folder"]
    )
    assert clip.model.tower_settings == ClipTowerSettings(name="/some/folder", tuning="lora")
    assert with_overrides(clip, ["model.tower=clip", "seed=3"]).model == clip.model
    timm = with_overrides(clip, ["model.tower=timm", "model.tower_settings.name=resnet50"])
    assert timm.model.tower_settings == TimmTowerSettings(name="resnet50")
    for config in (clip, timm):
        assert config_from(plain(config)) == config
    assert with_overrides(timm, ["model.tower=conv"]) == demo


@pytest.mark.parametrize("name", list(RECIPES))
def test_settings_come_back_from_json(name):
    config = find_recipe(name)
    assert config_from(plain(config)) == config


def test_changed_settings_come_back_from_json(demo, make_tiny_config):
    for config in (make_tiny_config("seed=3"), replace(demo, optimiser=OptimiserSettings(learning_rate=1.25e-7))):
        assert config_from(plain(config)) == config


def test_the_environment_does_not_reach_the_settings(demo, monkeypatch):
    monkeypatch.setenv("EXPERIMENT__SEED", "9")
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    assert config_from(plain(demo)) == demo


@pytest.mark.parametrize(
    "damage",
    [
        lambda v: v.pop("protocol"),
        lambda v: v.pop("seed"),
        lambda v: v["optimiser"].pop("epochs"),
        lambda v: v.update(surprise=1),
        lambda v: v["optimiser"].update(epochs="many"),
        lambda v: v["optimiser"].update(epochs=-1),
        lambda v: v.update(optimiser=[1]),
    ],
    ids=["no protocol", "no seed", "no epochs", "unknown", "ill-typed", "out of range", "not a mapping"],
)
def test_damaged_settings_are_refused(demo, damage):
    values = plain(demo)
    damage(values)
    with pytest.raises(CheckpointError, match="settings cannot be read"):
        config_from(values)


@pytest.mark.parametrize(("former", "current"), RENAMED_SETTINGS.items())
def test_former_names_of_settings_work_with_a_warning(former, current):
    value = {"loss.comparable": True}.get(former, 0.25)
    config = find_recipe("demo")
    with pytest.warns(FutureWarning, match=current):
        changed = with_overrides(config, [f"{former}={json.dumps(value)}"])
    assert changed == with_overrides(config, [f"{current}={json.dumps(value)}"]) != config


@pytest.mark.parametrize("order", [1, -1])
def test_overrides_that_need_each_other_may_come_in_any_order(order):
    together = ["validation.share=0", "validation.calibrate=false", "optimiser.epochs=3"][::order]
    changed = with_overrides(find_recipe("bundled"), together)
    assert (changed.validation.share, changed.validation.calibrate, changed.optimiser.epochs) == (0, False, 3)
    with pytest.raises(SettingsError, match=r"'validation.share=0'.*calibrate"):
        with_overrides(find_recipe("bundled"), ["validation.share=0", "optimiser.epochs=3"][::order])
    with pytest.raises(SettingsError, match=r"'validation.share=2'"):
        with_overrides(find_recipe("bundled"), ["validation.share=2", "validation.share=0.1"])


def test_run_folders_keep_former_names():
    values = json.loads(json.dumps(asdict(find_recipe("demo"))))
    values["unsure_below"] = values.pop("abstain_threshold")
    values["distortions"]["coarse"] = values["distortions"].pop("downsample_probability")
    assert config_from(values) == find_recipe("demo")


def test_run_folders_from_before_a_setting_are_read():
    demo = find_recipe("demo")
    values = plain(demo)
    for added in ADDED_SETTINGS:
        *groups, name = added.split(".")
        del functools.reduce(operator.getitem, groups, values)[name]
    assert config_from(values) == demo
