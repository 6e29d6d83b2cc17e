"""What a run leaves of the process it runs in, and where its parts work."""

from __future__ import annotations

import logging
import shutil
from contextlib import contextmanager, nullcontext

import pytest
import pytorch_lightning as lightning
import torch

import smilevlm
from smilevlm.evaluation import evaluate_run
from smilevlm.models import ModelBundle, load_bundle
from smilevlm.training import fold_data, initial_weights, trainer
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.run import train_run

# What is the caller's own.


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("fails", [False, True])
def test_torch_is_as_before_after_training(prepared_store, make_tiny_config, tmp_path, threads, fails):
    seen = []

    def look(*_) -> None:
        seen.append(torch.get_num_threads())
        if fails:
            raise ZeroDivisionError

    config = make_tiny_config("num_control_folds=0", f"optimiser.threads={threads}")
    before, level = torch.get_num_threads(), logging.getLogger(lightning.__name__).level
    torch.set_num_threads(3)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        random_state = torch.get_rng_state()
        with pytest.raises(ZeroDivisionError) if fails else nullcontext():
            train_run(config, prepared_store, tmp_path / "run", folds=[0], progress=look)
        assert set(seen) == {threads}
        assert torch.get_num_threads() == 3
        assert torch.equal(torch.get_rng_state(), random_state)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert logging.getLogger(lightning.__name__).level == level
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)


def test_torch_is_as_before_after_loading_predicting_and_evaluating(
    trained_run, prepared_store, synthetic_faces, tmp_path
):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run = shutil.copytree(trained_run, tmp_path / "run")
        model = smilevlm.load(run)
        model.predict(next(synthetic_faces.rglob("*_F3D.wrl")))
        assert torch.get_num_threads() == 3
        evaluate_run(run, prepared_store, num_examples=0)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# Where teacher and calibration work.


def recorded_work(monkeypatch) -> list[tuple[str, object]]:
    """Moves of trained models between devices, and the threads of every pass through them."""
    seen: list[tuple[str, object]] = []
    embed, working_on = ModelBundle.embed, initial_weights.working_on

    def recorded_embed(self, images, **options):
        def look(module, given, result):
            seen.append(("embed", torch.get_num_threads()))

        with self.model.tower.register_forward_hook(look):
            return embed(self, images, **options)

    @contextmanager
    def recorded_place(bundle, device, threads):
        with working_on(bundle, device, threads) as working:
            seen.append(("to", device))
            yield working
        assert {parameter.device.type for parameter in bundle.model.parameters()} == {"cpu"}
        seen.append(("cpu", None))

    monkeypatch.setattr(ModelBundle, "embed", recorded_embed)
    for module in (trainer, fold_data):
        monkeypatch.setattr(module, "working_on", recorded_place)
    return seen


@pytest.mark.parametrize(
    ("hardware", "environment", "device"),
    [
        (HardwareConfig(accelerator="cpu"), {}, "cpu"),
        (HardwareConfig(), {}, "cuda:0"),
        (HardwareConfig(device=3), {}, "cuda:3"),
        (HardwareConfig(device=3), {"LOCAL_RANK": "1"}, "cuda:3"),
        (HardwareConfig(), {"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "2"}, "cuda:2"),
    ],
)
def test_the_device_of_a_process(monkeypatch, hardware, environment, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert hardware.torch_device == device


@pytest.mark.parametrize("threads", [1, 2])
def test_calibration_works_where_the_run_does(store_of_four, make_tiny_config, tmp_path, monkeypatch, threads):
    chosen = ("validation.share=0.5", "num_control_folds=0", "validation.calibrate=true")
    config, seen = make_tiny_config(*chosen, f"optimiser.threads={threads}"), recorded_work(monkeypatch)
    train_run(config, store_of_four, tmp_path / "run", folds=[1], hardware=HardwareConfig(accelerator="cpu"))
    assert seen == [("to", "cpu"), ("embed", threads), ("cpu", None)]
    assert load_bundle(tmp_path / "run/fold_01").threads == 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mirror", ["true", "false"])
def test_a_teacher_works_where_the_run_does(
    trained_run, prepared_store, make_tiny_config, tmp_path, monkeypatch, threads, mirror
):
    config = make_tiny_config(
        "pairing=pseudo", f"pseudo.teacher={trained_run / 'fold_00'}", "pseudo.min_confidence=0",
        f"pseudo.mirror={mirror}", "num_control_folds=0", f"optimiser.threads={threads}",
    )  # fmt: skip
    seen = recorded_work(monkeypatch)
    train_run(config, prepared_store, tmp_path / "run", folds=[0], hardware=HardwareConfig(accelerator="cpu"))
    assert seen == [("to", "cpu"), *[("embed", threads)] * (2 if mirror == "true" else 1), ("cpu", None)]
