"""What `smilevlm doctor` looks at: the machine, the installation, and how fast the bundled tower is on both."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.errors import SmileVlmError

if TYPE_CHECKING:
    from smilevlm.models import ModelBundle

SPEED_SECONDS = 10.0
"""All speed measurements together, rounds that were begun aside."""
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16", "svebf16")
"""Of processors that compute in bfloat16; on others it is emulated, and slow."""
_FLAGS = ("avx2", "avx512f", "amx_tile", *BF16_FLAGS)
_BATCH = 16
_LEAST_FREE_BYTES = 2 * 10**9


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One that torch can use. Sizes in bytes."""

    name: str
    total_bytes: int
    free_bytes: int
    has_bf16: bool


@dataclass(frozen=True, kw_only=True)
class Extra:
    """Optional dependencies of one kind.

    Args:
        missing: Libraries that are not installed; none where the extra is.
        install: The command that installs it.
    """

    name: str
    missing: tuple[str, ...]
    install: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder, and bytes that it takes or that are free there; None where it does not exist."""

    name: str
    path: str
    num_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Images of one view that the bundled tower embeds in a second.

    Args:
        device: `cpu`, or the GPU's name as torch has it.
        threads: CPU threads.
        precision: `float32`, or `bf16` by autocast.
    """

    device: str
    threads: int
    precision: str
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class MachineReport:
    """What this machine has.

    Args:
        versions: Of this package, Python, torch, and the operating system.
        cores: That this process may use.
        load: Processes that wanted a core over the last minute; None where the system does not say. Measured speed is
            the machine's only if it is far below the cores.
        torch_threads: That torch takes by itself.
        cpu_flags: Instruction sets that matter here; empty where the system does not list them.
        memory_bytes: In all, and available now.
        gpus: That torch can use.
        unused_gpu: Whether there is an NVIDIA GPU that this torch cannot use.
        extras: Optional dependencies.
        caches: Folders that are filled by use.
        free: Space on the disks of the working folder, the cache and temporary files.
        weights: What is wrong with the bundled weights; None if nothing.
        speed: Empty if not measured.
    """

    versions: Mapping[str, str]
    cores: int
    load: float | None
    torch_threads: int
    cpu_flags: tuple[str, ...]
    memory_bytes: tuple[int, int] | None
    gpus: tuple[Gpu, ...]
    unused_gpu: bool
    extras: tuple[Extra, ...]
    caches: tuple[Place, ...]
    free: tuple[Place, ...]
    weights: str | None
    speed: tuple[Speed, ...]

    @property
    def has_bf16(self) -> bool:
        """Whether the processor computes in bfloat16."""
        return any(flag in BF16_FLAGS for flag in self.cpu_flags)


def examine_machine(*, with_speed: bool) -> MachineReport:
    """Look at everything; takes ten seconds more with the speed."""
    import torch

    import smilevlm

    bundle, problem = load_bundled()
    return MachineReport(
        versions={
            "smilevlm": smilevlm.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "system": platform.platform(),
        },
        cores=num_cores(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        torch_threads=torch.get_num_threads(),
        cpu_flags=read_cpu_flags(Path("/proc/cpuinfo")),
        memory_bytes=read_memory(Path("/proc/meminfo")),
        gpus=tuple(_gpus()),
        unused_gpu=Path("/dev/nvidia0").exists() and not torch.cuda.is_available(),
        extras=find_extras(),
        caches=tuple(_caches()),
        free=tuple(_free_space()),
        weights=problem,
        speed=tuple(measure_speed(bundle)) if with_speed and bundle is not None else (),
    )


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_cpu_flags(cpuinfo: Path) -> tuple[str, ...]:
    """The known flags in Linux's description of the first processor; none on other systems."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return ()
    given = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return tuple(flag for flag in _FLAGS if flag in given)


def read_memory(meminfo: Path) -> tuple[int, int] | None:
    """Bytes in all and available, by Linux's description; None on other systems."""
    try:
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    except OSError:
        return None
    total, available = (int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, available


def find_extras() -> tuple[Extra, ...]:
    """Which optional dependencies are installed; nothing is imported."""
    from smilevlm.extras import EXTRAS

    return tuple(
        Extra(
            name=extra,
            missing=tuple(
                module
                for module, brought_by in EXTRAS.items()
                if brought_by == extra and importlib.util.find_spec(module) is None
            ),
            install=f"pip install 'smilevlm[{extra}]'",
        )
        for extra in sorted(set(EXTRAS.values()))
    )


def load_bundled() -> tuple[ModelBundle | None, str | None]:
    """The bundled model, and what is wrong with it or with its text tower."""
    from smilevlm.models import load_bundle
    from smilevlm.predict.bundled import bundled_folder
    from smilevlm.prompts import load_text_tower

    try:
        bundle = load_bundle(bundled_folder())
    except (SmileVlmError, OSError) as error:
        return None, str(error)
    try:
        if load_text_tower(bundle.text_tower).digest != bundle.text_digest:
            return bundle, f"the text tower {bundle.text_tower} is not the one that they were trained with"
    except SmileVlmError as error:
        return bundle, str(error)
    if not all(bool(weight.isfinite().all()) for weight in bundle.model.state_dict().values()):
        return bundle, "a weight is not finite"
    return bundle, None


def measure_speed(bundle: ModelBundle, *, seconds: float = SPEED_SECONDS) -> Iterator[Speed]:
    """How fast the tower embeds images, in each precision, on one thread and on all, and on the first GPU.

    Args:
        bundle: Its model is on the CPU afterwards.
        seconds: For all of it.
    """
    import torch

    from smilevlm.threads import torch_threads

    cores, model = num_cores(), bundle.model.eval()
    places = [("cpu", threads) for threads in sorted({1, cores})]
    places += [("cuda:0", cores)] if torch.cuda.is_available() else []
    each = seconds / (2 * len(places))
    for device, threads in places:
        model.to(device)
        for precision in ("float32", "bf16"):
            with torch_threads(threads):
                rate = _images_per_second(bundle, device, precision, each)
            yield Speed(device=device, threads=threads, precision=precision, images_per_second=rate)
    model.cpu()


def _images_per_second(bundle: ModelBundle, device: str, precision: str, seconds: float) -> float:
    import torch

    size = bundle.prepare.views.size
    images = torch.randint(0, 256, (_BATCH, 1, 3, size, size), dtype=torch.uint8, device=device)
    batches, started = -1, time.perf_counter()
    with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bf16"):
        while batches < 1 or time.perf_counter() - started < seconds:
            bundle.model.encode_features(images)
            if device != "cpu":
                torch.cuda.synchronize()
            batches += 1
            if batches == 0:
                # The first one chooses kernels.
                started = time.perf_counter()
    return batches * _BATCH / (time.perf_counter() - started)


def advise(report: MachineReport) -> str:
    """The one thing that helps most, in one line."""
    if report.weights is not None:
        return f"The bundled weights cannot be used ({report.weights}): install the package again."
    for place in report.free:
        if place.num_bytes is not None and place.num_bytes < _LEAST_FREE_BYTES:
            return f"{place.path} has {as_size(place.num_bytes)} free: prepared sets and runs need more."
    if report.unused_gpu:
        return "There is an NVIDIA GPU, but this torch cannot use it: install a build of torch with CUDA."
    if missing := next((extra for extra in report.extras if extra.name == "train" and extra.missing), None):
        return f"Prediction works; to train and evaluate: {missing.install}."
    if report.gpus:
        precision = "bf16" if report.gpus[0].has_bf16 else "float32"
        return f"Train on the GPU with --set optimiser.precision={precision}; --jobs {len(report.gpus)} uses every GPU."
    return _cpu_advice(report)


def _cpu_advice(report: MachineReport) -> str:
    if not report.speed:
        precision = "bf16" if report.has_bf16 else "float32"
        return f"Train with --set optimiser.precision={precision}; without a GPU use the tiny_* recipes."
    single = max((each for each in report.speed if each.threads == 1), key=_rate)
    whole = max((each for each in report.speed if each.threads == report.cores), key=_rate)
    wanted = f"--set optimiser.precision={single.precision}"
    # A fold per core and thread needs more memory, and pays where threads scale badly.
    if report.cores > 1 and _rate(whole) < 0.75 * report.cores * _rate(single):
        return f"Train several folds at a time, one thread each: {wanted} --jobs {report.cores}."
    wanted = f"--set optimiser.precision={whole.precision} --set optimiser.threads={report.cores}"
    return f"Train with {wanted}; without a GPU use the tiny_* recipes."


def _rate(speed: Speed) -> float:
    return speed.images_per_second


def as_size(num_bytes: int) -> str:
    """Bytes for people, in powers of 1000."""
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _gpus() -> Iterator[Gpu]:
    import torch

    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(number)
        major, _ = torch.cuda.get_device_capability(number)
        name = torch.cuda.get_device_name(number)
        yield Gpu(name=name, total_bytes=total, free_bytes=free, has_bf16=major >= 8)


def _caches() -> Iterator[Place]:
    from huggingface_hub.constants import HF_HUB_CACHE

    from smilevlm.caches import cache_folder

    whole = cache_folder()
    parts: Sequence[Path] = sorted(path for path in whole.iterdir() if path.is_dir()) if whole.is_dir() else []
    for name, path in [("smilevlm", whole), *((f"smilevlm, {part.name}", part) for part in parts)]:
        yield Place(name=name, path=str(path), num_bytes=_folder_size(path))
    yield Place(name="model hub", path=HF_HUB_CACHE, num_bytes=_folder_size(Path(HF_HUB_CACHE)))


def _folder_size(folder: Path) -> int | None:
    if not folder.is_dir():
        return None
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _free_space() -> Iterator[Place]:
    from smilevlm.caches import cache_folder

    for name, path in (
        ("working folder", Path.cwd()),
        ("cache", cache_folder()),
        ("temporary files", Path(tempfile.gettempdir())),
    ):
        # Of a folder that is not there yet, the one that it would be made in.
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        yield Place(name=name, path=str(path), num_bytes=shutil.disk_usage(there).free)
