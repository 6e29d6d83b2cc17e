"""Which weights of a pretrained tower train, and that the others stay exactly as they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from torch import nn

from smilevlm.errors import MissingExtraError

Tuning = Literal["full", "frozen", "last_blocks", "lora"]


def train_only(module: nn.Module, parts: Sequence[nn.Module]) -> None:
    """Freeze a module but for some of its parts."""
    module.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)


def add_lora(module: nn.Module, targets: Sequence[str], *, rank: int, alpha: float, dropout: float) -> None:
    """Freeze a module and put low-rank adapters beside its linear layers of some names; they change nothing at first.

    Args:
        module: Changed in place.
        targets: Last parts of the layers' names, such as `q_proj`.
        rank: Of an adapter's two factors, which are drawn from torch's global generator.
        alpha: The product of the factors is scaled by alpha / rank.
        dropout: Of the adapters' input while training.

    Raises:
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError(f"tuning 'lora' needs peft: pip install 'smilevlm[towers]' ({error})") from None
    module.requires_grad_(False)
    # peft's annotation asks for a whole alpha; its arithmetic does not.
    scale = {"r": rank, "lora_alpha": alpha, "lora_dropout": dropout}
    inject_adapter_in_model(LoraConfig(**scale, target_modules=list(targets)), module)


def frozen_parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest submodules, the module itself included, that have weights of which none trains."""
    weights = list(module.parameters())
    if weights and not any(weight.requires_grad for weight in weights):
        yield module
    else:
        for child in module.children():
            yield from frozen_parts(child)


def keep_frozen_in_eval(module: nn.Module) -> None:
    """Put what is frozen in evaluation mode: no dropout, no batch statistics, whatever mode the rest is in."""
    for part in frozen_parts(module):
        part.eval()
