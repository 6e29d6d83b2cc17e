"""`smilevlm doctor`: what it finds, on machines that are made up where this one has not got it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from smilevlm.cli import machine, main
from smilevlm.cli.machine import Extra, Gpu, MachineReport, Place, Speed, advise, as_size
from smilevlm.errors import CheckpointError
from smilevlm.extras import EXTRAS

REPORT = MachineReport(
    versions={"smilevlm": "1", "python": "3", "torch": "2", "system": "Linux"},
    cores=8,
    load=0.1,
    torch_threads=8,
    cpu_flags=("avx2",),
    memory_bytes=(16 * 10**9, 10**9),
    gpus=(),
    unused_gpu=False,
    extras=(Extra(name="train", missing=(), install="pip install 'smilevlm[train]'"),),
    caches=(),
    free=(Place(name="working folder", path="/work", num_bytes=10**11),),
    weights=None,
    speed=(),
)
GPU = Gpu(name="made up", total_bytes=80 * 10**9, free_bytes=79 * 10**9, has_bf16=True)


def speeds(single: float, whole: float, bf16: float) -> tuple[Speed, ...]:
    return tuple(
        Speed(device="cpu", threads=threads, precision=precision, images_per_second=rate * factor)
        for threads, rate in ((1, single), (8, whole))
        for precision, factor in (("float32", 1.0), ("bf16", bf16))
    )


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")


def test_this_machine_as_a_table_and_as_json(capsys):
    assert main(["doctor", "--no-speed"]) == 0
    out = capsys.readouterr().out
    for word in (
        "python",
        "torch",
        "cores",
        "memory",
        "GPU",
        "bundled weights",
        "extra",
        "cache",
        "disk of",
        "Advice:",
    ):
        assert word in out
    assert "images/s" not in out
    assert main(["doctor", "--no-speed", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights"] is None
    assert {each["name"] for each in found["extras"]} == set(EXTRAS.values())
    assert found["speed"] == []
    assert found["advice"]
    assert [place["name"] for place in found["free"]] == ["working folder", "cache", "temporary files"]


def test_the_speed_of_the_bundled_tower(monkeypatch):
    monkeypatch.setattr(machine, "num_cores", lambda: 2)
    bundle, problem = machine.load_bundled()
    assert problem is None
    measured = list(machine.measure_speed(bundle, seconds=0.01))
    assert [(each.device, each.threads, each.precision) for each in measured] == [
        ("cpu", threads, precision) for threads in (1, 2) for precision in ("float32", "bf16")
    ]
    assert all(each.images_per_second > 0 for each in measured)


def test_weights_that_cannot_be_used_end_with_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("smilevlm.predict.bundled.bundled_folder", lambda: tmp_path)
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "Advice: The bundled weights cannot be used" in captured.out
    assert captured.err.startswith("smilevlm doctor: error: the bundled weights: ")


def test_a_text_tower_that_is_missing_is_found(monkeypatch):
    def load(name: str) -> None:
        raise CheckpointError(f"{name} is gone")

    monkeypatch.setattr("smilevlm.prompts.load_text_tower", load)
    assert machine.load_bundled()[1] == "minilm is gone"


def test_extras_that_are_missing_are_named(monkeypatch):
    find = machine.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("peft", "gradio") else find(name))
    missing = {each.name: each for each in machine.find_extras() if each.missing}
    assert missing["towers"] == Extra(name="towers", missing=("peft",), install="pip install 'smilevlm[towers]'")
    assert missing["web"].missing == ("gradio",)


def test_gpus_that_are_made_up(monkeypatch):
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "mem_get_info": lambda number: (79 * 10**9, 80 * 10**9),
        "get_device_capability": lambda number: (9, 0),
        "get_device_name": lambda number: "made up",
    }.items():
        monkeypatch.setattr(f"torch.cuda.{name}", value)
    assert list(machine._gpus()) == [GPU, GPU]


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor: 0\nflags\t\t: fpu avx2 avx512f amx_bf16 amx_tile\n", ("avx2", "avx512f", "amx_tile", "amx_bf16")),
        ("Features\t: fp asimd bf16\n", ("bf16",)),
        ("model name: some\n", ()),
    ],
)
def test_instruction_sets(tmp_path, text, flags):
    (tmp_path / "cpuinfo").write_text(text)
    assert machine.read_cpu_flags(tmp_path / "cpuinfo") == flags
    assert dataclasses.replace(REPORT, cpu_flags=flags).has_bf16 == any("bf16" in flag for flag in flags)
    assert machine.read_cpu_flags(tmp_path / "none") == ()


def test_memory(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\nMemFree: 5 kB\nMemAvailable:  400 kB\nHugePages: 0\n")
    assert machine.read_memory(tmp_path / "meminfo") == (1_024_000, 409_600)
    assert machine.read_memory(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weights": "damaged"}, "install the package again"),
        ({"free": (Place(name="cache", path="/c", num_bytes=10**9),)}, "/c has 1.0 GB free"),
        ({"unused_gpu": True}, "torch with CUDA"),
        ({"extras": (Extra(name="train", missing=("joblib",), install="pip install it"),)}, "pip install it"),
        ({"gpus": (GPU, GPU)}, "precision=bf16; --jobs 2"),
        ({"gpus": (dataclasses.replace(GPU, has_bf16=False),)}, "precision=float32; --jobs 1"),
        ({}, "precision=float32"),
        ({"cpu_flags": ("amx_bf16",)}, "precision=bf16"),
        ({"speed": speeds(100, 300, 0.1)}, "one thread each: --set optimiser.precision=float32 --jobs 8"),
        ({"speed": speeds(100, 300, 2.0)}, "one thread each: --set optimiser.precision=bf16 --jobs 8"),
        ({"speed": speeds(100, 700, 2.0)}, "precision=bf16 --set optimiser.threads=8"),
    ],
)
def test_the_advice(changes, expected):
    advice = advise(dataclasses.replace(REPORT, **changes))
    assert expected in advice
    assert "\n" not in advice


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2 * 10**12, "2.0 TB")])
def test_sizes(size, text):
    assert as_size(size) == text
