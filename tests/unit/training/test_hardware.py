"""What a run leaves of the process it runs in, and where its parts work."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from contextlib import contextmanager, nullcontext
from datetime import timedelta

import pytest
import pytorch_lightning as lightning
import torch

import smilevlm
from smilevlm.errors import SettingsError
from smilevlm.evaluation import evaluate_run
from smilevlm.models import ModelBundle, load_bundle
from smilevlm.training import fold_data, initial_weights, trainer
from smilevlm.training import run as training_run
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.processes import joined_processes
from smilevlm.training.pseudo import propose_classes
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


def test_a_teacher_works_on_the_first_process_alone(
    trained_run, prepared_store, make_tiny_config, tmp_path, monkeypatch
):
    """Another process gets what the first one proposed, and does not ask its own teacher."""
    config = make_tiny_config(
        "pairing=pseudo", f"pseudo.teacher={trained_run / 'fold_00'}", "pseudo.min_confidence=0", "num_control_folds=0"
    )
    of_the_first = []

    def propose(*arguments):
        of_the_first.append(propose_classes(*arguments))
        return of_the_first[-1]

    monkeypatch.setattr(fold_data, "propose_classes", propose)
    data = fold_data.load_run_data(config, prepared_store)
    first = fold_data.load_fold_data(data, data.splits[0], shuffled=False)
    assert len(of_the_first) == 1
    monkeypatch.setattr(fold_data, "on_rank0", lambda step: of_the_first[0])
    monkeypatch.setattr(ModelBundle, "embed", None)
    other = fold_data.load_fold_data(data, data.splits[0], shuffled=False)
    assert other.proposals is of_the_first[0]
    assert other.training.classes == first.training.classes


# Which GPU, what is kept on it, and how its processes wait. The GPUs are made up.


@pytest.fixture
def made_up_gpus(monkeypatch):
    """Says how many there are, and how many bytes of each are free."""

    def say(number: int, free: int = 0) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: number > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: number)
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 10**12))

    return say


@pytest.mark.parametrize(
    ("num_gpus", "num_workers", "devices"), [(4, 3, [0, 1, 2]), (2, 5, [0, 1, 0, 1, 0]), (1, 2, [0, 0]), (0, 2, [0, 0])]
)
def test_workers_take_gpus_in_turn(made_up_gpus, num_gpus, num_workers, devices):
    made_up_gpus(num_gpus)
    assert [each.device for each in HardwareConfig().for_workers(num_workers)] == devices


def test_a_fold_takes_the_gpu_that_is_free(prepared_store, make_tiny_config, tmp_path, monkeypatch, made_up_gpus):
    """The first fold takes longer than the second and third together: those have one GPU, one after the other."""
    made_up_gpus(2)
    taken, others_are_done = {}, threading.Event()

    def train(data, run, job, *, hardware, progress):
        taken[job.name] = hardware.device
        if len(taken) == 1:
            assert others_are_done.wait(30)
        elif len(taken) == 3:
            others_are_done.set()

    def in_threads(function, calls, *, jobs):
        waiting = list(calls)

        def work() -> None:
            while waiting:
                function(*waiting.pop(0))

        threads = [threading.Thread(target=work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
            # The first has its fold before the second looks.
            while not taken:
                thread.join(0.01)
        for thread in threads:
            thread.join()
        return []

    monkeypatch.setattr(training_run, "parallel_map", in_threads)
    monkeypatch.setattr(training_run, "train_fold", train)
    config = make_tiny_config("num_control_folds=1")
    train_run(config, prepared_store, tmp_path / "run", jobs=2)
    assert list(taken.values()) == [0, 1, 1]


@pytest.mark.parametrize(
    ("setting", "num_gpus", "num_bytes", "kept"),
    [("auto", 1, 250, True), ("auto", 1, 251, False), ("always", 1, 10**6, True), ("never", 1, 1, False)]
    + [(setting, 0, 1, False) for setting in ("auto", "always", "never")],
)
def test_images_are_kept_on_a_gpu_where_they_fit(made_up_gpus, setting, num_gpus, num_bytes, kept):
    made_up_gpus(num_gpus, free=1000)
    assert HardwareConfig(images_on_device=setting).keeps_on_device(num_bytes) == kept


def test_training_from_a_device_equals_training_from_memory(store_of_four, make_tiny_config, tmp_path, monkeypatch):
    """The device is the CPU: what is tested is that batches follow their images there, prefetched or not."""
    config = make_tiny_config("optimiser.epochs=2", "num_control_folds=0", "optimiser.batch_size=3")
    weights = []
    for name in ("memory", "device", "prefetched"):
        with monkeypatch.context() as patch:
            if name == "device":
                patch.setattr(HardwareConfig, "keeps_on_device", lambda self, num_bytes: num_bytes > 0)
            if name == "prefetched":
                loader = trainer.as_loader
                patch.setattr(trainer, "as_loader", lambda b, of=loader: of(trainer.PrefetchedBatches(b, lambda x: x)))
            train_run(config, store_of_four, tmp_path / name, folds=[1])
        weights.append((tmp_path / name / "fold_01/model.safetensors").read_bytes())
    assert weights[0] == weights[1] == weights[2]


def test_processes_wait_for_each_other_as_long_as_is_said(monkeypatch):
    asked = []
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend, **given: asked.append((backend, given)))
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    with joined_processes(on_gpu=False, timeout_minutes=HardwareConfig().process_timeout_minutes):
        pass
    assert asked == [("gloo", {"timeout": timedelta(hours=2)})]


@pytest.mark.parametrize(("setting", "enabled"), [("auto", False), ("on", True), ("off", False)])
def test_deterministic_operations(prepared_store, make_tiny_config, tmp_path, setting, enabled):
    seen = []
    train_run(
        make_tiny_config("num_control_folds=0"),
        prepared_store,
        tmp_path / "run",
        folds=[0],
        hardware=HardwareConfig(deterministic=setting),
        progress=lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert set(seen) == {enabled}
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


@pytest.mark.parametrize(
    "wrong", [{"images_on_device": "perhaps"}, {"deterministic": "maybe"}, {"process_timeout_minutes": 0.0}]
)
def test_settings_that_are_none_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        HardwareConfig(**wrong)
